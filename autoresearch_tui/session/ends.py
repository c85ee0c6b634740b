"""How experiments, runs and engines end, as the journal and `exit.json` have it.

Imports nothing, for supervisors use it.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of an experiment."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    STOPPED = "stopped"
    """A run that a human ended for good: in an experiment's status alone. Its verdict, and results.tsv, say crash."""
    GIVEN_UP = "given up"
    """A run that the engine ended, for it was hopelessly behind: as STOPPED, but its verdict says discard."""
    INVALID = "invalid"
    VETOED = "vetoed"
    WITHDRAWN = "withdrawn"
    SCALED = "scaled"
    """A run at another scale, which decides nothing: it has a score, and no value."""

    @property
    def participle(self) -> str:
        """For sentences: kept, discarded, crashed, invalid, vetoed, withdrawn."""
        return {"keep": "kept", "discard": "discarded", "crash": "crashed"}.get(self, str(self))


SCORED = frozenset({Outcome.KEEP, Outcome.DISCARD})
FAILED = frozenset({Outcome.CRASH, Outcome.INVALID})
JUDGED = SCORED | FAILED
"""The outcomes of experiments that ran: those that results.tsv has rows of."""
TO_EXPLAIN = FAILED | {Outcome.STOPPED, Outcome.GIVEN_UP, Outcome.VETOED, Outcome.WITHDRAWN, Outcome.SCALED}
"""Those whose reason says more than a score."""


class Opinion(StrEnum):
    """What a critic says of a proposal before it runs."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    NONE = "none"
    """It gave no answer."""


class RunEnd(StrEnum):
    """Why a run is over."""

    FINISHED = "finished"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    DISK_FULL = "disk full"
    KILLED = "killed"
    """By a human's pause or stop, or because its engine found it invalid or gave it up."""
    LOST = "lost"
    """Its supervisor is gone without a word."""


class EngineEnd(StrEnum):
    """Why an engine let go of its session."""

    DETACHED = "detached"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
