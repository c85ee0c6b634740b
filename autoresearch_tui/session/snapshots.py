"""Snapshots of a session's state, kept beside its journal: a reader folds only the records since.

The journal remains the only truth. A snapshot names the bytes of the journal that it was made of, by number and CRC-32,
and is used with exactly these. If it is torn, or of another version or journal, it is ignored, and the journal is read
from its beginning. A screen checks only the last of those records before it is drawn, and all bytes in pieces after
that.
"""

from __future__ import annotations

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, replace

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
# Where a snapshot has its last record's number; and how many records fold quickly without a snapshot.
_HEAD, _SEQ, _SOON_FOLDED = 4096, re.compile(rb'"seq": ?([0-9]+)'), 20_000
_UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError)
_STATE = [name for name in State.__struct_fields__ if name != "experiments"]


class Snapshot(Frozen):
    """`start`: the part of the journal that `state` was folded from; `answered`: the requests answered in it."""

    start: Start
    state: State
    answered: frozenset[str]


def read(files: SessionFiles, *, kept: Path | None = None, proven: bool = True) -> Snapshot | None:
    """A session's snapshot; None if there is no usable one. `kept`: the path of another snapshot.

    Without `proven`, the caller must check with a :class:`Proof` that it is of this journal.
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
    """Checks, piece by piece, whether a journal begins with the bytes that a snapshot was made of."""

    def __init__(self, journal: Path, start: Start) -> None:
        self._journal, self._start = journal, start
        self._read, self._checksum = 0, 0

    def go_on(self, limit: int) -> bool | None:
        """Read up to `limit` further bytes; None if that does not decide it. Raises OSError."""
        end, piece = min(self._start.size, self._read + limit), bytearray(min(limit, _PIECE))
        with self._journal.open("rb", buffering=0) as file:
            file.seek(self._read)
            while self._read < end and (count := file.readinto(memoryview(piece)[: end - self._read])):
                self._checksum = zlib.crc32(memoryview(piece)[:count], self._checksum)
                self._read += count
        if self._read < end:
            return False  # the journal is shorter
        return self._checksum == self._start.checksum if end == self._start.size else None


def _is_of(journal: Path, start: Start) -> bool:
    return bool(Proof(journal, start).go_on(start.size))


def _ends_in(journal: Path, start: Start) -> bool:
    """Whether the part that a snapshot was made of ends in the record that it names as its last."""
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
    """Writes snapshots of a session. Only its engine does."""

    def __init__(self, files: SessionFiles, found: Snapshot | None) -> None:
        """`found`: the present snapshot, whose pages are kept."""
        self._files = files
        self._lines: dict[int, tuple[Experiment, str]] = {}
        self._fresh = found is None
        self.seq = found.start.seq if found is not None else 0
        """The last record in the snapshot on disk."""

    def keep(self, state: State, size: int, checksum: int, answered: Iterable[str]) -> State:
        """Write the state of the journal's first `size` bytes, which have this CRC-32.

        Returns the same state, with finished chunks on disk. If the disk fails, the last snapshot stays.
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
            text = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
            body = f'{text[:-1]},"chunks":[{",".join(self._chunks(state))}]}}'.encode("utf-8", "replace")
            atomic.publish(self._files.snapshot, b"%08x %s\n" % (zlib.crc32(body), body))
        return state

    def _with_pages(self, state: State, start: Start) -> State:
        """Append finished chunks to the file, as pages."""
        chunks = state.experiments.chunks
        due = [at for at, chunk in enumerate(chunks) if not isinstance(chunk, Page) and pages.fits(chunk)]
        if not due:
            return state
        if self._fresh:  # readers of the old file keep it open
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
                yield json.dumps(asdict(where))
                continue
            for one in chunk:
                before = known.get(one.number)
                if before is None or before[0] is not one:
                    before = one, json.dumps(CODEC.encode(one), ensure_ascii=False, separators=(",", ":"))
                self._lines[one.number] = before
            yield "[" + ",".join(self._lines[one.number][1] for one in chunk) + "]"


def adopted(state: State, files: SessionFiles) -> State:
    """The same state, using the pages that an engine has written since, as far as they are equal."""
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
    """Keep the present snapshot for :func:`seen`, unless it has more records than the `seq` that the human has seen.

    An ending engine writes one after the screen's last look. If the disk fails, none is kept.
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
    """The session after `seq` records, from the snapshot of :func:`keep_seen`, or if they are few from the journal
    alone.

    None if neither is possible.
    """
    from autoresearch_tui.session.fold import fold

    found = read(files, kept=files.seen_snapshot)
    if found is not None and found.start.seq <= seq:
        state, tail = found.state, JournalTail(files.journal, found.start)
    elif seq <= _SOON_FOLDED:
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
