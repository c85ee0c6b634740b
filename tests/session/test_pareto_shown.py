"""The front of two numbers, as a screen and as a report show it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from msgspec.structs import replace
from textual.geometry import Size

from autoresearch_tui.cockpit.screens.compare import Scores
from autoresearch_tui.cockpit.widgets.pareto import ParetoPlot
from autoresearch_tui.report import pareto as reported
from autoresearch_tui.report.page import Grid, Image, markdown
from autoresearch_tui.session import columns
from autoresearch_tui.session.state import State
from tests.session.test_columns import NIGHT, night, scored

MANY = night(*(scored(n, 1 + (n * 37 % 100) / 200, latency_ms=5.0 + n * 53 % 97) for n in range(100)))
ALONE = night(scored(0, 1.0, "keep", latency_ms=5.0))


def painted(state: State, size: tuple[int, int], chosen: int | None = 0) -> list[str]:
    x, y = columns.pairs(state)[0]
    plot = ParetoPlot()
    plot._points, plot._axes, plot._chosen = columns.pareto(state.experiments, x, y), (x, y), chosen
    return ["".join(text for text, _ in row) for row in plot.paint(Size(*size))]


@pytest.mark.parametrize("size", [(80, 20), (200, 46), (60, 12), (20, 5)])
@pytest.mark.parametrize("state", [NIGHT, MANY, ALONE])
def test_it_fits_and_says_which_direction_is_better(state: State, size: tuple[int, int]) -> None:
    rows = painted(state, size)
    assert len(rows) <= size[1]
    assert max(map(len, rows)) <= size[0]
    assert rows[0].strip().startswith("val_bpb ↓ better"[: size[0] - 1])
    assert "latency_ms ←" in rows[-1] or size[0] < 60


def test_every_point_of_the_front_is_marked_and_lies_where_its_numbers_say() -> None:
    rows = painted(NIGHT, (80, 20))
    assert "".join(rows[1:]).count("◆") == 3
    places = [(row.index("◆"), n) for n, row in enumerate(rows) if n and "◆" in row]
    assert places == sorted(places)  # the better the score, the higher the latency: further down is further right
    assert any("·" in row for row in rows[1:])


def test_a_comparison_has_a_row_for_each_column() -> None:
    four = NIGHT.experiments[:4]
    scores = Scores(four, NIGHT.goal, columns.columns(NIGHT))
    rows = ["".join(text for text, _ in row) for row in scores.paint(Size(80, scores.height))]
    assert scores.height == len(rows) == 6
    assert rows[4].split() == "latency_ms #0 10 #1 20 ▲ 10 #2 5 ▼ 5 #3 25 ▲ 15".split()
    assert rows[5].split() == "recall #0 0.5 #1 0.5 #2 none #3 0.9 ▲ 0.4".split()
    assert Scores(four[:2], NIGHT.goal).height == 2


def test_a_report_has_a_picture_and_the_front_for_each_column() -> None:
    blocks = list(reported.section(NIGHT))
    images = [block for block in blocks if isinstance(block, Image)]
    assert [image.path for image in images] == ["front-1.svg", "front-2.svg"]
    for image in images:
        assert ET.fromstring(image.svg).tag.endswith("svg")
    grid = next(block for block in blocks if isinstance(block, Grid))
    assert [row[0] for row in grid.rows] == ["0002", "0000", "0001"]
    assert "3 are on the front" in markdown(blocks)


def test_a_lab_without_columns_has_no_such_section() -> None:
    assert list(reported.section(replace(NIGHT, last_engine=None))) == []
