"""Pure: when a session ends by itself, and which runs still fit before that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Literal

from msgspec.structs import replace

from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.session.questions import COMMIT
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen

NEVER = "never"
_LAST = 9
# Allowances: changed code against the longest of the last runs, and a repeat against the run that it repeats.
_CHANGED, _EQUAL = 1.25, 1.05


class End(Frozen):
    """`at`: seconds since 1970. `kind`: the requested hour, or the money that runs out."""

    at: float
    kind: Literal["until", "max_usd"]


def until(state: State) -> float | None:
    """The requested end (`--until`, `--hours`), in seconds since 1970; None if there is none."""
    asked = state.overrides.get("until", NEVER)
    return None if asked == NEVER else timestamps.seconds(asked)


def end(state: State, now: float) -> End | None:
    """The limit that the session reaches first if it continues like this; None if there is none."""
    hour, money = until(state), _money_ends(state, now)
    ends = [End(hour, "until")] if hour is not None else []
    ends += [End(money, "max_usd")] if money is not None else []
    return min(ends, key=lambda each: each.at, default=None)


def _money_ends(state: State, now: float) -> float | None:
    engine = state.last_engine
    if engine is None or not engine.max_usd:
        return None
    left = engine.max_usd - spent(state, now) - state.asking.expected.usd
    if left <= 0:
        return now
    each_second = engine.accelerator_usd_per_hour * engine.devices / 3600
    return now + left / each_second if each_second else None


def spent(state: State, now: float) -> float:
    """Dollars so far, researcher and accelerators; with a live engine including those since the last record."""
    engine = state.engine
    if engine is None:
        return state.usd + state.device_usd
    since = max(0.0, now - timestamps.seconds(state.time))
    return state.usd + state.device_usd + since / 3600 * engine.accelerator_usd_per_hour * engine.devices


def usual_seconds(state: State) -> float | None:
    """The median of the last finished runs, from launch to verdict; None before the first."""
    import statistics  # slow to import, and readers of an outline do not need it

    took = list(_took(state))
    return statistics.median(took) if took else None


def needed_seconds(state: State, experiment: Experiment | None = None) -> float:
    """The time that a run, from launch to verdict, must have left to be launched.

    For a commit that has run before: 1.05 times what it took. For changed code, or no proposal yet: 1.25 times the
    longest of the session's last nine finished runs, but at most `run.timeout_seconds`, which also holds before the
    first has finished. With a multiple of the budget it is that multiple, until such a run has been measured.
    """
    timeout = state.last_engine.timeout_seconds if state.last_engine is not None else 0.0
    if experiment is not None:
        made = experiment.proposal
        equal = [
            e.took_seconds
            for e in state.experiments.having(COMMIT, made.commit)
            if (e.scale, e.proposal.scale_env) == (made.scale, made.scale_env) and _finished(e)
        ]
        if equal:
            return _EQUAL * max(took or 0.0 for took in equal)
        if made.scale:
            ordinary = replace(experiment, proposal=replace(made, scale=0.0, scale_env=()))
            return max(1.0, made.scale) * needed_seconds(state, ordinary)
    longest = max(_took(state), default=None)
    return timeout if longest is None else min(_CHANGED * longest, max(timeout, longest))


def fits(state: State, now: float, experiment: Experiment | None = None) -> bool:
    """Whether a run launched now would end before the session does."""
    limit = end(state, now)
    return limit is None or now + needed_seconds(state, experiment) <= limit.at


def launches_left(state: State, now: float) -> float:
    """How many runs would still end in time, including those of waiting proposals; infinite without a limit."""
    limit = end(state, now)
    if limit is None:
        return float("inf")
    each = max(needed_seconds(state), 1e-3)
    usual = usual_seconds(state) or each
    devices = state.last_engine.devices if state.last_engine is not None else 1
    free = [max(now, timestamps.seconds(e.started_at) + usual * max(1.0, e.proposal.scale)) for e in state.in_flight]
    free += [now] * (devices - len(free))
    return sum(max(0, int((limit.at - moment) // each)) for moment in free)


def reason(state: State, now: float) -> str:
    """Why no further run is launched."""
    limit = end(state, now)
    assert limit is not None
    if limit.kind == "until" and usual_seconds(state) is None:
        longest = f"one may take {needed_seconds(state):g} s (`run.timeout_seconds`)"
        return f"no run would surely end before {local(limit.at)}, as asked: {longest}"
    if limit.kind == "until":
        return f"no other run would end before {local(limit.at)}, as asked"
    most = state.last_engine.max_usd if state.last_engine is not None else 0.0
    return f"${spent(state, now):.2f} are spent, and another run would exceed `limits.max_usd`, ${most:.2f}"


def local(moment: float) -> str:
    """`07:00`, in this machine's time zone; with the date if it is more than a day away."""
    when = datetime.fromtimestamp(moment).astimezone()
    far = abs((when - datetime.now().astimezone()).total_seconds()) > 86400
    return f"{when:%Y-%m-%d %H:%M}" if far else f"{when:%H:%M}"


def _took(state: State) -> Iterator[float]:
    """The durations of the last finished runs, newest first."""
    took = (each.took_seconds for each in reversed(state.experiments) if _finished(each) and not each.scale)
    return (seconds for seconds in islice(took, _LAST) if seconds is not None)


def _finished(experiment: Experiment) -> bool:
    return (
        experiment.took_seconds is not None and experiment.run is not None and experiment.run.reason == RunEnd.FINISHED
    )
