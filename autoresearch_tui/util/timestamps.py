"""Timestamps as journals and reports write them: UTC, ISO 8601, milliseconds, `Z`. They sort as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> str:
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """Formats an aware datetime of any time zone."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """Reads a timestamp of any precision and offset. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def seconds(text: str) -> float:
    """The timestamp in seconds since 1970; 0 if it is empty. Raises ValueError."""
    return parse(text).timestamp() if text else 0.0


def between(start: str, end: str) -> float:
    """Seconds from one timestamp to another; 0 if one is empty, or if the clock was set back in between."""
    return max(0.0, seconds(end) - seconds(start)) if start and end else 0.0


def upcoming(text: str, now: datetime) -> datetime:
    """The next moment at which local clocks show `text` (HH:MM), or the moment that `text` names if it has a date.

    `now` is aware. Raises ValueError if it is neither.
    """
    if len(text) <= 5:
        clock = datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007
        today = now.astimezone().replace(tzinfo=None)
        for day in (0, 1):
            # Naive, so that it holds across a change to or from summer time.
            moment = datetime.combine(today.date() + timedelta(days=day), clock).astimezone()
            if moment > now:
                return moment
    return datetime.fromisoformat(text).astimezone()
