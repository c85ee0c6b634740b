"""How experiments, runs and engines end, as written in the journal and `exit.json`.

Imports nothing, so that supervisors start quickly.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    STOPPED = "stopped"
    """A run that a human ended for good. Only a status: the verdict, and results.tsv, say crash."""
    GIVEN_UP = "given up"
    """A run that the engine ended because it was hopelessly behind. Only a status: the verdict says discard."""
    INVALID = "invalid"
    VETOED = "vetoed"
    WITHDRAWN = "withdrawn"
    SCALED = "scaled"
    """A run at another scale. It decides nothing: it has a score but no value."""

    @property
    def participle(self) -> str:
        """For sentences: kept, discarded, crashed; others are the same."""
        return {"keep": "kept", "discard": "discarded", "crash": "crashed"}.get(self, str(self))


SCORED = frozenset({Outcome.KEEP, Outcome.DISCARD})
FAILED = frozenset({Outcome.CRASH, Outcome.INVALID})
JUDGED = SCORED | FAILED
"""The outcomes of experiments that ran, which have rows in results.tsv."""
TO_EXPLAIN = FAILED | {Outcome.STOPPED, Outcome.GIVEN_UP, Outcome.VETOED, Outcome.WITHDRAWN, Outcome.SCALED}
"""The outcomes whose reason says more than a score."""


class Opinion(StrEnum):
    """A critic's opinion of a proposal before it runs."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"
    NONE = "none"
    """The critic gave no answer."""


class RunEnd(StrEnum):
    FINISHED = "finished"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"
    TIMED_OUT = "timed out"
    DISK_FULL = "disk full"
    KILLED = "killed"
    """By a human's pause or stop, or because the engine invalidated it or gave it up."""
    LOST = "lost"
    """Its supervisor is gone and left no result."""


class EngineEnd(StrEnum):
    """Why an engine left its session."""

    DETACHED = "detached"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
