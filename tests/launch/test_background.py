"""Who continues when an engine's process is gone: its watchdog, unless it was dismissed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.terminal import rows
from tests.history import problems, state_of, survivors
from tests.waiting import wait_for

HOST = """
import os, psutil, sys, time
from pathlib import Path
from autoresearch_tui.lab import paths
from autoresearch_tui.launch.background import BackgroundEngine
engine = BackgroundEngine(paths.find(Path(sys.argv[1])), "t", {{"experiments": "2"}})
watchdog = {watch}
if {killed}:
    while {comes} and not psutil.Process().children():
        time.sleep(0.005)
    os.kill(os.getpid(), 9)
watchdog.dismiss()
"""


def host(lab: Path, watch: str, end: str) -> None:
    (lab / ".autoresearch").mkdir()
    code = HOST.format(watch=watch, killed=end == "killed", comes="60" not in watch)
    subprocess.run([sys.executable, "-c", code, lab], check=False, timeout=120)


@pytest.mark.parametrize("watch", ["engine.watch()", "engine.watch_later(0.0)"])
def test_a_watchdog_goes_on_with_the_settings_of_the_dead(lab_folder: Path, watch: str) -> None:
    host(lab_folder, watch, "killed")
    wait_for(lambda: (stopped := state_of(lab_folder, "t").stopped) and stopped.why == "finished", what="the end")
    assert len(rows(lab_folder)) == 2
    engine = (lab_folder / ".autoresearch/t/journal.jsonl").read_text()
    assert '"successor":true' in engine
    assert problems(lab_folder, "t") == []


@pytest.mark.parametrize("watch", ["engine.watch()", "engine.watch_later(0.0)", "engine.watch_later(60.0)"])
def test_one_that_was_dismissed_does_nothing(lab_folder: Path, watch: str) -> None:
    host(lab_folder, watch, "done")
    wait_for(lambda: survivors(lab_folder) == [], what="the watchdog's end")
    assert not (lab_folder / ".autoresearch/t").exists()


def test_one_whose_engine_cannot_live_ends_the_chain(lab_folder: Path) -> None:
    host(lab_folder, "engine.watch_later(60.0)", "killed")
    assert survivors(lab_folder) == []
    assert not (lab_folder / ".autoresearch/t").exists()
