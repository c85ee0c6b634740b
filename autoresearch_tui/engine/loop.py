"""The loop: a state machine whose every step is look at the state, do one thing, journal it.

There is no separate recovery: an engine that starts continues from the journal. An intent is journalled before its
effect, and every effect can be repeated.
"""

from __future__ import annotations

import contextlib
import errno
import queue
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from autoresearch_tui.engine import gate, startup
from autoresearch_tui.engine.backoff import Backoff, TroubleError, message, remedy
from autoresearch_tui.engine.commands import CommandHandler, repeat
from autoresearch_tui.engine.digest import Authors, DigestResult, Digests
from autoresearch_tui.engine.executor import Executor
from autoresearch_tui.engine.experiments import Runs, Scored, ScoringFailed
from autoresearch_tui.engine.gate import BASELINE, REPEAT
from autoresearch_tui.engine.judging import confirming, transferring
from autoresearch_tui.engine.judging.holdout import Opening, OpeningFailed
from autoresearch_tui.engine.presence import Presence
from autoresearch_tui.engine.proposing.queue import ProposalQueue
from autoresearch_tui.engine.proposing.second_opinion import CriticResult, SecondOpinions
from autoresearch_tui.engine.proposing.worker import ProposalResult
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.researchers.base import Critic, Researcher
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import fleet_baselines, limits, looks
from autoresearch_tui.session.clock import ClockWatch
from autoresearch_tui.session.ends import EngineEnd
from autoresearch_tui.session.inbox import Inbox, Request
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.text import clean_line

POLL_SECONDS = 0.05
IDLE_SECONDS = 0.25

Message = cmd.Command | ProposalResult | CriticResult | DigestResult | Scored | ev.HoldoutOpened | OpeningFailed


class Engine:
    """One session's loop, in whatever thread calls :meth:`run`. Commands come through :meth:`send`."""

    def __init__(
        self,
        session: Session,
        researcher: Researcher,
        *,
        headless: bool,
        another: Callable[[], Researcher] | None = None,
        critic: Critic | None = None,
        authors: Authors | None = None,
        rows: int = 0,
        clocks: ClockWatch | None = None,
        executor: Executor | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`another` makes a further researcher like the first; None: one request at a time. `authors`: write the digest
        when the session ends by itself; None: no digest. `rows`: finish when the table has that many; 0: never.
        `executor`: by default this machine. `now`: the clock for `--until`.
        """
        self._session = session
        self._headless = headless
        self._rows = rows
        self._arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._inbox = Inbox(session.files.inbox, session.answered)
        # Requests that were heeded during trouble, and stay in the inbox until they can be journalled.
        self._heeded: set[str] = set()
        self._runs = Runs(session, self._arrived.put, executor)
        devices = lambda: self._runs.devices  # noqa: E731
        self._asking = ProposalQueue(session, researcher, self._arrived.put, self._wanted, devices, another)
        self._opinions = SecondOpinions(session, critic, self._arrived.put, self._may_run)
        self._digests = Digests(session, authors, self._arrived.put)
        self._holdout = Opening(self._arrived.put)
        self._human = CommandHandler(session, self._runs.stop)
        self._end: EngineEnd | None = None
        self._now = now
        # The limit that ended the session, and the reason.
        self._limit, self._limit_reason = "", ""
        self._lost = ""
        # A stop that could not be journalled: "now" or "after".
        self._unwritten_stop = ""
        self._presence = Presence(session.lab.root, session.repo.common_folder, session.files.journal)
        self._leaving = False
        self._retry = Backoff()
        self._clocks = clocks or ClockWatch()

    @property
    def state(self) -> State:
        """The state as of the last step."""
        return self._session.state

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment; empty while it can."""
        return self._session.blocked

    @property
    def why_failed(self) -> str:
        """Why the session failed; empty if it did not."""
        if self._end != EngineEnd.FAILED:
            return ""
        if self._lost or self._limit_reason:
            return self._lost or self._limit_reason
        if self.state.paused is not None:
            return self.state.paused.reason
        return "the table is full, and nothing in it has a score; fix the lab, commit, and start with --new"

    def send(self, command: cmd.Command) -> None:
        """Hand over a command from any thread. Never blocks."""
        # At once: when all processes are told to end, a run that ended first must not be launched again.
        self._leaving = self._leaving or isinstance(command, cmd.Detach)
        self._arrived.put(command)

    def run(self) -> EngineEnd:
        """Run until detached, stopped, finished or failed; the end is returned, and journalled if possible.

        Raises UserError if the lab is not fit for a session. A bug of ours is raised, and journalled as well.
        """
        try:
            self._work()
        except Exception as error:
            self._shut_down()
            self._session.end(EngineEnd.FAILED, message(error))
            raise
        if self._end is not EngineEnd.DETACHED:
            self._runs.release()
        self._shut_down()
        assert self._end is not None  # `_work` returns only then
        self._session.end(self._end, self.why_failed or self._limit_reason, self._limit)
        return self._end

    def _shut_down(self) -> None:
        """End what continues in threads; the runs need no engine."""
        self._runs.close()
        self._opinions.cancel()
        self._digests.cancel()
        self._holdout.cancel()
        self._asking.cancel()

    def _work(self) -> None:
        begun = False
        while not self._end:
            try:
                self._presence.require()
                if not begun:
                    startup.start(self._session, headless=self._headless)
                    begun = True
                self._receive()
                self._session.sync_git()
                if jump := self._clocks.look():
                    self._runs.invalidate(jump)
                while not self._end and self._step():
                    self._session.sync_git()
                    self._take_arrived()  # a score before the next proposal or launch
                self._session.tell_of_hooks()
                self._session.clear_trouble()
                self._retry.clear()
                if not self._runs.expects_score:
                    self._runs.tidy()
                    self._session.keep_outline()
            except (OSError, GitError, TroubleError) as error:
                self._back_off(error)
                self._session.keep_outline()

    # ── what arrives ────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self) -> None:
        timeout = POLL_SECONDS if self.state.running else IDLE_SECONDS
        with contextlib.suppress(queue.Empty):
            self._take(self._arrived.get(timeout=timeout))
        self._take_arrived()
        for request in self._inbox.take():
            self._answer(request)

    def _take_arrived(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._arrived.get_nowait())

    def _answer(self, request: Request) -> None:
        """Handle a command from the inbox. Raises OSError, GitError.

        If the answer cannot be journalled, the request waits in the inbox. If our code fails, it is refused.
        """
        command, answered = request.command, self._session.answered
        try:
            self._human.handle(command, request.id)
        except (OSError, GitError):
            if request.id in answered:  # the rest follows from the state later
                self._inbox.done(request)
            else:
                self._inbox.put_back(request)
            raise
        except Exception as error:
            if request.id in answered:
                raise
            why = f"a fault of autoresearch-tui: {type(error).__name__}: {error}"
            self._session.append(ev.CommandRefused(type(command).__name__.lower(), clean_line(why)), request.id)
        self._inbox.done(request)

    def _take(self, message: Message) -> None:
        try:
            match message:
                case ProposalResult():
                    self._asking.take(message)
                case CriticResult():
                    self._opinions.take(message)
                case DigestResult():
                    self._digests.take(message)
                case ev.RunScored() | ev.Rescored() | ScoringFailed():
                    self._runs.take_score(message)
                case ev.HoldoutOpened() | OpeningFailed():
                    self._take_holdout(message)
                case cmd.Detach():
                    self._end = EngineEnd.DETACHED
                case _:
                    self._human.handle(message)
        except (OSError, GitError):
            # A full disk loses no command and no score; a failed scoring is repeated.
            if not isinstance(message, ScoringFailed | OpeningFailed):
                self._arrived.put(message)
            raise

    def _take_holdout(self, opened: ev.HoldoutOpened | OpeningFailed) -> None:
        if isinstance(opened, OpeningFailed):
            self._holdout.over()
            raise opened
        self._session.append(opened)
        self._holdout.over()

    # ── one step ────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self) -> bool:
        """Do the first thing that is due; False if there is nothing to do now."""
        return (
            self._runs.step()
            or self._digests.step()
            or self._break_circuit()
            or self._keep_to_hour()
            or self._keep_to_testing_budget()
            or self._holdout.step(self._session.launcher, self._session.files, self.state)
            or confirming.step(self._session, self._runs.judge, self._may_run)
            or transferring.step(self._session, self._now(), idle=bool(self._runs.free_devices))
            or self._end_session()
            or self._rebase_waiting()
            or self._pass_gate()
            or self._launch()
            or (not self._runs.expects_score and self._look_ahead())
        )

    def _look_ahead(self) -> bool:
        """Work that no accelerator and no verdict waits for."""
        return self._use_rest() or self._opinions.step() or self._asking.step()

    def _break_circuit(self) -> bool:
        """Pause after too many similar failures in a row, as the next attempt would fail too."""
        state, limit = self.state, self._session.lab.settings.run.pause_after_failures
        if not limit or state.paused is not None:
            return False
        for what, streak in (("runs", state.failing_runs), ("requests for a proposal", state.failing_proposals)):
            if streak.count >= limit:
                reason = f"the last {streak.count} {what} failed alike: {streak.text}"
                self._session.append(ev.PauseAsked("engine", reason))
                return True
        return False

    def _keep_to_hour(self) -> bool:
        """At the requested hour, stop runs that are slower than expected; they stay approved."""
        hour = limits.until(self.state)
        training = any(e.stage is Stage.RUNNING for e in self.state.in_flight)
        if hour is None or self._now() < hour or not training or self.state.stopping == "now":
            return False
        self._human.handle(cmd.Stop(now=True))
        return True

    def _keep_to_testing_budget(self) -> bool:
        """Pause when no look at the evaluation is left, as further keeps would be luck."""
        why = looks.budget_spent(self.state)
        if not why or self.state.paused is not None or self.state.stopping or self.state.confirming:
            return False
        self._session.append(ev.PauseAsked("engine", why, limit=looks.TESTING_BUDGET))
        return True

    def _over(self) -> bool:
        """Whether no run launched now would end in time. Waiting proposals stay for the next start."""
        state, now = self.state, self._now()
        limit = limits.end(state, now)
        if limit is None or limits.fits(state, now) or self._repeatable():
            return False
        if any(e.stage is Stage.APPROVED and limits.fits(state, now, e) for e in state.waiting):
            return state.paused is not None
        # An answer in progress is paid for, and kept for the next start.
        return not state.asks or (limit.kind == "until" and now >= limit.at)

    def _end_session(self) -> bool:
        state = self.state
        if state.in_flight or self._holdout.at_work:
            return False
        if self._over():
            limit = limits.end(state, self._now())
            self._limit = limit.kind if limit is not None else ""
            self._limit_reason = limits.reason(state, self._now())
            self._end = EngineEnd.FAILED if self._headless and state.frontier is None else self._finished()
            return self._end is not None
        # A run at another scale has no row, but is waited for.
        full = 0 < self._rows <= state.rows and not any(e.proposal.scale for e in state.waiting)
        if full and (state.frontier is not None or not self._headless):
            self._end = self._finished()
        elif state.stopping:
            self._end = EngineEnd.STOPPED
        elif self._headless and state.paused is not None and state.paused.limit:
            self._limit, self._limit_reason = state.paused.limit, f"{state.paused.reason}; `renew` gives as many again"
            self._end = self._finished()
        elif self._headless and (full or (state.paused is not None and state.paused.by == "engine")):
            # No human is present to help.
            self._end = EngineEnd.FAILED
        return self._end is not None

    def _finished(self) -> EngineEnd | None:
        """The end of a session that ends by itself; None until its digest is written, unless a human is stopping it."""
        state = self.state
        if not state.stopping and self._digests.missing():
            if state.digest_asked is None:
                self._session.append(ev.DigestAsked("engine"))
            return None
        return EngineEnd.FINISHED

    def _rebase_waiting(self) -> bool:
        state = self.state
        if state.frontier is None:
            return False
        for waiting in state.waiting:
            head = state.head(waiting.proposal.front) or state.frontier
            if (
                waiting.proposal.base == head.commit
                or waiting.proposal.author in (BASELINE, REPEAT)
                or waiting.proposal.exploratory
            ):
                continue
            if waiting.held_at(datetime.now(UTC)) == gate.ANSWER:
                continue
            moved = self._session.commits.rebased(waiting, head.commit, waiting.proposed_at)
            since = f"since #{head.number} was kept"
            if moved is None and self._keeps_busy(waiting):
                continue
            if moved is None:
                self._session.append(ev.ProposalWithdrawn(waiting.number, f"no longer applies {since}"))
            elif reason_to_withdraw := self._session.archive.reason_to_withdraw(state, waiting.number, moved.commit):
                self._session.append(
                    ev.ProposalWithdrawn(waiting.number, f"no longer worth a run {since}: {reason_to_withdraw}")
                )
            else:
                self._session.append(moved)
            return True
        return False

    def _pass_gate(self) -> bool:
        for waiting in self.state.waiting:
            event = gate.at_gate(waiting, self._session.lab.settings.review, datetime.now(UTC))
            if event is not None:
                self._session.append(event)
                return True
        return False

    def _keeps_busy(self, waiting: Experiment) -> bool:
        """Whether to run a proposal that clashes with the frontier on its own base, where it may win: otherwise an
        accelerator would idle until the researcher's next answer."""
        others = any(e is not waiting and e.stage is Stage.APPROVED for e in self.state.waiting)
        return not others and (start := self._next_start()) is not None and start[0] is waiting

    def _launch(self) -> bool:
        start = self._next_start()
        if start is None:
            return False
        self._runs.launch(*start)
        return True

    def _next_start(self) -> tuple[Experiment, str] | None:
        """The experiment that can start now, and its device."""
        state = self.state
        if self._leaving or state.paused or state.stopping:
            return None
        devices = self._runs.free_devices
        if not devices:
            return None
        moment, room = datetime.now(UTC), self._rows_wanted(0)
        free = (e for e in state.waiting if e.stage is Stage.APPROVED and not e.held_at(moment))
        approved = (e for e in free if room or e.proposal.scale)
        # Before the first score only baselines run, even if others have waited longer.
        now = self._now()
        may = (e for e in approved if state.frontier is not None or e.proposal.author == BASELINE)
        # Runs that a verdict waits for come first: until then proposals start from the old frontier.
        first = sorted(may, key=lambda e: (e.proposal.confirms is None, not e.proposal.scale))
        fitting = [e for e in first if limits.fits(state, now, e) and looks.room(state, e)]
        if not fitting:
            return None
        # A node is compared with the others before its runs decide anything.
        unready = frozenset(fleet_baselines.unready(state))
        for device in devices:
            ready = device not in unready
            # A run that was lost on a node is repeated elsewhere if possible.
            lost_here = device in state.fleet.devices and len(devices) > 1
            may_here = (e for e in fitting if not (lost_here and e.attempt and e.device == device))
            if found := next((e for e in may_here if ready or e.proposal.author == BASELINE), None):
                return found, device
        return None

    def _may_run(self, experiment: Experiment) -> bool:
        """Whether one more run of its commit fits the table, and ends in time."""
        return self._rows_wanted(0) and limits.fits(self.state, self._now(), experiment)

    def _repeatable(self) -> Experiment | None:
        """The best, if the time left is too short for a new proposal but enough for a repeat."""
        state, now = self.state, self._now()
        limit = limits.end(state, now)
        if limit is None or limit.kind != "until" or limits.fits(state, now) or state.paused or state.stopping:
            return None
        best = state.best
        if best is None or not self._rows_wanted(0) or not limits.fits(state, now, best):
            return None
        return None if any(e.proposal.author == REPEAT for e in state.waiting) else best

    def _use_rest(self) -> bool:
        """Use the rest of the time to repeat the best, to measure the noise."""
        best = self._repeatable()
        if best is None or not self._runs.free_devices or self._leaving:
            return False
        self._session.append(repeat(self._session, best))
        made = self.state.experiments[-1]
        self._session.append(ev.ProposalApproved(made.number, made.commit, "auto"))
        return True

    def _wanted(self, waiting: int) -> bool:
        """Whether one more proposal, beside `waiting` others, fits the table and ends in time."""
        return self._rows_wanted(waiting) and waiting < limits.launches_left(self.state, self._now())

    def _rows_wanted(self, waiting: int) -> bool:
        """Whether decided, running and `waiting` proposals leave room in the requested table."""
        if not self._rows:
            return True
        decided = self.state.rows
        running = sum(1 for e in self.state.in_flight if not e.proposal.scale)
        return decided + running + len(self.state.confirming) + waiting < self._rows

    # ── trouble ─────────────────────────────────────────────────────────────────────────────────────────────

    def _back_off(self, error: OSError | GitError | TroubleError) -> None:
        """Trouble outside: journal it if possible, wait, and let the next step try again.

        Stops are still handled, and a lab that is gone for good ends the session.
        """
        with contextlib.suppress(OSError):
            try:
                self._presence.require()
            except TroubleError as missing:
                error = missing
        seconds = self._retry.next()
        self._session.meet_trouble(message(error), remedy(error), seconds)
        deadline = time.monotonic() + seconds
        held: list[Message] = []
        while not self._end and time.monotonic() < deadline:
            if lost := self._presence.lost():
                self._end, self._lost = EngineEnd.FAILED, lost
                break
            self._shut_down_in_trouble()
            if self._heed_inbox():
                break
            try:
                arrived = self._arrived.get(timeout=0.25)
            except queue.Empty:
                continue
            match arrived:
                case cmd.Detach():
                    self._end = EngineEnd.DETACHED
                case cmd.Stop():
                    self._stop_in_trouble(arrived, partial(self._human.handle, arrived))
                case cmd.Resume() | cmd.CancelStop():
                    self._unwritten_stop = ""
                    held.append(arrived)
                    break
                case ev.RunScored() | ev.Rescored() | ScoringFailed() if self._stopping:
                    self._take_last_score(arrived)
                case _:
                    held.append(arrived)
        for each in held:
            self._arrived.put(each)

    def _heed_inbox(self) -> bool:
        """Act once on each stop or resume from another process; they stay in the inbox until they can be journalled.

        Returns whether one asks to try again.
        """

        def urgent(request: Request) -> bool:
            return request.id not in self._heeded and isinstance(
                request.command, cmd.Stop | cmd.Resume | cmd.CancelStop
            )

        for request in self._inbox.take(urgent):
            self._heeded.add(request.id)
            if isinstance(request.command, cmd.Stop):
                self._stop_in_trouble(request.command, partial(self._answer, request))
            else:
                self._inbox.put_back(request)
                self._unwritten_stop = ""
                return True
        return False

    def _stop_in_trouble(self, stop: cmd.Stop, journal: Callable[[], None]) -> None:
        """Journal a stop if possible; act on it in any case."""
        try:
            if self.state.session is None:
                raise OSError(errno.EAGAIN, "the session has not begun")
            journal()
            self._unwritten_stop = ""
        except (OSError, GitError):
            self._unwritten_stop = "now" if stop.now else self._unwritten_stop or "after"

    @property
    def _stopping(self) -> str:
        """The requested stop, journalled or not: "now", "after" or empty."""
        return self._unwritten_stop or self.state.stopping

    def _take_last_score(self, scored: Scored) -> None:
        """If scoring or journalling fails, the next start scores the run: its folder has all that is needed."""
        try:
            self._runs.take_score(scored)
        except OSError:
            self._end = EngineEnd.STOPPED

    def _shut_down_in_trouble(self) -> None:
        """Carry out a stop as far as possible: end runs or wait for them, then end the engine."""
        if not self._stopping:
            return
        if self._unwritten_stop == "now":
            self._runs.interrupt()
        with contextlib.suppress(OSError, GitError, TroubleError):
            while self._runs.step():
                pass
        if not self._runs.busy:
            self._end = EngineEnd.STOPPED
