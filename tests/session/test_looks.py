"""What looking does to a fixed evaluation: the formula against simulation, the count, the fold of its events."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import looks
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.outline import outline, recall, snapshot
from autoresearch_tui.session.state import State
from tests.engine.making import experiment, state
from tests.night import Night, real_night


@pytest.mark.parametrize(("count", "exact"), [(1, 0.0), (2, 0.5642), (3, 0.8463), (10, 1.5388), (100, 2.5076)])
def test_the_expected_maximum_is_that_of_the_tables(count: int, exact: float) -> None:
    """Of standard normal order statistics (Teichroew 1956)."""
    assert looks.expected_maximum(count) == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("count", [2, 5, 20, 200])
def test_the_expected_maximum_is_what_simulation_shows(count: int) -> None:
    rng = random.Random(count)
    drawn = [max(rng.gauss(0, 1) for _ in range(count)) for _ in range(max(300, 40_000 // count))]
    close = 0.05 + 4 * statistics.stdev(drawn) / len(drawn) ** 0.5
    assert looks.expected_maximum(count) == pytest.approx(statistics.fmean(drawn), abs=close)


@given(st.integers(1, 10_000))
def test_more_looks_show_more_luck(count: int) -> None:
    assert looks.expected_maximum(count + 1) > looks.expected_maximum(count) >= 0


def test_a_night_without_any_effect_gains_what_luck_alone_is_said_to() -> None:
    """The loop's own rule, keep what is strictly better, on scores that are noise alone."""
    rng, gains, count = random.Random(5), [], 40
    for _ in range(1500):
        first = frontier = rng.gauss(1, 0.1)
        for _ in range(count):
            frontier = min(frontier, rng.gauss(1, 0.1))
        gains.append(first - frontier)
    assert 0.1 * looks.expected_maximum(count + 1) == pytest.approx(statistics.fmean(gains), abs=0.01)


def noisy(*values: float) -> State:
    """Two equal baselines 0.02 apart, then a candidate for each value."""
    found = [experiment(0, "keep", 1.0), experiment(1, "discard", 1.02, commit="c0", repeat_of=0)]
    best = 1.0
    for number, value in enumerate(values, 2):
        found.append(experiment(number, "keep" if value < best else "discard", value))
        best = min(best, value)
    return state(*found)


def test_the_gain_without_luck() -> None:
    wear = looks.wear(noisy(0.9, 1.1, 0.8))
    assert (wear.spent, wear.left, wear.gain) == (3, None, pytest.approx(0.2))
    assert wear.noise == pytest.approx(0.02 / 2**0.5)
    assert wear.luck == pytest.approx(0.02 / 2**0.5 * looks.expected_maximum(4))
    assert wear.deflated == pytest.approx(0.2 - wear.luck)
    assert looks.in_words(wear).startswith("3 looks · luck alone 0.0")
    assert "of which luck leaves 0.1" in looks.sentence(noisy(0.9, 1.1, 0.8))
    assert looks.sentence(noisy(0.999)).endswith("of which luck may explain all.")


def test_without_noise_luck_is_not_known() -> None:
    wear = looks.wear(state(experiment(0, "keep", 1.0), experiment(1, "keep", 0.9)))
    assert (wear.spent, wear.noise, wear.luck, wear.deflated) == (1, None, None, None)
    assert looks.in_words(wear) == "1 look · luck unknown, no noise is measured · gain 0.1"


def test_without_a_keep_there_is_no_gain_to_deflate() -> None:
    wear = looks.Wear(spent=1, left=None, noise=0.001, luck=0.0005, gain=0.0)
    assert looks.in_words(wear) == "1 look · luck alone 0.0005 · no gain yet"
    equal = state(experiment(0, "keep", 1.0), experiment(1, "discard", 1.0, commit="c0", repeat_of=0))
    assert looks.noise_of(equal) is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_real_night_is_counted_and_its_outline_has_it(seed: int) -> None:
    night = real_night(experiments=40, seed=seed)
    found = night.state
    scored = [e for e in found.experiments if e.value is not None and e.number and e.proposal.repeat_of is None]
    assert looks.spent(found) == len([e for e in scored if e.commit != found.experiments[0].commit])
    short = outline(found)
    assert short.wear == looks.wear(found)
    assert recall(snapshot(short, 0, 0), b"") == short


def opened(*events: ev.Event) -> State:
    night = Night()
    for number, value in enumerate((1.0, 0.9)):
        night.proposal()
        night.launch(number)
        night.end(number, "keep", value)
    night.add(*events)
    return night.state


ASKED = ev.HoldoutAsked("human", 1, 0, 1)


def test_the_holdout_opens_once_and_says_after_how_many_looks() -> None:
    state = opened(ASKED, ev.HoldoutOpened(0.8, 1.0, 0.05))
    assert looks.result(state) == "#1 0.800000, the baseline 1.000000: better by 0.200000 ± 0.050000"
    assert looks.after(state) == "the holdout was opened after 1 look"
    assert looks.in_short(state) == "better by 0.2 ± 0.05 · #1 against #0 · after 1 look"
    for late in (ASKED, ev.HoldoutOpened(0.7, 1.0)):
        with pytest.raises(ValueError, match=r"opened once|nobody has asked"):
            fold(state, ev.Record(state.seq + 1, state.time, late))
    assert recall(snapshot(outline(state), 0, 0), b"") == outline(state)


def test_an_opening_that_showed_nothing_may_be_tried_again() -> None:
    failed = opened(ASKED, ev.HoldoutOpened(None, None, None, "#0: the referee refused: no data"))
    assert looks.once(failed) == ""
    assert looks.result(failed).startswith("no comparison on the holdout: #0: the referee refused")
    again = fold(failed, ev.Record(failed.seq + 1, failed.time, ASKED))
    assert again.holdout is None and again.holdout_asked == ASKED


def test_what_nobody_asked_for_is_not_opened() -> None:
    with pytest.raises(ValueError, match="nobody has asked"):
        opened(ev.HoldoutOpened(0.8, 1.0))
