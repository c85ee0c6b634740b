"""What each experiment taught: `lessons.md`, written by the loop, read by the researcher, edited by the human.

Text in, text out, but for the functions that take a path. Each experiment gets one entry, once. What the human changes
in it stays, what the human deletes stays deleted, and what the human writes comes first when room is short. A new
session's file begins with what the earlier ones taught.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import judged
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.text import describe

LIMIT = 6_000
"""Characters of it that a request carries at most: about 1,500 tokens."""

INHERITED = 4_000
"""Characters that a new session's file takes over from earlier ones at most."""

_HEADER = """\
# What the experiments taught

One entry an experiment, added after its verdict. The researcher reads this file before each proposal: correct an
entry, delete it, or write anything of your own anywhere; nothing that you change is written over.
"""
_MARK = re.compile(r"^<!-- (\d+) verdicts? noted -->\n?", re.M)
_ENTRY = re.compile(r"^## #(\d+) ", re.M)
_BY_HUMAN = "in a human's words"
_INHERITED = re.compile(rf"^## \S+(?: #\d+ |, {_BY_HUMAN}$)", re.M)
_LAST_MARK = re.compile(rb"(?<=\n\n)<!-- (\d+) verdicts? noted -->\n$")
_LAST_BYTES = 80
_WIDTH = 200
Part = tuple[int, str]
"""How soon a part of the file is left out if room is short, the human's words (0) last; and its text."""


def entries(state: State, first: int = 0) -> dict[int, str]:
    """The entry of every experiment that has a verdict, in the order of the verdicts, from the `first` on."""
    found = judged(state, first)
    return {each.experiment.number: _entry(each.experiment, each.frontier, state.goal) for each in found}


def update(text: str, known: Mapping[int, str]) -> str:
    """The file with an entry for each verdict that it has not noted yet; the rest of it stays as it is."""
    noted = [int(mark[1]) for mark in _MARK.finditer(text)]
    present = {int(found[1]) for found in _ENTRY.finditer(text)}
    missing = [number for number in list(known)[max(noted, default=0) :] if number not in present]
    mark = _mark(len(known))
    if not missing and mark in text:
        return text
    body = _MARK.sub("", text) if text.strip() else _HEADER
    body = body if body.endswith("\n") else f"{body}\n"
    return body.rstrip("\n") + "\n" + "".join(f"\n{known[number]}" for number in missing) + f"\n{mark}"


def _mark(count: int) -> str:
    return f"<!-- {count} verdict{'s' * (count != 1)} noted -->\n"


def excerpt(text: str, known: Mapping[int, str], limit: int = LIMIT) -> str:
    """What of the file goes into a request: the human's words first, then keeps, then the newest, in file order."""
    parts = _parts(text)
    kept = [parts[index] for index in _chosen([(_rank(part, known), part) for part in parts], limit)]
    left_out = len(parts) - len(kept)
    note = [f"({left_out} of {len(parts)} entries are left out)"] if left_out else []
    return "\n".join((*note, *kept))


def _chosen(parts: Sequence[Part], limit: int) -> list[int]:
    """Which parts have room, in file order."""
    chosen: list[int] = []
    room = limit
    for index in sorted(range(len(parts)), key=lambda i: (parts[i][0], -i)):
        text = parts[index][1]
        if len(text) + 1 <= room:
            chosen.append(index)
            room -= len(text) + 1
    return sorted(chosen)


def keep(path: Path, state: State) -> None:
    """Bring the file up to date. Raises OSError."""
    if _appended(path, state):
        return
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


def _appended(path: Path, state: State) -> bool:
    """What is new, after what we wrote last, by one writing over our mark there; False if the file ends otherwise."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _LAST_BYTES))
        last = _LAST_MARK.search(file.read())
        if last is None or int(last[1]) > state.rows:
            return False
        if int(last[1]) < state.rows:
            new = entries(state, int(last[1])).values()
            os.pwrite(file.fileno(), ("\n".join((*new, _mark(state.rows)))).encode(), end - len(last[0]))
        return True
    return False


def recall(path: Path, state: State) -> str:
    """What the researcher gets of it; empty if it cannot be read."""
    try:
        return excerpt(path.read_bytes().decode("utf-8", "replace"), entries(state))
    except OSError:
        return ""


def begin(path: Path, inherited: str) -> None:
    """A new session's file, with what earlier ones taught; one that is there stays. Raises OSError."""
    if inherited and not path.exists():
        write(path, f"{_HEADER}\n{inherited}")


def own(path: Path, tag: str, state: State) -> list[Part]:
    """What a session's file has beyond what it inherited, named as later sessions' files name it."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    known = entries(state)
    parts = [(_rank(part, known), part.removeprefix("## ")) for part in _parts(text) if not _INHERITED.match(part)]
    return [(rank, f"## {tag} {part}\n" if rank else f"## {tag}, {_BY_HUMAN}\n{part}\n") for rank, part in parts]


def inherited(parts: Sequence[Part]) -> str:
    """What a new session's file begins with: of the earlier sessions' own parts, oldest first, those with room."""
    return "\n".join(parts[index][1] for index in _chosen(parts, INHERITED))


def _entry(experiment: Experiment, frontier: Experiment | None, goal: Goal) -> str:
    title = f"## #{experiment.number} {experiment.outcome}: {describe(experiment.description, _WIDTH)}\n"
    return title + f"{_measured(experiment, frontier, goal)}\n{_lesson(experiment, frontier, goal)}\n"


def _measured(experiment: Experiment, frontier: Experiment | None, goal: Goal) -> str:
    if experiment.value is None:
        return "No score."
    there = draws.beside(experiment, frontier)
    if frontier is None or there is None:
        return f"{experiment.value:.6f}."
    change = experiment.value - there
    if change == 0:
        return f"{experiment.value:.6f}, the same as #{frontier.number}."
    word = "better" if goal.better(experiment.value, there) else "worse"
    return f"{experiment.value:.6f}, {abs(change):.6f} {word} than #{frontier.number}."


def _gain(experiment: Experiment, frontier: Experiment, goal: Goal) -> float:
    there = draws.beside(experiment, frontier)
    if experiment.value is None or there is None or (experiment.score is not None and experiment.score.beyond):
        return 0.0
    return goal.gain(there, experiment.value)


def _lesson(experiment: Experiment, frontier: Experiment | None, goal: Goal) -> str:
    hypothesis = experiment.proposal.hypothesis
    idea = describe(hypothesis, _WIDTH) if hypothesis.strip() else "no reason was given"
    if experiment.edited:
        idea = f"a human edited it before the run: {describe(experiment.description, _WIDTH)}"
    match experiment.status:
        case _ if experiment.proposal.author == BASELINE:
            return "Lesson: this is where the search starts."
        case _ if experiment.proposal.repeat_of is not None:
            return f"Lesson: this is how far equal runs of #{experiment.proposal.repeat_of} lie apart."
        case Outcome.KEEP:
            return f"Lesson: it held: {idea}"
        case Outcome.DISCARD if (
            frontier is not None and _gain(experiment, frontier, goal) > 0 and experiment.proposal.repeat_of is None
        ):
            return f"Lesson: too little is gained to be kept: {idea}"
        case Outcome.DISCARD:
            return f"Lesson: it did not hold here: {idea}"
        case Outcome.STOPPED:
            return f"Lesson: a human stopped it ({describe(experiment.reason, _WIDTH)}): {idea}"
        case Outcome.GIVEN_UP:
            return f"Lesson: it did not hold here, and was {describe(experiment.reason, _WIDTH)}: {idea}"
        case Outcome.CRASH:
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
    if re.match(r"## \S+ #\d+ ", part):
        return 2  # inherited
    found = _ENTRY.match(part)
    written = known.get(int(found[1]), "").strip() if found else ""
    if part != written:
        return 0
    return 1 if part.partition(":")[0].endswith(" keep") else 2
