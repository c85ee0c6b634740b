"""`autoresearch-tui status`: what a script, a status bar and a human get, engine or not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autoresearch_tui.lab.engine_lock import LabLock
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import encode
from autoresearch_tui.util.columns import cells
from tests import warm
from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.night import Night, real_night
from tests.waiting import wait_for


def tool(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return warm.run([*map(str, words)], cwd=cwd)


def status(root: Path, *words: str) -> dict[str, Any]:
    done = tool("status", root, "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def text(root: Path, *words: str) -> list[str]:
    done = tool("status", root, *words)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 10
    assert max(map(cells, lines)) <= 80
    assert done.stdout.replace("\n", "").isprintable()
    return lines


def night_of(root: Path, *, ago: float = 60.0) -> Night:
    """A night that has a run in progress, begun a minute ago, and a proposal at the gate."""
    night = Night(root, start=datetime.now(UTC) - timedelta(seconds=ago + 2000))
    for value in (1.0, 0.99, 0.995, 0.98):
        night.experiment("keep" if value != 0.995 else "discard", value)
    number = night.proposal("MATRIX_LR 0.03→0.02")
    night.moment = datetime.now(UTC) - timedelta(seconds=ago)
    night.launch(number)
    night.gate(night.proposal("a wider model"))
    return night


@pytest.fixture
def engine() -> Callable[[Night], LabLock]:
    """The night's engine is alive: its lock is held, by this process."""

    def take(night: Night) -> LabLock:
        assert night.lab is not None
        return LabLock(night.lab.lock, headless=False, tag=night.tag, wait_seconds=0)

    return take


def test_a_living_session(tmp_path: Path, engine: Callable[[Night], LabLock]) -> None:
    night = night_of(tmp_path / "lab")
    night.train(4, 0.5)
    lock = engine(night)
    found = status(tmp_path / "lab")
    assert (found["tag"], found["state"], found["reason"]) == ("nov20", "running", "")
    run = found["running"][0]
    assert (run["number"], run["commit"], run["description"]) == (4, night.commit(4), "MATRIX_LR 0.03→0.02")
    assert 0 < run["seconds_left"] <= 150
    assert [each["number"] for each in found["waiting"]] == [5]
    assert found["waiting"][0]["commit"] == night.commit(5)
    assert (found["best"]["number"], found["best"]["value"]) == (3, 0.98)
    assert (found["frontier"]["number"], found["frontier"]["value"]) == (3, 0.98)
    assert found["counts"]["experiments"] == 6
    assert (found["counts"]["keep"], found["counts"]["discard"]) == (3, 1)
    assert found["cost"]["usd"] == pytest.approx(0.24)
    lines = text(tmp_path / "lab")
    assert lines[0].endswith("/lab: running")
    assert "training #4 MATRIX_LR 0.03→0.02 · " in lines[1] and lines[1].endswith(" left")
    assert "approve 5 · veto 5 -m WHY · experiment 5 --diff" in lines[3]
    lock.release()


@pytest.mark.parametrize("kind", ["killed", "detached", "finished", "failed", "stopped"])
def test_without_an_engine_it_says_so(tmp_path: Path, kind: str) -> None:
    night = night_of(tmp_path / "lab", ago=900)
    if kind != "killed":
        night.end(4, "discard", 1.1)
        night.add(ev.EngineStopped(kind, "the tests said so"))
    found = status(tmp_path / "lab")
    usual = {"killed": "stopped", "detached": "stopped"}
    assert found["state"] == usual.get(kind, kind)
    assert found["engine"] is None
    assert found["next"] == f"run autoresearch-tui --tag {found['tag']} to resume"
    if kind == "killed":
        assert found["reason"] == "no engine is running: the last one died; #4 had not ended"
    else:
        assert "the tests said so" in found["reason"]
    assert found["wait"] == "#5 waits until the session is resumed"
    assert any(found["next"] in line for line in text(tmp_path / "lab"))


def test_an_engine_that_has_just_detached_is_about_to_be_replaced(tmp_path: Path) -> None:
    night = night_of(tmp_path / "lab")
    night.moment = datetime.now(UTC) - timedelta(seconds=3)
    night.add(ev.EngineStopped("detached"))
    found = status(tmp_path / "lab")
    assert (found["state"], found["reason"]) == ("starting", "another engine takes over")
    assert text(tmp_path / "lab")[0].endswith("/lab: starting")


def test_an_engine_of_another_session_is_not_this_ones(tmp_path: Path) -> None:
    night = night_of(tmp_path / "lab")
    assert night.lab is not None
    lock = LabLock(night.lab.lock, headless=True, tag="another", wait_seconds=0)
    assert status(tmp_path / "lab")["state"] == "stopped"
    lock.release()


def test_pauses_stops_and_trouble(tmp_path: Path, engine: Callable[[Night], LabLock]) -> None:
    night = night_of(tmp_path / "lab")
    lock = engine(night)
    night.add(ev.PauseAsked("engine", "five crashes in a row"))
    found = status(tmp_path / "lab")
    assert (found["state"], found["reason"]) == ("paused", "paused by the engine: five crashes in a row")
    night.add(ev.StopAsked("after"))
    assert status(tmp_path / "lab")["state"] == "stopping"
    night.add(ev.TroubleMet("the disk is full", "free some space", 60.0))
    assert status(tmp_path / "lab")["state"] == "trouble"
    night.add(ev.TroubleCleared("the disk is full"), ev.Resumed("human"))
    night.end(4, "discard", 1.1)
    found = status(tmp_path / "lab")
    assert (found["state"], found["running"]) == ("waiting", [])
    assert found["wait"].startswith("#5 waits for you")
    lock.release()


def test_one_line_for_a_status_bar_has_no_text_of_a_researchers(
    tmp_path: Path, engine: Callable[[Night], LabLock]
) -> None:
    night = night_of(tmp_path / "lab")
    lock = engine(night)
    night.gate(night.proposal("#[fg=red]#(touch /tmp/x) \x1b[31m"))
    done = tool("status", tmp_path / "lab", "--line")
    assert done.returncode == 0
    line = done.stdout.removesuffix("\n")
    assert line.isprintable() and cells(line) <= 80
    assert line == "nov20 running · #4 starting · best 0.980000 (#3) · #5, #6 wait for you · $0.28"
    lock.release()
    assert tool("status", tmp_path / "lab", "--line").stdout == "nov20 stopped · best 0.980000 (#3) · $0.28\n"


def test_texts_of_a_researchers_are_cleaned_for_a_terminal_and_whole_for_a_script(tmp_path: Path) -> None:
    night = Night(tmp_path / "lab")
    night.experiment("keep", 1.0)
    nasty = "\x1b]0;owned\x07\x9b31m wide 学習率 " * 20
    night.gate(night.proposal(nasty))
    text(tmp_path / "lab")
    done = tool("status", tmp_path / "lab", "--json")
    assert "\x1b" not in done.stdout and "\x9b" not in done.stdout
    assert json.loads(done.stdout)["waiting"][0]["description"] == nasty


@pytest.mark.parametrize("name", ["a b", "größer", "--json", "#1 'q'", "n" * 100])
def test_a_lab_of_any_name_is_found_from_inside_and_outside(tmp_path: Path, name: str) -> None:
    night = night_of(tmp_path / name)
    (tmp_path / name / "deep/er").mkdir(parents=True)
    assert night.lab is not None
    assert status(night.lab.root / "deep/er")["lab"] == str(night.lab.root)
    done = tool("status", "--json", cwd=night.lab.root)
    assert json.loads(done.stdout)["lab"] == str(night.lab.root)
    text(night.lab.root)


def test_the_lab_below_a_lab_is_not_mixed_up_with_it(tmp_path: Path) -> None:
    outer = make_lab(tmp_path / "outer")
    shutil.copytree(night_of(tmp_path / "made").lab.root / ".autoresearch", outer / ".autoresearch")  # type: ignore[union-attr]
    inner = outer / "inner"
    inner.mkdir()
    for each in ("train.py", "prepare.py", "program.md"):
        shutil.copy(outer / each, inner)
    done = tool("status", inner)
    assert done.returncode == 2
    assert done.stderr == f"autoresearch-tui: {inner}: no session yet; `autoresearch-tui {inner}` begins one\n"


def test_broken_settings_are_no_trouble(tmp_path: Path) -> None:
    night = night_of(tmp_path / "lab")
    assert night.lab is not None
    (night.lab.root / "autoresearch.toml").write_text("no = [toml")
    assert status(night.lab.root)["best"]["number"] == 3


def test_wrong_usage_and_damage_are_one_line_each(tmp_path: Path) -> None:
    night = night_of(tmp_path / "lab")
    root = tmp_path / "lab"
    (tmp_path / "file").touch()
    damaged = night.files.journal.read_bytes().replace(b"baseline", b"bathline", 1)
    for words, said in (
        ([root, "--tag", "no"], "--tag no: no such session in"),
        ([root / "nothing"], "no such folder"),
        ([tmp_path / "file"], "a file"),
        ([root, "--line", "--json"], "not allowed with"),
    ):
        done = tool("status", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr and len(done.stderr.splitlines()) == 1
    night.files.journal.write_bytes(damaged)
    done = tool("status", root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "doctor --repair" in done.stderr and len(done.stderr.splitlines()) == 1


IMPORTS = """
import sys
from autoresearch_tui.cli import main
main(sys.argv[1:])
heavy = {"textual", "rich", "git", "torch", "numpy", "anthropic", "psutil", "statistics", "socket"}
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & heavy, loaded & heavy
assert not {"autoresearch_tui.cockpit", "autoresearch_tui.lab.discovery"} & set(sys.modules)
"""
NOT_FOLDED = "\nassert 'autoresearch_tui.session.fold' not in sys.modules"


def test_a_long_night_is_answered_without_heavy_modules_and_without_folding_it_again(tmp_path: Path) -> None:
    night = real_night(tmp_path / "lab", experiments=1000, devices=2, prior=1000, open_ones=True)
    read = status(tmp_path / "lab")
    assert read["counts"]["experiments"] == len(night.state.experiments)
    words = [sys.executable, "-c", IMPORTS + NOT_FOLDED, "status", str(tmp_path / "lab")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    recalled = status(tmp_path / "lab")
    assert {**recalled, "cost": 0} == {**read, "cost": 0}
    # What was folded and what is recalled read the same, but for the time that has passed.
    night.files.outline.unlink()
    assert tool("status", tmp_path / "lab").stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    assert f"counts    {len(night.state.experiments)}: " in done.stdout


def test_an_engine_keeps_its_outline_and_status_agrees_with_its_journal(tmp_path: Path) -> None:
    root = make_lab(tmp_path / "lab", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.3"))
    process = warm.start([root, "--headless", "--tag", "t", "--experiments", "4"])
    journal = root / ".autoresearch/t/journal.jsonl"
    wait_for(lambda: journal.exists() and journal.stat().st_size > 0, what="the first record")
    seen: list[str] = []
    while process.poll() is None:
        found = status(root)
        assert found["tag"] == "t"
        seen.append(found["state"])
    assert process.wait() == 0
    found = status(root)
    assert found["state"] == "finished"
    assert sum(found["counts"][name] for name in ("keep", "discard", "crash")) == 4
    assert set(seen) <= {"starting", "running", "waiting", "finished", "stopped"}
    assert "running" in seen


def test_eight_thousand_experiments(tmp_path: Path) -> None:
    """The first question after a crash reads the whole journal; every later one reads the outline."""
    night = Night(tmp_path / "lab")
    records = list(night.records)
    for number in range(8000):
        commit = night.commit(number)
        value = 1.0 - number * 1e-6 if number % 20 == 0 else 1.5
        for event in (
            ev.ProposalMade(number, commit, night.base, f"idea {number}", "because", "search", "0" * 12, 1, 1),
            ev.ProposalApproved(number, commit, "auto"),
            ev.RunStarted(number, commit, 1),
            ev.RunEnded(number, "finished", 0, 300.0),
            ev.RunScored(number, value, 44.0, "self-reported"),
            ev.VerdictGiven(number, "keep" if number % 20 == 0 else "discard", value, 44.0, ""),
        ):
            records.append(ev.Record(len(records) + 1, records[-1].time, event))
    night.files.journal.write_bytes(b"".join(map(encode, records)))
    found = status(tmp_path / "lab")
    assert found["counts"] == {
        "experiments": 8000, "keep": 400, "discard": 7600, "crash": 0, "invalid": 0, "vetoed": 0, "withdrawn": 0,
        "scaled": 0,
    }  # fmt: skip
    assert (found["best"]["number"], found["records"]) == (7980, len(records))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS + NOT_FOLDED, "status", str(tmp_path / "lab")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(cells, done.stdout.splitlines())) <= 80
    assert tool("experiment", "7999", "--diff", tmp_path / "lab").returncode == 1
    assert tool("experiment", "8000", tmp_path / "lab").returncode == 2
