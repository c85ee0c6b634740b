"""The contract between the loop and whatever proposes changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Attempt:
    """One earlier experiment, as a researcher may see it.

    `outcome` is keep, discard, crash, invalid, vetoed, withdrawn, or waiting (proposed, not yet decided);
    `value` is the score where there is one; `reason` says why (a veto's reason, a crash's last log lines).
    `commit` and `base` are what :attr:`Brief.files_at` takes.
    """

    number: int
    commit: str
    base: str
    description: str
    hypothesis: str
    outcome: str
    value: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Brief:
    """Everything that a researcher is told for one proposal.

    `files` are the editable files at the frontier, by path; `locked` the fixed ones; `history` every earlier
    attempt, oldest first; `notes` the human's steering notes, oldest first; `complaint` is what was wrong with
    the answer given just before (empty the first time); `files_at(commit)` gives the editable files of an attempt.

    `earlier` are results from before the session, oldest first, as far as their table told: without numbers.

    `lessons` is what the experiments taught, as a journal that the human may have edited. `side`: `files` are not at
    the frontier, but those of this earlier keep, from which a branch of its own is to start. `mends`: `files` are
    those that this experiment crashed with; the mistake is to be mended.
    """

    number: int
    base: str
    program: str
    files: Mapping[str, str]
    locked: Mapping[str, str]
    metric: str
    goal: str
    budget_seconds: float
    history: tuple[Attempt, ...]
    notes: tuple[str, ...] = ()
    complaint: str = ""
    files_at: Callable[[str], Mapping[str, str]] = field(default=lambda _commit: {}, repr=False)
    lessons: str = ""
    earlier: tuple[Attempt, ...] = ()
    side: int | None = None
    mends: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a proposal cost. Tokens as counted by the API; `usd` is None where the price is not known."""

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
    """One change: the new text of every editable file that it changes, by path."""

    description: str
    hypothesis: str
    files: Mapping[str, str]
    usage: Usage = Usage()


class ResearcherError(Exception):
    """No proposal this time.

    `fatal`: asking again cannot help (a wrong key, a spend limit, nothing left to try): the loop pauses and says so.
    `retry_after`: seconds that the other side asked to wait, where it did.
    `usage`: what the attempt cost all the same.
    """

    def __init__(
        self, message: str, *, fatal: bool = False, retry_after: float | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(message)
        self.fatal = fatal
        self.retry_after = retry_after
        self.usage = usage or Usage()


class Researcher(Protocol):
    """Called from a worker thread, one call at a time."""

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """One proposal, or None where the researcher had no idea this time.

        `say` takes pieces of text (thinking, tool calls, an agent's stdout) for the human to watch; `cancelled` is
        set when the answer is no longer wanted: return None soon after. Raises ResearcherError.
        """
        ...
