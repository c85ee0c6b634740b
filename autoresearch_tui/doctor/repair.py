"""Repairs a journal that is damaged in the middle, so that the session can continue.

Every record with a valid checksum is kept. A lost one that later records need is rebuilt from git. The damaged journal
is kept beside the new one, and :mod:`left_out` keeps what the new one does not account for, under names that later
experiments do not take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from autoresearch_tui.doctor import salvage
from autoresearch_tui.doctor.item import Item, ok
from autoresearch_tui.engine import left_out, own_sessions
from autoresearch_tui.engine.gate import BASELINE, REPEAT
from autoresearch_tui.lab.engine_lock import LabBusy, LabLock
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.runs import runner
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.state import State
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

LOCK_SECONDS = 1.0


class Prefix(Frozen):
    """The longest sound beginning of a journal.

    It has `size` bytes and amounts to `state`; `line` (from 1) is the first bad one and `why` its fault, empty if all
    are sound. `torn`: the bad line is the last one, which the next start puts aside by itself.
    """

    state: State
    size: int
    line: int
    why: str
    torn: bool

    @property
    def damaged(self) -> bool:
        """Whether it needs `doctor --repair`."""
        return bool(self.why) and not self.torn


def look(data: bytes) -> Prefix:
    """The sound beginning of a journal's bytes. Pure."""
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
            # Well-formed, but impossible here: no start would put it aside.
            return Prefix(state, offset, line, str(error), torn=False)
        offset, line = end + 1, line + 1
    return Prefix(state, offset, line, "", torn=False)


def repair(lab: Lab) -> list[Item]:
    """Repairs every damaged journal of a lab, leaves sound ones alone, and reports the repairs.

    Raises UserError if an engine is at work, or a run that would be left out.
    """
    damaged = [tag for tag in lab.tags() if look(lab.session(tag).journal.read_bytes()).damaged]
    if not damaged:
        return [ok("repair", "nothing to repair: every journal is sound")]
    try:
        # A cockpit could take over a headless engine.
        lock = LabLock(lab.lock, headless=False, tag=damaged[-1], wait_seconds=LOCK_SECONDS)
    except LabBusy as busy:
        raise UserError(f"{lab.root}: {busy}", "end it, then repair") from None
    try:
        return [ok("repair", _repair(lab, tag)) for tag in damaged]
    finally:
        lock.release()


def _repair(lab: Lab, tag: str) -> str:
    files, repo = lab.session(tag), GitRepo(lab.root)
    data = files.journal.read_bytes()
    if not look(data).damaged:
        return f"{tag}: sound by now"
    found = salvage.sound(data)
    built = salvage.rebuild(found, FromGit(lab, repo, tag))
    evidence = left_out.find(lab, repo, tag, built.records, built.state)
    _require_no_run(files, evidence.runs)
    number = left_out.next_number(files, repo, tag)
    copy = files.folder / f"journal.damaged-{number}.jsonl"
    write(copy, data)
    if built.state.session is None:
        files.journal.unlink()
        return (
            f"{tag}: no record is sound; all of it is in {copy}. `--tag {tag}` begins it anew, "
            "and keeps what is left of it"
        )
    write(files.journal, b"".join(journal.encode(record) for record in built.records))
    lost = len(built.records) - len(built.kept)
    report = [f"{tag}: {len(built.kept)} records are kept, {lost} are lost; the journal as it was is in {copy}"]
    if built.dropped:
        report.append(f"{len(built.dropped)} later records cannot follow those, and are only there")
    if evidence:
        report.append(left_out.put_aside(lab, repo, tag, evidence, number))
    return "; ".join(report)


def _require_no_run(files: SessionFiles, left: Iterable[int]) -> None:
    for number in left:
        if runner.look(files.run(number).folder).state is runner.RunState.RUNNING:
            raise UserError(f"experiment {number:04d}, which would be left out, is still training", "wait for its end")


class FromGit(Frozen):
    """A :class:`~autoresearch_tui.doctor.salvage.Guess`: attempts are commits, whose messages describe them."""

    lab: Lab
    repo: GitRepo
    tag: str

    def session(self, found: Mapping[int, ev.Record]) -> ev.SessionBegan | None:
        """From today's settings, and the commit of the baseline, which may lack files that are locked today."""
        base = self._base(found)
        if base is None:
            return None
        settings = self.lab.settings
        there = replace(settings.lab, locked=tuple(self.repo.read_texts(base, settings.lab.locked)))
        lab = replace(self.lab, settings=replace(settings, lab=there))
        return own_sessions.began(lab, self.repo, self.tag, base)

    def _base(self, found: Mapping[int, ev.Record]) -> str | None:
        made = [r.event for _, r in sorted(found.items()) if isinstance(r.event, ev.ProposalMade)]
        if made:
            return made[0].base
        return self.repo.resolve(f"refs/autoresearch/{self.tag}/0000")

    def proposal(self, number: int, state: State, commit: str) -> ev.ProposalMade | None:
        """From the attempt's commit."""
        commit = commit or self.repo.resolve(f"refs/autoresearch/{self.tag}/{number:04d}") or ""
        if not commit or self.repo.resolve(commit) is None or state.session is None:
            return None
        researcher = state.engine.researcher if state.engine is not None else self.lab.settings.researcher.kind
        baseline = commit == state.session.base
        first = next((e.number for e in state.experiments if e.commit == commit), None)
        base = commit if baseline else self.repo.resolve(f"{commit}~1") or commit
        added, removed = self.repo.stat(base, commit)
        description, _, hypothesis = self.repo.message(commit).partition("\n\n")
        return ev.ProposalMade(
            number=number,
            commit=commit,
            base=base,
            description="baseline" if baseline else describe(description),
            hypothesis="" if baseline else hypothesis.strip(),
            author=BASELINE if baseline else REPEAT if first is not None else researcher,
            program=state.program,
            added=added,
            removed=removed,
            repeat_of=first,
            seed=number if first is not None else 0,
        )

    def change(self, number: int, commit: str) -> ev.ProposalRebased | None:
        """From the commit in later records."""
        base = self.repo.resolve(f"{commit}~1")
        if base is None:
            return None
        added, removed = self.repo.stat(base, commit)
        return ev.ProposalRebased(number, commit, base, True, added, removed)
