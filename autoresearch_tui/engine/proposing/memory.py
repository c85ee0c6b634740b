"""What each experiment taught: `lessons.md`, written by the loop, read by the researcher, edited by the human.

Text in, text out, but for the last two functions. Each experiment gets one entry, once. What the human changes in it
stays, what the human deletes stays deleted, and what the human writes comes first when room is short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from autoresearch_tui.engine.results import write
from autoresearch_tui.engine.review import BASELINE
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.text import describe

LIMIT = 6_000
"""Characters of it that a request carries at most: about 1,500 tokens."""

_HEADER = """\
# What the experiments taught

One entry an experiment, added after its verdict. The researcher reads this file before each proposal: correct an
entry, delete it, or write anything of your own anywhere; nothing that you change is written over.
"""
_MARK = re.compile(r"^<!-- (\d+) verdicts? noted -->\n?", re.M)
_ENTRY = re.compile(r"^## #(\d+) ", re.M)
_WIDTH = 200


def entries(state: State) -> dict[int, str]:
    """The entry of every experiment that has a verdict, in the order of the verdicts."""
    found: dict[int, str] = {}
    best: Experiment | None = None
    for experiment in state.table:
        found[experiment.number] = _entry(experiment, best, state.session.goal if state.session else "minimize")
        if experiment.outcome == "keep":
            best = experiment
    return found


def update(text: str, known: Mapping[int, str]) -> str:
    """The file with an entry for each verdict that it has not noted yet; the rest of it stays as it is."""
    noted = [int(mark[1]) for mark in _MARK.finditer(text)]
    present = {int(found[1]) for found in _ENTRY.finditer(text)}
    missing = [number for number in list(known)[max(noted, default=0) :] if number not in present]
    mark = f"<!-- {len(known)} verdict{'s' * (len(known) != 1)} noted -->\n"
    if not missing and mark in text:
        return text
    body = _MARK.sub("", text) if text.strip() else _HEADER
    body = body if body.endswith("\n") else f"{body}\n"
    return body.rstrip("\n") + "\n" + "".join(f"\n{known[number]}" for number in missing) + f"\n{mark}"


def excerpt(text: str, known: Mapping[int, str], limit: int = LIMIT) -> str:
    """What of the file goes into a request: the human's words first, then keeps, then the newest, in file order."""
    parts = _parts(text)
    chosen: set[int] = set()
    room = limit
    for index in sorted(range(len(parts)), key=lambda i: (_rank(parts[i], known), -i)):
        if len(parts[index]) + 1 <= room:
            chosen.add(index)
            room -= len(parts[index]) + 1
    left_out = len(parts) - len(chosen)
    kept = [parts[i] for i in sorted(chosen)]
    note = [f"({left_out} of {len(parts)} entries are left out)"] if left_out else []
    return "\n".join((*note, *kept))


def keep(path: Path, state: State) -> None:
    """Bring the file up to date. Raises OSError."""
    known = entries(state)
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError:
        return  # it could not be written back as the human has it
    new = update(text, known) if known else text
    if new != text:
        write(path, new)


def recall(path: Path, state: State) -> str:
    """What the researcher is told of it; empty where it cannot be read."""
    try:
        return excerpt(path.read_bytes().decode("utf-8", "replace"), entries(state))
    except OSError:
        return ""


def _entry(experiment: Experiment, best: Experiment | None, goal: str) -> str:
    title = f"## #{experiment.number} {experiment.outcome}: {describe(experiment.description, _WIDTH)}\n"
    return title + f"{_measured(experiment, best, goal)}\n{_lesson(experiment)}\n"


def _measured(experiment: Experiment, best: Experiment | None, goal: str) -> str:
    if experiment.value is None:
        return "No score."
    if best is None or best.value is None:
        return f"{experiment.value:.6f}."
    change = experiment.value - best.value
    if change == 0:
        return f"{experiment.value:.6f}, the same as #{best.number}."
    word = "better" if (change < 0) == (goal == "minimize") else "worse"
    return f"{experiment.value:.6f}, {abs(change):.6f} {word} than #{best.number}."


def _lesson(experiment: Experiment) -> str:
    idea = describe(experiment.hypothesis, _WIDTH) if experiment.hypothesis.strip() else "no reason was given"
    match experiment.outcome:
        case _ if experiment.author == BASELINE:
            return "Lesson: this is where the search starts."
        case _ if experiment.repeat_of is not None:
            return f"Lesson: this is how far equal runs of #{experiment.repeat_of} lie apart."
        case "keep":
            return f"Lesson: it held: {idea}"
        case "discard":
            return f"Lesson: it did not hold here: {idea}"
        case "crash":
            return f"Lesson: nothing about the idea, for it failed ({describe(experiment.reason, _WIDTH)}): {idea}"
        case _:
            return f"Lesson: the score was refused ({describe(experiment.reason, _WIDTH)}): {idea}"


def _parts(text: str) -> list[str]:
    """The human's opening words, and the entries."""
    body = _MARK.sub("", text).replace(_HEADER, "")
    starts = [found.start() for found in re.finditer(r"^## ", body, re.M)]
    cuts: Iterable[tuple[int, int]] = zip([0, *starts], [*starts, len(body)], strict=True)
    return [part for start, end in cuts if (part := body[start:end].strip())]


def _rank(part: str, known: Mapping[int, str]) -> int:
    found = _ENTRY.match(part)
    written = known.get(int(found[1]), "").strip() if found else ""
    if part != written:
        return 0
    return 1 if part.partition(":")[0].endswith(" keep") else 2
