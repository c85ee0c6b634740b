"""The numbers beside the score, and what no other experiment beats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autoresearch_tui.cockpit.widgets.table import OF_LAB, USUAL, Order, Table, shown
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.report.export.rows import table as exported
from autoresearch_tui.report.facts import facts
from autoresearch_tui.session import columns, journal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import Experiment, State
from tests.engine.making import experiment, state

ENGINE = ev.EngineStarted(1, "here", True, "0", "search", "auto", "hold", 300, 600, columns=("latency_ms", "+recall"))


def scored(number: int, value: float, outcome: str = "discard", /, **numbers: float) -> Experiment:
    score = ev.RunScored(number, value, 0.0, "referee", columns=numbers)
    return experiment(number, outcome, value, score=score)


def night(*experiments: Experiment) -> State:
    return replace(state(*experiments), last_engine=ENGINE)


NIGHT = night(
    scored(0, 1.0, "keep", latency_ms=10.0, recall=0.5),
    scored(1, 0.9, "keep", latency_ms=20.0, recall=0.5),
    scored(2, 1.1, latency_ms=5.0),
    scored(3, 0.95, latency_ms=25.0, recall=0.9),
    experiment(4, "crash"),
)


def test_the_front_is_what_no_other_is_as_good_as_in_both() -> None:
    score, latency, recall, seconds = columns.axes(NIGHT)
    assert [axis.name for axis in (score, latency, recall, seconds)] == ["val_bpb", "latency_ms", "recall", "seconds"]
    assert [(x.name, y.name) for x, y in columns.pairs(NIGHT)][:3] == [
        ("latency_ms", "val_bpb"),
        ("recall", "val_bpb"),
        ("seconds", "val_bpb"),
    ]
    assert (latency.goal, recall.goal) == (Goal.MINIMIZE, Goal.MAXIMIZE)
    found = columns.pareto(NIGHT.experiments, latency, score)
    assert [(point.number, point.front) for point in found] == [(0, True), (1, True), (2, True), (3, False)]
    found = columns.pareto(NIGHT.experiments, recall, score)
    assert [(point.number, point.front) for point in found] == [(0, False), (1, True), (3, True)]


_GOALS = st.sampled_from(Goal)
_NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=12), _GOALS, _GOALS)
def test_the_front_is_that_of_comparing_all_with_all(pairs: list[tuple[float, float]], x: Goal, y: Goal) -> None:
    experiments = [scored(i, height, a=at) for i, (at, height) in enumerate(pairs)]
    found = columns.pareto(experiments, columns.Axis("a", x), columns.Axis("value", y, columns.Kind.SCORE))

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        gains = (x.gain(other[0], one[0]), y.gain(other[1], one[1]))
        return min(gains) >= 0 and max(gains) > 0

    assert [point.front for point in found] == [not any(beats(other, one) for other in pairs) for one in pairs]


def test_a_repeat_is_no_point() -> None:
    again = experiment(1, "discard", 0.5, repeat_of=0, score=ev.RunScored(1, 0.5, 0.0, "referee", columns={"a": 1.0}))
    first = scored(0, 1.0, "keep", a=2.0)
    score = columns.Axis("value", Goal.MINIMIZE, columns.Kind.SCORE)
    found = columns.pareto((first, again), columns.Axis("a", Goal.MINIMIZE), score)
    assert [point.number for point in found] == [0]


def test_a_journal_without_columns_says_nothing_of_them_and_one_with_them_comes_back() -> None:
    plain = ev.RunScored(1, 0.5, 0.0, "referee")
    assert "columns" not in journal.to_fields(plain)
    told = replace(plain, columns={"latency_ms": 5.5})
    assert journal.from_fields("run_scored", journal.to_fields(told)) == told
    assert journal.from_fields("engine_started", journal.to_fields(ENGINE)) == ENGINE


def text(lines: list[list[tuple[str, str]]]) -> str:
    return "\n".join("".join(words for words, _ in line) for line in lines)


def test_details_say_how_far_each_is_from_the_frontier() -> None:
    assert "latency_ms 25 ▲ 5  recall 0.9 ▲ 0.4" in text(facts(NIGHT.experiments[3], NIGHT))
    assert "latency_ms 5 ▼ 15\n" in text(facts(NIGHT.experiments[2], NIGHT)) + "\n"
    assert "latency" not in text(facts(NIGHT.experiments[4], NIGHT))


def test_results_have_them_between_the_scores_and_the_rest_and_sort_by_them() -> None:
    usual = Table(NIGHT, USUAL)
    head = "".join(words for words, _ in usual.header(120, Order()))
    assert head.index("vs best") < head.index("latency_ms") < head.index("recall") < head.index("change")
    row = "".join(words for words, _ in usual.row(NIGHT.experiments[3], 120, []))
    assert " 25 " in row
    assert "0.9" in row
    assert "latency_ms" not in "".join(words for words, _ in Table(NIGHT, ("score",)).header(120, Order()))
    order = Order().by(OF_LAB + "latency_ms")
    assert list(order.sort(NIGHT.experiments, NIGHT)) == [2, 0, 1, 3, 4]
    assert order.name == "by latency_ms ↑"
    assert list(Order("column:gone").sort(NIGHT.experiments, NIGHT)) == [4, 3, 2, 1, 0]


def test_what_a_chunk_remembers_of_a_labs_columns_does_not_grow_with_each_record() -> None:
    Table(NIGHT, USUAL)
    known = NIGHT.experiments.chunks[0]._known
    before = len(known)
    for seq in range(3):
        engine = replace(ENGINE, columns=("latency_ms", "+recall"))
        Table(replace(NIGHT, seq=NIGHT.seq + seq, last_engine=engine), USUAL)
    assert len(known) == before


def test_a_lab_without_columns_has_the_usual_ones() -> None:
    assert OF_LAB not in "".join(column.id for column in shown(state()))


@pytest.mark.parametrize("name", ["latency_ms", "recall"])
def test_an_export_has_a_column_of_numbers_for_each(name: str) -> None:
    found = exported([("t", NIGHT)])
    assert found.columns[f"column_{name}"] == "number"
    assert next(row[f"column_{name}"] for row in found.rows) in (10.0, 0.5)
