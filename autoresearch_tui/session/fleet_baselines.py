"""Pure: the baselines of a cluster's devices. Each runs one before any proposal, and is compared with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import sqrt
from typing import NamedTuple

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import SCORED
from autoresearch_tui.session.fleet import Device, Fleet
from autoresearch_tui.session.questions import AUTHOR
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import State

BASELINE = "baseline"
# With fewer others, a spread is a guess.
FEWEST_OTHERS = 3
# How many standard deviations a baseline may lie from the others'; the fewer they are, the more. By chance, one of
# equal devices is set aside in at most a hundredth of fleets.
_FARTHEST, _FEW = 4.5, 58.0


class _Run(NamedTuple):
    """A started baseline: `value` is None without a score, `why` says how it ended, or is empty before that."""

    number: int
    device: str
    started_at: str
    value: float | None
    why: str


def unready(state: State) -> tuple[str, ...]:
    """The usable devices that may not run proposals yet: without a scored baseline since they joined."""
    return _baselines(state).unready(state.fleet)


def to_set_aside(state: State) -> ev.DeviceSetAside | None:
    """A usable device whose baseline failed or lies outside the others' spread; None if there is none."""
    return _baselines(state).unfit(state.fleet) if state.frontier is not None else None


def wanted(state: State, devices: Sequence[str]) -> int:
    """How many baselines should be waiting or running now: one for each device that is not ready for proposals."""
    return len(set(unready(state)).intersection(devices))


class _Baselines:
    """The baselines of a session. Results for the last fleet are cached: each step asks about a thousand devices."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        self._by_device: dict[str, list[_Run]] = {}
        for run in runs:
            self._by_device.setdefault(run.device, []).append(run)
        self._fleet: Fleet | None = None
        self._unready: tuple[str, ...] = ()
        self._unfit: ev.DeviceSetAside | None = None

    def unready(self, fleet: Fleet) -> tuple[str, ...]:
        self._look_at(fleet)
        return self._unready

    def unfit(self, fleet: Fleet) -> ev.DeviceSetAside | None:
        self._look_at(fleet)
        return self._unfit

    def _look_at(self, fleet: Fleet) -> None:
        if fleet is self._fleet:
            return
        own = {device.name: self._since_joined(device) for device in fleet.usable}
        scores = {name: [run.value for run in runs if run.value is not None] for name, runs in own.items()}
        self._unready = tuple(name for name, found in scores.items() if not found)
        failed = next((runs[-1] for name, runs in own.items() if runs and runs[-1].why and not scores[name]), None)
        if failed is not None:
            self._unfit = ev.DeviceSetAside(
                failed.device, f"its baseline, #{failed.number}, has no score: {failed.why}"
            )
        else:
            self._unfit = outlier({name: found[-1] for name, found in scores.items() if found})
        self._fleet = fleet

    def _since_joined(self, device: Device) -> Sequence[_Run]:
        return [run for run in self._by_device.get(device.name, ()) if run.started_at >= device.joined_at]


def _baselines(state: State) -> _Baselines:
    return state.experiments.known(_runs, _together)


def _runs(chunk: Chunk) -> tuple[_Run, ...]:
    return tuple(
        _Run(e.number, e.device, e.started_at, e.value if e.outcome in SCORED else None, e.reason)
        for e in chunk.having(AUTHOR, BASELINE)
        if e.started_at and not e.dropped
    )


def _together(parts: Sequence[tuple[_Run, ...]]) -> _Baselines:
    return _Baselines(tuple(chain.from_iterable(parts)))


def outlier(values: Mapping[str, float]) -> ev.DeviceSetAside | None:
    """The device whose value lies farthest from the others', if it is too far away."""
    count = len(values)
    if count <= FEWEST_OTHERS:
        return None
    middle = sorted(values.values())[count // 2]  # sums of differences from it lose no digits
    total = sum(value - middle for value in values.values())
    squares = sum((value - middle) ** 2 for value in values.values())

    def distance(name: str) -> float:
        """From the mean of the others, in standard deviations of such a distance; 0 if they do not differ."""
        own = values[name] - middle
        mean = (total - own) / (count - 1)
        variance = max(0.0, squares - own**2 - (count - 1) * mean**2) / (count - 2)
        spread = sqrt(variance * (1 + 1 / (count - 1)))
        return abs(own - mean) / spread if spread > 1e-12 * abs(middle) else 0.0

    worst = max(values, key=distance)
    if distance(worst) <= _FARTHEST + _FEW / (count - 2) ** 2:
        return None
    others = [value for device, value in values.items() if device != worst]
    reason = (
        f"its baseline is {values[worst]:.6f}, and those of {len(others)} others lie between {min(others):.6f} and "
        f"{max(others):.6f}"
    )
    return ev.DeviceSetAside(worst, reason)
