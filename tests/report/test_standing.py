"""How a session on many devices stands: for a terminal, for a status bar, for a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from autoresearch_tui.report import listing, report, standing
from autoresearch_tui.report.facts import as_lines
from autoresearch_tui.report.page import markdown
from autoresearch_tui.report.standing import Standing
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import limits
from autoresearch_tui.session.status import status
from tests.cockpit.fakes import FakeSession
from tests.cockpit.fleets import four_here, sixteen, told, unreachable


def look(session: FakeSession) -> Standing:
    """As at the session's own clock, with its engine alive."""
    found = standing.look(session.lab.root, session.tag)
    lives = {number: replace(live, seen=session.now) for number, live in found.view.lives.items()}
    return replace(found, view=replace(found.view, now=session.now, orphaned=False, lives=lives))


@pytest.fixture
def session(tmp_path: Path) -> FakeSession:
    return FakeSession(tmp_path / "lab")


@pytest.fixture(autouse=True)
def an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoresearch_tui.lab.engine_lock.serves", lambda *_: True)


def test_the_lines_count_the_devices(session: FakeSession) -> None:
    sixteen(session)
    lines = standing.as_lines(look(session))
    assert len(lines) <= 11 and max(map(cell_len, lines)) <= 80
    assert lines[1].startswith("▶ 12/16 train, 1 awaiting baseline, 1 set aside, 2 lost")
    assert next(line for line in lines if line.startswith("devices")).startswith("devices   12/16 train, 1 awaiting")
    assert "12/16 train" in standing.as_line(look(session))


def test_the_status_line_says_which_run_ends_next_where_there_is_room(session: FakeSession) -> None:
    sixteen(session)
    view = look(session).view
    assert status(view, 160).now.text.endswith("2 lost · next to end: #26 init scale 0.02→0.01 in 0:51")
    for width in (60, 80, 120, 160):
        text = status(view, width).now.text
        assert text.startswith("12/16 train, 1 awaiting baseline, 1 set aside") and cell_len(text) <= max(70, width - 3)


def test_a_cluster_that_does_not_answer_is_said_with_the_hour(session: FakeSession) -> None:
    unreachable(session)
    since = limits.local(session.now - 3640)
    found = status(look(session).view, 200).now
    assert (found.glyph, found.tone) == ("!", "warn") and f"; cluster not reachable since {since}" in found.text
    assert f"; unreachable since {since}" in status(look(session).view, 100).now.text
    shown: dict[str, Any] = standing.as_object(look(session))
    assert shown["cluster"]["problem"] == "no answer from 10.0.0.1:6379"
    assert shown["cluster"]["unreachable_since"] == session.now - 3640


def test_a_script_gets_each_device_and_each_node_that_is_not_used(session: FakeSession) -> None:
    sixteen(session)
    found = standing.as_object(look(session))
    devices = {each["name"] or each["node"]: each for each in found["devices"]}
    assert len(devices) == 18 and len(found["running"]) == 12
    assert devices["gpu-1:2"] | {"busy": 0, "temperature": 0} == {
        "name": "gpu-1:2", "node": "gpu-1", "model": "NVIDIA H100 80GB HBM3", "state": "train", "running": 17,
        "seconds_left": 250.0, "busy": 0, "memory_used": 47352014438, "memory_total": 85899345920, "temperature": 0,
        "power": 612.0, "fault": "throttled by heat", "reason": None, "remedy": None,
    }  # fmt: skip
    assert devices["gpu-3:3"]["state"] == "awaiting baseline"
    assert devices["gpu-4:2"]["state"] == "lost" and devices["gpu-4:2"]["reason"] == "its node is gone"
    assert devices["gpu-5"]["state"] == "refused" and devices["gpu-5"]["remedy"] == "prepare --nodes gpu-5"
    assert devices["gpu-6"]["state"] == "preparing"


def test_devices_of_one_machine_are_those_that_the_lab_names(session: FakeSession) -> None:
    four_here(session)
    found = look(session)
    assert [each["state"] for each in standing.as_object(found)["devices"]] == ["train", "train", "idle", "train"]
    assert "3 at once: #1 MATRIX_LR 0.04→0.03 on 0 · 4:00 left" in status(found.view, 200).now.text


def test_the_list_of_sessions_says_how_many_devices_train(session: FakeSession) -> None:
    sixteen(session)
    lines = listing.as_lines(listing.sessions([session.lab.root]), "/nowhere")
    # The two that have left, have left for good: this is read a year later.
    assert lines[1].startswith("running 12/14  0.997900")


def test_the_report_says_which_device_ran_what(session: FakeSession) -> None:
    sixteen(session)
    session.add(ev.RunRequeued(16))
    session.add(ev.RunStarted(16, session.commit(16), 2, "gpu-3:3"))
    session.end(16, 0.9902, "keep", seconds=1800.0)
    text = markdown(report.story(session.state, tuple(session.records), "", ""))
    tables = [" ".join(line.replace("|", " ").split()) for line in text.splitlines() if line.startswith("|")]
    assert "gpu-1:0 NVIDIA H100 80GB HBM3 0.997900 2 1 0 0.0" in tables
    assert "gpu-1:1 NVIDIA H100 80GB HBM3 0.998000 1 0 0 1 0.0" in tables
    assert "gpu-3:3 NVIDIA H100 80GB HBM3 1 1 0 0.5" in tables
    assert any(line.startswith("gpu-4:2 ") and line.endswith("left: its node is gone") for line in tables)
    assert any(line.startswith("gpu-2:1 ") and "set aside: its baseline is 1.021400" in line for line in tables)
    assert "gpu-5 was not used: its data's manifest is 3f9a…" in text
    assert any(line.startswith("0016 ") and line.endswith(" gpu-3:3") for line in tables)
    facts = as_lines(session.state.experiments[16], session.state, 100)
    assert any("finished after 30:00" in line and "on gpu-3:3" in line for line in facts)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-9],
        lambda text: text.replace('"busy":0.91', '"busy":"[bold]"'),
        lambda text: text.replace('"busy":0.91', '"busy":NaN'),
        lambda text: text.replace('"device":"gpu-1:0"', '"device":7'),
        lambda text: "[]",
    ],
)  # fmt: skip
def test_what_is_no_file_of_a_cluster_is_none(session: FakeSession, damage: Callable[[str], str]) -> None:
    sixteen(session)
    told(session)
    session.files.cluster.write_text(damage(session.files.cluster.read_text()))
    found = standing.as_object(look(session))
    assert found["cluster"] is None and len(found["devices"]) == 17
