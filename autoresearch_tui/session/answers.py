"""Pure: the answer to a request, from its record in the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import looks
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line


class Answer(Frozen):
    """`done`: the request is fulfilled. `text` is one line."""

    done: bool
    text: str


def answer(event: ev.Event) -> Answer:
    """The answer that the record with a request's id gives."""
    if isinstance(event, ev.CommandRefused):
        about = "" if event.number is None else f"#{event.number}: "
        return Answer(False, clean_line(f"{about}{event.why}"))
    return Answer(True, clean_line(_DONE[type(event)](event)) if type(event) in _DONE else "done")


def _again(event: ev.ProposalMade) -> str:
    return f" with {event.scale:g} times the budget" if event.scale else " again"


def _overruled(event: ev.VerdictOverruled) -> str:
    if event.verdict == Outcome.KEEP:
        return f"#{event.number} is kept, and the search continues from it"
    return f"#{event.number} is a {event.verdict} now"


_DONE: Mapping[type, Callable[[Any], str]] = {
    ev.CommandRedundant: lambda event: event.why,
    ev.ProposalApproved: lambda event: f"#{event.number} approved",
    ev.ProposalVetoed: lambda event: f"#{event.number} vetoed",
    ev.ProposalRebased: lambda event: f"#{event.number} edited and approved, as commit {event.commit[:7]}",
    ev.NoteGiven: lambda _: "the next request to the researcher has your note",
    ev.NoteWithdrawn: lambda _: "the note is taken back",
    ev.DigestAsked: lambda _: "the digest is being written",
    ev.BudgetRenewed: lambda event: f"the testing budget is renewed, after {looks.counted(event.looks)}",
    ev.HoldoutAsked: lambda _: "the holdout is being opened",
    ev.PauseAsked: lambda event: f"paused; the present run {'is requeued' if event.stop_run else 'continues'}",
    ev.Resumed: lambda _: "resumed",
    ev.StopAsked: lambda event: f"the session stops {'now' if event.when == 'now' else 'after the present run'}",
    ev.RunStopAsked: lambda event: f"the run of #{event.number} is stopped",
    ev.StopCancelled: lambda _: "the session keeps going",
    ev.JudgementUndone: lambda event: f"the decision on #{event.number} is taken back",
    ev.ProposalHeld: lambda event: f"#{event.number} is {'held' if event.why else 'released'}",
    ev.ProposalMade: lambda event: f"#{event.repeat_of} will run{_again(event)}, as #{event.number}",
    ev.VerdictOverruled: _overruled,
    ev.FrontierMoved: lambda event: f"the search continues from #{event.number}",
}
