"""A journal that is damaged in the middle: what of it is sound, and how to go on from there.

An engine can go on from the state after any record, because it may have died there. So the longest sound beginning is
kept. What came later is left out, but nothing of it is lost: the whole journal as it was, the run folders and the
commits of the experiments left out are all kept under names that the next experiments do not take.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui.doctor.item import Item, ok
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal
from autoresearch_tui.engine.fold import fold
from autoresearch_tui.engine.hosting.lock import LabBusy, LabLock
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.running import runner
from autoresearch_tui.engine.state import Stage, State
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab, SessionFiles

LOCK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Prefix:
    """The longest sound beginning of a journal.

    It is `size` bytes long and amounts to `state`; `line` (from 1) is the first bad one and `why`, empty where all are
    sound. `torn`: the bad line is the last one, which the next start puts aside by itself.
    """

    state: State
    size: int
    line: int
    why: str
    torn: bool

    @property
    def damaged(self) -> bool:
        """Whether it has to be mended by hand."""
        return bool(self.why) and not self.torn


def look(data: bytes) -> Prefix:
    """What of a journal's bytes is sound. Pure."""
    state = State()
    offset, line = 0, 1
    while offset < len(data):
        end = data.find(b"\n", offset)
        if end < 0:
            return Prefix(state, offset, line, "no line end", torn=True)
        try:
            record = journal.decode(data[offset:end])
            if record.seq != line:
                raise ValueError(f"record {record.seq} where {line} belongs")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Prefix(state, offset, line, str(error), torn=end + 1 == len(data))
        try:
            state = fold(state, record)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Well written, but impossible here: no start would put it aside.
            return Prefix(state, offset, line, str(error), torn=False)
        offset, line = end + 1, line + 1
    return Prefix(state, offset, line, "", torn=False)


def mend(lab: Lab) -> list[Item]:
    """Mend every damaged journal of a lab; sound ones are not touched. Says what was done.

    Raises UserError where an engine, or a run that would be left out, is at work.
    """
    damaged = [tag for tag in lab.tags() if look(lab.session(tag).journal.read_bytes()).damaged]
    if not damaged:
        return [ok("mend", "nothing to mend: every journal is sound")]
    try:
        # Not one that a cockpit may take over.
        lock = LabLock(lab.lock, headless=False, tag=damaged[-1], wait_seconds=LOCK_SECONDS)
    except LabBusy as busy:
        raise UserError(f"{lab.root}: {busy}; end it, then mend") from None
    try:
        return [ok("mend", _mend(lab, tag)) for tag in damaged]
    finally:
        lock.release()


def _mend(lab: Lab, tag: str) -> str:
    files = lab.session(tag)
    data = files.journal.read_bytes()
    prefix = look(data)
    if not prefix.damaged:
        return f"{tag}: sound by now"
    kept = len(prefix.state.experiments)
    refs = Ledger(lab.root).refs(f"refs/autoresearch/{tag}/")
    left = sorted(_numbers(files, refs, kept))
    _require_no_run(files, left)
    number = _next(files)
    copy = files.folder / f"journal.damaged-{number}.jsonl"
    _write(copy, data)
    said = [f"{tag}: {prefix.state.seq} records up to line {prefix.line - 1} are kept, all of it is in {copy}"]
    # The branch first: it may go back only to commits that the attempts' refs keep.
    said += _move_branch(lab, prefix.state, set(refs.values()))
    if left:
        aside = files.folder / f"left-out-{number}"
        _move_refs(lab, tag, refs, left, number)
        _move_runs(files, left, aside)
        said.append(
            f"{len(left)} later experiments ({left[0]:04d} to {left[-1]:04d}) are left out: their runs are in {aside}, "
            f"their commits under refs/autoresearch/{tag}.left-out-{number}/"
        )
    if prefix.state.session is None:
        files.journal.unlink()
        return "; ".join([*said, "nothing of the session is sound: begin another one with --new"])
    again = _put_back(files, prefix.state)
    if again:
        said.append("the experiment that was under way there is run again")
    _write(files.journal, data[: prefix.size] + again)
    return "; ".join(said)


def _put_back(files: SessionFiles, state: State) -> bytes:
    """The record with which a run starts again that ended long ago: its working copy is gone, so it has no score."""
    under_way = state.running
    if under_way is None or under_way.stage is Stage.SCORED or files.run(under_way.number).work.exists():
        return b""
    return journal.encode(ev.Record(state.seq + 1, journal.now(), ev.ProposalPutBack(under_way.number)))


def _numbers(files: SessionFiles, refs: Iterable[str], kept: int) -> set[int]:
    names = [ref.rpartition("/")[2] for ref in refs] + [path.name for path in (files.folder / "runs").glob("*")]
    return {int(name) for name in names if name.isdigit() and int(name) >= kept}


def _require_no_run(files: SessionFiles, left: Iterable[int]) -> None:
    for number in left:
        if runner.look(files.run(number).folder).state is runner.RunState.RUNNING:
            raise UserError(f"experiment {number:04d}, which would be left out, is still training; wait for its end")


def _next(files: SessionFiles) -> int:
    present = {path.name for path in files.folder.iterdir()}
    taken = (n for n in range(1, len(present) + 2) if f"journal.damaged-{n}.jsonl" not in present)
    return next(n for n in taken if f"left-out-{n}" not in present)


def _move_refs(lab: Lab, tag: str, refs: dict[str, str], left: Iterable[int], number: int) -> None:
    ledger = Ledger(lab.root)
    for experiment in left:
        old = f"refs/autoresearch/{tag}/{experiment:04d}"
        if old in refs:
            ledger.set_ref(f"refs/autoresearch/{tag}.left-out-{number}/{experiment:04d}", refs[old])
            command = ["git", "-c", "core.hooksPath=/dev/null", "update-ref", "-d", old, refs[old]]
            subprocess.run(command, cwd=lab.root, check=True, capture_output=True)


def _move_runs(files: SessionFiles, left: Iterable[int], aside: Path) -> None:
    aside.mkdir(exist_ok=True)
    for number in left:
        folder = files.run(number).folder
        if folder.exists():
            shutil.move(folder, aside / folder.name)


def _move_branch(lab: Lab, state: State, attempts: set[str]) -> list[str]:
    """The branch back to the frontier that the journal knows; its later commits stay reachable as attempts."""
    if state.session is None:
        return []
    ledger, branch = Ledger(lab.root), state.session.branch
    present, wanted = ledger.resolve(f"refs/heads/{branch}"), state.frontier_commit
    if present in (None, wanted):
        return []
    if present not in attempts or branch in ledger.checked_out():
        return [f"branch {branch} is left where it is; move it to {wanted[:7]} before you go on"]
    ledger.set_ref(f"refs/heads/{branch}", wanted, present)
    return [f"branch {branch} is back at {wanted[:7]}"]


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on disk."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
