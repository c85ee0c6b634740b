"""Pure: the requests to researchers that are in the making, and what the last answers took.

Several may be in the making at once. They are known by their streams: each has one of its own, numbered from 0, and a
stream has one request at a time. In a session that asks for one proposal at a time, all are in stream 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.failures import Streak
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen, replaced

if TYPE_CHECKING:
    from autoresearch_tui.session.state import State

_LAST = 9


class Ask(Frozen):
    """A request that has no answer yet, and when it was made."""

    event: ev.ProposalAsked
    at: str

    @property
    def number(self) -> int:
        """The experiment that it will probably be."""
        return self.event.number

    @property
    def stream(self) -> int:
        return self.event.stream


class Answered(Frozen):
    """What an answer took; `seconds` is None if there was no proposal in it."""

    seconds: float | None
    tokens: int
    usd: float


class WaitingNote(Frozen):
    """A steering note that no request had yet; `seq` is that of its record."""

    seq: int
    text: str


class Asking(Frozen):
    """`asks` are in the making, oldest first; `answered` are the last answers, oldest first.

    `outage`: the last failure was one, and nothing that was asked since has been answered. `last`: when the newest
    request was made.
    """

    asks: tuple[Ask, ...] = ()
    answered: tuple[Answered, ...] = ()
    outage: bool = False
    last: str = ""

    def of(self, stream: int) -> Ask | None:
        """What is in the making in a stream."""
        return next((ask for ask in self.asks if ask.stream == stream), None)

    @property
    def thinking_seconds(self) -> float | None:
        """The median of the last answers, from request to proposal; None before the first."""
        took = [each.seconds for each in self.answered if each.seconds is not None]
        import statistics  # not needed by those who only read what was worked out

        return statistics.median(took) if took else None

    @property
    def expected(self) -> Answered:
        """What the requests in the making will cost if each costs the mean of the last answers that cost anything."""
        paid = [one for one in self.answered if one.tokens or one.usd]
        each = len(self.asks) / len(paid) if paid else 0.0
        return Answered(None, int(each * sum(one.tokens for one in paid)), each * sum(one.usd for one in paid))


def after_request(state: State, event: ev.ProposalAsked, time: str) -> Asking:
    """With one more in the making; whatever was in its stream is not any more."""
    others = tuple(ask for ask in state.asking.asks if ask.stream != event.stream)
    return replaced(state.asking, asks=(*others, Ask(event, time)), last=time)


def after_proposal(state: State, event: ev.ProposalMade, time: str) -> Mapping[str, Any]:
    """What a state has after an answer with a proposal.

    One that was asked for before an outage says nothing about how things are since.
    """
    works = {"failed": None, "failures": 0, "failing_proposals": Streak()}
    ask = state.asking.of(event.stream)
    if ask is None or event.commit == event.base:  # a baseline answers nothing
        return works
    late = state.asking.outage and ask.event.attempt <= state.failures
    answer = Answered(round(timestamps.between(ask.at, time), 3), event.tokens, event.usd or 0.0)
    asking = _without(state.asking, event.stream, answer, outage=late)
    return {"asking": asking} if late else {"asking": asking, **works}


def after_failure(state: State, event: ev.ProposalFailed, time: str) -> Mapping[str, Any]:
    """What a state has after an answer without one. Requests that were in the making together fail together, once."""
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
    """Whatever was in the making died with its engine."""
    return replaced(asking, asks=())


def _without(asking: Asking, stream: int, answer: Answered, *, outage: bool) -> Asking:
    rest = tuple(ask for ask in asking.asks if ask.stream != stream)
    return replaced(asking, asks=rest, answered=(*asking.answered, answer)[-_LAST:], outage=outage)
