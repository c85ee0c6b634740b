"""When to ask again, read from an agent's or an API's message. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LONGEST_SECONDS = 8 * 86_400.0
"""A weekly limit and a day: a later time is not taken for one to wait for."""

_PASSED = timedelta(minutes=30)  # a clock time up to this long ago has just passed, rather than being tomorrow's
_SOON = 60.0
_CHARS = 20_000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_SPELLED = {
    "s": "secs?|seconds?|s",
    "m": "mins?|minutes?|m",
    "h": "hrs?|hours?|h",
    "d": "days?|d",
    "w": "weeks?|w",
    "ms": "milliseconds?|msecs?|ms",
}
_UNIT = re.compile("|".join(f"(?P<{name}>{words})" for name, words in _SPELLED.items()), re.IGNORECASE)
_WORDS = "|".join(sorted("|".join(_SPELLED.values()).replace("s?", "").split("|"), key=len, reverse=True))
_NUMBER = r"(?:\d+(?:\.\d+)?\s*|(?:an?|one|two|three)\s+)"
_PART = re.compile(rf"({_NUMBER})((?:{_WORDS})s?)(?![a-z])", re.IGNORECASE)
_PARTS = rf"{_NUMBER}(?:{_WORDS})s?(?![a-z])(?:(?:,|\s|and|&)*{_NUMBER}(?:{_WORDS})s?(?![a-z]))*"
_SPELLED_NUMBERS = {"a": 1.0, "an": 1.0, "one": 1.0, "two": 2.0, "three": 3.0}
# Words that introduce a time. A number without them is not a time to wait for.
_AGAIN = r"(?:(?:try|ask|come|check)(?:ing)?\s+(?:your\s+request\s+)?(?:again|back)|retry|retrying|wait|available)"
_RESET = r"(?:resets?|reset\s+time|renews?|refresh(?:es)?|restored?|lifts?|expires?|until|ends?)"
_LEAD = rf"(?:{_AGAIN}|{_RESET})"
_IN = re.compile(
    rf"\b{_LEAD}\b[^\n.;]{{0,24}}?(?:\b(?:in|after|for|about|another)\s+)*\s*(?:about\s+|~\s*)?({_PARTS})",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"\b(?:x-)?(retry[-_ ]?after(?:[-_ ]?(ms))?|retry[-_ ]?delay|resets?[-_ ]?(?:in|after)(?:[-_ ]?seconds)?)\b"
    r"[\"']?(?:\s*[:=]\s*|\s+)[\"']?(\d+(?:\.\d+)?)(ms|s|m|h)?(?![\w:.-]*[:-]\d|\s*[a-z])",
    re.IGNORECASE,
)
_DATE_FIELD = re.compile(
    r"retry[-_ ]?after[\"']?\s*[:=]\s*[\"']?(?:[a-z]{3},\s*)?(\d{1,2} [a-z]{3} \d{4} \d\d:\d\d:\d\d) GMT", re.IGNORECASE
)
_ISO = re.compile(
    rf"\b{_LEAD}\b[^\n]{{0,40}}?"
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|UTC|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_EPOCH = re.compile(
    r"(?:limit reached\||reset(?:s|_at|_time|s_at)?[\"']?\s*[:=|]\s*[\"']?)(\d{10}(?:\d{3})?)\b", re.IGNORECASE
)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "mon tue wed thu fri sat sun".split()
_CLOCK = re.compile(
    rf"""\b{_LEAD}\b[^\n;]{{0,16}}?\s
    (?:(?:at|on|after)\s+)*
    (?:(?P<weekday>{"|".join(_DAYS)})[a-z]*,?\s+(?:at\s+)?)?
    (?:(?P<month>{"|".join(_MONTHS)})[a-z]*\.?\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(?P<year>\d{{4}}))?,?\s+(?:at\s+)?
      |(?P<tomorrow>tomorrow)\s*,?\s+(?:at\s+)?)?
    (?:(?P<hour>\d{{1,2}})(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?)?\s*(?P<half>[ap]\.?m\b\.?)?
      |(?P<word>midnight|noon))
    \s*(?:\(?(?P<zone>[A-Za-z][A-Za-z_]+(?:/[A-Za-z_+\-0-9]+)*)\)?)?""",
    re.IGNORECASE | re.VERBOSE,
)
_OFFSETS = {"UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
            "CET": 1, "CEST": 2, "BST": 1}  # fmt: skip
_AMERICAN = {"PT": "America/Los_Angeles", "ET": "America/New_York"}


def seconds_until(text: str, now: datetime) -> float | None:
    """Seconds from `now` until the time in `text` for the next attempt; None if there is none.

    `now` has a time zone, which applies to clock times without one. A time that has just passed counts as a minute
    away.
    """
    text = text[-_CHARS:]
    for read in (_date_field, _epoch, _iso, _duration, _field, _clock):
        seconds = read(text, now)
        if seconds is not None and seconds <= LONGEST_SECONDS:
            return max(seconds, 0.0)
    return None


def _field(text: str, _now: datetime) -> float | None:
    """`Retry-After: 30`, `"retryDelay": "34.07s"`, `retry_after_ms=1500`."""
    found = _last(_FIELD, text)
    if found is None:
        return None
    unit = "ms" if found[2] else (found[4] or "s").lower()
    return float(found[3]) * _UNITS[unit]


def _date_field(text: str, now: datetime) -> float | None:
    """`Retry-After: Sat, 28 Nov 2026 19:12:00 GMT`."""
    found = _last(_DATE_FIELD, text)
    if found is None:
        return None
    day, month, year, clock = found[1].split()
    try:
        hour, minute, second = (int(part) for part in clock.split(":"))
        number = _MONTHS.index(month.lower()) + 1
        when = datetime(int(year), number, int(day), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return _ahead(when, now)


def _epoch(text: str, now: datetime) -> float | None:
    """`usage limit reached|1795900000`, in seconds or milliseconds."""
    found = _last(_EPOCH, text)
    if found is None:
        return None
    seconds = int(found[1]) / (1_000 if len(found[1]) == 13 else 1)
    return _ahead(datetime.fromtimestamp(seconds, UTC), now)


def _iso(text: str, now: datetime) -> float | None:
    found = _last(_ISO, text)
    if found is None:
        return None
    try:
        when = datetime.fromisoformat(found[1].replace(" ", "T"))
        zone = (found[2] or "").upper().replace("UTC", "Z")
        when = datetime.fromisoformat(f"{when.isoformat()}{zone}") if zone else when.replace(tzinfo=now.tzinfo)
    except ValueError:
        return None
    return _ahead(when, now)


def _clock(text: str, now: datetime) -> float | None:
    """`at 7:12 PM`, `3pm (UTC)`, `Dec 3, 3am (Europe/Berlin)`, `tomorrow at 09:00`."""
    for found in reversed([*_CLOCK.finditer(text)]):
        when = _of_clock(found, now)
        if when is not None:
            return _ahead(when, now)
    return None


def _of_clock(found: re.Match[str], now: datetime) -> datetime | None:
    hour = _hour(found)
    # A bare number is a count, not an hour.
    if hour is None:
        return None
    zone = _zone(found["zone"] or "") or now.tzinfo
    here = now.astimezone(zone)
    minute, second = int(found["minute"] or 0), int(found["second"] or 0)
    try:
        when = here.replace(hour=hour, minute=minute, second=second, microsecond=0)
        if found["month"]:
            month = _MONTHS.index(found["month"].lower()) + 1
            when = when.replace(year=int(found["year"] or here.year), month=month, day=int(found["day"]))
            return when.replace(year=when.year + 1) if not found["year"] and when < here - timedelta(days=180) else when
    except ValueError:
        return None
    if found["tomorrow"]:
        return when + timedelta(days=1)
    if found["weekday"]:
        ahead = (_DAYS.index(found["weekday"].lower()) - here.weekday()) % 7
        when += timedelta(days=ahead)
        return when + timedelta(days=7) if when < here - _PASSED else when
    return when + timedelta(days=1) if when < here - _PASSED else when


def _hour(found: re.Match[str]) -> int | None:
    if found["word"]:
        return 12 if found["word"].lower() == "noon" else 0
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    if half:
        return hour % 12 + 12 * half.startswith("p") if 1 <= hour <= 12 else None
    return hour if found["minute"] and hour < 24 else None


def _zone(name: str) -> tzinfo | None:
    upper = name.upper()
    if upper in _OFFSETS:
        return timezone(timedelta(hours=_OFFSETS[upper]))
    try:
        return ZoneInfo(_AMERICAN.get(upper, name)) if "/" in name or upper in _AMERICAN else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _duration(text: str, _now: datetime) -> float | None:
    """`in 3 hours 12 minutes`, `after 18h35m45s`, `in 34.07s`."""
    found = _last(_IN, text)
    if found is None:
        return None
    total = 0.0
    for number, word in _PART.findall(found[1]):
        unit = _UNIT.fullmatch(word)
        if unit is None:
            return None
        total += (_SPELLED_NUMBERS.get(number.lower().strip()) or float(number)) * _UNITS[str(unit.lastgroup)]
    return total


def _ahead(when: datetime, now: datetime) -> float | None:
    """Seconds until `when`; a minute if it has just passed, None if it is long past."""
    seconds = (when - now).total_seconds()
    if seconds <= 0:
        return _SOON if seconds >= -_PASSED.total_seconds() else None
    return seconds


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007
        pass
    return found
