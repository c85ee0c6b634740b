"""Hooks as their commands see them: real processes, told by a session's records and by nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine import journal
from autoresearch_tui.engine.hooks import Hooks
from autoresearch_tui.engine.state import Stage
from autoresearch_tui.settings import HookSettings
from tests.conftest import SETTINGS
from tests.engine.making import experiment, state
from tests.history import state_of

LINE = b'{"seq":1,"time":"t","type":"verdict_given","crc":"0"}\n'
KEPT = state(experiment(0, "keep", 1.0), experiment(1, "keep", 0.9, description="--help $(id) `id` {tag}\n"))
BEFORE = state(experiment(0, "keep", 1.0), experiment(1, "", stage=Stage.RUNNING))
TELL = """#!/bin/sh
cat > "$1.json"
printf '%s\\n' "$2" > "$1.words"
env > "$1.env"
"""


def hooks(folder: Path, *command: str, limit: float = 20, environ: dict[str, str] | None = None) -> Hooks:
    return Hooks(HookSettings(best=command), folder, "t", environ or dict(os.environ), limit)


@pytest.fixture
def tell(tmp_path: Path) -> Path:
    script = tmp_path / "tell.sh"
    script.write_text(TELL)
    script.chmod(0o755)
    return script


def test_a_command_is_told_in_words_in_json_and_in_variables(tmp_path: Path, tell: Path) -> None:
    told = tmp_path / "told"
    environ = {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": "sk-secret", "MINE": "1"}
    heard = hooks(tmp_path, str(tell), str(told), "{text} in {tag} {unknown}", environ=environ)
    heard.hear(BEFORE, KEPT, LINE)
    heard.close(20)
    assert heard.failures() == []
    words = "new best: val_bpb 0.9000, better by 0.1000 · #1 --help $(id) `id` {tag}·"
    # A description is text: no shell reads it, and its braces are its own.
    assert (tmp_path / "told.words").read_text() == f"{words} in t {{unknown}}\n"
    message = json.loads((tmp_path / "told.json").read_text())
    assert (message["event"], message["text"], message["number"], message["value"]) == ("best", words, 1, 0.9)
    assert message["record"]["type"] == "verdict_given"
    variables = (tmp_path / "told.env").read_text().splitlines()
    assert {"MINE=1", "AUTORESEARCH_EVENT=best", "AUTORESEARCH_NUMBER=1", f"AUTORESEARCH_LAB={tmp_path}"} <= {
        *variables
    }
    assert "sk-secret" not in "".join(variables)


def test_only_what_was_asked_for_is_told(tmp_path: Path, tell: Path) -> None:
    heard = hooks(tmp_path, str(tell), str(tmp_path / "told"), "")
    heard.hear(BEFORE, state(experiment(0, "keep", 1.0), experiment(1, "crash")), LINE)
    heard.hear(KEPT, KEPT, LINE)
    heard.close(20)
    assert not (tmp_path / "told.json").exists()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["sh", "-c", "echo no route >&2; exit 7"], "sh: exit code 7: no route"),
        (["/nowhere/notify"], "No such file or directory"),
        (["sh", "-c", "sleep 60"], "no end within 0.3 s; killed"),
    ],
)
def test_a_failure_is_told_once_until_it_works_again(tmp_path: Path, command: list[str], why: str) -> None:
    heard = hooks(tmp_path, *command, limit=0.3)
    heard.hear(BEFORE, KEPT, LINE)
    heard.hear(BEFORE, KEPT, LINE)
    heard.close(20)
    ((kind, said),) = heard.failures()
    assert kind == "best"
    assert why in said


def test_a_command_that_hangs_keeps_nobody(tmp_path: Path) -> None:
    heard = hooks(tmp_path, "sleep", "60", limit=3)
    for _ in range(200):
        heard.hear(BEFORE, KEPT, LINE)
    heard.close(0.1)
    assert heard.failures() == [("best", "too many events at once; some were not told")]


def test_a_session_without_a_screen_runs_them_and_journals_what_fails(new_lab: Callable[..., Path]) -> None:
    told = 'best = ["sh", "-c", "cat >> best.json"]\nstopped = ["sh", "-c", "cat >> stopped.json; exit 3"]\n'
    lab = new_lab(settings=f"{SETTINGS}\n[hooks]\n{told}")
    words = [sys.executable, "-m", "autoresearch_tui", str(lab), "--tag", "t", "--headless", "--experiments", "4"]
    assert subprocess.run(words, check=False, stdout=subprocess.DEVNULL, timeout=240).returncode == 0
    kept = [e.number for e in state_of(lab, "t").experiments if e.number and e.outcome == "keep"]
    best = lab / "best.json"
    assert [json.loads(line)["number"] for line in best.read_text().splitlines()] == kept if kept else not best.exists()
    (stopped,) = (lab / "stopped.json").read_text().splitlines()
    assert json.loads(stopped)["text"] == "the session finished"
    last = journal.read(lab / ".autoresearch/t/journal.jsonl")[-1].event
    assert (getattr(last, "command", ""), getattr(last, "why", "")) == ("hooks.stopped", "sh: exit code 3: no message")
    # Starting again tells nothing twice.
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=240)
    assert len(best.read_text().splitlines() if best.exists() else []) == len(kept)
