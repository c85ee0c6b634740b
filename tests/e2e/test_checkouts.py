"""Checkouts of the reference and of its forks, as they are: found, run with their own command, in the real sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.paths import find
from autoresearch_tui.sandbox import policy
from autoresearch_tui.sandbox.launcher import landlock_abi
from tests import checkouts, warm
from tests.checkouts import FORKS, Fork
from tests.conftest import git
from tests.e2e.terminal import Terminal
from tests.engine.test_loop import Script
from tests.history import problems, state_of
from tests.waiting import wait_for


def command(*words: str | Path, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui`, as a user would call it."""
    return warm.run([*map(str, words)], cwd=cwd, env=env)


@pytest.mark.parametrize("name", FORKS)
def test_a_checkout_is_a_lab_as_it_is(name: str, tmp_path: Path) -> None:
    fork = FORKS[name]
    folder = checkouts.make(tmp_path / "checkout", fork)
    home = tmp_path / "home"
    checkouts.fill_home(home)
    checkouts.sync(folder)
    env = checkouts.environ(home, checkouts.install_uv(tmp_path / "tools"))
    before = sorted(path.name for path in folder.iterdir())
    done = command(
        "--headless", "--researcher", "search", "--review", "auto", "--experiments", "3", cwd=folder, env=env
    )
    assert done.returncode == 0, done.stderr
    tag = find(folder).tags()[-1]
    state = state_of(folder, tag)
    assert [e.outcome for e in state.table][:1] == ["keep"]
    assert len(state.table) == 3
    assert {e.outcome for e in state.table} <= {"keep", "discard"}
    assert all(e.score is not None and e.score.source == "self-reported" for e in state.table)
    log = (folder / ".autoresearch" / tag / "runs" / "0000" / "run.log").read_text()
    assert "uv ran" not in log  # it would start a child; what it would start is started
    assert problems(folder, tag) == []
    # Nothing of the user's has changed but the two that are ours.
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, ".autoresearch", "results.tsv"])
    assert git(folder, "status", "--porcelain") == ""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return checkouts.install_uv(tmp_path / "tools")


def once(folder: Path, env: dict[str, str]) -> tuple[subprocess.CompletedProcess[str], str]:
    """One run of the baseline, and its log."""
    done = command("--headless", "--researcher", "search", "--tag", "t", "--experiments", "1", cwd=folder, env=env)
    log = folder / ".autoresearch" / "t" / "runs" / "0000" / "run.log"
    return done, log.read_text() if log.exists() else ""


def test_a_fresh_clone_is_prepared_and_then_runs_offline(tmp_path: Path, home: Path, tools: Path) -> None:
    """No environment, no data: said in one line, made by the lab's own preparer, and then nothing is fetched."""
    folder = checkouts.make(tmp_path / "checkout", Fork(kernels=False))
    env = checkouts.environ(home, tools)
    refused, _ = once(folder, env)
    assert refused.returncode == 2
    assert "no .venv yet" in refused.stderr
    assert "autoresearch-tui prepare" in refused.stderr
    prepared = command("prepare", "--num-shards", "2", cwd=folder, env=env)
    assert prepared.returncode == 0, prepared.stderr
    assert "Done! Ready to train. ['--num-shards', '2']" in prepared.stdout
    done, log = once(folder, env)
    assert done.returncode == 0, done.stderr
    assert "uv ran" not in log
    again = command("prepare", cwd=folder, env=env)
    assert (again.returncode, "Done!" in again.stdout) == (0, False)


def test_no_data_is_said_in_one_line(tmp_path: Path, home: Path, tools: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork(kernels=False))
    checkouts.sync(folder)
    refused, _ = once(folder, checkouts.environ(home, tools))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "0 shards and no tokenizer" in refused.stderr


def test_without_uv_its_environment_is_used_directly(tmp_path: Path, home: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork())
    checkouts.fill_home(home)
    checkouts.sync(folder)
    done, log = once(folder, {**checkouts.environ(home), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert "uv ran" not in log
    assert "val_bpb:          1.160000" in log


def test_a_kernel_that_was_never_downloaded_is_not_fetched(tmp_path: Path, home: Path, tools: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork())
    checkouts.fill_home(home, kernels=False)
    checkouts.sync(folder)
    done, log = once(folder, checkouts.environ(home, tools))
    assert done.returncode == 1
    assert "the baseline gave no score" in done.stderr
    assert "is not in the cache, and the hub is offline" in log
    assert state_of(folder, "t").table[0].outcome == "crash"


def test_a_run_sees_the_kernels_and_not_what_lies_beside_them(tmp_path: Path, home: Path, tools: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork())
    checkouts.fill_home(home)
    checkouts.sync(folder)
    hub = home / ".cache" / "huggingface"
    kernel = (
        hub / "hub" / "models--kernels-community--flash-attn3" / "snapshots" / "abc" / "build" / "torch" / "code.py"
    )
    places = [hub / "token", hub / "hub" / "models--someone--chat" / "snapshots" / "abc" / "weights", kernel]
    writes = [kernel, home / ".cache" / "autoresearch" / "data" / "shard_00000.parquet", folder / ".venv" / "new"]
    (folder / "train.py").write_text(
        f"for mode, paths in (('r', {[str(p) for p in places]}), ('a', {[str(p) for p in writes]})):\n"
        "    for path in paths:\n"
        "        try:\n            open(path, mode).close()\n            print(mode, 'yes')\n"
        "        except OSError:\n            print(mode, 'no')\n"
        "print('---')\nprint('val_bpb: 1.0')\n"
    )
    git(folder, "commit", "--all", "--quiet", "--message=look")
    done, log = once(folder, checkouts.environ(home, tools))
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^[ra] (?:yes|no)$", log, re.MULTILINE) == ["r no", "r no", "r yes", "a no", "a no", "a no"]


def test_typed_in_a_fresh_clone_it_offers_what_is_missing_and_says_what_comes_next(
    tmp_path: Path, home: Path, tools: Path
) -> None:
    """No environment, no data, no key, no options: a question, a baseline, and who is to propose."""
    folder = checkouts.make(tmp_path / "checkout", Fork(kernels=False))
    env = {**checkouts.environ(home, tools), "ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": ""}
    with Terminal(str(folder), env=env) as terminal:
        terminal.wait("Prepare it now? [Y/n]")
        terminal.press("\r")
        terminal.wait("ANTHROPIC_API_KEY", 60)
        tag = find(folder).tags()[-1]
        wait_for(lambda: len(state_of(folder, tag).table) == 1, what="the baseline's verdict")
        terminal.press("q")
        assert terminal.ended() == 0
        assert "there is no researcher: no API key" in terminal.text
    assert problems(folder, tag) == []


def test_what_is_missing_may_be_declined(tmp_path: Path, home: Path, tools: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork(kernels=False))
    with Terminal(str(folder), env=checkouts.environ(home, tools)) as terminal:
        terminal.wait("Prepare it now? [Y/n]")
        terminal.press("n\r")
        assert terminal.ended() == 2
        assert "run `autoresearch-tui prepare`" in " ".join(terminal.text.split())
    assert not (folder / ".autoresearch").exists()


@pytest.mark.skipif(sys.platform != "linux" or not landlock_abi(), reason="there is no Landlock here")
def test_landlock_alone_lets_it_run_too(
    tmp_path: Path, home: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork())
    checkouts.fill_home(home)
    checkouts.sync(folder)
    for name, value in checkouts.environ(home, tools).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(policy, "choose", policy.landlock_only)
    assert Engine(Session(find(folder), "t"), Script(), headless=True, rows=1).run() == "finished"
    assert state_of(folder, "t").table[0].outcome == "keep"
    assert "uv ran" not in (folder / ".autoresearch" / "t" / "runs" / "0000" / "run.log").read_text()


@pytest.mark.parametrize("name", FORKS)
def test_what_its_own_files_say_is_in_force(name: str, tmp_path: Path) -> None:
    fork = FORKS[name]
    settings = find(checkouts.make(tmp_path / "checkout", fork)).settings
    assert settings.run.command == (*fork.run.split(), fork.train)
    assert settings.lab.editable == (fork.train,)
    assert settings.lab.locked == (fork.fixed,)
    assert settings.run.budget_seconds == 2
    assert settings.run.timeout_seconds == (900 if name == "mlx" else 600)


def test_a_budget_that_would_change_nothing_is_refused(tmp_path: Path, home: Path, tools: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", Fork())
    words = ("--headless", "--researcher", "search", "--budget", "60")
    refused = command(*words, cwd=folder, env=checkouts.environ(home, tools))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "prepare.py has a TIME_BUDGET of its own" in refused.stderr


def test_a_settings_file_is_the_last_word(tmp_path: Path) -> None:
    folder = checkouts.make(tmp_path / "checkout", FORKS["mlx"])
    (folder / "autoresearch.toml").write_text("[run]\ntimeout_seconds = 7\n")
    assert find(folder).settings.run.timeout_seconds == 7
    assert find(folder).settings.run.budget_seconds == 2
