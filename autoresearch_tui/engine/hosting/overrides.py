"""The command line's settings for a session, which hold until others are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal
from autoresearch_tui.lab import Lab

_STARTED = b'"type":"engine_started"'


def with_overrides(lab: Lab, tag: str, overrides: Mapping[str, str]) -> tuple[Lab, dict[str, str]]:
    """The lab with the command line's settings for this session, those given at an earlier start included."""
    merged = {**_earlier(lab.session(tag).journal), **overrides}
    settings = lab.settings
    if "researcher" in merged:
        settings = replace(settings, researcher=replace(settings.researcher, kind=merged["researcher"]))  # type: ignore[arg-type]
    if "review" in merged:
        settings = replace(settings, review=replace(settings.review, mode=merged["review"]))  # type: ignore[arg-type]
    if "budget" in merged:
        settings = replace(settings, run=replace(settings.run, budget_seconds=float(merged["budget"])))
    if "devices" in merged:
        settings = replace(settings, run=replace(settings.run, devices=tuple(merged["devices"].split(","))))
    return replace(lab, settings=settings), merged


def _earlier(path: Path) -> Mapping[str, str]:
    """What the session's last engine was given; read from the end, for a journal may be long."""
    data = path.read_bytes() if path.exists() else b""
    where = len(data)
    while (where := data.rfind(_STARTED, 0, where)) >= 0:
        line = data[data.rfind(b"\n", 0, where) + 1 :].partition(b"\n")[0]
        try:
            event = journal.decode(line).event
        except ValueError:
            # Damaged, or the words stand in some other record's text; the engine judges the whole journal.
            continue
        if isinstance(event, ev.EngineStarted):
            return event.overrides
    return {}
