"""The contract between the loop and whatever proposes changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autoresearch_tui.lab.editable import Change, Editable
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.ends import JUDGED, Opinion, Outcome

RAN = JUDGED | {Outcome.STOPPED, Outcome.GIVEN_UP}
"""What :attr:`Attempt.outcome` may say of one that ran."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run did, by its own log and the supervisor's clock. None if neither says.

    `seconds_before`: imports and compilation, up to its training data; `seconds_after`: from its request to be scored
    to its end. `losses`: the training loss at each tenth of the budget, as far as it came. `columns`: the lab's further
    numbers, by name.
    """

    steps: float | None = None
    tokens_per_second: float | None = None
    mfu_percent: float | None = None
    memory_gb: float | None = None
    seconds_before: float | None = None
    seconds_after: float | None = None
    losses: tuple[float, ...] = ()
    columns: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One earlier experiment, as a researcher may see it.

    `outcome` is keep, discard, crash, stopped (by a human), given up (by the loop, for it was hopelessly behind),
    invalid, vetoed, withdrawn, scaled (a run at another scale, which decides nothing), confirming (its verdict waits
    for other runs), or waiting (proposed, not yet decided); `value` is the score, if any; `reason` says why (a veto's
    or a stop's reason, a crash's last log lines).
    `commit` and `base` are what :attr:`Brief.files_at` takes. `edited`: a human changed it by hand before it ran, so
    that its hypothesis is about another change. `session`: the earlier session of this lab that it belongs to; empty
    for the present one and for prior results, which have no number. `front`: which of several frontiers it belongs
    to; `leads`: it was not kept, and is better than where its own front stood. `objection`: why a critic did not agree,
    if it went back for that; `vetoed_by`: who vetoed it, in words. `transfer`: whether its gain holds at another scale.
    `origin`: who of another lab says so, of a shared result; its number is theirs, and nobody here has verified it.
    `base_there`: what its base scored on the draw of `value`, where every verdict draws new data and it was scored.
    """

    number: int
    commit: str
    base: str
    description: str
    hypothesis: str
    outcome: str
    value: float | None
    reason: str
    edited: bool = False
    session: str = ""
    run: RunFacts | None = None
    front: int = 0
    leads: bool = False
    objection: str = ""
    vetoed_by: str = "the human"
    transfer: str = ""
    origin: str = ""
    base_there: float | None = None

    @property
    def name(self) -> str:
        """`experiment 7`, or `experiment 7 of session nov27`, or of another lab."""
        if self.origin:
            return f"experiment {self.number} of {self.origin}, another lab whose word nobody here has checked"
        return f"experiment {self.number}" + (f" of session {self.session}" if self.session else "")


@dataclass(frozen=True, slots=True)
class Front:
    """The one of several frontiers that a proposal is for. `name` is the human's, with the program's words for it.

    `stands`: the experiment that it starts from and must beat; None where that is the session's frontier.
    """

    number: int
    name: str
    stands: int | None


@dataclass(frozen=True, slots=True)
class Brief:
    """Everything that a researcher gets for one proposal.

    `files` are the editable files at the frontier, by path; `locked` the fixed ones; `history` every earlier
    attempt, oldest first; `notes` the human's steering notes, oldest first; `complaint` is what was wrong with
    the answer given just before (empty if there was none); `files_at(commit)` gives the editable files of an attempt.

    `prior` are results from before the session, oldest first; others' have no numbers and are only as complete as their
    table. `shared` are other labs', what is worth most first. `tried(digest)`: whether an attempt of this
    session, or one before it that need not run again, had the setting of this
    :attr:`~autoresearch_tui.python_source.setting.Setting.digest`.

    `lessons` is what the experiments taught, as a journal that the human may have edited. `exploratory`: `files` are
    those of this earlier keep, not the frontier's; an exploratory branch is to start there. `continued`: the frontier
    is this experiment and not the best one, for a human chose it; what is kept must beat it. `fixes`: `files` are
    those that this experiment crashed with; the task is to fix the mistake. `combines`: for a critic, the experiment
    whose change, which won on its own base, is put on top of another win. `front`: where there are several
    frontiers, the one that this is for; `program` has no other's section. `editable`: which files may be added, and
    removed. `direction`: of several researchers at work at once, what this one is to look at; `making`: what the others
    are at, one line each, with words of theirs; `objections`: the experiments that went back on a critic's word and
    that no other was told of; None: the last one, if it did. `evaluation`: how far its scores can be trusted by now, in
    a sentence or two; empty: nothing to say.
    """

    number: int
    base: str
    program: str
    files: Mapping[str, str]
    locked: Mapping[str, str]
    metric: str
    goal: Goal
    budget_seconds: float
    history: Sequence[Attempt]
    notes: tuple[str, ...] = ()
    complaint: str = ""
    files_at: Callable[[str], Mapping[str, str]] = field(default=lambda _commit: {}, repr=False)
    lessons: str = ""
    prior: tuple[Attempt, ...] = ()
    shared: tuple[Attempt, ...] = ()
    exploratory: int | None = None
    fixes: int | None = None
    combines: int | None = None
    continued: int | None = None
    front: Front | None = None
    tried: Callable[[str], bool] = lambda _digest: False
    editable: Editable = field(default_factory=Editable)
    evaluation: str = ""
    direction: str = ""
    making: tuple[str, ...] = ()
    objections: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a proposal cost. Tokens as counted by the API; `usd` is None if the price is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        """Both together: the dollars that are known."""
        known = [usd for usd in (self.usd, other.usd) if usd is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(known) if known else None,
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """One change: the new text of every editable file that it changes or adds, by path; None for one it removes."""

    description: str
    hypothesis: str
    files: Change
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Criticism:
    """What a critic says of one proposal; `reasons` are for the human, and for the researcher if it does not agree."""

    opinion: Opinion
    reasons: str
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Page:
    """A digest as its author wrote it, in Markdown."""

    text: str
    usage: Usage = Usage()


class ResearcherError(Exception):
    """No proposal, or no opinion, this time.

    `fatal`: asking again cannot help (a wrong key, a spend limit, nothing left to try): the loop pauses and says so.
    `retry_after`: seconds that the other side asked to wait, if it did.
    `outage`: the network or the other side is in trouble, which passes by itself.
    `usage`: what the failed attempt cost.
    """

    def __init__(
        self,
        message: str,
        *,
        fatal: bool = False,
        retry_after: float | None = None,
        usage: Usage | None = None,
        outage: bool = False,
    ) -> None:
        super().__init__(message)
        self.fatal = fatal
        self.retry_after = retry_after
        self.usage = usage or Usage()
        self.outage = outage or retry_after is not None


class Researcher(Protocol):
    """Called from a worker thread, one call at a time: of several at work at once, each is an object of its own."""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """Returns one proposal, or None if the researcher had no idea this time.

        `say` takes pieces of text (thinking, tool calls, an agent's stdout) for the human to watch; `cancelled` is
        set when the answer is no longer wanted: return None soon after. Raises ResearcherError.
        """
        ...


class Critic(Protocol):
    """Called from a worker thread, one call at a time."""

    def judge(
        self,
        brief: Brief,
        proposal: Proposal,
        risks: Sequence[str],
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Criticism | None:
        """Returns an opinion on a change of the brief's files, or None if cancelled; `risks` are its risk matches.

        The brief is the researcher's, without this proposal in its history; `say` and `cancelled` are as in
        :meth:`Researcher.propose`. Raises ResearcherError.
        """
        ...


class Author(Protocol):
    """Called from a worker thread, one call at a time."""

    def write(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Page | None:
        """Returns one page for the human on what the brief tells of the session, or None if cancelled.

        `say` and `cancelled` are as in :meth:`Researcher.propose`. Raises ResearcherError.
        """
        ...
