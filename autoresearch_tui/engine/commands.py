"""Everything a human can ask for, as one closed family of frozen dataclasses.

A command that answers a question names what was on the screen (`commit`); a late or repeated answer does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Approve:
    """Train this proposal."""

    number: int
    commit: str


@dataclass(frozen=True, slots=True)
class Veto:
    """Do not train this proposal, and tell the researcher why."""

    number: int
    commit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revise:
    """Train this text instead: the new contents of editable files, by path. Approved by being written."""

    number: int
    commit: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Attend:
    """A human is at an answer about this proposal: nothing decides it nor launches it until that is `over`."""

    number: int
    commit: str
    over: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Launch nothing new; `stop_run` also stops the present run and puts its proposal back."""

    stop_run: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on, and try at once whatever waits for another try."""


@dataclass(frozen=True, slots=True)
class StopRun:
    """End the present run only; it counts as a crash with the reason «stopped»."""

    number: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Run this experiment's commit once more under another seed, to see how far equal runs lie apart."""

    number: int


@dataclass(frozen=True, slots=True)
class Overrule:
    """Keep what was not kept, or discard what was: `verdict` is keep or discard."""

    number: int
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class ContinueFrom:
    """Let the next proposals start from this experiment; one that was not kept is kept thereby."""

    number: int


@dataclass(frozen=True, slots=True)
class Note:
    """A steering note for the researcher's next request."""

    text: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session's engine: after the present run, or now (its proposal is put back)."""

    now: bool = False


@dataclass(frozen=True, slots=True)
class Detach:
    """Let go of the session and leave everything as it is for the engine that comes next."""


Command = (
    Approve
    | Veto
    | Revise
    | Attend
    | Pause
    | Resume
    | StopRun
    | Repeat
    | Overrule
    | ContinueFrom
    | Note
    | Stop
    | Detach
)
