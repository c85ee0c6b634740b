"""What a session's journal amounted to at some moment, kept beside it: a reader folds only what came since.

It is not a second truth. A snapshot says of which bytes of the journal it was made, by their number and their CRC-32,
and is used with exactly these. What is torn, stale, of another version or of another journal is left alone, and the
journal is read from its beginning. A screen looks at the last of those records before it is drawn, and at all bytes
in pieces from then on.
"""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoresearch_tui import __version__
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.session import pages
from autoresearch_tui.session.experiment import Experiment
from autoresearch_tui.session.journal import JournalTail, Rewritten, Start, decode, scan
from autoresearch_tui.session.pages import History, Page, Where
from autoresearch_tui.session.sequence import Chunk, Experiments
from autoresearch_tui.session.state import State
from autoresearch_tui.session.written import CODEC
from autoresearch_tui.util import atomic
from autoresearch_tui.util.frozen import Frozen

_PIECE = 1 << 20
# Where a snapshot says of how many records it is, and of how many a session is soon folded without one.
_HEAD, _SEQ, _SOON_FOLDED = 4096, re.compile(rb'"seq": ?([0-9]+)'), 20_000
_UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
_STATE = [field.name for field in fields(State) if field.name != "experiments"]


class Snapshot(Frozen):
    """`start`: the part of the journal that `state` was made of; `answered`: the requests that it answers."""

    start: Start
    state: State
    answered: frozenset[str]


def read(files: SessionFiles, *, kept: Path | None = None, proven: bool = True) -> Snapshot | None:
    """What can be used of what is kept beside a session's journal; None if nothing can. `kept`: another snapshot.

    Without `proven`, a :class:`Proof` has still to say whether it is of this journal.
    """
    try:
        values = _values(kept or files.snapshot)
        start = Start(values["bytes"], values["crc"], values["seq"])
        if not (_is_of(files.journal, start) if proven else _ends_in(files.journal, start)):
            return None
        return Snapshot(start, _state(files, values, start), frozenset(values["answered"]))
    except _UNUSABLE:
        return None


def _values(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    checksum, _, body = data.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        raise ValueError("torn")
    values: dict[str, Any] = json.loads(body)
    if (values["version"], values["shape"]) != (__version__, pages.shape()):
        raise ValueError("of another version")
    return values


class Proof:
    """Finds out whether a journal begins with what a snapshot was made of, a piece at a time."""

    def __init__(self, journal: Path, start: Start) -> None:
        self._journal, self._start = journal, start
        self._read, self._checksum = 0, 0

    def go_on(self, limit: int) -> bool | None:
        """Reads so many bytes more; None while that does not say it. Raises OSError."""
        end, piece = min(self._start.size, self._read + limit), bytearray(min(limit, _PIECE))
        with self._journal.open("rb", buffering=0) as file:
            file.seek(self._read)
            while self._read < end and (count := file.readinto(memoryview(piece)[: end - self._read])):
                self._checksum = zlib.crc32(memoryview(piece)[:count], self._checksum)
                self._read += count
        if self._read < end:
            return False  # it is shorter
        return self._checksum == self._start.checksum if end == self._start.size else None


def _is_of(journal: Path, start: Start) -> bool:
    return bool(Proof(journal, start).go_on(start.size))


def _ends_in(journal: Path, start: Start) -> bool:
    """Whether what a snapshot was made of seems to end in its last record."""
    with journal.open("rb") as file:
        file.seek(max(0, start.size - _PIECE))
        line = file.read(min(start.size, _PIECE)).rstrip(b"\n").rpartition(b"\n")[2]
    return decode(line).seq == start.seq if start.size else not start.seq


def _state(files: SessionFiles, values: dict[str, Any], start: Start) -> State:
    known = {name: CODEC.decode(value) for name, value in values["state"].items()}
    history, recover = None, _recovering(files.journal, start)
    chunks: list[Chunk] = []
    for each in values["chunks"]:
        if isinstance(each, dict):
            history = history or History.of(files.history)
            chunks.append(Page.of(history, Where(**each), recover))
        else:
            chunks.append(Chunk(tuple(map(CODEC.decode, each))))
    return State(**known, experiments=Experiments(tuple(chunks)))


def _recovering(journal: Path, start: Start) -> Callable[[int], Experiment]:
    @lru_cache(maxsize=1)
    def all_of_them() -> Experiments:
        from autoresearch_tui.session.fold import state_of

        with journal.open("rb") as file:
            return state_of(journal, scan(journal, file.read(start.size)).records).experiments

    def recover(number: int) -> Experiment:
        return all_of_them()[number]

    return recover


class Writer:
    """Keeps snapshots of a session. Only its engine does."""

    def __init__(self, files: SessionFiles, found: Snapshot | None) -> None:
        """`found`: what there is, which is continued."""
        self._files = files
        self._lines: dict[int, tuple[Experiment, str]] = {}
        self._fresh = found is None
        self.seq = found.start.seq if found is not None else 0
        """The last record that the snapshot on disk has."""

    def keep(self, state: State, size: int, checksum: int, answered: Iterable[str]) -> State:
        """Write what the first `size` bytes of the journal, with this CRC-32, amount to.

        Returns the same state, with what is finished on disk. What cannot be written is not, and the journal is read
        from where the last snapshot ends.
        """
        self.seq = state.seq
        with contextlib.suppress(OSError):
            state = self._with_pages(state, Start(size, checksum, state.seq))
            head = {
                "version": __version__,
                "shape": pages.shape(),
                "bytes": size,
                "crc": checksum,
                "seq": state.seq,
                "answered": sorted(answered),
                "state": {name: CODEC.encode(getattr(state, name)) for name in _STATE},
            }
            told = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
            body = f'{told[:-1]},"chunks":[{",".join(self._chunks(state))}]}}'.encode("utf-8", "replace")
            atomic.publish(self._files.snapshot, b"%08x %s\n" % (zlib.crc32(body), body))
        return state

    def _with_pages(self, state: State, start: Start) -> State:
        """Finished chunks become pages at the end of the file."""
        chunks = state.experiments.chunks
        due = [at for at, chunk in enumerate(chunks) if not isinstance(chunk, Page) and pages.fits(chunk)]
        if not due:
            return state
        if self._fresh:  # its readers have the old one open
            self._files.history.unlink(missing_ok=True)
            self._fresh = False
        places = {}
        with self._files.history.open("ab") as file:
            for at in due:
                data, places[at] = pages.written(chunks[at], file.tell())
                file.write(data)
        history, recover = History.of(self._files.history), _recovering(self._files.journal, start)
        experiments = state.experiments
        for at, where in places.items():
            experiments = experiments.with_chunk(at, Page.of(history, where, recover))
        return replace(state, experiments=experiments)

    def _chunks(self, state: State) -> Iterable[str]:
        known, self._lines = self._lines, {}
        for chunk in state.experiments.chunks:
            if isinstance(chunk, Page):
                where = chunk.where
                yield json.dumps({field.name: getattr(where, field.name) for field in fields(where)})
                continue
            for one in chunk:
                before = known.get(one.number)
                if before is None or before[0] is not one:
                    before = one, json.dumps(CODEC.encode(one), ensure_ascii=False, separators=(",", ":"))
                self._lines[one.number] = before
            yield "[" + ",".join(self._lines[one.number][1] for one in chunk) + "]"


def adopted(state: State, files: SessionFiles) -> State:
    """The same state, with what an engine has put on disk meanwhile there, as far as it is the same."""
    experiments = state.experiments
    with contextlib.suppress(*_UNUSABLE):
        values = _values(files.snapshot)
        start = Start(values["bytes"], values["crc"], values["seq"])
        history, recover = History.of(files.history), _recovering(files.journal, start)
        for at, (mine, each) in enumerate(zip(experiments.chunks, values["chunks"], strict=False)):
            if isinstance(each, dict) and not isinstance(mine, Page):
                page = Page.of(history, Where(**each), recover)
                if tuple(page) == tuple(mine):
                    experiments = experiments.with_chunk(at, page)
    return state if experiments is state.experiments else replace(state, experiments=experiments)


def keep_seen(files: SessionFiles, seq: int) -> None:
    """Keep the snapshot that is there for :func:`seen`, unless it is of more records than `seq`, which were seen.

    An engine that ends writes one after the screen's last look. Where none can be kept, nothing is known later.
    """
    with contextlib.suppress(OSError):
        now = files.snapshot.stat()
        with contextlib.suppress(FileNotFoundError):
            if files.seen_snapshot.stat().st_ino == now.st_ino:
                return
        with files.snapshot.open("rb") as file:
            made_of = _SEQ.search(file.read(_HEAD))
        if made_of is None or int(made_of[1]) > seq:
            return
        half = files.seen_snapshot.with_name(atomic.partial(files.seen_snapshot.name))
        half.unlink(missing_ok=True)
        half.hardlink_to(files.snapshot)
        half.replace(files.seen_snapshot)


def seen(files: SessionFiles, seq: int) -> State | None:
    """The session after so many records, from the snapshot of that time, or of fewer records from the journal alone.

    None if neither is there, or the journal cannot be read so far.
    """
    from autoresearch_tui.session.fold import fold

    found = read(files, kept=files.seen_snapshot)
    if found is not None and found.start.seq <= seq:
        state, tail = found.state, JournalTail(files.journal, found.start)
    elif seq <= _SOON_FOLDED:  # an engine's last snapshot is of a moment after the screen's last look
        state, tail = State(), JournalTail(files.journal)
    else:
        return None
    with contextlib.suppress(*_UNUSABLE, Rewritten):
        before = -1
        while before < state.seq < seq:
            before = state.seq
            for record in tail.read():
                state = fold(state, record)
                if state.seq == seq:
                    break
    return state if state.seq == seq else None
