"""The branch tree: its rows for a session, and the cursor in it."""

from __future__ import annotations

import time
import timeit

import pytest
from textual.app import ComposeResult

from autoresearch_tui.cockpit.widgets import tree as model
from autoresearch_tui.cockpit.widgets.experiments import BranchTree
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.badges import FRONT
from autoresearch_tui.session.ends import Outcome, RunEnd
from autoresearch_tui.session.format import FRONTIER, MARKS
from autoresearch_tui.session.state import State
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import Night, long_night, pilot_test


def picture(night: Night) -> list[str]:
    return [model.columns(node, 100)[0].rstrip() for node in model.build(night.state)]


def small_night() -> Night:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    night.experiment("discard", 0.9990, base)
    night.experiment("crash", None, base)
    frontier = night.commit(night.experiment("keep", 0.9950, base))
    night.experiment("vetoed", None, frontier)
    night.launch(night.propose(frontier))
    return night


def mark(outcome: str) -> str:
    return MARKS[outcome][0]


def test_kept_commits_are_the_trunk_and_the_rest_leaves_at_their_base() -> None:
    assert picture(small_night()) == [
        f"┌─{mark('running')} #5",
        f"├─{mark('vetoed')} #4",
        "★ #3",
        f"├─{mark('crash')} #2",
        f"├─{mark('discard')} #1",
        f"{mark('keep')} #0",
        "◆",
    ]


def test_a_side_branch_has_a_column_of_its_own() -> None:
    night = small_night()
    side = night.commit(night.experiment("keep", 0.9945, night.commit(1)))
    night.experiment("discard", 0.9990, side)
    assert picture(night) == [
        f"┌─{mark('discard')} #7",
        "★ #6",
        f"{mark('discard')} #1",
        f"│ ┌─{mark('running')} #5",
        f"│ ├─{mark('vetoed')} #4",
        f"├─{mark('keep')} #3",
        f"├─{mark('crash')} #2",
        f"{mark('keep')} #0",
        "◆",
    ]


def test_value_and_delta_are_against_the_base() -> None:
    nodes = {node.number: node for node in model.build(small_night().state)}
    assert nodes[3].delta == pytest.approx(-0.0029)
    assert nodes[3].better and not nodes[1].better
    assert nodes[0].delta is None and nodes[2].value is None
    assert model.columns(nodes[3], 100)[1] == "0.995000 -0.002900  "
    maximized = Night(goal="maximize")
    base = maximized.commit(maximized.experiment("keep", 0.5))
    maximized.experiment("keep", 0.6, base)
    assert model.build(maximized.state)[0].better


def test_a_baseline_that_changes_nothing_is_no_parent_of_itself() -> None:
    night = Night()
    night.experiment("keep", 1.0, night.commit(0))
    assert model.parents(night.state.experiments) == [None]
    night.experiment("discard", 1.1, night.commit(0))
    assert model.parents(night.state.experiments) == [None, 0]


def test_rows_fit_any_width() -> None:
    for node in model.build(long_night(40).state):
        for width in range(10, 120, 7):
            head, figures, text, commit = model.columns(node, width)
            assert len(text + commit) <= width
            if width >= 48:
                assert len(head + figures + text + commit) <= width


def test_every_experiment_has_one_row_also_in_a_wild_history() -> None:
    night = long_night(60)
    for n in range(60):
        night.experiment(
            night.random.choice(["keep", "discard"]), 0.9, night.commit(night.random.randrange(60)), str(n)
        )
    numbers = [node.number for node in model.build(night.state)]
    assert sorted(n for n in numbers if n is not None) == list(range(night.count))
    assert numbers[-1] is None


def test_what_a_tree_takes_grows_with_its_nodes_and_not_with_their_square() -> None:
    state = long_night(8000).state
    assert min(timeit.repeat(lambda: model.build(state), number=1, repeat=2, timer=time.process_time)) < 2.0


class TreeApp(Coloured):
    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.opened: list[int] = []

    def compose(self) -> ComposeResult:
        yield BranchTree()

    def on_mount(self) -> None:
        self.tree_pane.show(self.state)
        self.tree_pane.focus()

    def on_experiment_list_opened(self, message: BranchTree.Opened) -> None:
        self.opened.append(message.number)

    @property
    def tree_pane(self) -> BranchTree:
        return self.query_one(BranchTree)

    def rows(self) -> list[str]:
        return [self.tree_pane.render_line(y).text for y in range(self.tree_pane.size.height)]


@pilot_test
async def test_the_cursor_opens_an_experiment_and_stays_on_it() -> None:
    night = small_night()
    app = TreeApp(night.state)
    async with app.run_test(size=(90, 8)) as pilot:
        assert app.tree_pane.selected == 5
        await pilot.press("down", "down", "enter")
        assert app.opened == [3]
        night.finish(5, "discard", 0.999)
        night.experiment("keep", 0.9940, night.commit(3))
        app.tree_pane.show(night.state)
        await pilot.press("enter")
        assert app.opened == [3, 3]
        await pilot.press("end", "down", "enter")
        assert app.opened[-1] == 0
        assert "autoresearch/nov20" in app.rows()[-1]


@pilot_test
async def test_a_cursor_that_was_not_moved_follows_the_newest() -> None:
    night = small_night()
    app = TreeApp(night.state)
    async with app.run_test(size=(90, 12)):
        night.finish(5, "keep", 0.99)
        number = night.propose(night.commit(5))
        app.tree_pane.show(night.state)
        assert app.tree_pane.selected == number


@pilot_test
async def test_only_rows_that_changed_are_drawn_again() -> None:
    night = small_night()
    app = TreeApp(night.state)
    async with app.run_test(size=(90, 12)) as pilot:
        await pilot.pause()
        drawn: list[int] = []
        app.tree_pane.refresh = lambda *regions: drawn.extend(region.y for region in regions)  # type: ignore[method-assign, assignment]
        app.tree_pane.show(night.state)
        assert drawn == []
        night.finish(5, "discard", 0.999)
        app.tree_pane.show(night.state)
        assert drawn == [0]


@pilot_test
async def test_an_empty_session_says_so() -> None:
    app = TreeApp(State())
    async with app.run_test(size=(60, 5)) as pilot:
        await pilot.press("down", "enter")
        assert "Every experiment gets a row here" in app.rows()[0]


def test_where_each_front_stands_is_marked_and_named() -> None:
    night = Night()
    base = night.experiment("keep", 1.0)
    night.experiment("keep", 0.9)
    other = night.proposal(base=night.commit(base), front=1)
    night.launch(other)
    night.add(ev.RunEnded(other, RunEnd.FINISHED, 0, 300.0), ev.RunScored(other, 0.95, 1.0, "referee"))
    night.add(ev.VerdictGiven(other, Outcome.DISCARD, 0.95, 1.0, "", leads=True))
    nodes = {node.number: node for node in model.build(night.state)}
    assert (nodes[1].glyph, nodes[2].glyph) == ("★", FRONTIER)
    assert nodes[1].text.startswith("front A · ")
    assert nodes[2].text.startswith("front B · ")
    assert nodes[2].marks == FRONT
