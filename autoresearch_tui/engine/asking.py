"""When to ask the researcher, what to ask, and what becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch_tui import lab as labs
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.clock import due
from autoresearch_tui.engine.proposer import Answer, Proposer, Question
from autoresearch_tui.engine.review import BASELINE
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import Stage, State
from autoresearch_tui.errors import UserError
from autoresearch_tui.researchers.base import Researcher

QUEUE_DEPTH = 1
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 2.0, 600.0
LONGEST_RETRY_AFTER = 900.0


class Asking:
    """Keeps one proposal in the queue, the baseline first; in the engine's thread. Raises OSError, GitError."""

    def __init__(
        self,
        session: Session,
        researcher: Researcher,
        deliver: Callable[[Answer], None],
        rows_wanted: Callable[[int], bool],
    ) -> None:
        """`rows_wanted(n)`: whether the table has room for one more beside n proposals that wait."""
        self._session = session
        self._proposer = Proposer(researcher, session.files.researcher_log, deliver)
        self._rows_wanted = rows_wanted
        self._answer: Answer | None = None

    def take(self, answer: Answer) -> None:
        """What the proposer delivered."""
        self._answer = answer

    def cancel(self) -> None:
        """No answer is wanted any more."""
        self._proposer.cancel()

    def step(self) -> bool:
        """Use an answer, or ask; False where neither is due."""
        if self._answer is not None:
            self._use(self._answer)
            self._answer = None
            return True
        state = self._session.state
        if state.paused or state.stopping or state.asked:
            return False
        if not self._baselines_done(state):
            self._propose_baseline()
            return True
        if len(state.waiting) >= QUEUE_DEPTH or not self._rows_wanted(len(state.waiting)):
            return False
        if state.failed is not None and not due(state.failed_at, state.failed.retry_seconds):
            return False
        return self._ask()

    def _ask(self) -> bool:
        limit = self._session.lab.settings.researcher.max_usd
        try:
            if limit and self._session.state.usd >= limit:
                spent = f"${self._session.state.usd:.2f}"
                raise UserError(f"the session has cost {spent}; `researcher.max_usd` is ${limit:.2f}")
            self._note_program()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return True
        state = self._session.state
        number, base = len(state.experiments), state.frontier_commit
        self._session.append(ev.ProposalAsked(number, base, state.failures + 1))
        self._proposer.ask(
            Question(
                number=number,
                base=base,
                brief=lambda: self._session.library.brief(state, number, base),
                tried=lambda: self._session.library.tried(state),
                python_path=self._session.python_path,
            )
        )
        return True

    def _use(self, answer: Answer) -> None:
        state = self._session.state
        if state.asked is None or answer.number != state.asked.number:
            return
        if answer.proposal is None:
            self._failed(answer)
            return
        author = self._session.lab.settings.researcher.kind
        made = self._session.attempts.made(answer, author, state.program, self._session.now())
        self._session.append(made)
        self._session.point_ref(made.number)

    def _failed(self, answer: Answer) -> None:
        tokens = answer.usage.input_tokens + answer.usage.output_tokens
        retry = None if answer.fatal else self._retry_seconds(answer)
        self._session.append(ev.ProposalFailed(answer.number, answer.error, retry, tokens, answer.usage.usd))
        if answer.fatal:
            self._session.append(ev.PauseAsked("engine", answer.error))

    def _retry_seconds(self, answer: Answer) -> float:
        if answer.retry_after is not None:
            return min(max(answer.retry_after, 0.0), LONGEST_RETRY_AFTER)
        return min(FIRST_RETRY_SECONDS * 2.0 ** min(self._session.state.failures, 10), LAST_RETRY_SECONDS)

    def _baselines_done(self, state: State) -> bool:
        baselines = [e for e in state.experiments if e.author == BASELINE]
        if any(e.stage is not Stage.DONE for e in baselines):
            # One is on its way: propose beside it, on the assumption that it will stand.
            return True
        scored = [e for e in baselines if e.outcome in ("keep", "discard")]
        return len(scored) >= self._session.lab.settings.metric.baseline_runs

    def _propose_baseline(self) -> None:
        try:
            self._note_program()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return
        state = self._session.state
        assert state.session is not None
        made = self._session.attempts.baseline(len(state.experiments), state.session.base, state.program)
        self._session.append(made)
        self._session.point_ref(made.number)

    def _note_program(self) -> None:
        text = labs.read_program(self._session.lab)
        version = self._session.program_version()
        if version != self._session.state.program:
            self._session.append(ev.ProgramRead(version, len(text.splitlines())))
