"""Asks researchers, each in its own thread, and checks their proposals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.engine.proposing import duplicates, file_checks, preflight
from autoresearch_tui.engine.proposing.asking import Background, cancel_all
from autoresearch_tui.engine.proposing.briefing import Tried
from autoresearch_tui.engine.proposing.smoke_test import SmokeTest
from autoresearch_tui.engine.researcher_log import Streams, Voices
from autoresearch_tui.lab.editable import applied, change_between
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.python_source import setting
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal, Researcher, ResearcherError, Usage
from autoresearch_tui.session.prior_results import NEVER_RUN, REPEAT
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen

REPAIRS = 3


class ProposalResult(Frozen):
    """The result of a request for experiment `number`: a checked proposal, or why there is none.

    `usage`: the total cost. `retry_after` and `fatal` are the researcher's. `duplicate_of`: the attempt that it nearly
    repeats, if the researcher was warned and insisted. `refused`: why its last answer was refused.
    """

    number: int
    base: str
    proposal: Proposal | None
    error: str = ""
    fatal: bool = False
    retry_after: float | None = None
    usage: Usage = field(default_factory=Usage)
    duplicate_of: Attempt | None = None
    outage: bool = False
    refused: str = ""
    stream: int = 0


class ProposalRequest(Frozen):
    """One request. Its functions read the repository, so they are called in the proposer's thread.

    `tried` and `perhaps_alike` give the present state, as others may land during the request;
    `perhaps_alike(description)`: attempts, newest first, that include any that may be nearly the same idea.

    `before`: the editable files at `base`; the brief's may differ (a crash to fix). `tree`: every path at `base`, for
    checking new files. `by_words`: also compare descriptions, not only settings. `smoke_test`: runs before the answer.
    """

    number: int
    base: str
    before: Mapping[str, str]
    brief: Callable[[], Brief]
    tried: Callable[[], Tried]
    python_path: tuple[Path, ...]
    by_words: bool = True
    smoke_test: SmokeTest | None = None
    tree: Callable[[], Collection[str]] = tuple
    stream: int = 0
    perhaps_alike: Callable[[str], Iterable[Attempt]] = lambda _description: ()


class Claim(Frozen):
    """A proposal that passed all but its last check, and is no experiment yet."""

    code: str
    setting: str
    attempt: Attempt


class Claims:
    """The claims by stream, so that two streams never propose the same. Hold the `lock` to look and then claim."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._claims: dict[int, Claim] = {}

    def hold(self, stream: int, number: int, before: Mapping[str, str], made: Proposal) -> None:
        """Claim this proposal for the stream."""
        after = applied(before, made.files)
        attempt = Attempt(number, "", "", made.description, made.hypothesis, "waiting", None, "")
        self._claims[stream] = Claim(preflight.fingerprint(after), setting.read(after).digest, attempt)

    def drop(self, stream: int) -> None:
        """The proposal became an experiment, or was refused."""
        self._claims.pop(stream, None)

    def others(self, stream: int) -> tuple[Attempt, ...]:
        """The claims of the other streams."""
        return tuple(claim.attempt for place, claim in self._all() if place != stream)

    def beside(self, stream: int, tried: Tried) -> Tried:
        """What was tried, including the claims of other streams."""
        others = [claim for place, claim in self._all() if place != stream]
        codes = {claim.code: claim.attempt.number for claim in others}
        settings = {claim.setting: claim.attempt for claim in others}

        def code(print_: str) -> int | str | None:
            found = tried.code(print_)
            return codes.get(print_) if found is None else found

        return replace(tried, code=code, setting=lambda digest: tried.setting(digest) or settings.get(digest))

    def _all(self) -> list[tuple[int, Claim]]:
        return sorted(self._claims.copy().items())


class Proposer:
    """One request at a time in each stream, each with its own researcher."""

    def __init__(
        self,
        researcher: Researcher,
        another: Callable[[], Researcher] | None,
        streams: Streams,
        deliver: Callable[[ProposalResult], None],
    ) -> None:
        """`another` makes a further researcher like the first; None: only one stream. `deliver` is called in their
        threads."""
        self.claims = Claims()
        self.several = another is not None
        """Whether several requests can be open at once."""
        self._researchers = {0: researcher}
        self._another = another
        self._streams = streams
        self._deliver = deliver
        self._works: dict[int, Background[ProposalResult]] = {}

    def ask(self, question: ProposalRequest) -> None:
        """Begin. The answer comes through `deliver`, unless cancelled."""
        work = self._works.setdefault(question.stream, Background(f"proposer {question.stream}", self._deliver))
        work.start(lambda cancelled: self._answer(question, cancelled))

    def cancel(self) -> None:
        """Cancel all requests; no answer is delivered."""
        cancel_all(self._works.values())

    def _answer(self, question: ProposalRequest, cancelled: threading.Event) -> ProposalResult:
        voices = self._streams[question.stream]
        try:
            return _Conversation(question, self._researcher(question.stream), self.claims, voices).hold(cancelled)
        except UserError as error:
            return _failed(question, str(error), fatal=True)
        except BaseException as error:  # neither a plug-in's error nor its exit ends the loop
            return _failed(question, f"the researcher failed: {type(error).__name__}: {error}")
        finally:
            voices.done("researcher")

    def _researcher(self, stream: int) -> Researcher:
        """The stream's own researcher, as it may remember its last answer."""
        if stream not in self._researchers:
            assert self._another is not None
            self._researchers[stream] = self._another()
        return self._researchers[stream]


class _Conversation(Frozen):
    """From a request to a proposal that passes the checks."""

    question: ProposalRequest
    researcher: Researcher
    claims: Claims
    voices: Voices

    def hold(self, cancelled: threading.Event) -> ProposalResult:
        """Ask, check, and ask again."""
        question = self.question
        brief = question.brief()
        usage = Usage()
        warned: set[str] = set()
        self._say(f"\n── experiment {question.number} ──\n")
        for turn in range(REPAIRS + 1):
            try:
                proposal = self.researcher.propose(brief, self._say, cancelled)
            except ResearcherError as error:
                spent = usage + error.usage
                failed = _failed(question, str(error), fatal=error.fatal, retry_after=error.retry_after, usage=spent)
                return replace(failed, outage=error.outage)
            if proposal is None:
                return _failed(question, "the researcher had no proposal", usage=usage)
            usage += proposal.usage
            made = _on_base(question, brief, proposal)
            problem, repeats = self._look(brief, proposal, made, warned if turn < REPAIRS else None)
            problem = problem or self._try(brief, made, cancelled)
            if problem is None:
                found = ProposalResult(question.number, question.base, made, usage=usage, duplicate_of=repeats)
                return replace(found, stream=question.stream)
            self.claims.drop(question.stream)
            self._say(f"preflight: {problem}\n")
            brief = replace(brief, complaint=problem)
        refused = f"preflight refused {REPAIRS + 1} proposals; the last: {problem}"
        return replace(_failed(question, refused, usage=usage), refused=problem or "")

    def _look(
        self, brief: Brief, proposal: Proposal, made: Proposal, warned: set[str] | None
    ) -> tuple[str | None, Attempt | None]:
        """What is wrong with a proposal, and what it repeats, as of now. If it passes, it is claimed.

        `warned`: the repeats that the researcher was warned of and may insist on; None: no further warnings.
        """
        question = self.question
        with self.claims.lock:
            tried = self.claims.beside(question.stream, question.tried())
            problem = _check(question, brief, proposal, tried)
            if problem is not None:
                return problem, None
            repeats, why = _repeats(question, brief, self.claims.others(question.stream), made, tried)
            if repeats is not None and warned is not None and repeats.name not in warned:
                warned.add(repeats.name)
                return duplicates.message(repeats, why), None
            self.claims.hold(question.stream, question.number, question.before, made)
            return None, repeats

    def _try(self, brief: Brief, made: Proposal, cancelled: threading.Event) -> str | None:
        """Run the lab's check and the two steps on the CPU, if lab and machine allow. Failures of our own do not
        count."""
        question, test = self.question, self.question.smoke_test
        if test is None:
            return None
        problem: str | None = None
        if not test.why_no_check():
            self._say("preflight: the lab's check\n")
            problem = self._tried("check", lambda: test.check(question.base, made.files, cancelled))
        after = applied(question.before, made.files)
        if problem is None and not test.why_not({**brief.locked, **after}):
            self._say("preflight: two small steps on the CPU\n")
            problem = self._tried("smoke test", lambda: test.run(question.base, made.files, cancelled))
        return problem

    def _tried(self, what: str, run: Callable[[], str | None]) -> str | None:
        try:
            return run()
        except (OSError, GitError) as error:
            self._say(f"preflight: no {what}: {error}\n")
            return None

    def _say(self, text: str) -> None:
        self.voices.say("researcher", text)


def _check(question: ProposalRequest, brief: Brief, proposal: Proposal, tried: Tried) -> str | None:
    after = applied(brief.files, proposal.files)
    problem = file_checks.check(question.before, after, brief.editable, question.tree)
    if problem is not None:
        return problem
    return preflight.check(question.before, after, tried=tried.code, python_path=question.python_path)


def _on_base(question: ProposalRequest, brief: Brief, proposal: Proposal) -> Proposal:
    """The proposal as a change of the base's files, whatever files the researcher was given."""
    return replace(proposal, files=change_between(question.before, applied(brief.files, proposal.files)))


def _repeats(
    question: ProposalRequest, brief: Brief, others: Sequence[Attempt], made: Proposal, tried: Tried
) -> tuple[Attempt | None, str]:
    """The earlier attempt, or claim of the `others`, that this nearly repeats, and in what way."""
    after = applied(question.before, made.files)
    same = tried.setting(setting.read(after).digest)
    if same is not None:
        return same, "the same values, only written in another way, as"
    if not question.by_words:
        return None, ""
    changed = tried.change(preflight.change_print(question.before, after))
    if changed is not None:
        return changed, "the same change, of other code, as"
    skip = {brief.fixes} if brief.fixes is not None else set()
    ours = [attempt for attempt in brief.prior if attempt.session and attempt.outcome not in (NEVER_RUN, REPEAT)]
    known = chain(reversed(others), question.perhaps_alike(made.description))
    near = duplicates.nearest(made.description, known, skip) or duplicates.nearest(made.description, reversed(ours))
    return near, "nearly the same idea as"


def _failed(
    question: ProposalRequest,
    error: str,
    *,
    fatal: bool = False,
    retry_after: float | None = None,
    usage: Usage | None = None,
) -> ProposalResult:
    failed = ProposalResult(question.number, question.base, None, error, fatal, retry_after, usage or Usage())
    return replace(failed, stream=question.stream)
