"""The lessons of experiments: `lessons.md`, written by the loop, read by the researcher, edited by the human.

Each experiment gets one entry, once. The human's changes and deletions stay, and the human's own words come first when
room is short. A new session's file begins with lessons of earlier ones. A long session's file has tens of thousands of
entries, so it is read one entry at a time.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import judged
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.text import describe

LIMIT = 6_000
"""The most characters that a request carries: about 1,500 tokens."""

INHERITED = 4_000
"""The most characters that a new session's file takes over from earlier ones."""

_HEADER = """\
# What the experiments taught

One entry an experiment, added after its verdict. The researcher reads this file before each proposal: correct an
entry, delete it, or write anything of your own anywhere; nothing that you change is written over.
"""
_MARK = re.compile(r"^<!-- (\d+) verdicts? noted -->\n?", re.M)
_ENTRY = re.compile(r"^## #(\d+) ", re.M)
_BY_HUMAN = "in a human's words"
_INHERITED = re.compile(rf"^## \S+(?: #\d+ |, {_BY_HUMAN}$)", re.M)
_OF_ANOTHER = re.compile(r"## \S+ #\d+ ")
_LAST_MARK = re.compile(rb"(?<=\n\n)<!-- (\d+) verdicts? noted -->\n$")
_LAST_BYTES = 80
_WIDTH = 200
_RANKS = 3
Part = tuple[int, str]
"""A part of the file: its rank (the highest is left out first; 0 is the human's words), and its text."""


def entries(state: State, first: int = 0) -> dict[int, str]:
    """The entries of judged experiments by number, in the order of the verdicts, from the `first` on."""
    return dict(_each(state, first))


def _each(state: State, first: int) -> Iterator[tuple[int, str]]:
    for each in judged(state, first):
        yield each.experiment.number, _entry(each.experiment, each.frontier, state.goal)


def update(text: str, new: Mapping[int, str], count: int) -> str:
    """The file with its missing `new` entries, and the mark that `count` verdicts are noted; otherwise unchanged."""
    present = {int(found[1]) for found in _ENTRY.finditer(text)}
    missing = [number for number in new if number not in present]
    mark = _mark(count)
    if not missing and mark in text:
        return text
    body = _MARK.sub("", text) if text.strip() else _HEADER
    body = body if body.endswith("\n") else f"{body}\n"
    return body.rstrip("\n") + "\n" + "".join(f"\n{new[number]}" for number in missing) + f"\n{mark}"


def noted(text: str) -> int:
    """How many verdicts the file has noted, by its mark."""
    return max((int(mark[1]) for mark in _MARK.finditer(text)), default=0)


def _mark(count: int) -> str:
    return f"<!-- {count} verdict{'s' * (count != 1)} noted -->\n"


class Lessons:
    """The file of one session. Used by the engine's thread and the proposers'."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = _Written(path.with_suffix(".sums"))
        self._index = _Index()
        # The file's identity at our last read or write, and where the part begins that is not in the index.
        self._seen: _Seen | None = None
        self._new = 0
        self._lock = threading.Lock()

    def keep(self, state: State) -> None:
        """Bring the file up to date. Raises OSError."""
        with self._lock:
            if self._append(state):
                return
        try:
            text = self._path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            text = ""
        except UnicodeDecodeError:
            return  # rewriting it would change the human's text
        new = update(text, entries(state, noted(text)), state.rows) if state.rows else text
        if new != text:
            write(self._path, new)
            self._written.keep(state)

    def recall(self, state: State, limit: int = LIMIT) -> str:
        """The excerpt for the researcher; empty if the file cannot be read."""
        try:
            with self._lock, self._path.open("rb") as file:
                written, seen = self._written.sums(state), _seen(file)
                if seen != self._seen:
                    self._index, self._new = _Index(), 0
                self._index.add(file, self._new, written)
                self._seen, self._new = seen, seen.size
                return self._index.excerpt(file, limit)
        except OSError:
            return ""

    def _append(self, state: State) -> bool:
        """Append new entries by overwriting our mark; False if the file does not end in it."""
        with contextlib.suppress(FileNotFoundError), self._path.open("r+b", buffering=0) as file:
            before = _seen(file)
            file.seek(max(0, before.size - _LAST_BYTES))
            last = _LAST_MARK.search(file.read())
            if last is None or int(last[1]) > state.rows:
                return False
            if int(last[1]) < state.rows:
                new, at = entries(state, int(last[1])).values(), before.size - len(last[0])
                os.pwrite(file.fileno(), ("\n".join((*new, _mark(state.rows)))).encode(), at)
                if before == self._seen:
                    self._seen, self._new = _seen(file), min(self._new, at)
                self._written.keep(state)
            return True
        return False


class _Written:
    """The entries as the loop wrote them: their CRC-32 by experiment number; 0 for none.

    On disk they follow the number of verdicts. The file only saves time, and may be deleted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: array[int] | None = None

    def sums(self, state: State) -> Sequence[int]:
        """The checksums of all verdicts' entries."""
        known = self._known or self._read()
        if known[0] > state.rows:  # verdicts were taken back, or the file is damaged
            known = array("I", [0])
        self._known = known
        for number, entry in _each(state, known[0]):
            known.extend([0] * (number + 2 - len(known)))
            known[number + 1] = _sum(entry)
        known[0] = state.rows
        return known[1:]

    def keep(self, state: State) -> None:
        """Save the checksums, once the entries are in the file."""
        self.sums(state)
        assert self._known is not None
        with contextlib.suppress(OSError):
            write(self._path, self._known.tobytes())

    def _read(self) -> array[int]:
        with contextlib.suppress(OSError, ValueError):
            return array("I", self._path.read_bytes()) or array("I", [0])
        return array("I", [0])


class _Seen(NamedTuple):
    """The identity of a file's contents: any change makes a different one."""

    inode: int
    modified: int
    size: int


def _seen(file: BinaryIO | FileIO) -> _Seen:
    status = os.fstat(file.fileno())
    return _Seen(status.st_ino, status.st_mtime_ns, status.st_size)


class _Index:
    """The places, lengths and ranks of a file's parts, in order, without their text."""

    def __init__(self) -> None:
        self._ranks, self._lengths, self._places = bytearray(), array("I"), array("Q")

    def add(self, file: BinaryIO, start: int, written: Sequence[int]) -> None:
        """Index the file from the byte `start`, where a part begins. `written`: the checksums of the loop's entries."""
        for place, part in _parts(file, start):
            self._ranks.append(_rank(part, written))
            self._lengths.append(len(part))
            self._places.append(place)

    def excerpt(self, file: BinaryIO, limit: int) -> str:
        """The parts for a request, in file order: the human's words first, then keeps, then the newest."""
        kept = [_part_at(file, self._places[place]) for place in _chosen(self._ranks, self._lengths, limit)]
        left_out = len(self._ranks) - len(kept)
        note = [f"({left_out} of {len(self._ranks)} entries are left out)"] if left_out else []
        return "\n".join((*note, *kept))


def _chosen(ranks: Sequence[int], lengths: Sequence[int], limit: int) -> list[int]:
    """The indexes of the parts that fit, in file order."""
    chosen: list[int] = []
    room, least = limit, min(lengths, default=0) + 1
    for rank in range(_RANKS):
        for index in range(len(ranks) - 1, -1, -1):
            if room < least:
                break
            if ranks[index] == rank and lengths[index] + 1 <= room:
                chosen.append(index)
                room -= lengths[index] + 1
    return sorted(chosen)


def begin(path: Path, inherited: str) -> None:
    """Begin a new session's file with lessons of earlier ones, unless it exists. Raises OSError."""
    if inherited and not path.exists():
        write(path, f"{_HEADER}\n{inherited}")


def own(path: Path, tag: str, state: State) -> list[Part]:
    """A session's own parts, without inherited ones, with the headings for later sessions' files."""
    written = _Written(path.with_suffix(".sums")).sums(state)
    try:
        with path.open("rb") as file:
            found = ((_rank(part, written), part) for _, part in _parts(file) if not _INHERITED.match(part))
            return [
                (rank, f"## {tag} {part.removeprefix('## ')}\n" if rank else _in_words(tag, part.removeprefix("## ")))
                for rank, part in found
            ]
    except OSError:
        return []


def _in_words(tag: str, part: str) -> str:
    return f"## {tag}, {_BY_HUMAN}\n{part}\n"


def inherited(parts: Sequence[Part]) -> str:
    """The beginning of a new session's file: earlier sessions' own parts, oldest first, as far as they fit."""
    ranks, texts = [rank for rank, _ in parts], [text for _, text in parts]
    return "\n".join(texts[index] for index in _chosen(ranks, [*map(len, texts)], INHERITED))


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


def _parts(file: BinaryIO, start: int = 0) -> Iterator[tuple[int, str]]:
    """The human's opening words and the entries, each with its first byte, from the byte `start` on."""
    file.seek(start)
    place = start
    lines: list[bytes] = []
    for line in file:
        if line.startswith(b"## ") and lines:
            if part := _plain(lines):
                yield start, part
            start, lines = place, []
        lines.append(line)
        place += len(line)
    if part := _plain(lines):
        yield start, part


def _part_at(file: BinaryIO, place: int) -> str:
    file.seek(place)
    return _plain([file.readline(), *takewhile(lambda line: not line.startswith(b"## "), file)])


def _plain(lines: Sequence[bytes]) -> str:
    text = b"".join(lines).decode("utf-8", "replace")
    return _MARK.sub("", text).replace(_HEADER, "").strip()


def _rank(part: str, written: Sequence[int]) -> int:
    if _OF_ANOTHER.match(part):
        return 2  # inherited
    found = _ENTRY.match(part)
    number = int(found[1]) if found else len(written)
    if number >= len(written) or _sum(part) != written[number]:
        return 0
    return 1 if part.partition(":")[0].endswith(" keep") else 2


def _sum(entry: str) -> int:
    return zlib.crc32(entry.strip().encode("utf-8", "surrogatepass"))
