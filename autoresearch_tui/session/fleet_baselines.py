"""Pure: the baselines of a cluster's devices. A device runs one before any proposal, and is held against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import SCORED
from autoresearch_tui.session.questions import AUTHOR
from autoresearch_tui.session.state import Experiment, State

BASELINE = "baseline"
# With fewer others, a spread is a guess.
FEWEST_OTHERS = 3
# How many standard deviations of the others' baselines, and of one more, a baseline may lie away.
FARTHEST = 6.0


def by_device(state: State) -> Mapping[str, Sequence[Experiment]]:
    """The session's baselines by the device that they ran on, or run on; "" for those that wait."""
    found: dict[str, list[Experiment]] = {}
    for experiment in state.experiments.having(AUTHOR, BASELINE):
        if not experiment.dropped:
            found.setdefault(experiment.device, []).append(experiment)
    return found


def ready(state: State, device: str) -> bool:
    """Whether proposals may run on a device: it is no cluster's, or has a scored baseline since it joined."""
    if device not in state.fleet.devices:
        return True
    return _has_score(by_device(state).get(device, ()), state.fleet.devices[device].joined_at)


def unready(state: State) -> tuple[str, ...]:
    """The usable devices that may not run proposals yet."""
    own = by_device(state) if state.fleet.devices else {}
    return tuple(d.name for d in state.fleet.usable if not _has_score(own.get(d.name, ()), d.joined_at))


def _has_score(baselines: Sequence[Experiment], since: str) -> bool:
    return any(e.outcome in SCORED and e.started_at >= since for e in baselines)


def to_set_aside(state: State) -> ev.DeviceSetAside | None:
    """A usable device whose baseline has failed where others' have not, or lies outside their spread; None if none."""
    values: dict[str, float] = {}
    for device, own in by_device(state).items():
        known = state.fleet.devices.get(device)
        if known is None or not known.usable:
            continue
        over = [e for e in own if e.started_at >= known.joined_at and e.outcome is not None]
        scored = [e.value for e in over if e.outcome in SCORED and e.value is not None]
        if over and not scored and state.frontier is not None:
            return ev.DeviceSetAside(device, f"its baseline, #{over[-1].number}, has no score: {over[-1].reason}")
        if scored:
            values[device] = scored[-1]
    distances = [(_distance(device, values), device) for device in values]
    distance, worst = max(distances, default=(0.0, ""))
    if distance <= FARTHEST:
        return None
    others = [value for device, value in values.items() if device != worst]
    reason = (
        f"its baseline is {values[worst]:.6f}, and those of {len(others)} others lie between {min(others):.6f} and "
        f"{max(others):.6f}"
    )
    return ev.DeviceSetAside(worst, reason)


def wanted(state: State, devices: Sequence[str]) -> int:
    """How many baselines should be waiting or running now: one for each device that is not ready for proposals."""
    return sum(not ready(state, device) for device in devices)


def _distance(device: str, values: Mapping[str, float]) -> float:
    """From the mean of the others, in standard deviations of such a distance; 0 if that is unknown."""
    import statistics  # not needed by those who only read what was worked out

    others = [value for name, value in values.items() if name != device]
    if len(others) < FEWEST_OTHERS:
        return 0.0
    spread = statistics.stdev(others) * (1 + 1 / len(others)) ** 0.5
    return abs(values[device] - statistics.fmean(others)) / spread if spread > 0 else 0.0
