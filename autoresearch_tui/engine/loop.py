"""The loop: a state machine whose every step is «look at the state, do one thing, journal it».

There is no recovery code path: an engine that starts reads the journal and goes on from where that leaves it. An
intent is journalled before its effect, and every effect can be repeated.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from autoresearch_tui import lab as labs
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import review, runner, scoring
from autoresearch_tui.engine.human import Human
from autoresearch_tui.engine.launch import LaunchRefused, tidy
from autoresearch_tui.engine.ledger import GitError
from autoresearch_tui.engine.proposer import Answer, Proposer, Question
from autoresearch_tui.engine.review import BASELINE
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import TABLED, Experiment, Stage, State
from autoresearch_tui.engine.trouble import Backoff, remedy
from autoresearch_tui.errors import UserError
from autoresearch_tui.researchers.base import Researcher

POLL_SECONDS = 0.05
IDLE_SECONDS = 0.25
QUEUE_DEPTH = 1
LOST_ATTEMPTS = 2

Message = cmd.Command | Answer | ev.RunScored | OSError


class Engine:
    """One session's loop, in whatever thread calls :meth:`run`. Commands come through :meth:`send`."""

    def __init__(self, session: Session, researcher: Researcher, *, headless: bool, rows: int = 0) -> None:
        """`rows`: finish when the table has that many; 0 = never."""
        self._session = session
        self._settings = session.lab.settings
        self._headless = headless
        self._rows = rows
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._proposer = Proposer(researcher, session.files.researcher_log, self._inbox.put)
        self._human = Human(session, self._stop_run)
        self._answer: Answer | None = None
        self._outcome = ""
        self._retry = Backoff()
        self._scoring: threading.Thread | None = None
        self._untidy: list[Experiment] = []

    @property
    def state(self) -> State:
        """What the journal amounts to, as of the last step."""
        return self._session.state

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment; empty while it can."""
        return self._session.blocked

    def send(self, command: cmd.Command) -> None:
        """Hand over a command from any thread. Never blocks."""
        self._inbox.put(command)

    def run(self) -> str:
        """Until detached, stopped, finished or failed: the word is returned, and journalled where it can be."""
        while not self._outcome:
            try:
                self._session.begin(headless=self._headless)
                break
            except (OSError, GitError) as error:
                self._wait_out(error)
        while not self._outcome:
            try:
                self._receive()
                while not self._outcome and self._step():
                    pass
                self._tidy()
                self._session.clear_trouble()
                self._retry.clear()
            except (OSError, GitError) as error:
                self._wait_out(error)
        self._proposer.cancel()
        self._session.end(self._outcome, self._detail())
        return self._outcome

    # ── what arrives ────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self) -> None:
        timeout = POLL_SECONDS if self.state.running else IDLE_SECONDS
        try:
            message = self._inbox.get(timeout=timeout)
        except queue.Empty:
            return
        while True:
            try:
                self._take(message)
            except (OSError, GitError):
                if not isinstance(message, OSError):
                    self._inbox.put(message)
                raise
            try:
                message = self._inbox.get_nowait()
            except queue.Empty:
                return

    def _take(self, message: Message) -> None:
        if isinstance(message, Answer):
            self._answer = message
        elif isinstance(message, ev.RunScored):
            self._session.append(message)
            self._scoring = None
        elif isinstance(message, OSError):
            self._scoring = None
            raise message
        elif isinstance(message, cmd.Detach):
            self._outcome = "detached"
        else:
            self._human.obey(message)

    # ── one step ────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self) -> bool:
        """Do the first thing that is due; False when there is nothing to do now."""
        steps: tuple[Callable[[], bool], ...] = (
            self._follow_run,
            self._end_session,
            self._rebase_waiting,
            self._pass_gate,
            self._launch,
            self._use_answer,
            self._ask,
        )
        return any(step() for step in steps)

    def _follow_run(self) -> bool:
        running = self.state.running
        if running is None:
            return False
        if running.stage is Stage.RUNNING:
            return self._look(running)
        if running.stage is Stage.ENDED:
            return self._after_end(running)
        self._judge(running)
        return True

    def _judge(self, experiment: Experiment) -> None:
        verdict = scoring.verdict(experiment, self.state)
        self._session.append(verdict)
        self._session.publish_verdict()
        self._untidy.append(experiment)
        if experiment.author == BASELINE and verdict.verdict not in ("keep", "discard"):
            reason = f"the baseline gave no score ({verdict.reason}); mend the lab, commit, and start with --new"
            self._session.append(ev.PauseAsked("engine", reason))

    def _look(self, running: Experiment) -> bool:
        files = self._session.files.run(running.number)
        status = runner.look(files.folder)
        if status.state is runner.RunState.NOT_STARTED:
            # The engine died between its intent and the launch.
            self._session.launcher.start(files)
            return False
        if status.state is runner.RunState.RUNNING:
            return False
        ended = status.exit
        cause: tuple[str, ...] = ()
        if ended is None:
            event = ev.RunEnded(running.number, "lost", None, _since(running.started_at))
        else:
            if ended.reason != "finished":
                cause = runner.last_lines(files.folder)
                cause = (*cause, ended.note) if ended.note else cause
            event = ev.RunEnded(running.number, ended.reason, ended.exit_code, ended.seconds, cause)
        self._session.append(event)
        return True

    def _after_end(self, ended: Experiment) -> bool:
        assert ended.run is not None
        state = self.state
        put_back = (state.paused is not None and state.paused.stop_run) or state.stopping == "now"
        if ended.run.reason == "killed" and put_back:
            self._session.append(ev.ProposalPutBack(ended.number))
        elif ended.run.reason == "lost" and ended.attempt < LOST_ATTEMPTS:
            self._start(ended)
        elif ended.run.reason == "finished":
            return self._score(ended)
        else:
            self._judge(ended)
        return True

    def _score(self, ended: Experiment) -> bool:
        """In a thread of its own: a referee may take minutes, and the human is not to wait for it."""
        if self._scoring is not None:
            return False
        state, launcher = self.state, self._session.launcher
        files = self._session.files.run(ended.number)
        assert state.session is not None
        locked = state.session.locked

        def work() -> None:
            try:
                self._inbox.put(
                    scoring.score(
                        ended.number,
                        files,
                        launcher.cwd(files),
                        self._settings,
                        locked,
                        launcher.environment(files),
                    )
                )
            except OSError as error:
                self._inbox.put(error)

        self._scoring = threading.Thread(target=work, name="scoring", daemon=True)
        self._scoring.start()
        return False

    def _end_session(self) -> bool:
        state = self.state
        if state.running is not None:
            return False
        if self._rows and len(state.table) >= self._rows:
            self._outcome = "finished"
        elif state.stopping:
            self._outcome = "stopped"
        elif self._headless and state.paused is not None and state.paused.by == "engine":
            # Nobody is there to help.
            self._outcome = "failed"
        return bool(self._outcome)

    def _rebase_waiting(self) -> bool:
        state = self.state
        if state.best is None:
            return False
        for waiting in state.waiting:
            if waiting.base == state.frontier_commit or waiting.author == BASELINE:
                continue
            moved = self._session.attempts.rebased(waiting, state.frontier_commit, waiting.proposed_at)
            if moved is None:
                reason = f"no longer applies since #{state.best.number} was kept"
                self._session.append(ev.ProposalWithdrawn(waiting.number, reason))
            else:
                self._session.append(moved)
                self._session.point_ref(waiting.number)
            return True
        return False

    def _pass_gate(self) -> bool:
        for waiting in self.state.waiting:
            event = review.at_gate(waiting, self._settings.review, datetime.now(UTC))
            if event is not None:
                self._session.append(event)
                return True
        return False

    def _launch(self) -> bool:
        state = self.state
        if state.running is not None or state.paused or state.stopping or self._rows_claimed(state, 0):
            return False
        ready = next((e for e in state.waiting if e.stage is Stage.APPROVED), None)
        if ready is None or (state.best is None and ready.author != BASELINE):
            return False
        try:
            self._start(ready)
        except LaunchRefused as refused:
            self._session.append(ev.PauseAsked("engine", str(refused)))
        return True

    def _start(self, experiment: Experiment) -> None:
        files = self._session.files.run(experiment.number)
        self._session.launcher.prepare(experiment, files)
        self._session.append(ev.RunStarted(experiment.number, experiment.commit, experiment.attempt + 1))
        self._session.launcher.start(files)

    def _ask(self) -> bool:
        state = self.state
        if state.paused or state.stopping or state.asked or self._answer:
            return False
        if not self._baselines_done(state):
            return self._propose_baseline(state)
        if len(state.waiting) >= QUEUE_DEPTH or self._rows_claimed(state, len(state.waiting)):
            return False
        if state.failed is not None and not _due(state.failed_at, state.failed.retry_seconds):
            return False
        limit = self._settings.researcher.max_usd
        if limit and state.usd >= limit:
            reason = f"the session has cost ${state.usd:.2f}; the limit `researcher.max_usd` is ${limit:.2f}"
            self._session.append(ev.PauseAsked("engine", reason))
            return True
        try:
            self._note_program()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return True
        state = self.state
        number, base = len(state.experiments), state.frontier_commit
        self._session.append(ev.ProposalAsked(number, base, state.failures + 1))
        self._proposer.ask(
            Question(
                number=number,
                base=base,
                program=state.program,
                brief=lambda: self._session.library.brief(state, number, base),
                tried=lambda: self._session.library.tried(state),
                python_path=self._session.python_path,
            )
        )
        return True

    def _use_answer(self) -> bool:
        answer, self._answer = self._answer, None
        if answer is None:
            return False
        if self.state.asked is None or answer.number != self.state.asked.number:
            return True
        if answer.proposal is not None:
            try:
                author, program = self._settings.researcher.kind, self.state.program
                when = self._session.now()
                made = self._session.attempts.made(answer, author, program, when)
            except (OSError, GitError):
                self._answer = answer
                raise
            self._session.append(made)
            self._session.point_ref(answer.number)
            return True
        retry = None if answer.fatal else self._retry_seconds(answer)
        tokens = answer.usage.input_tokens + answer.usage.output_tokens
        self._session.append(ev.ProposalFailed(answer.number, answer.error, retry, tokens, answer.usage.usd))
        if answer.fatal:
            self._session.append(ev.PauseAsked("engine", answer.error))
        return True

    def _tidy(self) -> None:
        """After the next run has begun: a working copy may be large."""
        while self._untidy:
            tidy(self._session.files.run(self._untidy.pop().number))

    # ── small rules ─────────────────────────────────────────────────────────────────────────────────────────

    def _baselines_done(self, state: State) -> bool:
        baselines = [e for e in state.experiments if e.author == BASELINE]
        if any(e.stage is not Stage.DONE for e in baselines):
            # One is on its way: propose beside it, on the assumption that it will stand.
            return True
        tabled = [e for e in baselines if e.outcome in ("keep", "discard")]
        return len(tabled) >= self._settings.metric.baseline_runs

    def _propose_baseline(self, state: State) -> bool:
        self._note_program()
        assert state.session is not None
        made = self._session.attempts.baseline(len(state.experiments), state.session.base, self.state.program)
        self._session.append(made)
        self._session.point_ref(made.number)
        return True

    def _note_program(self) -> None:
        text = labs.read_program(self._session.lab)
        version = self._session.program_version()
        if version != self.state.program:
            self._session.append(ev.ProgramRead(version, len(text.splitlines())))

    def _rows_claimed(self, state: State, waiting: int) -> bool:
        """Whether what is decided, running and waiting already fills the table that was asked for."""
        if not self._rows:
            return False
        decided = sum(1 for e in state.experiments if e.outcome in TABLED)
        return decided + (state.running is not None) + waiting >= self._rows

    def _retry_seconds(self, answer: Answer) -> float:
        if answer.retry_after is not None:
            return min(max(answer.retry_after, 0.0), 900.0)
        return min(2.0 * 2.0 ** min(self.state.failures, 10), 600.0)

    def _stop_run(self) -> None:
        running = self.state.running
        if running is not None and running.stage is Stage.RUNNING:
            runner.stop(self._session.files.run(running.number).folder)

    def _wait_out(self, error: OSError | GitError) -> None:
        """Trouble outside: say so where it can be said, wait, and let the next step try again."""
        seconds = self._retry.next()
        self._session.meet_trouble(str(error), remedy(error), seconds)
        deadline = time.monotonic() + seconds
        held: list[Message] = []
        while not self._outcome and time.monotonic() < deadline:
            try:
                message = self._inbox.get(timeout=min(0.25, seconds))
            except queue.Empty:
                continue
            if isinstance(message, cmd.Resume):
                break
            if isinstance(message, cmd.Detach):
                self._outcome = "detached"
            else:
                held.append(message)
        for message in held:
            self._inbox.put(message)

    def _detail(self) -> str:
        if self._outcome == "failed" and self.state.paused is not None:
            return self.state.paused.reason
        return ""


def _due(since: str, seconds: float | None) -> bool:
    return seconds is not None and _since(since) >= seconds


def _since(moment: str) -> float:
    """Wall seconds since a journalled moment; a clock that was stepped back counts as no time at all."""
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
