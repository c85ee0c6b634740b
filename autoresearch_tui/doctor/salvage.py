"""Pure: the records of a damaged journal with valid checksums, and replacements for the lost ones.

Records are numbered without gaps, so each lost one leaves a place. A lost proposal, or a lost change of its commit, is
needed by later records and rebuilt from git. Every other lost record becomes a `RecordLost`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.state import State

_BEGIN = re.compile(rb'\{"seq":')
_END = re.compile(rb'"crc":"[0-9a-f]{8}"\}')
# These have the number of the next experiment, which need not exist.
_AHEAD = (ev.ProposalAsked, ev.ProposalFailed, ev.CommandRefused)


class Guess(Protocol):
    """Rebuilds lost records from git and the settings."""

    def session(self, found: Mapping[int, ev.Record]) -> ev.SessionBegan | None:
        """The session's first event."""
        ...

    def proposal(self, number: int, state: State, commit: str) -> ev.ProposalMade | None:
        """A proposal; `commit` is its commit in later records, if they have it."""
        ...

    def change(self, number: int, commit: str) -> ev.ProposalRebased | None:
        """The event that gave a proposal its later commit."""
        ...


class Rebuilt(Struct):
    """A rebuilt journal: its `records`, the numbers `kept` unchanged, and those `dropped`."""

    records: list[ev.Record] = field(default_factory=list)
    state: State = field(default_factory=State)
    kept: set[int] = field(default_factory=set)
    dropped: list[int] = field(default_factory=list)


def sound(data: bytes) -> dict[int, ev.Record]:
    """The records with valid checksums, by number; also those with a lost or a stray line end."""
    found: dict[int, ev.Record] = {}
    for line in data.split(b"\n"):
        try:
            records = [journal.decode(line)]
        except ValueError:
            records = list(_within(line))
        for record in records:
            if isinstance(record.seq, int) and record.seq > 0:
                found.setdefault(record.seq, record)
    return found


def _within(line: bytes) -> list[ev.Record]:
    """Records inside a line that is not one."""
    found, place = [], 0
    ends = [match.end() for match in _END.finditer(line)]
    for begin in (match.start() for match in _BEGIN.finditer(line)):
        if begin < place:
            continue
        for end in (end for end in ends if end > begin):
            try:
                found.append(journal.decode(line[begin:end]))
            except ValueError:
                continue
            place = end
            break
    return found


def rebuild(found: Mapping[int, ev.Record], guess: Guess) -> Rebuilt:
    """A readable journal, with every sound record that can follow the others in its place."""
    places = _places(found)
    built = Rebuilt()
    time = min((found[seq].time for seq in found), default="")
    for seq in range(1, max(found, default=0) + 1):
        record = found.get(seq) or _fill(seq, time, places, built, guess, found)
        if record is None:
            built.dropped = [each for each in found if each >= seq]
            return built
        try:
            built.state = fold(built.state, record)
        except ValueError:
            if seq not in found:
                record = ev.Record(seq, time, ev.RecordLost(seq))
                built.state = fold(built.state, record)
            else:
                built.dropped = [each for each in found if each >= seq]
                return built
        if seq in found:
            built.kept.add(seq)
        built.records.append(record)
        time = record.time
    return built


def _fill(
    seq: int,
    time: str,
    places: Mapping[int, tuple[int, str]],
    built: Rebuilt,
    guess: Guess,
    found: Mapping[int, ev.Record],
) -> ev.Record | None:
    """The replacement of a lost record; None if there is none and later records need it."""
    if seq == 1:
        began = guess.session(found)
        return ev.Record(seq, time, began) if began is not None else None
    number, commit = places.get(seq, (-1, ""))
    event: ev.Event | None = ev.RecordLost(seq)
    if number == len(built.state.experiments):
        event = guess.proposal(number, built.state, commit)
    elif number >= 0:
        event = guess.change(number, commit) or event
    return ev.Record(seq, time, event) if event is not None else None


def _places(found: Mapping[int, ev.Record]) -> dict[int, tuple[int, str]]:
    """The lost records that were proposals, or changes of their commits: by number, the experiment and its commit."""
    places: dict[int, tuple[int, str]] = {}
    free: list[int] = []
    commits: dict[int, str] = {}
    # The record that made each experiment.
    made: list[int] = []
    for seq in range(2, max(found, default=0) + 1):
        if seq not in found:
            free.append(seq)
            continue
        event = found[seq].event
        number, commit = getattr(event, "number", None), getattr(event, "commit", "")
        if not isinstance(number, int) or isinstance(event, _AHEAD):
            continue
        new = isinstance(event, ev.ProposalMade)
        while len(made) < number + (not new):
            place = next((each for each in free if each > (made[-1] if made else 1)), None)
            if place is None:
                return places
            free.remove(place)
            places[place] = len(made), ""
            made.append(place)
        if new:
            made.append(seq)
        elif commit and not isinstance(event, ev.ProposalRebased) and commits.get(number, "") != commit:
            place = made[number]
            if places.get(place, (-1, ""))[0] == number and not commits.get(number):
                places[place] = number, commit
            elif later := [each for each in free if each > place]:
                free.remove(later[-1])
                places[later[-1]] = number, commit
        if commit:
            commits[number] = commit
    return places
