"""How much of a difference is chance: against plain float64 and simulated runs."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autoresearch_tui.engine.judging.scoring import verdict
from autoresearch_tui.session import draws
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import statistics as findings
from autoresearch_tui.session import statistics as noise
from autoresearch_tui.session.state import Experiment
from tests.engine.making import experiment, state

ROWS = st.lists(st.tuples(st.floats(1, 500), st.floats(1, 900)), min_size=2, max_size=40)


def bpb(rows: list[noise.Row]) -> float:
    return sum(nats for nats, _ in rows) / (math.log(2) * sum(size for _, size in rows))


def test_the_error_is_what_resampled_rows_show() -> None:
    rng = random.Random(7)
    sizes = [rng.uniform(300, 600) for _ in range(400)]
    one = [(size * rng.gauss(0.7, 0.1), size) for size in sizes]
    two = [(nats + size * rng.gauss(-0.01, 0.03), size) for nats, size in one]
    told = noise.paired_error(one, two)
    apart = []
    for _ in range(2000):
        drawn = [rng.randrange(400) for _ in range(400)]
        apart.append(bpb([two[i] for i in drawn]) - bpb([one[i] for i in drawn]))
    assert told == pytest.approx(statistics.stdev(apart), rel=0.1)


@given(ROWS, st.floats(-0.5, 0.5))
def test_a_difference_that_is_the_same_in_every_row_has_no_error(rows: list[noise.Row], shift: float) -> None:
    moved = [(nats + shift * size, size) for nats, size in rows]
    assert noise.paired_error(rows, moved) == pytest.approx(0.0, abs=1e-9)


@given(ROWS, ROWS)
def test_the_order_of_the_two_does_not_matter_and_other_rows_are_not_compared(
    rows: list[noise.Row], others: list[noise.Row]
) -> None:
    same = [(other[0], row[1]) for row, other in zip(rows, others * 20, strict=False)]
    forth, back = noise.paired_error(rows, same), noise.paired_error(same, rows)
    assert forth is not None
    assert back == pytest.approx(forth, abs=1e-9)
    assert noise.paired_error(rows, rows[:-1]) is None


def test_the_spread_is_pooled_over_everything_that_ran_more_than_once() -> None:
    night = state(
        experiment(0, "keep", 1.00, commit="a"),
        experiment(1, "discard", 1.02, commit="a", repeat_of=0),
        experiment(2, "keep", 0.90, commit="b"),
        experiment(3, "crash", None, commit="b", repeat_of=2),
    )
    assert noise.spread(night) == pytest.approx(statistics.stdev([1.00, 1.02]))
    assert noise.spread(state(experiment(0, "keep", 1.0))) is None


def scored(number: int, value: float, **more: object) -> object:
    score = ev.RunScored(number, value, 2.0, "referee")
    return experiment(number, "", score=score, **more)


def test_a_keep_inside_the_noise_is_kept_and_marked() -> None:
    rng = random.Random(3)
    rows = [(rng.uniform(200, 300), 400.0) for _ in range(100)]
    noisy = [(nats + rng.gauss(-0.1, 20), size) for nats, size in rows]
    clear = [(nats - 20, size) for nats, size in rows]
    best = experiment(0, "keep", bpb(rows))
    for others, inside in ((noisy, bpb(noisy) < bpb(rows)), (clear, False)):
        new = scored(1, bpb(others), repeat_of=None)
        given = verdict(new, state(best, new), others, rows)  # type: ignore[arg-type]
        assert given.inside_noise == (inside or given.verdict == "discard")
        assert given.stderr == noise.paired_error(others, rows)
        assert given.verdict == ("keep" if bpb(others) < bpb(rows) else "discard")


def test_without_rows_and_repeats_nothing_is_called_noise() -> None:
    new = scored(1, 0.9999)
    given = verdict(new, state(experiment(0, "keep", 1.0), new))  # type: ignore[arg-type]
    assert (given.verdict, given.stderr, given.spread, given.inside_noise) == ("keep", None, None, False)


def test_a_repeat_decides_nothing_even_where_it_is_better() -> None:
    again = scored(2, 0.5, repeat_of=1, seed=1, author="repeat")
    night = state(experiment(0, "keep", 1.0), experiment(1, "discard", 1.1), again)  # type: ignore[arg-type]
    given = verdict(again, night)  # type: ignore[arg-type]
    assert given.verdict == "discard"
    assert given.reason == "a repeat under seed 1: 0.500000 against 1.100000 (#1)"


def sealed_night(*scores: tuple[float, float]) -> object:
    return state(
        *(
            experiment(n, "keep", value, score=ev.RunScored(n, value, 2.0, "referee", sealed=sealed))
            for n, (value, sealed) in enumerate(scores)
        )
    )


def test_a_night_that_overfits_its_referee_is_told() -> None:
    honest = sealed_night((1.0, 1.01), (0.98, 0.992), (0.95, 0.965), (0.93, 0.944))
    fooled = sealed_night((1.0, 1.01), (0.98, 1.009), (0.95, 1.008), (0.93, 1.007))
    assert findings.overfitting(honest) == ""  # type: ignore[arg-type]
    assert "overfitting its referee" in findings.overfitting(fooled)  # type: ignore[arg-type]
    assert findings.overfitting(sealed_night((1.0, 1.01), (0.9, 1.01))) == ""  # type: ignore[arg-type]
    assert [gap.gap for gap in findings.gaps(honest)][:2] == pytest.approx([0.01, 0.012])  # type: ignore[arg-type]


def test_runs_of_one_commit_are_compared_on_one_draw_and_each_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(number: int, commit: str, *others: tuple[int, float | None]) -> Experiment:
        score = ev.RunScored(number, 1.0 + number, 0.0, "referee")
        made = experiment(number, "discard", 1.0 + number, score=score, commit=commit)
        again = tuple(ev.Rescored(number, other, value) for other, value in others)
        return replace(made, draw=ev.DataDrawn(number, 7), rescored=again)

    found = state(drawn(0, "a"), drawn(1, "b", (0, 0.5)), drawn(2, "a", (0, 2.5), (1, 4.0)), drawn(3, "a", (0, None)))
    assert found.session is not None
    found = replace(found, session=replace(found.session, evaluator="fresh"))
    assert [(each.value, each.other) for each in draws.equals(found)] == [(3.0, 2.5)]
    monkeypatch.setattr(Experiment, "whole", property(lambda one: pytest.fail(f"#{one.number} is read again")))
    assert noise.spread(found) == pytest.approx(0.5 / 2**0.5)
