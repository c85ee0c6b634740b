"""The contract between the loop and its researchers, critics and authors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import field

from autoresearch_tui.lab.editable import Change, Editable
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session.ends import JUDGED, Opinion, Outcome
from autoresearch_tui.util.frozen import Frozen

RAN = JUDGED | {Outcome.STOPPED, Outcome.GIVEN_UP}
"""The values of :attr:`Attempt.outcome` for an attempt that ran."""


class RunFacts(Frozen):
    """What a run did, from its log and the supervisor's clock. None if neither says.

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


class Attempt(Frozen):
    """One earlier experiment, as a researcher may see it.

    `outcome` is keep, discard, crash, stopped (by a human), given up (by the loop, because it was hopelessly behind),
    invalid, vetoed, withdrawn, scaled (a run at another scale, which decides nothing), confirming (its verdict waits
    for other runs), or waiting (proposed, not yet decided); `value` is the score, if any; `reason` explains the outcome
    (a veto's or a stop's reason, a crash's last log lines). `commit` and `base` are arguments for
    :attr:`Brief.files_at`. `edited`: a human changed it before it ran, so its hypothesis is about another change.
    `session`: the earlier session of this lab that it belongs to; empty for the current one and for prior results,
    which have no number. `front`: the frontier it belongs to, of several; `leads`: it was not kept, but is better than
    its own front. `objection`: why a critic disagreed, if it went back for that; `vetoed_by`: who vetoed it, in words.
    `transfer`: whether its gain holds at another scale. `origin`: the other lab that shared this result; its number is
    theirs, and nothing here has verified it. `base_there`: its base's score on the draw of `value`, if every verdict
    draws new data and the base was scored on it.
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


class Front(Frozen):
    """The frontier, of several, that a proposal is for. `name` is the human's, with the program's words for it.

    `stands`: the experiment that it starts from and must beat; None if that is the session's frontier.
    """

    number: int
    name: str
    stands: int | None


class Brief(Frozen):
    """Everything that a researcher gets for one proposal.

    `files` are the editable files at the frontier, by path; `locked` the fixed ones; `history` every earlier attempt,
    oldest first; `notes` the human's steering notes, oldest first; `complaint` says what was wrong with the previous
    answer (empty if there was none); `files_at(commit)` gives the editable files of an attempt.

    `prior` are results from before the session, oldest first; those of other loops have no numbers and are only as
    complete as their table. `shared` are other labs' results, the most valuable first. `tried(digest)`: whether an
    attempt of this session, or an earlier one that need not run again, had the setting of this
    :attr:`~autoresearch_tui.python_source.setting.Setting.digest`.

    `lessons` is a journal of what the experiments taught, which the human may have edited. `exploratory`: `files` are
    those of this earlier keep, not the frontier's, to start an exploratory branch. `continued`: the frontier is this
    experiment and not the best one, because a human chose it; a kept one must beat it. `fixes`: `files` are those that
    this experiment crashed with; the task is to fix the mistake. `combines`: for a critic, the experiment whose change
    won on its own base and is now applied to another win. `front`: the frontier, of several, that this is for;
    `program` has no section of the others. `editable`: which files may be added and removed. `direction`: of several
    researchers at work, the area of this one; `making`: the others' proposals in the making, one line each, with text
    of theirs; `objections`: the experiments that went back because of a critic and that no other researcher was told
    of; None: the last one, if it did. `evaluation`: how far its scores can be trusted by now, in a sentence or two, or
    empty.
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
    files_at: Callable[[str], Mapping[str, str]] = field(default=lambda _commit: {})
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


class Usage(Frozen):
    """The cost of a proposal. Tokens as counted by the API; `usd` is None if the price is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None

    def __add__(self, other: Usage) -> Usage:
        """The sum; unknown dollars are ignored."""
        known = [usd for usd in (self.usd, other.usd) if usd is not None]
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            sum(known) if known else None,
        )


class Proposal(Frozen):
    """One change: the new text of every editable file that it changes or adds, by path; None for one it removes."""

    description: str
    hypothesis: str
    files: Change
    usage: Usage = Usage()


class Criticism(Frozen):
    """A critic's opinion on one proposal; `reasons` are for the human, and for the researcher unless the critic
    agrees."""

    opinion: Opinion
    reasons: str
    usage: Usage = Usage()


class Page(Frozen):
    """A digest as its author wrote it, in Markdown."""

    text: str
    usage: Usage = Usage()


class ResearcherError(Exception):
    """No proposal, or no opinion, this time.

    `fatal`: asking again cannot help (a wrong key, a spend limit, nothing left to try): the loop pauses and says so.
    `retry_after`: seconds that the server asked to wait, if it did. `outage`: the network or the server is in trouble
    that will pass. `usage`: the cost of the failed attempt.
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
    """Called from a worker thread, one call at a time. Several at work at once are separate objects."""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """Returns one proposal, or None if the researcher had no idea this time.

        `say` takes pieces of text (thinking, tool calls, an agent's stdout) for the human to watch; `cancelled` is set
        when the answer is no longer wanted: return None soon after. Raises ResearcherError.
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
        """Returns a page for the human about the brief's session, or None if cancelled.

        `say` and `cancelled` are as in :meth:`Researcher.propose`. Raises ResearcherError.
        """
        ...
