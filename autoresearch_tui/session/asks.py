"""Pure: the open requests to researchers, and the time and cost of the last answers.

Several may be open at once, each in a stream of its own, numbered from 0. A session that asks for one proposal at a
time uses stream 0 alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.failures import Streak
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen

if TYPE_CHECKING:
    from autoresearch_tui.session.state import State

_LAST = 9


class Ask(Frozen):
    """An open request, and when it was made."""

    event: ev.ProposalAsked
    at: str

    @property
    def number(self) -> int:
        """The number that its experiment will probably have."""
        return self.event.number

    @property
    def stream(self) -> int:
        return self.event.stream


class Answered(Frozen):
    """The cost of an answer; `seconds` is None if it had no proposal."""

    seconds: float | None
    tokens: int
    usd: float


class WaitingNote(Frozen):
    """A steering note that no request has carried yet; `seq` is its record's."""

    seq: int
    text: str


class Asking(Frozen):
    """The open requests and the last answers, oldest first.

    `outage`: the last failure was an outage, and no request made since has been answered. `last`: when the newest
    request was made.
    """

    asks: tuple[Ask, ...] = ()
    answered: tuple[Answered, ...] = ()
    outage: bool = False
    last: str = ""

    def of(self, stream: int) -> Ask | None:
        """The open request of a stream."""
        return next((ask for ask in self.asks if ask.stream == stream), None)

    @property
    def thinking_seconds(self) -> float | None:
        """The median time of the last answers, from request to proposal; None before the first."""
        took = [each.seconds for each in self.answered if each.seconds is not None]
        import statistics  # slow to import, and readers of an outline do not need it

        return statistics.median(took) if took else None

    @property
    def expected(self) -> Answered:
        """What the open requests will cost if each costs the mean of the last answers that cost anything."""
        paid = [one for one in self.answered if one.tokens or one.usd]
        each = len(self.asks) / len(paid) if paid else 0.0
        return Answered(None, int(each * sum(one.tokens for one in paid)), each * sum(one.usd for one in paid))


def after_request(state: State, event: ev.ProposalAsked, time: str) -> Asking:
    """A new request replaces the open one of its stream."""
    others = tuple(ask for ask in state.asking.asks if ask.stream != event.stream)
    return replace(state.asking, asks=(*others, Ask(event, time)), last=time)


def after_proposal(state: State, event: ev.ProposalMade, time: str) -> Mapping[str, Any]:
    """The fields that an answer with a proposal changes. One asked for before an outage does not end the outage."""
    works = {"failed": None, "failures": 0, "failing_proposals": Streak()}
    ask = state.asking.of(event.stream)
    if ask is None or event.commit == event.base:  # a baseline answers nothing
        return works
    late = state.asking.outage and ask.event.attempt <= state.failures
    answer = Answered(round(timestamps.between(ask.at, time), 3), event.tokens, event.usd or 0.0)
    asking = _without(state.asking, event.stream, answer, outage=late)
    return {"asking": asking} if late else {"asking": asking, **works}


def after_failure(state: State, event: ev.ProposalFailed, time: str) -> Mapping[str, Any]:
    """The fields that an answer without a proposal changes. Requests open at the same time fail together, once."""
    ask = state.asking.of(event.stream)
    again = ask is None or ask.event.attempt > state.failures
    counts = again and not event.outage
    answer = Answered(None, event.tokens, event.usd or 0.0)
    return {
        "asking": _without(state.asking, event.stream, answer, outage=event.outage),
        "failed": event,
        "failed_at": time,
        "failures": state.failures + again,
        "failing_proposals": state.failing_proposals.after(event.error) if counts else state.failing_proposals,
        "failed_usd": state.failed_usd + (event.usd or 0.0),
        "failed_tokens": state.failed_tokens + event.tokens,
    }


def after_engine(asking: Asking) -> Asking:
    """Open requests die with their engine."""
    return replace(asking, asks=())


def _without(asking: Asking, stream: int, answer: Answered, *, outage: bool) -> Asking:
    rest = tuple(ask for ask in asking.asks if ask.stream != stream)
    return replace(asking, asks=rest, answered=(*asking.answered, answer)[-_LAST:], outage=outage)
