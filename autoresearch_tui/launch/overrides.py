"""The command line's settings for a session, which hold until others are given."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from autoresearch_tui.lab.cluster_address import NONE
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings_checks import check_cluster
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.limits import NEVER
from autoresearch_tui.util import timestamps

_STARTED = b'"type":"engine_started"'
_STOPPED = b'"type":"engine_stopped"'


def with_overrides(lab: Lab, tag: str, overrides: Mapping[str, str], *, successor: bool) -> tuple[Lab, dict[str, str]]:
    """The lab with the session's overrides, those of earlier starts included, and the overrides.

    A limit of time that has passed is dropped if a human starts the engine, and kept for a successor.
    """
    earlier = dict(_earlier(lab.session(tag).journal, successor=successor))
    if "devices" in overrides and earlier.get("cluster") != NONE:
        earlier.pop("cluster", None)  # the runs return to this machine
    if overrides.get("cluster", NONE) != NONE:
        earlier.pop("devices", None)
    merged = {**earlier, **overrides}
    settings = lab.settings
    if "researcher" in merged:
        settings = replace(settings, researcher=replace(settings.researcher, kind=merged["researcher"]))
    if "review" in merged:
        settings = replace(settings, review=replace(settings.review, mode=merged["review"]))
    if "budget" in merged:
        settings = replace(settings, run=replace(settings.run, budget_seconds=float(merged["budget"])))
    if "devices" in merged:
        settings = replace(settings, run=replace(settings.run, devices=tuple(merged["devices"].split(","))))
    if "cluster" in merged:
        address = "" if merged["cluster"] == NONE else merged["cluster"]
        settings = replace(settings, cluster=replace(settings.cluster, address=address))
    given = " ".join(f"--{name} {merged[name]}" for name in ("cluster", "devices") if name in merged)
    if given:
        check_cluster(settings, given)
    return replace(lab, settings=settings), merged


def _earlier(path: Path, *, successor: bool) -> Mapping[str, str]:
    """The overrides of the session's last engine; read from the end, because a journal may be long."""
    data = path.read_bytes() if path.exists() else b""
    where, event = _last(data, _STARTED)
    if not isinstance(event, ev.EngineStarted):
        return {}
    given = dict(event.overrides)
    if not successor and given.get("until", NEVER) != NEVER:
        _, stopped = _last(data[where:], _STOPPED)
        ended = isinstance(stopped, ev.EngineStopped) and stopped.limit == "until"
        if ended or timestamps.seconds(given["until"]) <= time.time():
            del given["until"]
    return given


def _last(data: bytes, words: bytes) -> tuple[int, ev.Event | None]:
    """The last record with these words, and its offset; None if there is none."""
    where = len(data)
    while (where := data.rfind(words, 0, where)) >= 0:
        start = data.rfind(b"\n", 0, where) + 1
        try:
            event = journal.decode(data[start:].partition(b"\n")[0]).event
        except ValueError:
            # Damaged, or the words are part of another record's text; the engine checks the whole journal.
            continue
        if journal.type_name(event).encode() in words:
            return start, event
    return 0, None
