"""Asks the researcher, in a thread of its own, beside the accelerator and never on its time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_tui.engine.proposing import duplicates, file_checks, preflight
from autoresearch_tui.engine.proposing.asking import Background
from autoresearch_tui.engine.proposing.briefing import Tried
from autoresearch_tui.engine.proposing.smoke_test import SmokeTest
from autoresearch_tui.engine.researcher_log import Voices
from autoresearch_tui.lab.editable import applied, change_between
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.python_source import setting
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal, Researcher, ResearcherError, Usage
from autoresearch_tui.session.prior_results import NEVER_RUN, REPEAT
from autoresearch_tui.util.errors import UserError

REPAIRS = 3


@dataclass(frozen=True, slots=True)
class ProposalResult:
    """What came of asking for experiment `number`: a checked proposal, or why there is none.

    `usage` is what all the asking cost. `retry_after` and `fatal` are the researcher's own word. `duplicate_of` is the
    experiment that the proposal is nearly the same as, where the researcher was told and insisted. `refused`: why its
    last answer was.
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


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """One request; `brief` and `tried` are made in the proposer's thread, for they read the repository.

    `before` are the editable files at `base`; the brief's may differ from them (a crash to fix).
    `tree`: every path at `base`, among which new files must find their place.
    `by_words`: descriptions are compared as well, and not only settings. `smoke_test`: runs before the answer.
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


class Proposer:
    """At most one question at a time; answers are delivered from its thread."""

    def __init__(self, researcher: Researcher, voices: Voices, deliver: Callable[[ProposalResult], None]) -> None:
        self._researcher = researcher
        self._voices = voices
        self._work: Background[ProposalResult] = Background("proposer", deliver)

    def ask(self, question: ProposalRequest) -> None:
        """Begin. The answer comes through `deliver`, unless cancelled."""
        self._work.start(lambda cancelled: self._answer(question, cancelled))

    def cancel(self) -> None:
        """The answer is no longer wanted; it is not delivered."""
        self._work.cancel()

    def _answer(self, question: ProposalRequest, cancelled: threading.Event) -> ProposalResult:
        try:
            return self._converse(question, cancelled)
        except UserError as error:
            return _failed(question, str(error), fatal=True)
        except BaseException as error:  # a researcher is a plug-in: neither its fault nor its exit ends the loop
            return _failed(question, f"the researcher failed: {type(error).__name__}: {error}")
        finally:
            self._voices.done("researcher")

    def _converse(self, question: ProposalRequest, cancelled: threading.Event) -> ProposalResult:
        tried = question.tried()
        brief = replace(question.brief(), tried=tried.before)
        usage = Usage()
        warned: set[str] = set()
        self._say(f"\n── experiment {question.number} ──\n")
        for turn in range(REPAIRS + 1):
            try:
                proposal = self._researcher.propose(brief, self._say, cancelled)
            except ResearcherError as error:
                spent = usage + error.usage
                failed = _failed(question, str(error), fatal=error.fatal, retry_after=error.retry_after, usage=spent)
                return replace(failed, outage=error.outage)
            if proposal is None:
                return _failed(question, "the researcher had no proposal", usage=usage)
            usage += proposal.usage
            problem = _check(question, brief, proposal, tried)
            if problem is None:
                made = _on_base(question, brief, proposal)
                repeats, why = _repeats(question, brief, made, tried)
                if repeats is not None and repeats.name not in warned and turn < REPAIRS:
                    warned.add(repeats.name)
                    problem = duplicates.message(repeats, why)
                else:
                    problem = self._try(question, brief, made, cancelled)
                if problem is None:
                    return ProposalResult(question.number, question.base, made, usage=usage, duplicate_of=repeats)
            self._say(f"preflight: {problem}\n")
            brief = replace(brief, complaint=problem)
        refused = f"preflight refused {REPAIRS + 1} proposals; the last: {problem}"
        return replace(_failed(question, refused, usage=usage), refused=problem or "")

    def _try(self, question: ProposalRequest, brief: Brief, made: Proposal, cancelled: threading.Event) -> str | None:
        """The lab's check, and two steps on the CPU, where the lab and the machine allow it; what fails for our own
        reasons passes."""
        test = question.smoke_test
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
        self._voices.say("researcher", text)


def _check(question: ProposalRequest, brief: Brief, proposal: Proposal, tried: Tried) -> str | None:
    after = applied(brief.files, proposal.files)
    problem = file_checks.check(question.before, after, brief.editable, question.tree)
    if problem is not None:
        return problem
    return preflight.check(question.before, after, tried=tried.codes, python_path=question.python_path)


def _on_base(question: ProposalRequest, brief: Brief, proposal: Proposal) -> Proposal:
    """The proposal as a change of the base's files, whatever files the researcher was given."""
    return replace(proposal, files=change_between(question.before, applied(brief.files, proposal.files)))


def _repeats(question: ProposalRequest, brief: Brief, made: Proposal, tried: Tried) -> tuple[Attempt | None, str]:
    """An earlier experiment that this is nearly the same as, and in what."""
    after = applied(question.before, made.files)
    same = tried.settings.get(setting.read(after).digest)
    if same is not None:
        return same, "the same values, only written in another way, as"
    if not question.by_words:
        return None, ""
    changed = tried.changes.get(preflight.change_print(question.before, after))
    if changed is not None:
        return changed, "the same change, of other code, as"
    skip = {brief.fixes} if brief.fixes is not None else set()
    ours = [attempt for attempt in brief.prior if attempt.session and attempt.outcome not in (NEVER_RUN, REPEAT)]
    near = duplicates.nearest(made.description, brief.history, skip) or duplicates.nearest(made.description, ours)
    return near, "nearly the same idea as"


def _failed(
    question: ProposalRequest,
    error: str,
    *,
    fatal: bool = False,
    retry_after: float | None = None,
    usage: Usage | None = None,
) -> ProposalResult:
    return ProposalResult(question.number, question.base, None, error, fatal, retry_after, usage or Usage())
