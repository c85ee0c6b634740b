"""The loop: a state machine whose every step is «look at the state, do one thing, journal it».

There is no recovery code path: an engine that starts reads the journal and goes on from where that leaves it. An
intent is journalled before its effect, and every effect can be repeated.
"""

from __future__ import annotations

import queue
import time
from datetime import UTC, datetime

from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import review
from autoresearch_tui.engine.clock import ClockWatch
from autoresearch_tui.engine.human import Human
from autoresearch_tui.engine.ledger import GitError
from autoresearch_tui.engine.proposing.asking import Asking
from autoresearch_tui.engine.proposing.proposer import Answer
from autoresearch_tui.engine.review import BASELINE, REPEAT
from autoresearch_tui.engine.runs import Runs, ScoringFailed
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import TABLED, Stage, State
from autoresearch_tui.engine.trouble import Backoff, TroubleError, remedy
from autoresearch_tui.researchers.base import Researcher

POLL_SECONDS = 0.05
IDLE_SECONDS = 0.25

Message = cmd.Command | Answer | ev.RunScored | ScoringFailed


class Engine:
    """One session's loop, in whatever thread calls :meth:`run`. Commands come through :meth:`send`."""

    def __init__(
        self,
        session: Session,
        researcher: Researcher,
        *,
        headless: bool,
        rows: int = 0,
        clocks: ClockWatch | None = None,
    ) -> None:
        """`rows`: finish when the table has that many; 0 = never."""
        self._session = session
        self._headless = headless
        self._rows = rows
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._runs = Runs(session, self._inbox.put)
        self._asking = Asking(session, researcher, self._inbox.put, self._rows_wanted)
        self._human = Human(session, self._runs.stop)
        self._outcome = ""
        self._leaving = False
        self._retry = Backoff()
        self._clocks = clocks or ClockWatch()

    @property
    def state(self) -> State:
        """What the journal amounts to, as of the last step."""
        return self._session.state

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment; empty while it can."""
        return self._session.blocked

    @property
    def why_failed(self) -> str:
        """What ended the session where it has failed; empty where it has not."""
        if self._outcome != "failed":
            return ""
        if self.state.paused is not None:
            return self.state.paused.reason
        return "the table is full, and nothing in it has a score; mend the lab, commit, and start with --new"

    def send(self, command: cmd.Command) -> None:
        """Hand over a command from any thread. Never blocks."""
        # At once: where everybody is told to end, a run must not be launched again because it was the first to do so.
        self._leaving = self._leaving or isinstance(command, cmd.Detach)
        self._inbox.put(command)

    def run(self) -> str:
        """Until detached, stopped, finished or failed: the word is returned, and journalled where it can be.

        Raises UserError where the lab is not fit for a session; a fault of ours is raised and journalled as well.
        """
        try:
            self._work()
        except Exception as error:
            self._let_go()
            self._session.end("failed", str(error) or type(error).__name__)
            raise
        self._let_go()
        self._session.end(self._outcome, self.why_failed)
        return self._outcome

    def _let_go(self) -> None:
        """Of what would go on in threads; the runs do not need us."""
        self._runs.close()
        self._asking.cancel()

    def _work(self) -> None:
        begun = False
        while not self._outcome:
            try:
                if not begun:
                    self._session.begin(headless=self._headless)
                    begun = True
                self._receive()
                self._session.settle()
                if jump := self._clocks.look():
                    self._runs.spoil(jump)
                while not self._outcome and self._step():
                    self._session.settle()
                self._runs.tidy()
                self._session.tell_of_hooks()
                self._session.clear_trouble()
                self._retry.clear()
            except (OSError, GitError, TroubleError) as error:
                self._wait_out(error)

    # ── what arrives ────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self) -> None:
        timeout = POLL_SECONDS if self.state.running else IDLE_SECONDS
        try:
            message = self._inbox.get(timeout=timeout)
            while True:
                self._take(message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _take(self, message: Message) -> None:
        try:
            match message:
                case Answer():
                    self._asking.take(message)
                case ev.RunScored() | ScoringFailed():
                    self._runs.take_score(message)
                case cmd.Detach():
                    self._outcome = "detached"
                case _:
                    self._human.obey(message)
        except (OSError, GitError):
            # Nothing that a human or a referee said is lost to a full disk; a failed scoring is done again.
            if not isinstance(message, ScoringFailed):
                self._inbox.put(message)
            raise

    # ── one step ────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self) -> bool:
        """Do the first thing that is due; False when there is nothing to do now."""
        return (
            self._runs.step()
            or self._end_session()
            or self._rebase_waiting()
            or self._pass_gate()
            or self._launch()
            or self._asking.step()
        )

    def _end_session(self) -> bool:
        state = self.state
        if state.in_flight:
            return False
        full = 0 < self._rows <= len(state.table)
        if full and (state.best is not None or not self._headless):
            self._outcome = "finished"
        elif state.stopping:
            self._outcome = "stopped"
        elif self._headless and (full or (state.paused is not None and state.paused.by == "engine")):
            # Nobody is there to help.
            self._outcome = "failed"
        return bool(self._outcome)

    def _rebase_waiting(self) -> bool:
        state = self.state
        if state.best is None:
            return False
        for waiting in state.waiting:
            if waiting.base == state.frontier_commit or waiting.author in (BASELINE, REPEAT) or waiting.side:
                continue
            if self._human.attends(waiting):
                continue
            moved = self._session.attempts.rebased(waiting, state.frontier_commit, waiting.proposed_at)
            since = f"since #{state.best.number} was kept"
            if moved is None:
                self._session.append(ev.ProposalWithdrawn(waiting.number, f"no longer applies {since}"))
            elif misfit := self._session.archive.misfit(state, waiting.number, moved.commit):
                self._session.append(ev.ProposalWithdrawn(waiting.number, f"no longer worth a run {since}: {misfit}"))
            else:
                self._session.append(moved)
            return True
        return False

    def _pass_gate(self) -> bool:
        for waiting in self.state.waiting:
            event = review.at_gate(waiting, self._session.lab.settings.review, datetime.now(UTC))
            if event is not None:
                self._session.append(event)
                return True
        return False

    def _launch(self) -> bool:
        state = self.state
        device = self._runs.free_device()
        if device is None or self._leaving or state.paused or state.stopping or not self._rows_wanted(0):
            return False
        approved = (e for e in state.waiting if e.stage is Stage.APPROVED and not self._human.attends(e))
        # Before there is a score, nothing but a baseline runs, also where others wait before it.
        ready = next((e for e in approved if state.best is not None or e.author == BASELINE), None)
        if ready is None:
            return False
        self._runs.launch(ready, device)
        return True

    def _rows_wanted(self, waiting: int) -> bool:
        """Whether what is decided, running and waiting leaves room in the table that was asked for."""
        if not self._rows:
            return True
        decided = sum(1 for e in self.state.experiments if e.outcome in TABLED)
        return decided + len(self.state.in_flight) + waiting < self._rows

    # ── trouble ─────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_out(self, error: OSError | GitError | TroubleError) -> None:
        """Trouble outside: say so where it can be said, wait, and let the next step try again."""
        seconds = self._retry.next()
        self._session.meet_trouble(str(error), remedy(error), seconds)
        deadline = time.monotonic() + seconds
        held: list[Message] = []
        while not self._outcome and time.monotonic() < deadline:
            try:
                message = self._inbox.get(timeout=0.25)
            except queue.Empty:
                continue
            if isinstance(message, cmd.Detach):
                self._outcome = "detached"
                break
            if isinstance(message, cmd.Stop) and message.now and self.blocked:
                # It cannot be written down, and is obeyed all the same; the run goes on for whoever starts next.
                self._outcome = "stopped"
                break
            held.append(message)
            if isinstance(message, cmd.Resume):
                break
        for message in held:
            self._inbox.put(message)
