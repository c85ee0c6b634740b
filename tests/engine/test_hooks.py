"""Hooks as their commands see them: real processes, told by a session's records and by nothing else."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoresearch_tui.engine.hooks import Hooks
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import HookSettings
from autoresearch_tui.runs import runner
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.state import Stage
from tests import warm
from tests.conftest import SETTINGS, TRAIN
from tests.engine.making import experiment, state
from tests.engine.test_loop import Script
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
    environ |= {"OPENAI_API_KEY": "sk-secret", "MISTRAL_API_KEY": "sk-secret", "NTFY_TOKEN": "mine"}
    heard = hooks(tmp_path, str(tell), str(told), "{text} in {tag} {unknown}", environ=environ)
    heard.on_event(BEFORE, KEPT, LINE)
    heard.close(20)
    assert heard.failures() == []
    words = "new best: val_bpb 0.9000, better by 0.1000 · #1 --help $(id) `id` {tag}·"
    # A description is text: no shell reads it, and its braces are its own.
    assert (tmp_path / "told.words").read_text() == f"{words} in t {{unknown}}\n"
    message = json.loads((tmp_path / "told.json").read_text())
    assert (message["event"], message["text"], message["number"], message["value"]) == ("best", words, 1, 0.9)
    assert message["record"]["type"] == "verdict_given"
    variables = (tmp_path / "told.env").read_text().splitlines()
    assert {
        "MINE=1",
        "NTFY_TOKEN=mine",
        "AUTORESEARCH_EVENT=best",
        "AUTORESEARCH_NUMBER=1",
        f"AUTORESEARCH_LAB={tmp_path}",
    } <= {*variables}
    assert "sk-secret" not in "".join(variables)


def test_only_what_was_asked_for_is_told(tmp_path: Path, tell: Path) -> None:
    heard = hooks(tmp_path, str(tell), str(tmp_path / "told"), "")
    heard.on_event(BEFORE, state(experiment(0, "keep", 1.0), experiment(1, "crash")), LINE)
    heard.on_event(KEPT, KEPT, LINE)
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
    heard.on_event(BEFORE, KEPT, LINE)
    heard.on_event(BEFORE, KEPT, LINE)
    heard.close(20)
    ((kind, said),) = heard.failures()
    assert kind == "best"
    assert why in said


def test_a_fault_of_ours_is_told_and_the_next_event_still_comes(
    tmp_path: Path, tell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, left = subprocess.Popen, [RuntimeError("can't start new thread")]

    def fail(*args: object, **more: object) -> object:
        if left:
            raise left.pop()
        return run(*args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", fail)
    heard = hooks(tmp_path, str(tell), str(tmp_path / "told"), "")
    heard.on_event(BEFORE, KEPT, LINE)
    heard.on_event(BEFORE, KEPT, LINE)
    heard.close(20)
    assert heard.failures() == [("best", "can't start new thread")]
    assert (tmp_path / "told.json").exists()


def test_a_command_that_hangs_keeps_nobody(tmp_path: Path) -> None:
    heard = hooks(tmp_path, "sleep", "60", limit=3)
    for _ in range(200):
        heard.on_event(BEFORE, KEPT, LINE)
    heard.close(0.1)
    assert heard.failures() == [("best", "too many events at once; some were not told")]


def test_a_session_without_a_screen_runs_them_and_journals_what_fails(new_lab: Callable[..., Path]) -> None:
    told = 'best = ["sh", "-c", "cat >> best.json"]\nstopped = ["sh", "-c", "cat >> stopped.json; exit 3"]\n'
    lab = new_lab(settings=f"{SETTINGS}\n[hooks]\n{told}")
    words = [str(lab), "--tag", "t", "--headless", "--experiments", "4"]
    assert warm.run(words).returncode == 0
    kept = [e.number for e in state_of(lab, "t").experiments if e.number and e.outcome == "keep"]
    best = lab / "best.json"
    assert [json.loads(line)["number"] for line in best.read_text().splitlines()] == kept if kept else not best.exists()
    (stopped,) = (lab / "stopped.json").read_text().splitlines()
    assert json.loads(stopped)["text"] == "the session finished"
    last = journal.read(lab / ".autoresearch/t/journal.jsonl")[-1].event
    assert (getattr(last, "command", ""), getattr(last, "why", "")) == ("hooks.stopped", "sh: exit code 3: no message")
    # Starting again tells nothing twice.
    assert warm.run(words).returncode == 0
    assert len(best.read_text().splitlines() if best.exists() else []) == len(kept)


TOLD = "echo $AUTORESEARCH_EVENT $AUTORESEARCH_REASON: $AUTORESEARCH_TEXT >> told; cat >> told.json"
ENDED = f"""
[hooks]
stopped = ["sh", "-c", "echo $AUTORESEARCH_EVENT >> told"]
ended = ["sh", "-c", "{TOLD}"]
"""


def told(lab: Path) -> list[str]:
    return (lab / "told").read_text().splitlines() if (lab / "told").exists() else []


@pytest.mark.parametrize(
    ("train", "words", "code", "said"),
    [
        (TRAIN, ("--experiments", "2"), 0, "ended experiments: the session finished"),
        (
            TRAIN,
            ("--hours", "0.001"),
            1,
            "ended until: the session failed: no run would surely end before",
        ),
        ("raise SystemExit(3)\n", (), 1, "ended failed: the session failed: the baseline gave"),
    ],
)
def test_the_end_of_a_session_is_told_once_and_last(
    new_lab: Callable[..., Path], train: str, words: tuple[str, ...], code: int, said: str
) -> None:
    lab = new_lab(settings=SETTINGS + ENDED, train=train)
    assert warm.run([str(lab), "--tag", "t", "--headless", *words]).returncode == code
    *before, last = told(lab)
    assert last.startswith(said) and {*before} == {"stopped"}
    assert json.loads((lab / "told.json").read_text())["record"]["type"] == "engine_stopped"


@pytest.mark.parametrize(
    ("word", "said"), [(signal.SIGTERM, []), (signal.SIGINT, ["ended stopped: the session was stopped"])]
)
def test_letting_go_is_no_end_and_a_stop_is(
    new_lab: Callable[..., Path], word: signal.Signals, said: list[str]
) -> None:
    lab = new_lab(settings=SETTINGS + ENDED, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 60.0"))
    command = [sys.executable, "-m", "autoresearch_tui", str(lab), "--tag", "t", "--headless"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        next(line for line in engine.stdout if b'"run_started"' in line)
        engine.send_signal(word)
        engine.communicate(timeout=120)
    assert told(lab) == said
    runner.stop(lab / ".autoresearch/t/runs/0000")


def test_an_end_that_cannot_be_written_down_is_told_all_the_same(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = new_lab(settings=SETTINGS + ENDED)
    session = Session(labs.find(lab), "t")
    engine = Engine(session, Script(), headless=True)
    append = journal.Journal.append

    def full(self: journal.Journal, event: ev.Event, **more: Any) -> tuple[ev.Record, bytes]:
        if isinstance(event, ev.EngineStopped):
            raise OSError(errno.ENOSPC, "No space left on device")
        return append(self, event, **more)

    monkeypatch.setattr(journal.Journal, "append", full)
    engine.send(cmd.Stop(now=True))
    assert engine.run() == "stopped"
    assert told(lab) == ["ended stopped: the session was stopped"]
    assert json.loads((lab / "told.json").read_text())["record"] is None
