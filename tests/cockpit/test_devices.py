"""The pane of devices, and the log and the curve of whichever run is looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autoresearch_tui.cockpit.widgets.devices import DevicePanel
from autoresearch_tui.session import cluster_file, limits
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night
from tests.cockpit.fleets import begun, four_here, run, sixteen, told, unreachable
from tests.cockpit.test_sizes_main import compare

PICTURES: dict[str, tuple[Callable[[FakeSession], None], tuple[int, int], tuple[str, ...]]] = {
    "fleet-120x40": (sixteen, (120, 40), ()),
    "fleet-80x24": (sixteen, (80, 24), ("2", "down", "down")),
    "fleet-60x20": (sixteen, (60, 20), ("2", "end")),
    "four-120x30": (four_here, (120, 30), ("2",)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(session: FakeSession, host: FakeHost, name: str) -> None:
    tell, size, keys = PICTURES[name]
    tell(session)
    found: list[str] = []

    async def story(driver: Driver) -> None:
        await driver.tick(8)
        await driver.press(*keys)
        found.append(driver.text())

    drive(session, host, story, size=size)
    compare(name, found[0])


def panel(driver: Driver) -> DevicePanel:
    found = driver.app.main.devices
    assert found is not None
    return found


def rows(driver: Driver) -> str:
    """What is in the pane."""
    height = panel(driver).content_size.height
    return "\n".join("".join(part.text for part in panel(driver).render_line(y)) for y in range(height))


def row(driver: Driver, words: str) -> str:
    """The row of the pane that has these words."""
    return next(row for row in rows(driver).split("\n") if words in row)


def test_a_device_is_followed_from_run_to_run_until_the_newest_is_asked_for(
    session: FakeSession, host: FakeHost
) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        assert "1 run #26 init scale" in driver.text() and "on gpu-4:1" in driver.text()
        await driver.press("2", "down", "enter")
        assert "1 run #16 WEIGHT_DECAY" in driver.text() and "follows gpu-1:1" in driver.text()
        assert "→     :1 ▶ #16" in driver.text()
        run(session, "gpu-3:3", "another one, which is newer", 0.1)
        session.log(16, "\rof the run that is followed\n")
        await driver.tick()
        assert "of the run that is followed" in driver.text()
        session.end(16, 0.9902, "keep", seconds=1.0)
        await driver.tick()
        assert "1 run #16" in driver.text() and "follows gpu-1:1, which has no run · ended" in driver.text()
        number = run(session, "gpu-1:1", "what comes after it", 0.3)
        await driver.tick()
        assert f"1 run #{number} what comes after it" in driver.text()
        await driver.press("1", "enter")
        assert f"▶ #{number} running" in driver.text()
        await driver.press("escape", "0")
        run(session, "gpu-2:1", "the newest of all", 0.1)
        await driver.tick()
        assert "1 run #30 the newest of all" in driver.text() and "on gpu-2:1" in driver.text()

    drive(session, host, story, size=(120, 40))


def test_a_device_without_a_run_shows_its_last_one(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        await driver.press("2", *["down"] * 5, "enter")
        assert "⊘ set aside: its baseline is 1.0214" in driver.text()
        assert "1 run #5 baseline" in driver.text() and "follows gpu-2:1, which has no run" in driver.text()

    drive(session, host, story, size=(120, 40))


def test_keys_and_a_list_choose_the_run(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        await driver.press("right_square_bracket")
        assert "1 run #15 MATRIX_LR" in driver.text()
        await driver.press("1")
        assert "0 newest run" in driver.row(-1)
        await driver.press("right_square_bracket", "right_square_bracket")
        assert "1 run #17 rotary base" in driver.text()
        await driver.press("L", *"gpu-3:1", "enter")
        await driver.pilot.pause(0.1)
        await driver.press("x")
        assert "1 run #23 halve the batch" in driver.text()
        await driver.press("L", *"newest", "enter")
        await driver.pilot.pause(0.1)
        assert "1 run #26 init scale" in driver.text()

    drive(session, host, story, size=(120, 40))


def test_the_run_under_the_cursor_is_stopped(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        await driver.press("2", "down", "s", "1")
        await driver.press("home", "end", "s")

    drive(session, host, story, size=(120, 40))
    assert [command.number for command in host.sent if isinstance(command, cmd.StopRun)] == [16]


def test_what_is_wrong_with_a_device_is_told_in_its_own_words(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        await driver.press("2", "end")
        said = " ".join(rows(driver).split())
        assert "gpu-5 ! refused: its data's manifest is 3f9a…, and that of the session 77c1… — prepare" in said
        assert "14 × H100" in driver.text()
        await driver.press("home", "down", "down")
        assert "gpu-1:2 ! throttled by heat" in driver.text()
        await driver.press("Z")
        assert row(driver, "rotary base").rstrip(" │▐").endswith("H100      ! throttled by heat")

    drive(session, host, story, size=(150, 40))


def test_busy_devices_come_first_where_there_is_no_room_for_all(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        assert "set aside: " not in rows(driver)
        session.end(15, 0.99, "discard", seconds=1.0)
        await driver.tick()
        # One that is between two runs keeps its place for a moment.
        assert "gpu-1:0 · idle" in rows(driver)
        driver.later(30)
        await driver.tick()
        assert "gpu-1:1 ▶ #16" in row(driver, "#16 WEIGHT") and "gpu-1:0" not in rows(driver)

    drive(session, host, story, size=(120, 30))


def test_what_the_cluster_is_like_now_is_read_when_its_file_changes(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        told(session, "no answer", session.now - 60)
        await driver.tick()
        since = limits.local(session.now - 61)
        assert f"2 lost; cluster not reachable since {since}" in driver.row(1)
        driver.later(200)
        await driver.tick()
        assert row(driver, "#26").count("?") == 1
        lost = cluster_file.ClusterNow("10.0.0.1:6379", session.now, "the connection was lost", session.now - 90)
        cluster_file.write(session.files.cluster, lost)
        await driver.tick()
        assert "91%" in row(driver, "gpu-1:0 ▶ #15") and "  90%" not in rows(driver)
        session.files.cluster.unlink()
        await driver.tick()
        assert "reachable" not in driver.text() and "91%" not in row(driver, "gpu-1:0")

    drive(session, host, story, size=(120, 40))


def test_a_node_that_says_nothing_is_found_although_the_cluster_answers(session: FakeSession, host: FakeHost) -> None:
    sixteen(session)

    async def story(driver: Driver) -> None:
        assert "gpu-1:0 ▶ #15" in rows(driver)
        driver.later(200)
        await driver.tick()
        await driver.press("2")
        assert "gpu-1:0 ! not heard of for 3 min" in rows(driver)

    drive(session, host, story, size=(120, 40))


def test_a_cluster_that_is_gone_while_nothing_runs_is_said_with_its_reason(
    session: FakeSession, host: FakeHost
) -> None:
    begun(session, ("a:0", "b:0"))
    told(session, "no answer from 10.0.0.1:6379", session.now - 60)

    async def story(driver: Driver) -> None:
        assert "cluster not reachable since" in driver.row(1) and "no answer from 10.0.0.1:6379" in driver.row(1)

    drive(session, host, story, size=(120, 30))


def test_devices_that_join_later_take_the_place_of_the_load(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.tick(8)
        assert "2 load" in driver.text() and "vram" in driver.text()
        session.add(ev.DeviceJoined("far:0", "far", "NVIDIA A100-SXM4-80GB"))
        await driver.tick()
        assert "2 devices" in driver.text() and "vram" not in driver.text()
        assert "far:0" in driver.text() and "○ awaiting baseline" in driver.text()
        await driver.press("2")
        assert driver.app.main.focused is panel(driver)
        session.add(*(ev.DeviceJoined(f"far:{index}", "far") for index in range(1, 6)))
        await driver.tick()
        # The pane grows with them.
        assert all(f" :{index} " in rows(driver) for index in range(1, 6))

    drive(session, host, story, size=(120, 30))


def test_what_a_node_says_of_itself_is_text(session: FakeSession, host: FakeHost) -> None:
    session.begin()
    bad = "\x1b[31m[red]x\u202e\n"
    session.add(ev.DeviceJoined(f"{bad}:0", bad, bad), ev.DeviceJoined("学習機一号:0", "学習機一号", "NVIDIA 学習"))
    session.add(ev.NodeRefused("other", f"{bad}reason", f"{bad}remedy"))
    run(session, f"{bad}:0", "wider", 0.4)
    told(session)
    text = session.files.cluster.read_text().replace('"fault":""', '"fault":"[bold]\\u001b]52;c;aGk=\\u0007[/x]"')
    session.files.cluster.write_text(text)

    async def story(driver: Driver) -> None:
        await driver.press("2", "end")
        assert "[red]x" in rows(driver) and "学習機一号:0" in rows(driver) and "reason — " in rows(driver)
        await driver.press("home")
        assert "[bold]" in rows(driver)
        assert not {"\x1b", "\u202e", "\x07"} & set(driver.text())
        await driver.press("enter")
        assert "follows ·[31m[red]x" in driver.text()

    for size in ((120, 40), (60, 20)):
        drive(session, host, story, size=size)


def test_only_what_changes_is_painted(session: FakeSession, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable(session)

    async def story(driver: Driver) -> None:
        await driver.tick()
        painted: list[int] = []
        monkeypatch.setattr(panel(driver), "refresh", lambda *regions: painted.append(len(regions)))
        await driver.tick(8)
        assert painted == []
        driver.later(1)
        await driver.tick()
        # A second changes the time that the two runs have left that end soon, and a bar here and there.
        assert len(painted) == 1 and 1 <= painted[0] <= 8

    drive(session, host, story, size=(120, 40))


def test_a_session_whose_last_device_goes_says_so(session: FakeSession, host: FakeHost) -> None:
    begun(session, ("gpu-1:0", "gpu-2:0"))
    session.approve(session.propose("wider"), "auto")
    session.add(ev.DeviceLeft("gpu-1:0", "its node is being taken away"))
    told(session)

    async def story(driver: Driver) -> None:
        text = driver.text()
        assert "between runs" in text and "wider, auto-approved, starts now" in text
        assert "nothing waits for you" in text
        session.add(ev.DeviceSetAside("gpu-2:0", "its baseline, #1, has no score: crashed"))
        await driver.tick(8)
        text = driver.text()
        assert "no device can train: gpu-2:0: set aside, its baseline, #1, has no score" in text
        assert "starts when there is a device" in text and "waits for a device: add a node, or restart one" in text
        session.add(ev.DeviceJoined("gpu-3:0", "gpu-3", "NVIDIA H100"))
        await driver.tick(8)
        assert "no device can train" not in driver.text() and "starts now" in driver.text()

    drive(session, host, story, size=(80, 24))
