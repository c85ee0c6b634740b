"""Pure: checks the numbers in a text against a session's journal, and marks those that are not in it.

A number is found if it equals a fact, or if a measured fact rounds to it at its decimals, with at least two significant
digits. Signs and thousands separators are ignored; `2**19`, `3e-4` and `50M` are numbers; a percentage is compared with
shares, and with constants times 100. In a line that names experiments (`#12`) only their facts and the session's count.
Ordinals, list numbers and numbers in words are not checked. A found number is in the journal; the sentence around it
may still be false.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from autoresearch_tui.session import looks, statistics
from autoresearch_tui.session.cost import cost
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.format import clock
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.numbers import finite

_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:_\d+)*(?:\.\d+)?|\.\d+"
_TOKEN = re.compile(
    rf"(?<![\w.])(?:(?P<moment>\d{{4}}-\d\d-\d\d|\d{{1,3}}:\d\d(?::\d\d)?)(?![\w:])"
    rf"|(?P<hash>\#|\bexperiments?\s+)?(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<exponent>[+-]?\d{1,3})|\s?(?:\*\*|\^)\s?(?P<power>\d{1,2}))?"
    r"(?P<unit>\s?%|[^\W\d_]*)(?!\w))"
)
_LISTED = re.compile(r"^\s*\d{1,3}[.)]\s")
_NAMED = re.compile(r"(?:#|\bexperiments?\s+)(\d{1,9})\b")
_ORDINAL = frozenset({"st", "nd", "rd", "th"})
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_SMALL = 1e-9  # relative tolerance for binary fractions
_DIGITS_THAT_COUNT = 2


class Facts(Frozen):
    """Numbers in the journal, without signs. `measured` and `percents` are sorted, and may be rounded in the text."""

    exact: frozenset[float] = frozenset()
    measured: tuple[float, ...] = ()
    percents: tuple[float, ...] = ()
    moments: frozenset[str] = frozenset()


class Known(Frozen):
    """The facts of a session, and those of each of its experiments."""

    session: Facts
    each: Mapping[int, Facts]


class Checked(Frozen):
    """`text` with a question mark after each number that was not found; `missing` are these, as written."""

    text: str
    numbers: int
    missing: tuple[str, ...]


def check(text: str, known: Known) -> Checked:
    count, missing, lines = 0, [], []
    for line in text.split("\n"):
        named = {int(number) for number in _NAMED.findall(line)}
        listed = _LISTED.match(line)
        parts, last = [], 0
        for found in _TOKEN.finditer(line, listed.end() if listed else 0):
            if found["unit"] in _ORDINAL:
                continue
            count += 1
            if not _has(known, found, named):
                parts += [line[last : found.end()], "?"]
                last = found.end()
                missing.append(found[0])
        lines.append("".join((*parts, line[last:])))
    return Checked("\n".join(lines), count, tuple(missing))


def _has(known: Known, found: re.Match[str], named: set[int]) -> bool:
    if found["hash"]:
        return found["digits"].isdigit() and len(found["digits"]) < 10 and int(found["digits"]) in known.each
    pools = [known.session, *(facts for number, facts in known.each.items() if not named or number in named)]
    if found["moment"]:
        return any(found["moment"] in pool.moments for pool in pools)
    values = [_value(found)]
    if not math.isfinite(values[0]):
        return False
    if scale := _SCALES.get(found["unit"]):
        values.append(values[0] * scale)
    if found["unit"].strip() == "%":
        return any(_rounds(values[0], found["digits"], pool.percents) for pool in pools) or any(
            _equal(values[0] / 100, pool.exact) for pool in pools
        )
    step = 1.0 if found["exponent"] or found["power"] else 0.0
    return any(
        _equal(value, pool.exact)
        or _equal(value, pool.measured)
        or (not step and _rounds(value, found["digits"], pool.measured))
        for value in values
        for pool in pools
    )


def _value(found: re.Match[str]) -> float:
    value = float(found["digits"].replace(",", "").replace("_", ""))
    if found["exponent"]:
        return float(f"{value}e{found['exponent']}")
    return value ** int(found["power"]) if found["power"] and value < 1e3 else value


def _equal(value: float, facts: Iterable[float]) -> bool:
    if isinstance(facts, frozenset) and value in facts:
        return True
    return any(abs(fact - value) <= _SMALL * value for fact in facts)


def _rounds(value: float, digits: str, facts: tuple[float, ...]) -> bool:
    """Whether one of the sorted facts rounds to the number with these digits."""
    if len(digits.replace(",", "").replace("_", "").replace(".", "").lstrip("0")) < _DIGITS_THAT_COUNT:
        return False
    half = 0.5 * 10.0 ** -len(digits.partition(".")[2]) + _SMALL * value
    at = bisect_left(facts, value - half)
    return at < len(facts) and facts[at] <= value + half


# ── the facts ───────────────────────────────────────────────────────────────────────────────────────────────────


def known(state: State, changed: Mapping[int, str], settings: str = "") -> Known:
    """The facts of a session. `changed`: the changed lines of each experiment's diff. `settings`: the best files."""
    against = {each.experiment.number: each.frontier for each in statistics.judged(state)}
    first = looks.baseline(state)
    bases = {e.commit: e for e in reversed(state.experiments) if e.value is not None}
    each = {
        e.number: _of(e, [against.get(e.number), bases.get(e.base), first], changed.get(e.number, ""))
        for e in state.experiments
    }
    return Known(_session(state, first, settings), each)


def _facts(
    exact: Iterable[float | None], measured: Iterable[float | None], percents: Iterable[float], moments: Iterable[str]
) -> Facts:
    return Facts(
        frozenset(abs(float(one)) for one in exact if one is not None),
        tuple(sorted(abs(float(one)) for one in measured if one is not None)),
        tuple(sorted(map(abs, percents))),
        frozenset(moments),
    )


def _of(experiment: Experiment, others: Iterable[Experiment | None], changed: str) -> Facts:
    made, run, score, verdict = experiment.proposal, experiment.run, experiment.score, experiment.verdict
    exact: list[float | None] = [
        made.added,
        made.removed,
        made.seed,
        made.tokens,
        experiment.attempt,
        *numbers(changed),
    ]
    measured: list[float | None] = [experiment.value, made.usd, experiment.took_seconds, experiment.memory_gb]
    percents: list[float] = []
    if run is not None:
        measured += [run.seconds, run.ready_seconds, run.asked_seconds, run.memory_mb, run.device_memory_mb]
    if score is not None:
        measured += [
            score.memory_gb,
            *score.losses,
            *score.columns.values(),
            *(finite(text) for text in score.summary.values()),
        ]
        percents += [value for key, text in score.summary.items() if "percent" in key and (value := finite(text))]
    if verdict is not None:
        measured += [verdict.stderr, verdict.spread]
    for other in others:
        if experiment.value is None or other is None or other.value is None:
            continue
        measured += [other.value, other.value - experiment.value]
        percents += [100 * (other.value - experiment.value) / other.value] if other.value else []
    times = (experiment.proposed_at, experiment.started_at, experiment.ended_at)
    durations = [clock(one) for one in (run.seconds if run else None, experiment.took_seconds) if one is not None]
    return _facts(exact, measured, percents, [*_moments(times), *durations])


def _session(state: State, first: Experiment | None, settings: str) -> Facts:
    counts = Counter(e.status for e in state.experiments if e.outcome)
    outcomes = Counter(e.outcome for e in state.experiments if e.outcome)
    ran, total = len(state.table), len(state.experiments)
    improved = sum(e.outcome == Outcome.KEEP for e in state.experiments if e.number)
    began, spent = state.session, cost(state)
    since = ran - 1 - max((e.judged_after for e in state.kept), default=-1)
    tallies = [since, *counts.values(), *outcomes.values(), ran, total, improved, len(state.notes), len(state.prior)]
    exact: list[float | None] = [*tallies, spent.tokens, *numbers(settings)]
    measured: list[float | None] = [statistics.spread(state), spent.usd, spent.researcher_usd, spent.accelerator_usd]
    measured += [spent.device_hours, spent.per_keep, spent.projected]
    percents = [100 * tally / whole for tally in tallies for whole in (ran, total) if whole]
    if began is not None:
        exact += [began.keep_margin, began.budget_seconds, began.budget_seconds / 60]
    best, frontier = state.best, state.frontier
    values = [e.value for e in (first, best, frontier) if e is not None and e.value is not None]
    measured += values
    if first is not None and first.value and best is not None and best.value is not None:
        measured.append(best.value - first.value)
        percents.append(100 * (best.value - first.value) / first.value)
    times = [e.proposed_at for e in state.experiments if e.proposed_at]
    if times:
        seconds = timestamps.between(min(times), state.time)
        measured += [seconds, seconds / 60, seconds / 3600]
    return _facts(exact, measured, percents, _moments((*times[:1], state.time)))


def _moments(times: Iterable[str]) -> Iterator[str]:
    """The date, and the time of day with and without seconds, in UTC as in the journal."""
    for time in times:
        day, _, rest = time.partition("T")
        yield from (day, rest[:5], rest[:8])


def numbers(text: str) -> Iterator[float]:
    """The numbers in a text, as :func:`check` reads them."""
    for found in _TOKEN.finditer(text):
        if found["digits"] and math.isfinite(value := _value(found)):
            yield value
