"""`A`: the tree and the chart of all the lab's sessions that measured alike, and back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from textual.geometry import Size

from autoresearch_tui.cockpit.all_sessions import Others, names, read, together
from autoresearch_tui.cockpit.widgets import tree
from autoresearch_tui.cockpit.widgets.charts import ProgressChart
from autoresearch_tui.session.prior_results import PriorResult
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night
from tests.cockpit.sessions_before import NOW, Before, nights_before
from tests.night import Night


def test_all_sessions_are_one_tree(tmp_path: Path) -> None:
    nights_before(tmp_path, NOW)
    now = Before(tmp_path, "nov21-4", NOW).play([("keep", 0.9980), ("keep", 0.9970)])
    assert now.lab is not None
    others = read(now.lab, now.tag, now.state)
    assert [tag for tag, _ in others.before] == ["nov19-1", "nov20-2"]
    assert others.left_out == ("nov18-3 left out: its budget was 60 s",)
    whole = together(others, now.tag, now.state)
    assert [whole.own_number(n) for n in range(10)] == [None] * 8 + [0, 1]
    assert whole.inside(1) == 9
    best = whole.state.best
    assert best is not None
    assert (whole.part_of(best.number).tag, best.value) == ("nov20-2", 0.9932)
    rows = tree.named(tree.build(whole.state), whole)
    told = ["".join(text for text, _ in tree.row(row, 100, [])) for row in rows]
    assert told[0].split()[:4] == ["▸", "#1", "0.997000", "-0.001000"]
    assert any("★ #2" in row and "nov20-2: " in row for row in told)
    # The second night began where the first had come to: it hangs there.
    parent = tree.parents(whole.state.experiments)
    assert parent[4] == 1
    assert "3 sessions · nov18-3 left out: its budget was 60 s" in told[-1]


def test_a_session_that_began_later_comes_after(tmp_path: Path) -> None:
    old, new = Before(tmp_path, "a", NOW).play([("keep", 1.0)]), Before(tmp_path, "b", NOW + 1).play([("keep", 0.9)])
    assert old.lab is not None
    others = read(old.lab, "a", old.state)
    assert (others.before, [tag for tag, _ in others.after]) == ((), ["b"])
    assert [part.tag for part in together(others, "a", old.state).parts] == ["a", "b"]
    new.files.journal.write_bytes(b"nonsense\n{}\n")
    assert read(old.lab, "a", old.state) == Others((), (), ("b cannot be read",))


@pytest.mark.parametrize("width", [30, 60, 120])
def test_each_session_has_its_frontier_in_the_chart(tmp_path: Path, width: int) -> None:
    nights_before(tmp_path, NOW)
    now = Before(tmp_path, "nov21-4", NOW).play([("keep", 0.9980)] + [("discard", 1.5)] * 3)
    assert now.lab is not None
    chart = ProgressChart()
    chart._state, chart._others = now.state, read(now.lab, now.tag, now.state)
    rows = chart.paint(Size(width, 12))
    texts = ["".join(text for text, _ in row) for row in rows]
    assert all(cell_len(text) <= width for text in texts)
    assert texts[-1].split()[0] == "nov19-1"
    if width >= 60:
        assert texts[-1].split() == ["nov19-1", "nov20-2", "nov21-4"]
    tones = {tone for row in rows[:-1] for text, tone in row if any("⠀" < char <= "⣿" for char in text)}
    assert {"good", "faint"} <= tones


def test_names_that_have_no_room_are_left_out() -> None:
    parts = together(Others(()), "nov21", Night().state).parts
    assert names(parts, 4, 1) == "    "
    assert names(parts, 8, 1) == "nov21   "


def test_the_key_widens_tree_and_chart_and_back(session: FakeSession, host: FakeHost) -> None:
    nights_before(session.lab.root, NOW)
    night(session)

    async def story(driver: Driver) -> None:
        await driver.tick()
        main = driver.app.main
        await driver.press("5", "down")
        chosen = main.tree_pane.chosen
        alone = driver.text()
        await driver.press("A")
        await driver.app.workers.wait_for_complete()
        await driver.pilot.pause()
        text = driver.text()
        assert "3 sessions · nov18-3 left out: its budget was 60 s" in text
        assert "nov20-2: " in text
        assert re.search(r" nov19-1 +nov20-2 +nov21 ", text)
        assert main.tree_pane.chosen == chosen
        # Rows of other sessions are for reading; what judges, judges this one.
        await driver.press("end", "enter")
        assert "is of session nov19-1; `:nov19-1` shows that session" in driver.said()
        assert main.situation.selected is None
        await driver.press("R")
        assert not host.sent
        for key in ("Y", "V"):
            await driver.press(key)
            assert driver.said() == "there is no experiment of this session here"
        await driver.press(*"#3", "enter")
        assert main.tree_pane.chosen == 3
        # What happens meanwhile is in both.
        session.end(7, 0.99, "discard")
        await driver.tick()
        await driver.press(*"#7", "enter")
        assert re.search(r"▌ ├─· #7 +0\.99000", driver.text())
        await driver.press("A")
        assert "nov20-2" not in driver.text()
        assert main.tree_pane.chosen == 7
        assert alone.count("#6") == driver.text().count("#6")

    drive(session, host, story, size=(200, 50))


def test_without_another_session_there_is_nothing_to_widen(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.tick()
        await driver.press("A")
        assert driver.said() == "there is no other session in this lab"

    drive(session, host, story)


def test_the_root_says_where_an_earlier_session_came_further() -> None:
    night = Night()
    earlier = PriorResult("nov19#3", 0.97, 44.0, "keep", "an idea", commit="c" * 40, session="nov19", number=3)
    night.history([earlier, replace(earlier, value=0.5, flags=("its budget was 60 s",))], "its earlier sessions")
    told = " · 2 prior results · nov19 reached 0.970000: --new --from best"
    assert tree.build(night.state)[-1].text.endswith(told)
    night.experiment("keep", 0.98)
    assert tree.build(night.state)[-1].text.endswith(told)
    night.experiment("keep", 0.96)
    assert tree.build(night.state)[-1].text.endswith(" · 2 prior results")
