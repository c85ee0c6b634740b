"""Axis labels stand beside what they label, whatever the size and the values."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from textual.geometry import Size

from autoresearch_tui.cockpit.log_follower import Curve
from autoresearch_tui.cockpit.widgets.charts import LossPlot, ProgressChart, Scale, Series, axis_texts, smoothed
from autoresearch_tui.session import events as ev
from tests.night import Night


def flat(value: float) -> Series:
    curve = Curve()
    for at in range(10, 100):
        curve.add(at / 100, value)
    return Series("flat", "flat", curve)


def spanning(low: float, high: float) -> Series:
    curve = Curve()
    curve.add(0.5, high)
    curve.add(0.99, low)
    return Series("range", "range", curve)


@pytest.mark.parametrize("height", range(4, 24))
@pytest.mark.parametrize(("low", "high"), [(2.95, 5.6), (0.0484, 0.0651), (-3.0, 7.5), (1e4, 1.2e4)])
def test_a_loss_lies_in_the_row_of_its_label(low: float, high: float, height: int) -> None:
    plot, size = LossPlot(), Size(60, height)
    plot.show(spanning(low, high))
    labels = [(y, row[0][0].strip()) for y, row in enumerate(plot.paint(size)) if len(row) > 1 and row[1][0] == "┤"]
    assert labels or height < 6
    for y, label in labels:
        plot.show(flat(float(label)), spanning(low, high))
        drawn = [at for at, row in enumerate(plot.paint(size)[1:-1], 1) if any(tone == "flat" for _, tone in row)]
        assert drawn == [y], label


@pytest.mark.parametrize("height", range(5, 24))
def test_a_score_lies_in_the_row_of_its_label(height: int) -> None:
    def painted(*discarded: float) -> list[tuple[str, bool]]:
        night = Night()
        for value in (1.04, 0.953):
            night.experiment("keep", value)
        for value in discarded:
            night.experiment("discard", value)
        chart = ProgressChart()
        chart.show(night.state)
        rows = chart.paint(Size(60, height))[:-1]
        return [(row[0][0].strip(), any(tone == "dim" for _, tone in row[2:])) for row in rows]

    labels = [label for label, _ in painted() if label]
    assert labels
    for label in labels:
        assert [text for text, drawn in painted(float(label)) if drawn] in ([label], [])


@pytest.mark.parametrize("height", [6, 10, 24])
@pytest.mark.parametrize("value", [0.9979, 0.5, 3.0, 12_345.6, 1_043_824.0, 2.5e-7, -4.2])
def test_one_value_is_labelled_once(value: float, height: int) -> None:
    night = Night()
    night.experiment("keep", value)
    labels = [row.partition("┤")[0] for row in painted(night, Size(60, height)) if "┤" in row]
    assert labels and len(set(labels)) == len(labels), labels


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9), st.integers(4, 30))
def test_no_two_labels_of_an_axis_are_the_same(low: float, span: float, rows: int) -> None:
    assume(low + span > low + abs(low) * 1e-5)
    labels = list(Scale(low, low + span, rows).labels().values())
    assert len(set(labels)) == len(labels), labels
    assert max(map(len, labels)) <= 12


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.99, 0.995, 1.0], ["0.990", "0.995", "1.000"]),
        ([1_040_000.0, 1_045_000.0], ["1.040M", "1.045M"]),
        ([120_000.0, 140_000.0], ["120k", "140k"]),
        ([2.0, 2.5], ["2.0", "2.5"]),
        ([2e-8, 4e-8], ["2e-8", "4e-8"]),
        ([0.0], ["0"]),
    ],
)
def test_an_axis_has_as_many_decimals_as_its_values_differ_in(values: list[float], texts: list[str]) -> None:
    assert axis_texts(values) == texts


def test_the_loss_is_said_once() -> None:
    """The row above has it, from the newest line of the log; the legend would have another a moment later."""
    plot = LossPlot()
    plot.show(flat(3.0), spanning(3.2, 5.0))
    legend = "".join(text for text, _ in plot.paint(Size(80, 12))[0])
    assert "3.0000" not in legend and "ahead" in legend


def painted(night: Night, size: Size = Size(80, 16)) -> list[str]:  # noqa: B008
    chart = ProgressChart()
    chart.show(night.state)
    return ["".join(text for text, _ in row) for row in chart.paint(size)]


@pytest.mark.parametrize("size", [Size(56, 10), Size(80, 16), Size(190, 40)], ids=str)
def test_points_off_the_chart_are_counted_where_they_lie(size: Size) -> None:
    night = Night()
    night.experiment("keep", 1.0)
    night.experiment("keep", 0.99)
    assert "off the chart" not in "".join(painted(night, size))
    for value in (3.0, 40.0, 0.991):
        night.experiment("discard", value)
    rows = painted(night, size)
    assert "▲ 2 off the chart" in rows[0]
    assert "0.99" in "".join(rows), "the frontier keeps its room"


def test_points_off_the_chart_are_below_where_more_is_better() -> None:
    night = Night(goal="maximize")
    night.experiment("keep", 0.5)
    night.experiment("keep", 0.6)
    night.experiment("crash", None)
    night.experiment("discard", 0.01)
    assert "▼ 1 off the chart" in painted(night)[-2]


def test_the_sealed_split_takes_no_room_from_the_frontier() -> None:
    def labels(sealed: float | None) -> list[str]:
        night = Night()
        for value in (1.0, 0.99):
            number = night.proposal("an idea")
            night.launch(number)
            night.add(
                ev.RunEnded(number, "finished", 0, 300.0),
                ev.RunScored(number, value, 44.0, "referee", sealed=None if sealed is None else sealed * value),
                ev.VerdictGiven(number, "keep", value, 44.0, ""),
            )
        rows = painted(night)
        assert ("sealed split, less +" in rows[-1]) == (sealed is not None)
        return [row[:8] for row in rows[:-1]]

    assert labels(None) == labels(1.3) == labels(5.0)


def test_a_metric_that_spans_decades_has_a_logarithmic_axis() -> None:
    night = Night()
    for value in (10.0, 1.0, 0.1, 0.01):
        night.experiment("keep", value)
    rows = painted(night)
    places = [y for y, row in enumerate(rows) if row.partition("┤")[0].strip() in {"10", "1", "0.1", "0.01"}]
    assert len(places) == 4
    steps = [b - a for a, b in pairwise(places)]
    assert max(steps) - min(steps) <= 1, "a decade is as high as another"
    assert "log" in rows[-1]


def test_a_curve_that_begins_off_the_scale_is_not_drawn_along_its_edge() -> None:
    curve = Curve()
    for at in range(100):
        curve.add(at / 100, 11.0 if at < 8 else 4.0 - at / 100)
    plot = LossPlot()
    plot.show(Series("falls", "falls", curve))
    top = "".join(text for text, _ in plot.paint(Size(100, 12))[1][2:])
    assert 5 <= len(top) - len(top.lstrip()) <= 8, top


def test_a_smooth_curve_is_a_mean_of_its_values() -> None:
    points = [(at / 100, 3.0 + (-1) ** at) for at in range(100)]
    made = smoothed(points)
    assert made[0] == points[0] and abs(made[-1][1] - 3.0) < 0.1
    assert [at for at, _ in made] == [at for at, _ in points]
    assert smoothed([]) == []
