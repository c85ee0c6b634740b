"""When to ask the researcher, what to ask, and what becomes of the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from autoresearch_tui import lab as labs
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.clock import due
from autoresearch_tui.engine.proposing import memory, starts
from autoresearch_tui.engine.proposing.proposer import Answer, Proposer, Question
from autoresearch_tui.engine.proposing.starts import Start
from autoresearch_tui.engine.review import BASELINE, REPEAT, flag_text
from autoresearch_tui.engine.running.trial import Trial
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import Stage, State
from autoresearch_tui.errors import UserError
from autoresearch_tui.researchers.base import Brief, Researcher

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 2.0, 600.0
LONGEST_RETRY_AFTER = 900.0
OFFLINE = "search"


class Asking:
    """Keeps the queue full, the baseline first; in the engine's thread. Raises OSError, GitError."""

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
        self._trial = Trial(session.launcher, session.files.folder / "trial")
        self._noted = -1
        self._clashes: set[tuple[int, str]] = set()

    def take(self, answer: Answer) -> None:
        """What the proposer delivered."""
        self._answer = answer

    def cancel(self) -> None:
        """No answer is wanted any more; what the last verdict taught is written down."""
        self._proposer.cancel()
        self._remember()

    def step(self) -> bool:
        """Use an answer, or ask; False where neither is due."""
        self._remember()
        if self._answer is not None:
            self._use(self._answer)
            self._answer = None
            return True
        state = self._session.state
        if state.paused or state.stopping:
            return False
        if not self._baselines_done(state):
            self._propose_baseline()
            return True
        settings = self._session.lab.settings
        proposals = sum(1 for e in state.waiting if e.author not in (BASELINE, REPEAT))
        wanted = max(settings.researcher.queue, len(settings.run.devices))
        if proposals >= wanted or not self._rows_wanted(len(state.waiting)):
            return False
        if self._join(state):
            return True
        if state.asked:
            return False
        if state.failed is not None and not due(state.failed_at, state.failed.retry_seconds):
            return False
        return self._ask()

    def _join(self, state: State) -> bool:
        """Put a change that won beside the frontier on top of it, where the two do not clash."""
        won = starts.overtaken(state)
        if won is None or state.best is None or (won.number, state.best.commit) in self._clashes:
            return False
        number, when = len(state.experiments), self._session.now()
        made = self._session.attempts.joined(number, won, state.best, state.program, when)
        if made is None:
            self._clashes.add((won.number, state.best.commit))
            return False
        self._session.append(made)
        return True

    def _ask(self) -> bool:
        try:
            self._mind_the_limits()
            self._note_program()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return True
        state, archive = self._session.state, self._session.archive
        start, files = self._start(state)
        number, before = len(state.experiments), archive.files(start.base)
        mends = start.mends.number if start.mends is not None else None
        self._session.append(ev.ProposalAsked(number, start.base, state.failures + 1, start.side, mends))

        def brief() -> Brief:
            lessons = memory.recall(self._session.files.lessons, state)
            told = replace(archive.brief(state, number, start.base), lessons=lessons, mends=mends)
            told = replace(told, side=_number_of(state, start.base)) if start.side else told
            return replace(told, files=files) if files is not None else told

        self._proposer.ask(
            Question(
                number=number,
                base=start.base,
                before=before,
                brief=brief,
                tried=lambda: archive.tried(state),
                python_path=self._session.python_path,
                by_words=not self._offline,
                trial=self._trial,
            )
        )
        return True

    def _mind_the_limits(self) -> None:
        """Raises UserError where the session has cost as much as it may."""
        limits, state = self._session.lab.settings.researcher, self._session.state
        if limits.max_usd and state.usd >= limits.max_usd:
            spent = f"${state.usd:.2f}"
            raise UserError(f"the session has cost {spent}; `researcher.max_usd` is ${limits.max_usd:.2f}")
        if limits.max_tokens and state.tokens >= limits.max_tokens:
            spent = f"{state.tokens:,} tokens"
            raise UserError(f"the session has taken {spent}; `researcher.max_tokens` is {limits.max_tokens:,}")

    @property
    def _offline(self) -> bool:
        """The offline search: its descriptions are alike by design, and it cannot mend code."""
        return self._session.lab.settings.researcher.kind == OFFLINE

    def _start(self, state: State) -> tuple[Start, Mapping[str, str] | None]:
        """Where the next proposal starts, and the crashed files that it is to mend, where it is to."""
        start = starts.choose(state, mending=not self._offline)
        if start.mends is None:
            return start, None
        draft = self._session.archive.draft(start.mends, start.base)
        # A crashed change that clashes with the new frontier is given up.
        return (start, draft) if draft is not None else (starts.choose(state, mending=False), None)

    def _remember(self) -> None:
        verdicts = len(self._session.state.table)
        if verdicts != self._noted:
            # A journal for reading: that it cannot be written must not stop the loop.
            with contextlib.suppress(OSError):
                memory.keep(self._session.files.lessons, self._session.state)
            self._noted = verdicts

    def _use(self, answer: Answer) -> None:
        state = self._session.state
        if state.asked is None or answer.number != state.asked.number:
            return
        if answer.proposal is None:
            self._failed(answer)
            return
        author = self._session.lab.settings.researcher.kind
        answer = replace(answer, number=len(state.experiments))  # a repeat may have taken the number meanwhile
        made = self._session.attempts.made(answer, author, state.program, self._session.now())
        flags = made.flags
        if answer.repeats is not None:
            told = f"nearly experiment {answer.repeats}; its researcher was told, and insists"
            flags = (*flags, flag_text(self._session.lab.settings.lab.editable[0], 1, "repeat", told))
        asked = state.asked
        self._session.append(replace(made, flags=flags, side=asked.side, mends=asked.mends, repeats=answer.repeats))

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
        settings = self._session.lab.settings
        on_their_way = sum(1 for e in baselines if e.stage is not Stage.DONE)
        if on_their_way >= max(1, len(settings.run.devices)):
            # Propose beside them, on the assumption that they will stand.
            return True
        scored = sum(1 for e in baselines if e.outcome in ("keep", "discard"))
        # One for each device at once: every run is measured under the load that the others make.
        return scored + on_their_way >= max(settings.metric.baseline_runs, len(settings.run.devices))

    def _propose_baseline(self) -> None:
        try:
            self._note_program()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return
        state = self._session.state
        assert state.session is not None
        earlier = [e for e in state.experiments if e.author == BASELINE]
        first = next((e for e in earlier if e.value is not None or e.stage is not Stage.DONE), None)
        seed = len(earlier) if first is not None else 0
        number, base = len(state.experiments), state.session.base
        made = self._session.attempts.baseline(number, base, state.program, first, seed)
        self._session.append(made)

    def _note_program(self) -> None:
        text = labs.read_program(self._session.lab)
        version = self._session.program_version()
        if version != self._session.state.program:
            self._session.append(ev.ProgramRead(version, len(text.splitlines())))


def _number_of(state: State, commit: str) -> int | None:
    return next((e.number for e in state.experiments if e.commit == commit), None)
