"""One session as its engine holds it: the journal and everything that must agree with it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace

from autoresearch_tui import __version__, scratch
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal, results
from autoresearch_tui.engine.cages import agent_cage, cage
from autoresearch_tui.engine.fold import fold, fold_all
from autoresearch_tui.engine.hooks import LIMIT_SECONDS, Hooks
from autoresearch_tui.engine.ledger import NO_COMMIT, GitError, Ledger
from autoresearch_tui.engine.proposing.attempts import Attempts
from autoresearch_tui.engine.proposing.briefing import Library, packages, program_version
from autoresearch_tui.engine.reading import foreign
from autoresearch_tui.engine.reading.logtext import decode
from autoresearch_tui.engine.running import launch
from autoresearch_tui.engine.running.launch import Launcher
from autoresearch_tui.engine.scoring import hashes
from autoresearch_tui.engine.state import TABLE
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import STATE_FOLDER, Lab


class BranchMoved(GitError):
    """Somebody else moved the session's branch."""


class Session:
    """Journal, state, branch, refs and tables of one tag. The caller holds the lab's lock."""

    def __init__(
        self,
        lab: Lab,
        tag: str,
        *,
        overrides: Mapping[str, str] | None = None,
        successor: bool = False,
        listen: Callable[[bytes], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """`listen` gets every journal line after it is on disk, `warn` what cannot be journalled.

        Raises JournalDamaged, OSError.
        """
        self.lab = lab
        self.tag = tag
        self.files = lab.session(tag)
        self.ledger = Ledger(lab.root)
        self.attempts = Attempts(lab, self.ledger, self.files, tag)
        self.launcher = Launcher(lab, self.ledger)
        self.archive = Library(lab, self.ledger)
        self.python_path = packages(lab)
        self.blocked = ""
        self._overrides = dict(overrides or {})
        self._successor = successor
        self._listen = listen
        self._warn = warn
        self._hooks = Hooks(lab.settings.hooks, lab.root, tag, os.environ)
        self._table = results.LabTable(lab.results, lab.state_folder / "results.sha256")
        # Attempts whose ref, and whether branch and tables, may not say yet what the journal says.
        self._loose: set[int] = set()
        self._behind = False
        self._journal = journal.Journal(self.files.journal)
        self.state = fold_all(self._journal.records)

    @property
    def branch(self) -> str:
        """The session's branch, without `refs/heads/`."""
        return f"autoresearch/{self.tag}"

    def now(self) -> str:
        """The time as the journal has it."""
        return journal.now()

    def append(self, event: ev.Event) -> None:
        """Journal an event; on disk, and folded into :attr:`state`, when this returns."""
        record, line = self._journal.append(event)
        self.blocked = ""
        before, self.state = self.state, fold(self.state, record)
        self._note_behind(event)
        if self._listen is not None:
            self._listen(line)
        self._hooks.hear(before, self.state, line)

    def begin(self, *, headless: bool) -> None:
        """Begin the session or take it up again: make true whatever the journal says. Safe to repeat."""
        scratch.sweep()
        self.ledger.ignore((f"{STATE_FOLDER}/", "results.tsv", results.partial("results.tsv")))
        if self.state.session is None:
            self.append(self._first())
        if not self.state.earlier and not self.state.experiments and (found := self._history()) is not None:
            self.append(found)
        self._find_loose()
        self._behind = True
        self.settle()
        self._tidy_runs()
        settings = self.lab.settings
        checked = self._checked()
        self.append(
            ev.EngineStarted(
                pid=os.getpid(),
                host=socket.gethostname(),
                headless=headless,
                version=__version__,
                researcher=settings.researcher.kind,
                review=settings.review.mode,
                unattended=settings.review.unattended,
                after_seconds=settings.review.after_seconds,
                timeout_seconds=settings.run.timeout_seconds,
                overrides=self._overrides,
                successor=self._successor,
            )
        )
        self.append(checked)
        by_hand = headless and not self._successor
        self._mind_the_pause(cage.why_not_unattended(checked) if headless else "", again=by_hand)

    def end(self, why: str, detail: str) -> None:
        """Let go. What cannot be written now is found again at the next start; a session without a start is none."""
        if self.state.session is None:
            self._journal.discard()
            return
        with contextlib.suppress(OSError):
            self.append(ev.EngineStopped(why, detail))
            # Nobody waits for an end that came by itself; whoever let go does.
            self._hooks.close(LIMIT_SECONDS if why in {"finished", "failed"} else 0.5)
            self.tell_of_hooks()
        self._journal.close()

    def tell_of_hooks(self) -> None:
        """Journal what went wrong with the human's own commands: of each kind once, until it works again."""
        for kind, why in self._hooks.failures():
            self.append(ev.CommandRefused(f"hooks.{kind}", why))

    def settle(self) -> None:
        """After a step: refs, branch and tables say what the journal says. What fails is due at the next call."""
        while self._loose:
            number = min(self._loose)
            self._point_ref(self.attempts.ref(number), self.state.experiments[number].commit)
            self._loose.discard(number)
        if self._behind:
            self._mend_branch()
            self.publish_table()
            self._behind = False

    def _point_ref(self, ref: str, commit: str) -> None:
        try:
            self.ledger.set_ref(ref, commit)
        except GitError:
            if self.ledger.resolve(commit) is not None:
                raise
            # Somebody deleted the ref and had git clear up: the run's folder still has what was trained.
            self.append(ev.CommandRefused("git", f"commit {commit[:7]} of {ref} is gone from the repository"))

    def _note_behind(self, event: ev.Event) -> None:
        match event:
            case ev.ProposalMade() | ev.ProposalRebased():
                self._loose.add(event.number)
            case ev.VerdictGiven() | ev.VerdictOverruled() | ev.FrontierMoved():
                self._behind = True

    def publish_table(self) -> None:
        """Both results.tsv; a foreign one at the lab's top is left alone, and said so once."""
        text = results.render(self.state)
        results.write(self.files.results, text)
        if not self._table.write(text) and not self.state.table_is_foreign:
            note = f"results.tsv was not written by this session; it is left as it is, ours is {self.files.results}"
            self.append(ev.CommandRefused(TABLE, note))

    def program_version(self) -> str:
        """The version of program.md on disk."""
        return program_version(self.lab.program.read_bytes())

    def meet_trouble(self, what: str, remedy: str, seconds: float) -> None:
        """Journal trouble once; where the journal itself is the trouble, :attr:`blocked` carries it."""
        told = self.state.trouble
        try:
            if told is None or told.what != what:
                self.append(ev.TroubleMet(what, remedy, seconds))
        except OSError as error:
            blocked = f"{error.strerror or error}: {remedy}"
            if self._warn is not None and blocked != self.blocked:
                self._warn(f"{self.files.journal}: {blocked}")
            self.blocked = blocked

    def clear_trouble(self) -> None:
        """It works again."""
        if self.state.trouble is not None:
            self.append(ev.TroubleCleared(self.state.trouble.what))

    def _first(self) -> ev.SessionBegan:
        settings = self.lab.settings
        names = (*settings.lab.editable, *settings.lab.locked)
        base = self.ledger.head()
        changed = {
            name: data for name in names if (data := (self.lab.root / name).read_bytes()) != self._committed(base, name)
        }
        for name, data in changed.items():
            if b"\n<<<<<<< " in b"\n" + data:
                raise UserError(f"{self.lab.root / name}: has conflict markers; finish the merge or rebase first")
        if changed:
            # The user's uncommitted work is the start that they mean; their checkout stays as it is.
            message = f"Uncommitted changes of {', '.join(changed)} at the start of {self.branch}\n"
            base = self.ledger.commit(base, changed, message, self.now())
        return ev.SessionBegan(
            tag=self.tag,
            branch=self.branch,
            base=base,
            metric=settings.metric.name,
            goal=settings.metric.goal,
            keep_margin=settings.metric.keep_margin,
            budget_seconds=settings.run.budget_seconds,
            editable=settings.lab.editable,
            locked=hashes(self.lab.root, settings.lab.locked),
        )

    def _history(self) -> ev.HistoryRead | None:
        """What others left here; None where there is nothing of it."""
        path = self.lab.results
        text = decode(path.read_bytes()) if self._table.foreign() and path.is_file() else ""
        rows = foreign.parse(text, self.lab.settings.metric.name)
        own = {f"autoresearch/{tag}" for tag in self.lab.tags()}
        branches = sorted(
            name for name in self.ledger.branches() if name.startswith("autoresearch/") and name not in own
        )
        history = self.ledger.kept_on(branches, self.lab.settings.lab.editable)
        found = foreign.joined(rows, self.ledger.whole_hashes([row.name for row in rows]), history)
        kept = found[-foreign.LIMIT :]
        if not kept:
            return None
        malformed = sum(1 for each in rows if each.flags)
        return ev.HistoryRead(path.name, foreign.to_rows(kept), malformed, len(found) - len(kept))

    def _committed(self, base: str, name: str) -> bytes | None:
        try:
            return self.ledger.read(base, name)
        except GitError:
            return None

    def _checked(self) -> ev.CageChecked:
        """What holds the runs, and the researcher where it is a program of its own."""
        checked = cage.check(self.launcher.cage())
        if self.lab.settings.researcher.kind != "command":
            return checked
        fails = agent_cage.of_lab(self.lab, self.ledger, os.environ).check()
        return replace(checked, agent=checked.kind, agent_fails=fails)

    def _mind_the_pause(self, problem: str, *, again: bool) -> None:
        """Where nobody watches and nothing confines the runs, none is started.

        `again`: a human has started us without a screen, and can say in no other way that it is mended.
        """
        paused = self.state.paused
        if problem:
            self.append(ev.PauseAsked("engine", problem))
        elif paused is not None and paused.by == "engine" and (again or paused.reason.startswith(cage.PAUSE_REASON)):
            self.append(ev.Resumed("engine"))

    def _mend_branch(self) -> None:
        state = self.state
        assert state.session is not None
        ref, wanted = f"refs/heads/{state.session.branch}", state.frontier_commit
        present = self.ledger.resolve(ref)
        if present == wanted:
            return
        ours = {state.session.base, *(e.commit for e in state.experiments)}
        if present is not None and present not in ours:
            raise BranchMoved(
                f"branch {state.session.branch} was moved to {present[:7]} by somebody else; "
                f"move it back with `git branch -f {state.session.branch} {wanted[:7]}`, or start with --new"
            )
        if state.session.branch in self.ledger.checked_out():
            raise BranchMoved(
                f"branch {state.session.branch} is checked out, and moving it would upset that checkout; "
                "check out another branch, and the loop goes on"
            )
        if self.ledger.resolve(wanted) is None:
            raise BranchMoved(
                f"commit {wanted[:7]}, where the search stands, is gone from the repository (refs deleted, then "
                f"git gc?); what was trained is in {self.files.folder / 'runs'}; start with --new"
            )
        self.ledger.set_ref(ref, wanted, present or NO_COMMIT)

    def _find_loose(self) -> None:
        present = self.ledger.refs(f"refs/autoresearch/{self.tag}/")
        for experiment in self.state.experiments:
            if present.get(self.attempts.ref(experiment.number)) != experiment.commit:
                self._loose.add(experiment.number)

    def _tidy_runs(self) -> None:
        """Remove what a killed engine left: working copies, and half-written files."""
        half, table = results.partial("*"), self.lab.results
        ours = (*self.files.folder.glob(half), *self.lab.state_folder.glob(half))
        for path in (*ours, table.with_name(results.partial(table.name))):
            path.unlink(missing_ok=True)
        opened = [experiment.number for experiment in self.state.experiments if not experiment.outcome]
        for number in (*opened, len(self.state.experiments)):
            self.attempts.tidy(number)
        for work in (self.files.folder / "runs").glob("*/work"):
            number = int(work.parent.name)
            if number >= len(self.state.experiments) or self.state.experiments[number].outcome:
                launch.tidy(self.files.run(number))
