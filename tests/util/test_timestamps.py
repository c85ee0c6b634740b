"""One form of time in everything that is written."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.util import timestamps

MOMENTS = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS, MOMENTS)
def test_timestamps_read_back_and_sort_as_text(a: datetime, b: datetime) -> None:
    one, other = timestamps.stamp(a), timestamps.stamp(b)
    assert abs(timestamps.parse(one) - a) < timedelta(milliseconds=1)
    assert (one < other) == (timestamps.parse(one) < timestamps.parse(other))
    assert timestamps.between(one, other) == max(0.0, timestamps.seconds(other) - timestamps.seconds(one))


def test_the_form_is_the_journals() -> None:
    there = datetime(2026, 11, 21, 3, 12, 0, 5000, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert timestamps.stamp(there) == "2026-11-20T21:42:00.005Z"
    assert timestamps.parse("2026-11-21T03:12:00.005+05:30") == there
    assert timestamps.parse("2026-11-20T21:42:00.005000Z") == there


def test_now_is_now() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert before <= timestamps.parse(timestamps.now()) <= datetime.now(UTC)


def test_what_is_missing_takes_no_time_and_a_clock_set_back_neither() -> None:
    assert timestamps.seconds("") == 0.0
    assert timestamps.between("", "2026-11-20T21:42:00.000Z") == 0.0
    assert timestamps.between("2026-11-20T21:42:00.000Z", "2026-11-20T21:41:00.000Z") == 0.0
    with pytest.raises(ValueError, match="isoformat"):
        timestamps.parse("yesterday")


@pytest.mark.parametrize(
    ("zone", "now", "text", "moment"),
    [
        ("Europe/Berlin", "2026-11-20T21:00Z", "07:00", "2026-11-21T06:00Z"),
        ("Europe/Berlin", "2026-11-20T05:00Z", "07:00", "2026-11-20T06:00Z"),
        ("Europe/Berlin", "2026-11-20T06:00Z", "07:00", "2026-11-21T06:00Z"),
        # The clocks are put back in this night, and forward in that one.
        ("Europe/Berlin", "2026-10-24T20:00Z", "07:00", "2026-10-25T06:00Z"),
        ("Europe/Berlin", "2026-03-28T20:00Z", "07:00", "2026-03-29T05:00Z"),
        ("America/Los_Angeles", "2026-11-20T07:30Z", "0:15", "2026-11-20T08:15Z"),
        ("Asia/Kolkata", "2026-11-20T07:30Z", "2026-12-24T07:00", "2026-12-24T01:30Z"),
        ("Asia/Kolkata", "2026-11-20T07:30Z", "2026-12-24T07:00Z", "2026-12-24T07:00Z"),
    ],
)
def test_the_next_time_that_the_clock_on_the_wall_shows_an_hour(
    monkeypatch: pytest.MonkeyPatch, zone: str, now: str, text: str, moment: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert timestamps.upcoming(text, timestamps.parse(now)) == timestamps.parse(moment)
    finally:
        monkeypatch.undo()
        time.tzset()
