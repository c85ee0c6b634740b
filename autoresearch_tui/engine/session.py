"""One session in its engine: the journal, and everything that must agree with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

from autoresearch_tui.engine import left_out, results_table
from autoresearch_tui.engine.hooks import LIMIT_SECONDS, Hooks
from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.engine.proposing.briefing import SourceCache, packages
from autoresearch_tui.engine.proposing.commits import ProposalCommits
from autoresearch_tui.engine.proposing.lessons import Lessons
from autoresearch_tui.engine.researcher_log import Streams, Voices
from autoresearch_tui.lab.git import NO_COMMIT, GitError, GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal, snapshots
from autoresearch_tui.session.ends import JUDGED, EngineEnd
from autoresearch_tui.session.fold import fold, state_of
from autoresearch_tui.session.notifications import ended
from autoresearch_tui.session.outline import Keeper, outline
from autoresearch_tui.session.questions import COMMIT
from autoresearch_tui.session.state import TABLE, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.sparing import Sparing

# How often a snapshot is written; about the most records that the next engine must read.
_SNAPSHOT_RECORDS = 2000
_PACKED_REFS = 1000


class BranchMoved(GitError):
    """The session's branch was moved from outside."""


class Session:
    """Journal, state, branch, refs and tables of one tag. The caller holds the lab's lock."""

    def __init__(
        self,
        lab: Lab,
        tag: str,
        *,
        overrides: Mapping[str, str] | None = None,
        successor: bool = False,
        on_line: Callable[[bytes], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """`on_line` gets every journal line once it is on disk, `warn` what cannot be journalled.

        Raises JournalDamaged, OSError.
        """
        self.lab = lab
        self.tag = tag
        self.files = lab.session(tag)
        self.repo = GitRepo(lab.root)
        self.commits = ProposalCommits(lab, self.repo, self.files, tag)
        self.launcher = Launcher(lab, self.repo)
        self.archive = SourceCache(lab, self.repo)
        self.lessons = Lessons(self.files.lessons)
        self.streams = Streams(self.files)
        self.python_path = packages(lab)
        self.blocked = ""
        self.overrides = dict(overrides or {})
        self.successor = successor
        self._on_line = on_line
        self.warn: Callable[[str], None] = warn or (lambda _: None)
        self._hooks = Hooks(lab.settings.hooks, lab.root, tag, os.environ)
        self.table = results_table.LabTable(lab.results, lab.state_folder / "results.sha256")
        # Experiments whose ref may be stale, and whether branch and tables may be.
        self._stale_refs: set[int] = set()
        self._branch_stale, self._publishing = False, Sparing(0.1)
        self._table = ""  # as of the last record; empty: to be rendered
        self._outline, self._outlined, self._outlining = Keeper(self.files), True, Sparing(0.1)
        found = snapshots.read(self.files)
        self._snapshots = snapshots.Writer(self.files, found)
        self._journal = journal.Journal(self.files.journal, found.start if found is not None else journal.Start())
        known = found.state if found is not None else None
        self.state = state_of(self.files.journal, self._journal.records, known)
        # The ids of answered requests (and "", the id in most records).
        self.answered = {record.request for record in self._journal.records}
        if found is not None:
            self.answered |= found.answered

    @property
    def voices(self) -> Voices:
        """The voices of the first stream."""
        return self.streams[0]

    @property
    def branch(self) -> str:
        """The session's branch, without `refs/heads/`."""
        return f"autoresearch/{self.tag}"

    @property
    def records(self) -> Sequence[ev.Record]:
        """The records that this engine read at its start: those after the snapshot, if there was one."""
        return self._journal.records

    def now(self) -> str:
        return timestamps.now()

    def append(self, event: ev.Event, request: str = "") -> bytes:
        """Journal an event; on disk, and folded into :attr:`state`, when this returns its line.

        `request`: the id of the request that it answers. Raises ValueError for an event that the state refuses, and
        OSError; then nothing was written.
        """
        before = after = self.state

        def check(record: ev.Record) -> None:
            nonlocal after
            after = fold(before, record)

        _, line = self._journal.append(event, check=check, request=request)
        self.answered.add(request)
        self.blocked = ""
        self.state = after
        self._outlined = False
        self._note_stale(event, before)
        if self._on_line is not None:
            self._on_line(line)
        self._hooks.on_event(before, self.state, line)
        return line

    def keep_outline(self) -> None:
        """Between the loop's turns: write the outline, and now and then a snapshot, for other readers.

        The outline takes at most a tenth of the time; readers fold the records since.
        """
        if not self._outlined and self._outlining.due:
            self._keep_outline()
        if self.state.seq - self._snapshots.seq >= _SNAPSHOT_RECORDS:
            self._keep_snapshot()

    def _keep_outline(self) -> None:
        with self._outlining.spending():
            self._outline.keep(outline(self.state), *self._journal.extent)
        self._outlined = True

    def _keep_snapshot(self) -> None:
        """Write a snapshot, where the next engine and readers begin; afterwards finished experiments need no memory."""
        self.state = self._snapshots.keep(self.state, *self._journal.extent, self.answered)

    def end(self, why: EngineEnd, detail: str, limit: str = "") -> None:
        """End. The next start repeats what cannot be written now; a session that never began leaves nothing."""
        if self.state.session is None:
            self._journal.discard()
            return
        stopped, line = ev.EngineStopped(why, detail, limit), b"null"
        with contextlib.suppress(OSError, GitError):
            self._publish()
        with contextlib.suppress(OSError):
            line = self.append(stopped)
            self._keep_outline()
            self._keep_snapshot()
            # After a detach or a stop a human is waiting.
            self._hooks.close(LIMIT_SECONDS if why in {EngineEnd.FINISHED, EngineEnd.FAILED} else 0.5)
        if why != EngineEnd.DETACHED:
            self._hooks.end(ended(stopped), line)
        with contextlib.suppress(OSError):
            self.tell_of_hooks()
        self._journal.close()

    def release(self) -> None:
        """Close a session whose engine was never started, without journalling anything."""
        self._hooks.close(LIMIT_SECONDS)
        self._journal.close()

    def tell_of_hooks(self) -> None:
        """Journal failures of the human's hooks: each kind once, until it works again."""
        for kind, why in self._hooks.failures():
            self.append(ev.CommandRefused(f"hooks.{kind}", why))

    def sync_git(self) -> None:
        """Bring refs in line with the journal; branch and tables too, as soon as there is time. The next call repeats
        what fails."""
        while self._stale_refs:
            number = min(self._stale_refs)
            self._point_ref(self.commits.ref(number), self.state.experiments[number].commit)
            self._stale_refs.discard(number)
            if number and number % _PACKED_REFS == 0:
                with contextlib.suppress(GitError):  # unpacked refs are only slow
                    self.repo.pack_refs()
        if self._publishing.due:
            self._publish()

    def _publish(self) -> None:
        if self._branch_stale:
            with self._publishing.spending():
                self._move_branch()
                self.publish_table()
            self._branch_stale = False

    def _point_ref(self, ref: str, commit: str) -> None:
        try:
            self.repo.set_ref(ref, commit)
        except GitError:
            if self.repo.resolve(commit) is not None:
                raise
            # The ref was deleted and git removed the commit; the run's folder still has the trained files.
            self.append(ev.CommandRefused("git", f"commit {commit[:7]} of {ref} is gone from the repository"))

    def _note_stale(self, event: ev.Event, before: State) -> None:
        match event:
            case ev.ProposalMade() | ev.ProposalRebased():
                self._stale_refs.add(event.number)
            case ev.VerdictGiven():
                self._branch_stale = True
                if before.experiments[event.number].outcome in JUDGED:  # in a journal that lost a verdict
                    self._table = ""
                elif self._table and event.verdict in JUDGED:
                    self._table += results_table.row(self.state.experiments[event.number]) + "\n"
            case ev.VerdictOverruled() | ev.FrontierMoved() | ev.JudgementUndone():
                self._branch_stale, self._table = True, ""

    def publish_table(self) -> None:
        """Write both results.tsv; a foreign one at the lab's top is left alone, which is reported once."""
        text = self._table = self._table or results_table.render(self.state)
        write(self.files.results, text)
        if not self.table.write(text) and not self.state.table_is_foreign:
            note = f"results.tsv was not written by this session; it is left as it is, ours is {self.files.results}"
            self.append(ev.CommandRefused(TABLE, note))

    def meet_trouble(self, what: str, remedy: str, seconds: float) -> None:
        """Journal trouble once; if the journal itself cannot be written, set :attr:`blocked`."""
        known = self.state.trouble
        try:
            if known is None or known.what != what:
                self.append(ev.TroubleMet(what, remedy, seconds))
        except OSError as error:
            blocked = f"{error.strerror or error}: {remedy}"
            if blocked != self.blocked:
                self.warn(f"{self.files.journal}: {blocked}")
            self.blocked = blocked

    def clear_trouble(self) -> None:
        if self.state.trouble is not None:
            self.append(ev.TroubleCleared(self.state.trouble.what))

    def _move_branch(self) -> None:
        state = self.state
        assert state.session is not None
        ref, wanted = f"refs/heads/{state.session.branch}", state.frontier_commit
        present = self.repo.resolve(ref)
        if present == wanted:
            return
        ours = {state.session.base, *state.experiments.column(COMMIT)}
        if present is not None and present not in ours:
            ours |= left_out.commits(self.repo, self.tag)
        if present is not None and present not in ours:
            raise BranchMoved(
                f"branch {state.session.branch} was moved to {present[:7]} from outside; "
                f"move it back with `git branch -f {state.session.branch} {wanted[:7]}`, or start with --new"
            )
        if state.session.branch in self.repo.checked_out():
            raise BranchMoved(
                f"branch {state.session.branch} is checked out, and moving it would upset that checkout; "
                "check out another branch, and the loop continues"
            )
        if self.repo.resolve(wanted) is None:
            raise BranchMoved(
                f"commit {wanted[:7]}, where the search stands, is gone from the repository (refs deleted, then "
                f"git gc?); what was trained is in {self.files.folder / 'runs'}; start with --new"
            )
        self.repo.set_ref(ref, wanted, present or NO_COMMIT)

    def compare_git(self) -> None:
        """Mark refs that differ from the journal, and branch and tables, as stale, for :meth:`sync_git`."""
        present = self.repo.refs(f"refs/autoresearch/{self.tag}/")
        for number, commit in enumerate(self.state.experiments.column(COMMIT)):
            if present.get(self.commits.ref(number)) != commit:
                self._stale_refs.add(number)
        self._branch_stale = True
