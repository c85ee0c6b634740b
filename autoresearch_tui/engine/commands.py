"""Everything a human can ask for, as one closed family of values that do not change.

A command that answers a question names what was on the screen (`commit`); a late or repeated answer does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch_tui.frozen import Frozen


class Approve(Frozen):
    """Train this proposal."""

    number: int
    commit: str


class Veto(Frozen):
    """Do not train this proposal, and tell the researcher why."""

    number: int
    commit: str
    reason: str


class Revise(Frozen):
    """Train this text instead: the new contents of editable files, by path. Approved by being written."""

    number: int
    commit: str
    files: Mapping[str, str]


class Attend(Frozen):
    """A human is at an answer about this proposal: nothing decides it nor launches it until that is `over`."""

    number: int
    commit: str
    over: bool = False


class Pause(Frozen):
    """Launch nothing new; `stop_run` also stops the present run and puts its proposal back."""

    stop_run: bool = False


class Resume(Frozen):
    """Go on, and try at once whatever waits for another try."""


class StopRun(Frozen):
    """End the present run only; it counts as a crash with the reason «stopped on request»."""

    number: int


class Repeat(Frozen):
    """Run this experiment's commit once more under another seed, to see how far equal runs lie apart."""

    number: int


class Overrule(Frozen):
    """Keep what was not kept, or discard what was: `verdict` is keep or discard."""

    number: int
    verdict: str
    reason: str


class ContinueFrom(Frozen):
    """Let the next proposals start from this experiment; one that was not kept is kept thereby."""

    number: int


class Note(Frozen):
    """A steering note for the researcher's next request."""

    text: str


class Stop(Frozen):
    """End the session's engine: after the present run, or now (its proposal is put back)."""

    now: bool = False


class Detach(Frozen):
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
