"""Results and tree: one list in two arrangements, with the columns, the order and the rows that the reader wants."""

from __future__ import annotations

import pytest

from autoresearch_tui.cockpit.preferences import Preferences, load
from autoresearch_tui.cockpit.widgets.table import COLUMNS, SORTABLE, Order, Table, digits
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import State
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, judged, night
from tests.cockpit.nights import Night, long_night


def table_of(state: State, width: int, columns: tuple[str, ...] = tuple(c.id for c in COLUMNS)) -> list[str]:
    table = Table(state, columns)
    head = "".join(text for text, _ in table.header(width, Order()))
    return [head, *("".join(text for text, _ in table.row(e, width, [])) for e in state.experiments)]


def test_a_column_without_a_value_is_not_there() -> None:
    night = Night()
    night.propose()
    head = table_of(night.state, 200)[0]
    assert all(name not in head for name in ("GiB", "vs best", "time", "sealed"))
    night.approve(0)
    night.launch(0)
    night.finish(0, "keep", 0.9979)
    head = table_of(night.state, 200)[0]
    assert all(name in head for name in ("GiB", "vs best", "time")) and "sealed" not in head
    assert head.rstrip().endswith("change")


def test_the_change_gets_its_room_at_any_width() -> None:
    state = long_night(40).state
    for width in range(40, 200, 7):
        head = table_of(state, width)[0]
        assert width - head.index("change") >= min(20, 0.35 * width), head


@pytest.mark.parametrize(("value", "expected"), [(0.9979, 5), (1e-4, 9), (93.25, 3), (12_500.0, 1), (5e8, 0)])
def test_digits_tell_apart_what_chance_does_not_explain(value: float, expected: int) -> None:
    night = Night()
    night.experiment("keep", value)
    assert digits(night.state) == expected


def test_digits_follow_the_measured_spread() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.80))
    night.experiment("discard", 0.83, base)
    assert digits(night.state) == 5
    first = night.state.experiments[0]
    night.add(
        ev.ProposalMade(
            2,
            first.commit,
            first.proposal.base,
            "again",
            "",
            "repeat",
            first.proposal.program,
            0,
            0,
            repeat_of=0,
            seed=1,
        )
    )
    night.launch(2)
    night.finish(2, "discard", 0.82)
    assert digits(night.state) == 3


@pytest.mark.parametrize("column", [column.id for column in SORTABLE])
def test_any_column_sorts_both_ways_and_nothing_comes_last(column: str) -> None:
    state = long_night(60).state
    value = next(c.value for c in SORTABLE if c.id == column)
    for order in (Order(column, False), Order(column, True)):
        rows = [state.experiments[number] for number in order.sort(state.experiments, state)]
        assert sorted(e.number for e in rows) == [e.number for e in state.experiments]
        values = [value(e) for e in rows]
        known = [v for v in values if v not in (None, "")]
        assert values[: len(known)] == known
        assert known == sorted(known, reverse=order.turned)  # type: ignore[type-var]


def test_a_click_on_a_header_sorts_by_it_and_turns_it_round(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        results = driver.app.main.results
        await driver.press("4")

        async def click(name: str) -> None:
            lines = driver.text().split("\n")
            row = next(y for y, line in enumerate(lines) if "vs best" in line)
            await driver.pilot.click(offset=(lines[row].index(name), row))
            await driver.pilot.pause()

        await click("val_bpb")
        assert [e.number for e in results.experiments][:4] == [6, 4, 1, 0]
        assert "best first" in driver.text() and "↑val_bpb" in driver.text()
        await click("val_bpb")
        assert [e.number for e in results.experiments][:4] == [3, 0, 1, 4]
        await click("change")
        assert results.experiments[0].description.startswith("ADAM_BETAS")
        await click("#")
        assert results.experiments[0].number == 8

    drive(session, host, story, size=(80, 24))


def test_columns_are_chosen_and_sorted_by_key(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4", "w")
        assert "[ ] author" in driver.text() and "[x] GiB" in driver.text()
        await driver.press(*["down"] * 10, "space")
        assert "[x] author" in driver.text()
        await driver.press("enter", "escape")
        assert "by author ↑" in driver.text() and "author" in driver.text().split("\n")[6]
        await driver.press("w", "down", "down", "space", "escape")
        assert "val_bpb " not in driver.text().split("\n")[6] and "vs best" not in driver.text()

    drive(session, host, story, size=(80, 24))


def test_the_usual_columns_are_a_preference(session: FakeSession, host: FakeHost, tmp_path: object) -> None:
    file = session.lab.root / "cockpit.toml"
    file.write_text('columns = ["score", "autor", "commit"]\nsort = "score"\n')
    preferences = load(file)
    assert preferences.problems == (f"{file}: `columns`: unknown column `autor`; did you mean `author`?",)
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("4")
        assert "commit" in driver.text() and "vs best" not in driver.text() and "best first" in driver.text()

    drive(session, host, story, size=(80, 24), settings=preferences)
    file.write_text("columns = 3\n")
    assert load(file).problems == (f"{file}: `columns` must be a list of strings",)


@pytest.mark.parametrize("pane", ["4", "5"])
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 50)])
def test_the_selected_row_says_everything(
    session: FakeSession, host: FakeHost, pane: str, size: tuple[int, int]
) -> None:
    session.begin()
    session.whole("baseline", 1.0, "keep")
    words = "Muon with a longer 窓 of momentum, " * 3 + "and that is the end"
    number = session.propose(words)
    session.approve(number)
    session.start(number)
    session.end(number, 1.1, "discard", "worse by a tenth [b]than[/b] the frontier")

    async def story(driver: Driver) -> None:
        await driver.press(pane, *(["Z"] if size[0] >= 120 else []))
        shown = " ".join(driver.text().replace("│", " ").split())
        assert "and that is the end — worse by a tenth [b]than[/b] the frontier" in shown
        await driver.press("end")
        assert "worse by a tenth" not in driver.text() or size[0] >= 120

    drive(session, host, story, size=size)


def test_a_filter_works_in_the_tree_and_shows_the_way(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        tree = driver.app.main.tree_pane
        await driver.press("5", "slash", *"embedding", "enter")
        assert list(tree.numbers) == [3, 1, 0]
        assert '"embedding" 1 of 9' in driver.text()
        await driver.press("escape", "t")
        assert list(tree.numbers) == [6, 4, 1, 0] and "kept only" in driver.text()

    drive(session, host, story, size=(80, 24))


def test_the_discards_of_a_keep_fold(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        tree = driver.app.main.tree_pane
        await driver.press("5", "minus")
        assert "nothing to fold here" in driver.said()
        await driver.press("number_sign", "3", "enter", "minus")
        assert list(tree.numbers) == [8, 7, 6, 5, 4, 1, 0] and tree.selected == 1
        assert "+2 folded" in driver.text() and "2 folded" in tree.arrangement
        await driver.press("minus")
        assert len(tree.numbers) == 9
        await driver.press("equals_sign")
        assert list(tree.numbers) == [8, 7, 6, 4, 1, 0]
        await driver.press("number_sign", *"#5", "enter")
        assert tree.selected == 5, "a jump unfolds what hides it"
        await driver.press("equals_sign")
        assert len(tree.numbers) == 9

    drive(session, host, story, size=(80, 24))


def test_going_to_a_number(session: FakeSession, host: FakeHost) -> None:
    judged(session)

    async def story(driver: Driver) -> None:
        await driver.press("number_sign", "2", "enter")
        assert driver.app.main.results.has_focus and driver.app.main.results.selected == 2
        await driver.press("t", "t", "number_sign", "4", "enter")
        assert driver.app.main.results.selected == 4, "a filter that hides it is lifted"
        for wrong in ("99", "x", "²"):
            await driver.press("number_sign", *wrong, "enter")
            assert f"there is no experiment #{wrong}" in driver.said()
        await driver.press("number_sign", "1", "escape")
        assert driver.app.main.results.selected == 4

    drive(session, host, story, size=(80, 24))


def test_wide_characters_keep_the_columns(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    session.whole("baseline", 1.0, "keep")
    session.whole("学習率を下げる 学習率を下げる 学習率を下げる 学習率を下げる", 0.99, "keep")

    async def story(driver: Driver) -> None:
        for pane in ("4", "5"):
            await driver.press(pane)
            for strip in driver.app.screen._compositor.render_strips():
                assert strip.cell_length == 60

    drive(session, host, story, size=(60, 20), settings=Preferences())
