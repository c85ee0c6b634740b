"""When to ask the researcher, what to ask, and what to do with the answer."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from autoresearch_tui.engine import history
from autoresearch_tui.engine.gate import BASELINE, REPEAT, flag_text
from autoresearch_tui.engine.proposing import base_choice, directions, fronts
from autoresearch_tui.engine.proposing.asking import (
    at_once,
    check_spend_limits,
    retry_seconds,
    room_beside,
    wants_another,
)
from autoresearch_tui.engine.proposing.attempts import Attempts
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
from autoresearch_tui.session import fleet_baselines, limits
from autoresearch_tui.session.clock import due, left
from autoresearch_tui.session.ends import SCORED
from autoresearch_tui.session.format import front as front_name
from autoresearch_tui.session.questions import AUTHOR, COMMIT
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Stage, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError

OFFLINE = "search"
_RECENT = 64  # only so many experiments may have gone back since the last request


class ProposalQueue:
    """Keeps the queue of proposals full, baselines first. Used in the engine's thread. Raises OSError, GitError."""

    def __init__(
        self,
        session: Session,
        researcher: Researcher,
        deliver: Callable[[ProposalResult], None],
        rows_wanted: Callable[[int], bool],
        devices: Callable[[], Sequence[str]],
        another: Callable[[], Researcher] | None = None,
    ) -> None:
        """`rows_wanted(n)`: whether the table has room for one more beside n waiting or requested proposals. `devices`:
        those that can execute runs now. `another` as in :class:`Proposer`."""
        self._session = session
        self._proposer = Proposer(researcher, another, session.streams, deliver)
        self._rows_wanted = rows_wanted
        self._devices = devices
        self._answers: deque[ProposalResult] = deque()
        self._noted = -1
        self._history_known = False
        self._clashes: set[tuple[int, str]] = set()
        # The verdicts, best and number of experiments for which there was nothing to join.
        self._joined: tuple[Sequence[int], str, int] | None = None
        self._shared = SharedResults(session)

    def take(self, answer: ProposalResult) -> None:
        self._answers.append(answer)

    def cancel(self) -> None:
        """Cancel all requests, and write down the last lesson."""
        self._proposer.cancel()
        self._remember()

    def step(self) -> bool:
        """Use an answer, or ask; False if neither is due."""
        if self._pause_for_good() or self._read_history():
            return True
        self._remember()
        if self._answers:
            self._use(self._answers[0])
            self._proposer.claims.drop(self._answers.popleft().stream)
            return True
        state = self._session.state
        if state.paused or state.stopping:
            return False
        if not self._baselines_done(state):
            self._propose_baseline()
            return True
        settings = self._session.lab.settings
        # A proposal that the critic objects to takes no place in the queue.
        filled = [e for e in state.waiting if not e.goes_back]
        proposals = sum(1 for e in filled if e.proposal.author not in (BASELINE, REPEAT))
        may_wait = max(settings.researcher.queue, len(self._devices()))
        if proposals >= may_wait or not self._rows_wanted(len(filled)):
            return False
        if self._join(state) or self._shared.read() or self._shared.propose():
            return True
        most = self._at_once(state)
        if not wants_another(len(state.asks), proposals, may_wait, most) or _backs_off(state):
            return False
        return self._rows_wanted(len(filled) + len(state.asks)) and self._ask(several=most > 1)

    def _at_once(self, state: State) -> int:
        """How many requests to keep open."""
        most = self._session.lab.settings.researcher.parallel
        if most == 1 or not self._proposer.several:
            return 1
        thinking, running = state.asking.thinking_seconds, limits.usual_seconds(state)
        return at_once(max(1, len(self._devices())), thinking, running, most)

    def _read_history(self) -> bool:
        """Read the prior results, once the baselines are on their way."""
        state = self._session.state
        if self._history_known or not self._baselines_done(state):
            return False
        due = history.unread(state)
        if due:
            history.read(self._session)
        self._history_known = True
        return due

    def _join(self, state: State) -> bool:
        """Propose a change that won beside the frontier, or on another front, on top of it, unless they clash."""
        if (best := fronts.best_head(state)) is None:
            return False
        now = state.table.numbers, best.commit, len(state.experiments)
        if self._joined is not None and now[0] is self._joined[0] and now[1:] == self._joined[1:]:
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
        self._joined = now
        return False

    def _ask(self, *, several: bool) -> bool:
        session, researcher = self._session, self._session.lab.settings.researcher
        try:
            check_spend_limits(researcher, session.state)
            if not room_beside(researcher, session.state, timestamps.seconds(session.now())):
                return False
            self._record_program_version()
        except UserError as error:
            session.append(ev.PauseAsked("engine", str(error)))
            return True
        state, archive = session.state, session.archive
        start, files = self._start(state)
        if self._offline(start.front) and any(self._offline(ask.event.front) for ask in state.asks):
            return False  # it answers at once, and would give the same answer twice
        before = archive.files(start.base)
        asked = self._asked(state, start, before, several=several)
        session.append(asked)

        def brief() -> Brief:
            lessons = session.lessons.recall(state)
            refused = state.failed.refused if state.failed is not None else ""
            made = archive.brief(state, asked.number, start.base, start.front)
            return replace(
                made,
                lessons=lessons,
                fixes=asked.fixes,
                complaint=refused,
                direction=asked.direction,
                making=self._others(state, asked.stream),
                objections=_objected(state) if several else None,
                exploratory=_number_of(state, start.base) if start.exploratory else made.exploratory,
                files=made.files if files is None else files,
            )

        self._proposer.ask(
            ProposalRequest(
                number=asked.number,
                base=start.base,
                before=before,
                brief=brief,
                tried=lambda: archive.tried(session.state),
                python_path=session.python_path,
                by_words=not self._offline(start.front),
                smoke_test=SmokeTest(session.launcher, session.files.folder / _smoke_test(asked.stream)),
                tree=lambda: archive.paths(start.base),
                stream=asked.stream,
                perhaps_alike=lambda description: Attempts(session.state).perhaps_alike(description),
            )
        )
        return True

    def _asked(self, state: State, start: Start, files: Mapping[str, str], *, several: bool) -> ev.ProposalAsked:
        """The event of the next request, in the first free stream; several on one front get different directions."""
        used = {ask.stream for ask in state.asks}
        stream = next(number for number in range(len(used) + 1) if number not in used)
        number = max([len(state.experiments), *(ask.number + 1 for ask in state.asks)])
        fixes = start.fixes.number if start.fixes is not None else None
        beside = [ask.event.direction for ask in state.asks if ask.event.front == start.front]
        alone = not several or (self._session.lab.settings.search.several and not beside)
        alone = alone or self._offline(start.front)
        direction = ""
        if not (alone or start.exploratory or fixes is not None):
            direction = directions.choose(state, files, beside, number)
        return ev.ProposalAsked(
            number, start.base, state.failures + 1, start.exploratory, fixes, start.front, stream, direction
        )

    def _others(self, state: State, stream: int) -> tuple[str, ...]:
        """One line for each other open request: its subject, as far as known."""
        done = {attempt.number: attempt.description for attempt in self._proposer.claims.others(stream)}
        return tuple(
            f"#{ask.number}: {done.get(ask.number) or ask.event.direction or _about(ask.event)}" for ask in state.asks
        )

    def _offline(self, front: int) -> bool:
        """Whether the front uses the offline search, whose descriptions are alike by design and which cannot fix
        code."""
        return front_as_researcher(self._session.lab.settings, front).kind == OFFLINE

    def _author(self, front: int) -> str:
        """The author of a front's proposals; with the model, if the front has its own."""
        settings = self._session.lab.settings
        own = front_as_researcher(settings, front)
        return f"{own.kind} {own.model}" if own.model != settings.researcher.model else own.kind

    def _start(self, state: State) -> tuple[Start, Mapping[str, str] | None]:
        """Where the next proposal starts, and the files of a crash that it should fix, if any."""
        search = self._session.lab.settings.search
        start = base_choice.choose(state, can_fix=True, search=search)
        if start.fixes is None:
            return start, None
        # A crashed change that clashes with the new frontier is given up.
        draft = None if self._offline(start.front) else self._session.archive.draft(start.fixes, start.base)
        return (start, draft) if draft is not None else (base_choice.choose(state, can_fix=False, search=search), None)

    def _remember(self) -> None:
        verdicts = self._session.state.rows
        # Do not recreate the folder of a deleted lab.
        if verdicts != self._noted and self._session.files.folder.is_dir():
            # Only for reading: a failure must not stop the loop.
            with contextlib.suppress(OSError):
                self._session.lessons.keep(self._session.state)
            self._noted = verdicts

    def _use(self, answer: ProposalResult) -> None:
        state = self._session.state
        ask = state.asking.of(answer.stream)
        if ask is None or answer.number != ask.number:
            return
        if answer.proposal is None:
            self._failed(answer, ask.event.attempt)
            return
        first = min(answer.proposal.files)
        author = self._author(ask.event.front)
        answer = replace(answer, number=len(state.experiments))  # others may have taken the number meanwhile
        made = self._session.commits.made(answer, author, state.program, self._session.now())
        flags = made.flags
        if answer.duplicate_of is not None:
            why = f"nearly {answer.duplicate_of.name}; its researcher was told, and insists"
            flags = (*flags, flag_text(first, 1, "repeat", why))
        asked, near = ask.event, answer.duplicate_of
        # Another stream's proposal on its way to the loop has no commit yet, and no certain number.
        repeats = near.number if near is not None and near.commit and not (near.session or near.origin) else None
        self._session.append(
            replace(
                made,
                flags=flags,
                exploratory=asked.exploratory,
                fixes=asked.fixes,
                duplicate_of=repeats,
                front=asked.front,
                stream=asked.stream,
            )
        )
        if answer.number != asked.number:
            self._session.streams[asked.stream].say("researcher", f"── it is experiment {answer.number} now ──\n")
            self._session.streams[asked.stream].done("researcher")

    def _failed(self, answer: ProposalResult, attempt: int) -> None:
        tokens, state = answer.usage.input_tokens + answer.usage.output_tokens, self._session.state
        before = min(state.failures, attempt - 1)
        retry = None if answer.fatal else retry_seconds(answer.retry_after, before)
        if retry is not None and state.failed is not None and state.failed.retry_seconds is not None:
            # The same service may have asked another stream to wait longer.
            retry = max(retry, round(left(state.failed_at, state.failed.retry_seconds), 1))
        failed = ev.ProposalFailed(
            answer.number, answer.error, retry, tokens, answer.usage.usd, answer.outage, answer.refused
        )
        self._session.append(replace(failed, stream=answer.stream))
        self._pause_for_good()

    def _pause_for_good(self) -> bool:
        """Pause after a failure that a retry cannot help, unless another stream or an earlier engine has paused."""
        failed, paused = self._session.state.failed, self._session.state.paused
        if failed is None or failed.retry_seconds is not None or (paused is not None and paused.by == "engine"):
            return False
        self._session.append(ev.PauseAsked("engine", failed.error))
        return True

    def _baselines_done(self, state: State) -> bool:
        devices = self._devices()
        on_their_way, scored = state.experiments.known(_baselines, _both)
        runs = self._session.lab.settings.metric.baseline_runs
        if state.fleet.devices:
            return on_their_way >= max(runs - scored, fleet_baselines.wanted(state, devices))
        if on_their_way >= max(1, len(devices)):
            # Propose while they run, assuming that they succeed.
            return True
        # One for each device at once, so that all are measured under the same load.
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


def _baselines(chunk: Chunk) -> tuple[int, int]:
    """How many baselines are on their way, and how many have a score."""
    found = chunk.having(AUTHOR, BASELINE)
    return sum(1 for e in found if e.stage is not Stage.DONE), sum(1 for e in found if e.outcome in SCORED)


def _both(parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(part[0] for part in parts), sum(part[1] for part in parts)


def _backs_off(state: State) -> bool:
    """Whether to wait after a failure; then one request goes alone, and the others follow its answer."""
    if state.failed is not None and not due(state.failed_at, state.failed.retry_seconds):
        return True
    return any(ask.event.attempt > state.failures > 0 for ask in state.asks)


def _objected(state: State) -> tuple[int, ...]:
    """The numbers of proposals that went back at a critic's objection since the last request."""
    went_back = (e for e in state.experiments[-_RECENT:] if e.critic is not None and e.critic.goes_back)
    return tuple(e.number for e in went_back if e.criticised_at > state.asking.last)


def _smoke_test(stream: int) -> str:
    """The folder of a stream's smoke tests."""
    return f"smoke-test-{stream + 1}" if stream else "smoke-test"


def _about(asked: ev.ProposalAsked) -> str:
    """The subject of a request without a direction."""
    if asked.fixes is not None:
        return f"a fix of #{asked.fixes}, which crashed"
    return "another way from an earlier keep" if asked.exploratory else f"{front_name(asked.front)}"


def _number_of(state: State, commit: str) -> int | None:
    return next((e.number for e in state.experiments.having(COMMIT, commit)), None)
