"""When to ask the researcher, what to ask, and what becomes of the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from autoresearch_tui.engine import history
from autoresearch_tui.engine.gate import BASELINE, REPEAT, flag_text
from autoresearch_tui.engine.proposing import base_choice, fronts
from autoresearch_tui.engine.proposing import lessons as memory
from autoresearch_tui.engine.proposing.asking import check_spend_limits, retry_seconds
from autoresearch_tui.engine.proposing.base_choice import Start
from autoresearch_tui.engine.proposing.briefing import program_version
from autoresearch_tui.engine.proposing.smoke_test import SmokeTest
from autoresearch_tui.engine.proposing.worker import ProposalRequest, ProposalResult, Proposer
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.shared import SharedResults
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import front_as_researcher
from autoresearch_tui.researchers.base import Brief, Researcher
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import fleet_baselines
from autoresearch_tui.session.clock import due
from autoresearch_tui.session.ends import SCORED
from autoresearch_tui.session.state import AUTHOR, COMMIT, Stage, State
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError

OFFLINE = "search"


class ProposalQueue:
    """Keeps the queue full, the baseline first; in the engine's thread. Raises OSError, GitError."""

    def __init__(
        self,
        session: Session,
        researcher: Researcher,
        deliver: Callable[[ProposalResult], None],
        rows_wanted: Callable[[int], bool],
        devices: Callable[[], Sequence[str]],
    ) -> None:
        """`rows_wanted(n)`: whether the table has room for one more beside n proposals that wait. `devices`: on which
        runs can be executed now."""
        self._session = session
        self._proposer = Proposer(researcher, session.voices, deliver)
        self._rows_wanted = rows_wanted
        self._devices = devices
        self._answer: ProposalResult | None = None
        self._smoke_test = SmokeTest(session.launcher, session.files.folder / "smoke-test")
        self._noted = -1
        self._history_known = False
        self._clashes: set[tuple[int, str]] = set()
        self._shared = SharedResults(session)

    def take(self, answer: ProposalResult) -> None:
        """What the proposer delivered."""
        self._answer = answer

    def cancel(self) -> None:
        """No answer is wanted any more; what the last verdict taught is written down."""
        self._proposer.cancel()
        self._remember()

    def step(self) -> bool:
        """Use an answer, or ask; False if neither is due."""
        if self._read_history():
            return True
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
        # Beside one that the critic does not agree with, another is asked for.
        filled = [e for e in state.waiting if not e.goes_back]
        proposals = sum(1 for e in filled if e.proposal.author not in (BASELINE, REPEAT))
        wanted = max(settings.researcher.queue, len(self._devices()))
        if proposals >= wanted or not self._rows_wanted(len(filled)):
            return False
        if self._join(state) or self._shared.read() or self._shared.propose():
            return True
        if state.asked:
            return False
        if state.failed is not None and not due(state.failed_at, state.failed.retry_seconds):
            return False
        return self._ask()

    def _read_history(self) -> bool:
        """What was here before the session, once the baseline needs no more of us."""
        state = self._session.state
        if self._history_known or not self._baselines_done(state):
            return False
        due = history.unread(state)
        if due:
            history.read(self._session)
        self._history_known = True
        return due

    def _join(self, state: State) -> bool:
        """Put a change that won beside the frontier, or on another front, on top of it, where the two do not clash."""
        if (best := fronts.best_head(state)) is None:
            return False
        beside = base_choice.won_on_stale_base(state)
        for won in [*([beside] if beside is not None else []), *fronts.to_cross(state)]:
            if (won.number, best.commit) in self._clashes:
                continue
            number, when = len(state.experiments), self._session.now()
            made = self._session.commits.joined(number, won, best, state.program, when)
            if made is not None and not self._session.archive.reason_to_withdraw(state, number, made.commit):
                self._session.append(made)
                return True
            self._clashes.add((won.number, best.commit))
        return False

    def _ask(self) -> bool:
        try:
            check_spend_limits(self._session.lab.settings.researcher, self._session.state)
            self._record_program_version()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return True
        state, archive = self._session.state, self._session.archive
        start, files = self._start(state)
        number, before = len(state.experiments), archive.files(start.base)
        fixes = start.fixes.number if start.fixes is not None else None
        self._session.append(
            ev.ProposalAsked(number, start.base, state.failures + 1, start.exploratory, fixes, start.front)
        )

        def brief() -> Brief:
            lessons = memory.recall(self._session.files.lessons, state)
            refused = state.failed.refused if state.failed is not None else ""
            told = archive.brief(state, number, start.base, start.front)
            told = replace(told, lessons=lessons, fixes=fixes, complaint=refused)
            told = replace(told, exploratory=_number_of(state, start.base)) if start.exploratory else told
            return replace(told, files=files) if files is not None else told

        self._proposer.ask(
            ProposalRequest(
                number=number,
                base=start.base,
                before=before,
                brief=brief,
                tried=lambda: archive.tried(state),
                python_path=self._session.python_path,
                by_words=not self._offline(start.front),
                smoke_test=self._smoke_test,
                tree=lambda: archive.paths(start.base),
            )
        )
        return True

    def _offline(self, front: int) -> bool:
        """The offline search: its descriptions are alike by design, and it cannot fix code."""
        return front_as_researcher(self._session.lab.settings, front).kind == OFFLINE

    def _author(self, front: int) -> str:
        """Who proposed for a front; with the model, if that is the front's own."""
        settings = self._session.lab.settings
        own = front_as_researcher(settings, front)
        return f"{own.kind} {own.model}" if own.model != settings.researcher.model else own.kind

    def _start(self, state: State) -> tuple[Start, Mapping[str, str] | None]:
        """Where the next proposal starts, and the crashed files that it is to fix, if it is."""
        search = self._session.lab.settings.search
        start = base_choice.choose(state, can_fix=True, search=search)
        if start.fixes is None:
            return start, None
        # A crashed change that clashes with the new frontier is given up.
        draft = None if self._offline(start.front) else self._session.archive.draft(start.fixes, start.base)
        return (start, draft) if draft is not None else (base_choice.choose(state, can_fix=False, search=search), None)

    def _remember(self) -> None:
        verdicts = self._session.state.rows
        # A lab that was deleted is not to come back as a folder with lessons in it.
        if verdicts != self._noted and self._session.files.folder.is_dir():
            # A journal for reading: that it cannot be written must not stop the loop.
            with contextlib.suppress(OSError):
                memory.keep(self._session.files.lessons, self._session.state)
            self._noted = verdicts

    def _use(self, answer: ProposalResult) -> None:
        state = self._session.state
        if state.asked is None or answer.number != state.asked.number:
            return
        if answer.proposal is None:
            self._failed(answer)
            return
        first = min(answer.proposal.files)
        author = self._author(state.asked.front)
        answer = replace(answer, number=len(state.experiments))  # a repeat may have taken the number meanwhile
        made = self._session.commits.made(answer, author, state.program, self._session.now())
        flags = made.flags
        if answer.duplicate_of is not None:
            told = f"nearly {answer.duplicate_of.name}; its researcher was told, and insists"
            flags = (*flags, flag_text(first, 1, "repeat", told))
        asked, near = state.asked, answer.duplicate_of
        repeats = near.number if near is not None and not (near.session or near.origin) else None
        self._session.append(
            replace(
                made,
                flags=flags,
                exploratory=asked.exploratory,
                fixes=asked.fixes,
                duplicate_of=repeats,
                front=asked.front,
            )
        )

    def _failed(self, answer: ProposalResult) -> None:
        tokens = answer.usage.input_tokens + answer.usage.output_tokens
        retry = None if answer.fatal else retry_seconds(answer.retry_after, self._session.state.failures)
        self._session.append(
            ev.ProposalFailed(
                answer.number, answer.error, retry, tokens, answer.usage.usd, answer.outage, answer.refused
            )
        )
        if answer.fatal:
            self._session.append(ev.PauseAsked("engine", answer.error))

    def _baselines_done(self, state: State) -> bool:
        baselines = [*state.experiments.having(AUTHOR, BASELINE)]
        devices = self._devices()
        on_their_way = sum(1 for e in baselines if e.stage is not Stage.DONE)
        scored = sum(1 for e in baselines if e.outcome in SCORED)
        runs = self._session.lab.settings.metric.baseline_runs
        if state.fleet.devices:
            return on_their_way >= max(runs - scored, fleet_baselines.wanted(state, devices))
        if on_their_way >= max(1, len(devices)):
            # Propose beside them, on the assumption that they will stand.
            return True
        # One for each device at once: every run is measured under the load that the others make.
        return scored + on_their_way >= max(runs, len(devices))

    def _propose_baseline(self) -> None:
        try:
            self._record_program_version()
        except UserError as error:
            self._session.append(ev.PauseAsked("engine", str(error)))
            return
        state = self._session.state
        assert state.session is not None
        earlier = [*state.experiments.having(AUTHOR, BASELINE)]
        first = next((e for e in earlier if e.value is not None or e.stage is not Stage.DONE), None)
        seed = len(earlier) if first is not None else 0
        number, base = len(state.experiments), state.session.base
        made = self._session.commits.baseline(number, base, state.program, first, seed)
        self._session.append(made)

    def _record_program_version(self) -> None:
        text = labs.read_program(self._session.lab)
        data = self._session.lab.program.read_bytes()
        version = program_version(data)
        kept = self._session.files.program(version)
        if not kept.exists():
            write(kept, data)
        if version != self._session.state.program:
            self._session.append(ev.ProgramRead(version, len(text.splitlines())))


def _number_of(state: State, commit: str) -> int | None:
    return next((e.number for e in state.experiments.having(COMMIT, commit)), None)
