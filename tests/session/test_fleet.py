"""A cluster's devices as a session knows them: who comes and goes, and whose baseline lies apart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import fleet, fleet_baselines
from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.session.fleet import Fleet, Roster
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.state import State

NAMES = ("a:0", "a:1", "b:0", "c:0", "d:0")


def joined(name: str) -> ev.DeviceJoined:
    return ev.DeviceJoined(name, name.partition(":")[0])


def after(state: State, *events: ev.Event) -> State:
    for event in events:
        seq = state.seq + 1
        state = fold(state, ev.Record(seq, f"2026-01-01T00:{seq // 60:02d}:{seq % 60:02d}.000Z", event))
    return state


def scored(state: State, device: str, value: float | None) -> State:
    """The state after a baseline on the device, without a score if there is no value."""
    number = len(state.experiments)
    outcome = Outcome.CRASH if value is None else Outcome.KEEP if state.frontier is None else Outcome.DISCARD
    end = RunEnd.CRASHED if value is None else RunEnd.FINISHED
    return after(
        state,
        ev.ProposalMade(number, f"{number:040x}", "0" * 40, "baseline", "", "baseline", "", 0, 0),
        ev.ProposalApproved(number, f"{number:040x}", "baseline"),
        ev.RunStarted(number, f"{number:040x}", 1, device),
        ev.RunEnded(number, end, 0 if value is not None else 1, 1.0),
        *([ev.RunScored(number, value, 0.0, "self-reported")] if value is not None else []),
        ev.VerdictGiven(number, outcome, value, 0.0, "the baseline" if value is not None else "out of memory"),
    )


def session(*names: str) -> State:
    return after(State(), *map(joined, names))


@given(st.lists(st.sets(st.sampled_from(NAMES)), max_size=8))
def test_the_fleet_follows_what_is_there(moments: list[set[str]]) -> None:
    state = State()
    for there in moments:
        roster = Roster(tuple(joined(name) for name in sorted(there)))
        state = after(state, *fleet.changes(state.fleet, roster))
        assert {device.name for device in state.fleet.usable} == there
        assert not fleet.changes(state.fleet, roster), "what was said once is not said again"


def test_a_device_that_is_about_to_go_has_left_and_comes_back_anew() -> None:
    state = session("a:0")
    leaving = Roster((joined("a:0"),), leaving={"a:0": "its node is being taken away"})
    state = after(state, *fleet.changes(state.fleet, leaving))
    assert state.fleet.devices["a:0"].left == "its node is being taken away"
    assert not fleet.changes(state.fleet, leaving)
    state = after(state, *fleet.changes(state.fleet, Roster((joined("a:0"),))))
    assert state.fleet.devices["a:0"].usable


def test_a_refused_node_is_named_once_and_forgotten_when_it_joins() -> None:
    refused = Roster(refused=(ev.NodeRefused("b", "torch 2.12.1, the session has 2.13.0", "install it"),))
    state = after(State(), *fleet.changes(Fleet(), refused))
    assert not fleet.changes(state.fleet, refused)
    assert [*after(state, joined("b:0")).fleet.refused] == []


def test_a_cluster_that_could_not_be_reached_is_forgotten_with_the_first_device() -> None:
    state = after(State(), ev.NodeRefused(fleet.CLUSTER, "head:6379: nothing answers"))
    assert [*state.fleet.refused] == ["cluster"]
    assert not after(state, joined("b:0")).fleet.refused


def test_a_device_is_ready_when_its_baseline_has_a_score() -> None:
    state = session("a:0", "b:0")
    assert fleet_baselines.unready(state) == ("a:0", "b:0")
    assert fleet_baselines.wanted(state, ["a:0"]) == 1
    state = scored(state, "a:0", 1.0)
    assert fleet_baselines.unready(state) == ("b:0",)


def test_a_device_that_left_and_joined_again_runs_another_baseline() -> None:
    state = scored(session("a:0"), "a:0", 1.0)
    state = after(state, ev.DeviceLeft("a:0", "its node is gone"), joined("a:0"))
    assert fleet_baselines.unready(state) == ("a:0",)


def test_a_baseline_far_from_the_others_sets_its_device_aside() -> None:
    state = session(*NAMES)
    for name, value in zip(NAMES, (1.000, 1.001, 0.999, 1.002, 1.050), strict=True):
        assert fleet_baselines.to_set_aside(state) is None
        state = scored(state, name, value)
    unfit = fleet_baselines.to_set_aside(state)
    assert unfit is not None and unfit.device == "d:0"
    assert unfit.reason == "its baseline is 1.050000, and those of 4 others lie between 0.999000 and 1.002000"
    assert fleet_baselines.to_set_aside(after(state, unfit)) is None, "the others lie together"


def test_a_device_whose_baseline_fails_where_another_has_one_is_set_aside() -> None:
    state = scored(session("a:0", "b:0"), "a:0", None)
    assert fleet_baselines.to_set_aside(state) is None, "nothing has a score yet: it may be the lab's fault"
    unfit = fleet_baselines.to_set_aside(scored(state, "b:0", 1.0))
    assert unfit == ev.DeviceSetAside("a:0", "its baseline, #0, has no score: out of memory")


@pytest.mark.parametrize("count", [4, 6, 16])
def test_devices_that_scatter_as_equal_runs_do_stay(count: int) -> None:
    """Chance sets one aside in about one fleet of a hundred."""
    draw, lost = random.Random(1), 0
    for _ in range(1000):
        values = {f"n{number}:0": draw.gauss(1.0, 0.002) for number in range(count)}
        lost += fleet_baselines.outlier(values) is not None
    assert lost <= 25


def test_equal_scores_set_nobody_aside() -> None:
    assert fleet_baselines.outlier(dict.fromkeys(NAMES, 1.2345)) is None
