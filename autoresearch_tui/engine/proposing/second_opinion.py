"""Asks a critic about each proposal before it runs, beside the loop, which never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.engine.gate import BASELINE, REPEAT
from autoresearch_tui.engine.proposing.asking import Background, check_spend_limits, retry_seconds
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.editable import change_between
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.researchers.base import Brief, Critic, Criticism, Proposal, ResearcherError, Usage
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.clock import due
from autoresearch_tui.session.ends import Opinion
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

REASONS_LIMIT = 600
"""The most characters of an opinion's reasons."""
_UNDECIDED = (Stage.PROPOSED, Stage.REVIEW)


class CriticResult(Frozen):
    """A critic's answer about `commit`: an opinion, or why there is none. `usage`: the cost."""

    number: int
    commit: str
    criticism: Criticism | None
    error: str = ""
    fatal: bool = False
    retry_after: float | None = None
    usage: Usage = field(default_factory=Usage)


class SecondOpinions:
    """One question at a time, the oldest proposal first. Used in the engine's thread. Raises OSError, GitError."""

    def __init__(
        self,
        session: Session,
        critic: Critic | None,
        deliver: Callable[[CriticResult], None],
        fits: Callable[[Experiment], bool],
    ) -> None:
        """`fits`: whether a run of the experiment could end in time."""
        self._session = session
        self._critic = critic
        self._work: Background[CriticResult] = Background("critic", deliver)
        self._fits = fits
        self._result: CriticResult | None = None

    def take(self, result: CriticResult) -> None:
        self._result = result

    def cancel(self) -> None:
        """Cancel the question."""
        self._work.cancel()

    def step(self) -> bool:
        """Use an answer, or ask; False if neither is due."""
        if self._result is not None:
            self._use(self._result)
            self._result = None
            return True
        state = self._session.state
        if self._critic is None or state.critic_asked is not None or state.paused or state.stopping:
            return False
        experiment = next((e for e in state.waiting if _wants_opinion(e) and self._fits(e)), None)
        if experiment is None:
            return False
        self._ask(self._critic, experiment)
        return True

    def _ask(self, critic: Critic, experiment: Experiment) -> None:
        session, state = self._session, self._session.state
        try:
            check_spend_limits(session.lab.settings.researcher, state)
        except UserError as error:
            session.append(ev.CriticAnswered(experiment.number, experiment.commit, Opinion.NONE, str(error)))
            return
        session.append(ev.CriticAsked(experiment.number, experiment.commit, experiment.critic_attempts + 1))

        def judge(cancelled: threading.Event) -> CriticResult:
            try:
                return self._judged(critic, state, experiment, cancelled)
            finally:
                session.voices.done("critic")

        self._work.start(judge)

    def _judged(self, critic: Critic, state: State, experiment: Experiment, cancelled: threading.Event) -> CriticResult:
        """Runs in the critic's thread. Any failure is a result."""

        def say(text: str) -> None:
            self._session.voices.say("critic", text)

        number, commit = experiment.number, experiment.commit
        say(f"\n── a second opinion on experiment {number} ──\n")
        try:
            brief, proposal = self._case(state, experiment)
            found = critic.judge(brief, proposal, experiment.proposal.flags, say, cancelled)
        except ResearcherError as error:
            failed = CriticResult(number, commit, None, str(error), error.fatal, error.retry_after, error.usage)
            self._session.voices.conclude("critic", failed.error)
            return failed
        except (UserError, GitError, OSError) as error:
            return CriticResult(number, commit, None, str(error))
        except BaseException as error:  # neither a plug-in's error nor its exit ends the loop
            return CriticResult(number, commit, None, f"the critic failed: {type(error).__name__}: {error}")
        if found is None:
            return CriticResult(number, commit, None, "the critic had no opinion")
        self._session.voices.conclude("critic", f"{found.opinion}: {found.reasons}")
        return CriticResult(number, commit, found, usage=found.usage)

    def _case(self, state: State, experiment: Experiment) -> tuple[Brief, Proposal]:
        """The researcher's brief, and the change as it would run."""
        made, archive = experiment.proposal, self._session.archive
        brief = archive.brief(state, made.number, made.base, made.front, but=made.number)
        before, after = archive.files(made.base), archive.files(made.commit)
        files = change_between(before, after)
        proposal = Proposal(made.description, "" if experiment.edited else made.hypothesis, files)
        start = next((e.number for e in state.experiments if e.commit == made.base), None)
        exploratory = start if made.exploratory else None
        return replace(brief, fixes=made.fixes, combines=made.combines, exploratory=exploratory), proposal

    def _use(self, result: CriticResult) -> None:
        state = self._session.state
        asked = state.critic_asked
        if asked is None or asked.number != result.number:
            return
        experiment = state.experiments[result.number]
        found = result.criticism
        answered = ev.CriticAnswered(
            number=result.number,
            # The state has its present commit, if it was rebased meanwhile.
            commit=asked.commit,
            opinion=found.opinion if found else Opinion.NONE,
            reasons=describe(found.reasons if found else result.error, REASONS_LIMIT),
            tokens=result.usage.input_tokens + result.usage.output_tokens,
            usd=result.usage.usd,
        )
        if found is None and not result.fatal:
            answered = replace(answered, retry_seconds=retry_seconds(result.retry_after, asked.attempt - 1))
        elif found is not None and found.opinion != Opinion.AGREE and experiment.stage in _UNDECIDED:
            rounds = self._session.lab.settings.review.critic.rounds
            answered = replace(answered, goes_back=sent_back_before(state, result.number) < rounds)
        self._session.append(answered)


def _wants_opinion(experiment: Experiment) -> bool:
    if experiment.proposal.author in (BASELINE, REPEAT) or experiment.approved_by.startswith("human"):
        return False
    answer = experiment.critic
    if answer is None:
        return True
    return answer.opinion == Opinion.NONE and due(experiment.criticised_at, answer.retry_seconds)


def sent_back_before(state: State, number: int) -> int:
    """How many proposals in a row before `number` went back to the researcher and did not run."""
    count = 0
    for experiment in reversed(state.experiments[:number]):
        if experiment.proposal.author in (BASELINE, REPEAT):
            continue
        if experiment.critic is None or not experiment.critic.goes_back or experiment.approved_by:
            break
        count += 1
    return count
