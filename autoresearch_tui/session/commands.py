"""Everything a human can ask for, as one closed family of immutable values.

A command that answers a question names the `commit` that was on the screen; a late or repeated answer does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Protocol

from msgspec import Meta

from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.util.frozen import Frozen

Number = Annotated[int, Meta(ge=0, lt=1_000_000_000)]


class _Command(Frozen, tag_field="command", tag=True, forbid_unknown_fields=True):
    """Its JSON has the class's name as `command`."""


class Approve(_Command):
    """Train this proposal."""

    number: Number
    commit: str


class Veto(_Command):
    """Do not train this proposal, and tell the researcher why."""

    number: Number
    commit: str
    reason: str


class Revise(_Command):
    """Train this text instead, and approve it: new contents of the proposal's files by path, None to remove a file.

    Other files stay as proposed. `description`: what the change is now; empty for the researcher's.
    """

    number: Number
    commit: str
    files: Mapping[str, str | None]
    description: str = ""


class Attend(_Command):
    """A human is at this proposal: it is neither decided by the policy nor launched until that is `over`.

    `why`: "read" and "answer" end by themselves after ten minutes without another such command; "hold" does not.
    """

    number: Number
    commit: str
    over: bool = False
    why: str = "answer"


class Pause(_Command):
    """Launch nothing new; `stop_run` also stops the present run and requeues its proposal."""

    stop_run: bool = False


class Resume(_Command):
    """Resume, and retry at once whatever waits for another attempt."""


class StopRun(_Command):
    """End the present run only; it counts as a crash, and the researcher gets the `reason`."""

    number: Number
    reason: str = ""


class Repeat(_Command):
    """Run this experiment's commit again under another seed, to measure the noise."""

    number: Number


class Transfer(_Command):
    """Run this experiment's commit, and the baseline, once at the lab's larger scale."""

    number: Number


class Overrule(_Command):
    """Keep what was not kept, or discard what was: `verdict` is keep or discard."""

    number: Number
    verdict: Outcome
    reason: str


class ContinueFrom(_Command):
    """Let the next proposals start from this experiment, which is kept if it was not."""

    number: Number


class Note(_Command):
    """A steering note for the researcher's next request."""

    text: str


class WriteDigest(_Command):
    """Write a page about the session so far."""


class RenewBudget(_Command):
    """Allow as many further looks at the evaluation as the testing budget has."""


class OpenHoldout(_Command):
    """Score the best and the baseline on the holdout, once and for all."""


class WithdrawNote(_Command):
    """Take back the note of record `seq`; refused once a request has carried it."""

    seq: Number


class Stop(_Command):
    """End the session's engine: after the present run, or now (its proposal is requeued)."""

    now: bool = False


class CancelStop(_Command):
    """Do not end the session after the present run."""


class Undo(_Command):
    """Take back the last judgement, which is that of record `seq`."""

    seq: Number


class Detach(_Command):
    """Leave the session as it is to the next engine."""


Command = (
    Approve
    | Veto
    | Revise
    | Attend
    | Pause
    | Resume
    | StopRun
    | Repeat
    | Transfer
    | Overrule
    | ContinueFrom
    | Note
    | WithdrawNote
    | WriteDigest
    | RenewBudget
    | OpenHoldout
    | Stop
    | CancelStop
    | Undo
    | Detach
)


class Host(Protocol):
    """An engine, in this process or another. It takes commands; the screen learns what happens from the journal."""

    @property
    def elsewhere(self) -> bool:
        """Whether it is in another process."""

    @property
    def overdue(self) -> bool:
        """Whether an engine elsewhere has left a command untouched for a while."""

    @property
    def failure(self) -> str:
        """Why the engine ended by itself, in one line; empty while all is well."""

    @property
    def blocked(self) -> str:
        """Why the journal cannot be written at this moment (a full disk); empty while it can."""

    @property
    def alive(self) -> bool:
        """Whether the engine is at work."""

    def start(self) -> None:
        """Begin, or resume, in a thread of its own. Returns at once."""

    def send(self, command: Command) -> None:
        """Hand over a command. Never blocks."""

    def follow(self, over: Callable[[], bool]) -> None:
        """Called by the screen's timer: become the engine, if the one elsewhere has gone and the session is not over.

        Never blocks. `over` asks the journal as it is by then.
        """

    def detach(self) -> None:
        """Release the session within two seconds; the present run continues under its supervisor."""
