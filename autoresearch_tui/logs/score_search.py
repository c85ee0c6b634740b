"""Finds a score in the output of a run or its referee, like `grep`, or why there is none."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from autoresearch_tui.lab import instructions
from autoresearch_tui.logs import encoding as logtext
from autoresearch_tui.logs import matcher
from autoresearch_tui.logs.lines import READ_BYTES, json_object, split_lines
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

MATCH_SECONDS = 5.0
_SHOWN = 40
# Such a pattern is quick on so many bytes, so it needs no process that could be killed.
_QUICK = re.compile(r"\^?[A-Za-z0-9_ :=<>/#-]+(?:\\s[*+])?\(\\S\+\)\$?")
_QUICK_BYTES = 1 << 19
_NUMBERED = re.compile(r"^\s*([A-Za-z]\w*)\s*[:=]\s*([-+]?(?:\d|\.\d|nan|inf)[\d.,eE+-]*)\s*%?\s*$")
# An opening quote or bracket, or a call such as `np.float64(`, may stand before the number.
_NUMBER = re.compile(
    r"[\s\"'`*~=:(\[{<]*(?:[A-Za-z_][\w.]*[(\[]+[\"']?)*"
    r"(?P<number>[-+]?(?:\d{1,3}(?:,\d{3})+\.\d+|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?))"
    r"(?!\w|[.,:/-]\d)",
    re.IGNORECASE,
)


class Found(Frozen):
    """A score, or why there is none. `at`: the first byte of the MiB of a log with the score.

    `absent`: nothing in the output looks like a score.
    """

    value: float | None
    problem: str = ""
    at: int | None = None
    absent: bool = False


def find_score(source: str | Path, pattern: str, name: str, *, any_form: bool = False, where: str = "the log") -> Found:
    """The number in the first group of the pattern's last match (MULTILINE); colours and carriage returns aside.

    `source`: a text or a log's path; a missing log counts as empty. `any_form`: without a match, the last mention of
    the metric's `name` with a number counts. `where`: the name of the text in messages.
    """
    try:
        match = _search(source, pattern, name)
    except subprocess.TimeoutExpired:
        return Found(None, f"`metric.pattern` takes more than {MATCH_SECONDS:g} s on {where}; write a simpler one")
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        return Found(None, f"{where} could not be searched: {type(error).__name__}")
    if match is None:
        return Found(None, f"{where} has no {name} that `metric.pattern` finds", absent=True)
    if match["by_name"] and not any_form:
        line = describe(str(match["line"]), _SHOWN)
        return Found(None, f"`metric.pattern` matches no line of {where}, which has `{line}`; correct the pattern")
    if match["group"] is None:
        return Found(None, f"the group of `metric.pattern` matches nothing in `{describe(match['line'], _SHOWN)}`")
    value = number(match["group"])
    if value is None or not math.isfinite(value):
        return Found(None, f"{where}'s {name} is {describe(match['group'], _SHOWN)}, which is no finite number")
    return Found(value, at=match["at"] if isinstance(source, Path) else None)


def number(text: str) -> float | None:
    """The number that a text begins with: `0.99`, `np.float64(0.99)`, `0.99 (best)`; None for anything else.

    A comma is only accepted if it cannot be a decimal point: `1,024.5`.
    """
    found = _NUMBER.match(text[: _SHOWN * 2])
    return float(found["number"].replace(",", "")) if found else None


def number_keys(text: str, most: int = 8) -> tuple[str, ...]:
    """Keys before a number on a line of their own, last in the log first: one may be the score that a pattern
    missed."""
    found: dict[str, None] = {}
    for line in reversed(split_lines(text[-READ_BYTES:])):
        pairs = json_object(line) or dict(_NUMBERED.findall(line))
        usable = (key for key, value in pairs.items() if isinstance(value, str | int | float) and key.isidentifier())
        found |= dict.fromkeys(key for key in usable if not instructions.beside(key))
    return tuple(found)[:most]


def _search(source: str | Path, pattern: str, name: str) -> dict[str, Any] | None:
    text = source if isinstance(source, str) else ""
    log = source if isinstance(source, Path) and source.is_file() else None
    encoding = logtext.encoding_of(log) if log is not None else "utf-8"
    if _QUICK.fullmatch(pattern) and (log.stat().st_size if log is not None else len(text)) <= _QUICK_BYTES:
        data = text.encode("utf-8", "replace") if log is None else log.read_bytes()
        if encoding != "utf-8":
            data = data.decode(encoding, "replace").encode("utf-8", "replace")
        return matcher.search(data, pattern, name)
    task = json.dumps({"pattern": pattern, "name": name, "path": str(log or ""), "encoding": encoding}).encode()
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(Path(matcher.__file__))],
        input=task + b"\n" + text.encode("utf-8", "replace"),
        capture_output=True,
        timeout=MATCH_SECONDS,
        check=True,
    ).stdout
    found = json.loads(answer)
    return found if isinstance(found, dict) else None
