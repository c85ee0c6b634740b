"""What the journal says of several requests at once, and what is shown of them."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import encode
from autoresearch_tui.session.outline import outline, recall, snapshot
from autoresearch_tui.session.status import View, status
from autoresearch_tui.util import timestamps
from tests.night import Night


def several(*streams: int) -> Night:
    """A session whose baseline trains while these streams think."""
    night = Night()
    number = night.proposal()
    night.approve(number, "engine")
    night.add(ev.RunStarted(number, night.commit(number), 1, ""))
    for place, stream in enumerate(streams):
        night.add(ev.ProposalAsked(1 + place, night.base, 1, stream=stream))
    return night


def test_what_comes_of_a_request_is_about_its_own_stream() -> None:
    night = several(0, 1, 2)
    night.add(ev.ProposalFailed(2, "no idea", 2.0, 100, 0.5, stream=1))
    assert [ask.stream for ask in night.state.asks] == [0, 2]
    night.proposal("wider", stream=2, usd=0.25, tokens=50)
    assert [(ask.stream, ask.number) for ask in night.state.asks] == [(0, 1)]
    assert (night.state.failures, night.state.failed) == (0, None)
    night.repeat(0)
    assert len(night.state.asks) == 1, "a repeat answers nobody"
    assert night.state.asking.expected.usd == pytest.approx((0.5 + 0.25) / 2)
    night.engine()
    assert night.state.asks == ()
    assert night.state.asking.thinking_seconds is not None


def test_those_that_were_sent_together_fail_once() -> None:
    night = several(0, 1, 2, 3)
    for stream in range(3):
        night.add(ev.ProposalFailed(1 + stream, "exit code 1", 2.0, stream=stream))
    assert (night.state.failures, night.state.failing_proposals.count) == (1, 1)
    night.add(ev.ProposalAsked(5, night.base, 2))
    night.add(ev.ProposalFailed(5, "exit code 1", 4.0))
    assert (night.state.failures, night.state.failing_proposals.count) == (2, 2)
    # One of the first that has worked shows that it can.
    night.proposal("wider", stream=3)
    assert (night.state.failures, night.state.failing_proposals.count) == (0, 0)


def test_an_answer_that_was_asked_for_before_an_outage_does_not_end_it() -> None:
    night = several(0, 1)
    night.add(ev.ProposalFailed(1, "529 overloaded", 30.0, outage=True))
    night.proposal("wider", stream=1)
    assert night.state.failures == 1
    assert night.state.failed is not None
    night.add(ev.ProposalAsked(2, night.base, 2))
    night.proposal("deeper")
    assert (night.state.failures, night.state.failed) == (0, None)


def test_the_outline_has_them_all_and_the_status_line_counts_them() -> None:
    night = several(0, 1, 2)
    journal = night.journal
    again = recall(snapshot(outline(night.state), len(journal), zlib.crc32(journal)), journal)
    assert again == outline(night.state)
    found = status(View(outline(night.state), timestamps.seconds(night.state.time) + 60), 120)
    assert found.next.text == "next: 3 proposals are being made · 1:04"
    night.add(ev.ProposalFailed(1, "no idea", 2.0), ev.ProposalFailed(2, "no idea", 2.0, stream=1))
    found = status(View(outline(night.state), timestamps.seconds(night.state.time) + 60), 120)
    assert found.next.text.startswith("next: #3 is being proposed")


def test_one_at_a_time_is_written_as_it_always_was() -> None:
    night = several(0)
    night.proposal("wider")
    lines = b"".join(map(encode, night.records))
    assert b"stream" not in lines
    assert b"direction" not in lines


@given(st.lists(st.tuples(st.sampled_from("asked made failed outage repeat engine".split()), st.integers(0, 3))))
def test_a_stream_has_one_request_at_a_time_whatever_comes(steps: list[tuple[str, int]]) -> None:
    night = Night()
    night.proposal()
    for step, stream in steps:
        before = night.state
        match step:
            case "asked" if before.asking.of(stream) is None:
                number = max([night.count, *(ask.number + 1 for ask in before.asks)])
                night.add(ev.ProposalAsked(number, night.base, before.failures + 1, stream=stream))
            case "made" if before.asking.of(stream) is not None:
                night.proposal("wider", stream=stream)
                assert night.state.failures in (0, before.failures)
            case "failed" | "outage" if before.asking.of(stream) is not None:
                night.add(ev.ProposalFailed(1, "no", 2.0, outage=step == "outage", stream=stream))
                assert night.state.failures in (before.failures, before.failures + 1)
            case "repeat":
                night.repeat(0)
                assert night.state.asks == before.asks
            case "engine":
                night.engine()
                assert night.state.asks == ()
        streams = [ask.stream for ask in night.state.asks]
        assert len(streams) == len(set(streams))
        assert len({ask.number for ask in night.state.asks}) == len(streams)
