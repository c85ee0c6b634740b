"""When to ask again, as agents and APIs say it."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.researchers.retry_time import LONGEST_SECONDS, seconds_until

NOW = datetime(2026, 11, 28, 17, 0, tzinfo=ZoneInfo("Europe/Berlin"))  # a Saturday


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("You've hit your usage limit. Upgrade to Pro or try again at 7:12 PM.", "28 19:12:00"),
        ("You've hit your usage limit. Try again at 7:12 AM.", "29 07:12:00"),
        ("try again at Dec 3rd, 2026 7:12 PM", "03 19:12:00"),
        ("try again at 19:12", "28 19:12:00"),
        ("available again at 12:05 a.m.", "29 00:05:00"),
        ("You've hit your limit · resets 11pm (Europe/Berlin)", "28 23:00:00"),
        ("5-hour limit reached ∙ resets 5pm (UTC)", "28 18:00:00"),
        ("Limit reached ∙ resets 1pm (America/New_York)", "28 19:00:00"),
        ("Limit reached ∙ resets 11am PST", "28 20:00:00"),
        ("Weekly limit reached ∙ resets Dec 3, 3am", "03 03:00:00"),
        ("your plan resets Monday 3pm", "30 15:00:00"),
        ("resets midnight (UTC)", "29 01:00:00"),
        ("try again tomorrow at 09:00", "29 09:00:00"),
        ("Try again in 3 hours.", "28 20:00:00"),
        ("Please try again in 3 hours 12 minutes.", "28 20:12:00"),
        ("try again in 2 days, 3 hours and 5 minutes", "30 20:05:00"),
        ("wait an hour", "28 18:00:00"),
        ("reached your daily limit. It resets in 2h 5m", "28 19:05:00"),
        ("Your quota will reset after 18h14m7s.", "29 11:14:07"),
        ("Rate limit reached for requests. Please try again in 6m0s. Visit https://x/y", "28 17:06:00"),
        ("Please retry in 34.0s.", "28 17:00:34"),
        ('"retryDelay": "34s"', "28 17:00:34"),
        ("429 Too Many Requests\nRetry-After: 30\n", "28 17:00:30"),
        ("retry after 90", "28 17:01:30"),
        ("Retry-After: Sat, 28 Nov 2026 18:12:00 GMT", "28 19:12:00"),
        ('{"resets_at": 1795890000}', "28 19:20:00"),
        ("Claude AI usage limit reached|1795890000", "28 19:20:00"),
        ("resets at 2026-11-28T18:00:00Z", "28 19:00:00"),
        ("limit resets at 2026-11-28 19:30", "28 19:30:00"),
        # just over: the clocks differ a little, and the limit is as good as gone
        ("Limit resets at 16:55", "28 17:01:00"),
    ],
)
def test_a_time_that_is_named_is_read(text: str, then: str) -> None:
    seconds = seconds_until(text, NOW)
    assert seconds is not None
    assert (NOW + timedelta(seconds=seconds)).strftime("%d %H:%M:%S") == then


@pytest.mark.parametrize(
    "text",
    [
        "exceeded retry limit, last status: 429 Too Many Requests",
        "the API gave no answer (529 overloaded); attempt 3 of 10",
        "rate limit of 30,000 input tokens per minute",
        "reset after 5 tries",
        "error: 3 minutes without an answer",
        "try again at 45:99",
        "try again in 5 years, or in 900 days",
        "resets Foo 77, 3am",
        "Overloaded",
        "",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert seconds_until(text, NOW) is None


@given(st.text(max_size=40), st.sampled_from(["try again at ", "resets ", "Retry-After: ", "in ", "limit reached|"]))
def test_no_words_whatever_break_it(text: str, lead: str) -> None:
    seconds = seconds_until(lead + text, NOW)
    assert seconds is None or 0 <= seconds <= LONGEST_SECONDS
