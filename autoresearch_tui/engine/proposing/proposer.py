"""Asks the researcher, in a thread of its own, beside the accelerator and never on its time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoresearch_tui.engine.ledger import GitError
from autoresearch_tui.engine.proposing import preflight, similar
from autoresearch_tui.engine.proposing.briefing import Tried
from autoresearch_tui.engine.running.trial import Trial
from autoresearch_tui.errors import UserError
from autoresearch_tui.researchers.base import Brief, Proposal, Researcher, ResearcherError, Usage
from autoresearch_tui.text import clean_text

REPAIRS = 3
CANCEL_SECONDS = 0.4
_LOG_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking for experiment `number`: a checked proposal, or why there is none.

    `usage` is what all the asking cost. `retry_after` and `fatal` are the researcher's own word. `repeats` is the
    experiment that the proposal is nearly the same as, where the researcher was told and insisted.
    """

    number: int
    base: str
    proposal: Proposal | None
    error: str = ""
    fatal: bool = False
    retry_after: float | None = None
    usage: Usage = field(default_factory=Usage)
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One request; `brief` and `tried` are made in the proposer's thread, for they read the repository.

    `before` are the editable files at `base`; the brief's may differ from them (a crash that is to be mended).
    `by_words`: descriptions are compared as well, and not only settings. `trial`: steps on the CPU before the answer.
    """

    number: int
    base: str
    before: Mapping[str, str]
    brief: Callable[[], Brief]
    tried: Callable[[], Tried]
    python_path: tuple[Path, ...]
    by_words: bool = True
    trial: Trial | None = None


class Proposer:
    """At most one question at a time; answers are delivered from its thread."""

    def __init__(self, researcher: Researcher, log: Path, deliver: Callable[[Answer], None]) -> None:
        self._researcher = researcher
        self._log = log
        self._deliver = deliver
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self, question: Question) -> None:
        """Begin. The answer comes through `deliver`, unless cancelled."""
        self._cancelled = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(question, self._cancelled), name="proposer", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """The answer is no longer wanted; it is not delivered. An agent's processes get a moment to be ended."""
        self._cancelled.set()
        if self._thread is not None:
            self._thread.join(CANCEL_SECONDS)

    def _work(self, question: Question, cancelled: threading.Event) -> None:
        try:
            answer = self._converse(question, cancelled)
        except UserError as error:
            answer = _failed(question, str(error), fatal=True)
        except Exception as error:  # a researcher is somebody's plug-in: its fault must not end the loop
            answer = _failed(question, f"the researcher failed: {type(error).__name__}: {error}")
        if not cancelled.is_set():
            self._deliver(answer)

    def _converse(self, question: Question, cancelled: threading.Event) -> Answer:
        brief, tried = question.brief(), question.tried()
        usage = Usage()
        warned: set[int] = set()
        self._say(f"\n── experiment {question.number} ──\n")
        for turn in range(REPAIRS + 1):
            try:
                proposal = self._researcher.propose(brief, self._say, cancelled)
            except ResearcherError as error:
                spent = usage + error.usage
                return _failed(question, str(error), fatal=error.fatal, retry_after=error.retry_after, usage=spent)
            if proposal is None:
                return _failed(question, "the researcher had no proposal", usage=usage)
            usage += proposal.usage
            problem = _check(question, brief, proposal, tried)
            if problem is None:
                made = _on_base(question, brief, proposal)
                repeats, why = _repeats(question, brief, made, tried)
                if repeats is not None and repeats not in warned and turn < REPAIRS:
                    warned.add(repeats)
                    problem = similar.told(brief.history[repeats], why)
                else:
                    problem = self._try(question, brief, made, cancelled)
                if problem is None:
                    return Answer(question.number, question.base, made, usage=usage, repeats=repeats)
            self._say(f"preflight: {problem}\n")
            brief = replace(brief, complaint=problem)
        return _failed(question, f"preflight refused {REPAIRS + 1} proposals; the last: {problem}", usage=usage)

    def _try(self, question: Question, brief: Brief, made: Proposal, cancelled: threading.Event) -> str | None:
        """Two steps on the CPU, where the lab and the machine allow it; what fails here for our own reasons passes."""
        after = {**question.before, **made.files}
        if question.trial is None or question.trial.why_not({**brief.locked, **after}):
            return None
        self._say("preflight: two small steps on the CPU\n")
        try:
            return question.trial.run(question.base, after, cancelled)
        except (OSError, GitError) as error:
            self._say(f"preflight: no trial: {error}\n")
            return None

    def _say(self, text: str) -> None:
        # For watching only: a full disk must not cost a proposal.
        try:
            if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT:
                self._log.replace(self._log.with_suffix(".old.log"))
            with self._log.open("a", encoding="utf-8") as file:
                file.write(clean_text(text))
        except OSError:
            pass


def _check(question: Question, brief: Brief, proposal: Proposal, tried: Tried) -> str | None:
    strangers = sorted(set(proposal.files) - set(brief.files))
    if strangers:
        return f"{', '.join(strangers)}: not editable; a proposal may change {', '.join(brief.files)} only"
    after = {**brief.files, **proposal.files}
    return preflight.check(question.before, after, tried=tried.codes, python_path=question.python_path)


def _on_base(question: Question, brief: Brief, proposal: Proposal) -> Proposal:
    """The proposal as a change of the base's files, whatever files the researcher was given."""
    after = {**brief.files, **proposal.files}
    return replace(proposal, files={path: text for path, text in after.items() if text != question.before.get(path)})


def _repeats(question: Question, brief: Brief, made: Proposal, tried: Tried) -> tuple[int | None, str]:
    """An earlier experiment that this is nearly the same as, and in what."""
    setting = similar.setting({**question.before, **made.files})
    number = tried.settings.get(setting) if setting is not None else None
    if number is not None:
        return number, "the same values, only written in another way, as"
    if not question.by_words:
        return None, ""
    skip = {brief.mends} if brief.mends is not None else set()
    return similar.nearest(made.description, brief.history, skip), "nearly the same idea as"


def _failed(
    question: Question,
    error: str,
    *,
    fatal: bool = False,
    retry_after: float | None = None,
    usage: Usage | None = None,
) -> Answer:
    return Answer(question.number, question.base, None, error, fatal, retry_after, usage or Usage())
