"""Every run is confined, and where none can be, nothing runs with nobody watching."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.launching import Launcher, LaunchRefused, tidy
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.runs.environment import environment, training_command
from autoresearch_tui.sandbox import for_runs, launcher, policy
from autoresearch_tui.sandbox.policy import Kind, Mechanism
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import State
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Script
from tests.history import state_of

NOTHING = Mechanism(Kind.NONE, note="bubblewrap is not installed: `apt install bubblewrap`")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox outside Linux")


def play(folder: Path, *, headless: bool, rows: int = 1) -> tuple[str, State]:
    """One engine from start to end, and what its journal amounts to."""
    engine = Engine(Session(labs.find(folder), "t"), Script(), headless=headless, rows=rows)
    return engine.run(), state_of(folder, "t")


@LINUX
def test_every_run_is_confined_and_the_journal_says_by_what(lab_folder: Path) -> None:
    outcome, state = play(lab_folder, headless=True)
    assert outcome == "finished"
    assert state.sandbox is not None
    assert state.sandbox.kind == policy.choose().kind.value
    assert {"home folder", "hidden files", "API key", "tcp"} <= set(state.sandbox.holds)
    spec = json.loads((lab_folder / ".autoresearch/t/runs/0000/run.json").read_text())
    assert any(word.endswith("sandbox/launcher.py") for word in spec["command"])
    assert spec["command"][-3:] == ["python", "-S", "train.py"]


def test_without_a_sandbox_nothing_runs_unattended(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "choose", lambda: NOTHING)
    outcome, state = play(lab_folder, headless=True)
    assert outcome == "failed"
    assert state.paused is not None
    for words in ("not confined", "apt install bubblewrap", "AUTORESEARCH_NO_SANDBOX=1"):
        assert words in state.paused.reason
    assert state.sandbox is not None
    assert state.sandbox.kind == "none"
    assert not list(lab_folder.glob(".autoresearch/t/runs/*/run.log"))
    monkeypatch.undo()
    outcome, state = play(lab_folder, headless=True)  # mended: it continues by itself
    assert (outcome, state.paused) == ("finished", None)


def test_a_human_watches_or_has_said_so(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "choose", lambda: NOTHING)
    outcome, state = play(lab_folder, headless=False)
    assert outcome == "finished"
    monkeypatch.undo()
    monkeypatch.setenv(for_runs.NO_SANDBOX, "1")
    session = Session(labs.find(lab_folder), "u")
    assert Engine(session, Script(), headless=True, rows=1).run() == "finished"
    state = state_of(lab_folder, "u")
    assert state.sandbox is not None
    assert (state.sandbox.kind, state.sandbox.holds, state.sandbox.note) == ("none", (), "AUTORESEARCH_NO_SANDBOX=1")
    assert json.loads((lab_folder / ".autoresearch/u/runs/0000/run.json").read_text())["command"][0] == "python"


def test_a_sandbox_that_does_not_hold_is_none() -> None:
    sound = ev.SandboxChecked("landlock", ("tcp",), ("locked files", "signals"))
    assert for_runs.why_not_unattended(sound) == ""
    leaking = ev.SandboxChecked("bubblewrap", ("tcp",), ("home folder",), "home folder: possible")
    assert "home folder: possible" in for_runs.why_not_unattended(leaking)


def whole(folder: Path) -> policy.Policy:
    lab = labs.find(folder)
    return for_runs.of_lab(lab, GitRepo(lab.root), environment(lab, lab.state_folder))


def test_what_the_environment_names_is_readable_and_what_must_stay_hidden_is_not(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, home = tmp_path / "data", tmp_path / "home"
    (data / "cache").mkdir(parents=True)
    (home / "models").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(data / "cache"))
    named = f'PYTHONPATH = "{home}/models:/no/such/folder", A = "{tmp_path}/lab/.git", B = "{home}", C = "{tmp_path}"'
    folder = new_lab(settings=SETTINGS.replace("[researcher]", f"env = {{ {named} }}\n\n[researcher]"))
    readable = whole(folder).readable
    assert {data / "cache", home / "models", Path(sys.executable).parent.parent} <= set(readable)
    assert not {home, tmp_path, folder / ".git"} & set(readable)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="is to be hidden"):
        whole(folder)


def test_the_training_command_is_readable_wherever_it_is(new_lab: Callable[..., Path], tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "interpreter").write_text("#!/bin/sh\n")
    (tools / "start").write_text(f"#!{tools}/interpreter -x\n")
    folder = new_lab(settings=SETTINGS.replace('"python", "-S", "train.py"', f'"{tools}/start"'))
    assert {tools / "start", tools / "interpreter"} <= set(whole(folder).readable)


@pytest.mark.parametrize(
    ("command", "becomes"),
    [
        ("uv run train.py", "PYTHON train.py"),
        ("uv run --frozen --extra gpu -p 3.12 train.py --depth 4", "PYTHON train.py --depth 4"),
        ("uv run python -u train.py", "PYTHON -u train.py"),
        ("uv run -m nanolab.train", "PYTHON -m nanolab.train"),
        ("uv run torchrun train.py", "BIN/torchrun train.py"),
        ("uv run --with rich train.py", "uv run --with rich train.py"),
        ("uv run --env-file=.env train.py", "uv run --env-file=.env train.py"),
        ("uv run accelerate launch train.py", "uv run accelerate launch train.py"),
        ("uv pip install x", "uv pip install x"),
        ("python train.py", "python train.py"),
    ],
)
def test_what_uv_would_start_is_started(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, becomes: str
) -> None:
    words = ", ".join(f'"{word}"' for word in command.split())
    folder = new_lab(settings=SETTINGS.replace('"python", "-S", "train.py"', words))
    programs, tools = folder / ".venv" / "bin", tmp_path / "tools"
    for program in (programs / "python", programs / "torchrun", tools / "uv"):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    found = " ".join(training_command(labs.find(folder))).replace(f"{tools}/uv", "uv")
    assert found == becomes.replace("PYTHON", f"{programs}/python").replace("BIN", str(programs))


@pytest.mark.parametrize(
    ("train", "env", "devices", "wanted"),
    [
        ("import torch\n", "", "", True),
        ("    from jax import numpy\n", "", "", True),
        ("import math\n# import torch\n", "", "", False),
        ("import torch\n", 'AUTORESEARCH_DEVICE = "cpu"', "", False),
        ("import torch\n", 'AUTORESEARCH_PROFILE = "demo"', "", False),
        ("import torch\n", "", 'devices = ["cpu0-1"]', False),
    ],
)
def test_who_needs_an_accelerator(
    new_lab: Callable[..., Path], train: str, env: str, devices: str, wanted: bool
) -> None:
    settings = SETTINGS.replace("[researcher]", f"env = {{ {env} }}\n{devices}\n[researcher]")
    assert whole(new_lab(train=train, settings=settings)).trains == wanted


WORKERS = {
    "a pool": "import multiprocessing\nmultiprocessing.Pool(2)\n",
    "a queue": "import multiprocessing as m\ndef fill():\n    return m.get_context('spawn').Queue()\nfill()\n",
    "shared memory": "from multiprocessing.shared_memory import SharedMemory\nSharedMemory(create=True, size=9)\n",
    "torch": "raise RuntimeError('unable to open shared memory object </torch_1_2>: Permission denied (13)')\n",
}


@pytest.mark.parametrize("kind", WORKERS)
def test_a_crash_of_worker_processes_says_what_they_need(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if not launcher.landlock_abi():
        pytest.skip("no Landlock in this kernel")
    monkeypatch.setattr(policy, "choose", policy.landlock_only)
    folder = new_lab(train=WORKERS[kind])
    _, state = play(folder, headless=True)
    (baseline,) = state.table
    assert baseline.outcome == "crash"
    assert "/dev/shm" in baseline.reason and "bubblewrap" in baseline.reason and "num_workers=0" in baseline.reason
    spec = json.loads((folder / ".autoresearch/t/runs/0000/run.json").read_text())
    assert spec["env"]["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


def test_another_crash_is_not_explained_by_the_sandbox() -> None:
    without = ev.SandboxChecked("landlock", (), ("worker processes",))
    assert for_runs.explain(("PermissionError: [Errno 13] Permission denied: 'prepare.py'",), without) == ()
    assert (
        for_runs.explain(("SemLock", "Permission denied"), ev.SandboxChecked("bubblewrap", ("worker processes",), ()))
        == ()
    )


def sneak(folder: Path, *words: str, git_words: tuple[str, ...] = ("add", "--all")) -> str:
    """A commit on a side branch, made by a shell command in a worktree of its own."""
    tree = folder.parent / "tree"
    git(folder, "worktree", "add", "--quiet", "--detach", str(tree))
    subprocess.run(words, cwd=tree, check=True)
    git(tree, *git_words)
    git(tree, "commit", "--quiet", "--message=sneaky")
    commit = git(tree, "rev-parse", "HEAD")
    git(folder, "worktree", "remove", "--force", str(tree))
    return commit


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("echo x = 1 > prepare.py", "prepare.py is not editable"),
        ("echo x = 1 > json.py", "json.py is not editable"),
        ("mkdir __pycache__ && echo x > __pycache__/prepare.cpython-311.pyc", "__pycache__/prepare.cpython-311.pyc"),
        ("rm train.py && ln -s prepare.py train.py", "from mode 100644 to 120000"),
        ("chmod +x train.py", "from mode 100644 to 100755"),
        ("rm train.py", "from mode 100644 to 000000"),
    ],
)
def test_a_commit_that_changes_more_than_contents_is_not_launched(lab_folder: Path, shell: str, said: str) -> None:
    play(lab_folder, headless=True)
    base = state_of(lab_folder, "t").experiments[0]
    lab = labs.find(lab_folder)
    commit = sneak(lab_folder, "sh", "-c", shell)
    launcher, files = Launcher(lab, GitRepo(lab.root)), lab.session("t").run(1)
    changed = replace(base, proposal=ev.ProposalMade(1, commit, base.commit, "", "", "x", "", 1, 1))
    with pytest.raises(LaunchRefused, match=said):
        launcher.prepare(changed, files)
    assert not files.work.exists()


def test_folders_that_a_run_has_shut_are_removed(lab_folder: Path) -> None:
    files = labs.find(lab_folder).session("t").run(1)
    shut = files.work / "a" / "b"
    shut.mkdir(parents=True)
    (shut / "c").write_text("x")
    (files.work / "link").symlink_to("/")
    shut.chmod(0)
    (files.work / "a").chmod(0)
    tidy(files)
    assert not files.work.exists()


def test_a_repeated_run_finds_nothing_of_its_first_try(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN)
    play(folder, headless=True)
    lab = labs.find(folder)
    files = lab.session("t").run(0)
    for left in (files.work / "weights", files.folder / "scratch" / "weights"):
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_text("warm")
    Launcher(lab, GitRepo(lab.root)).prepare(state_of(folder, "t").experiments[0], files)
    assert sorted(path.name for path in files.work.iterdir()) == [
        "autoresearch.toml",
        "prepare.py",
        "program.md",
        "train.py",
    ]
    assert not (files.folder / "scratch" / "weights").exists()


REFEREED = f"""\
[lab]
locked = ["prepare.py"]
{SETTINGS}
[metric]
referee = ["python", "-I", "prepare.py"]
"""


def prepared(tmp_path: Path, new_lab: Callable[..., Path], settings: str) -> tuple[Path, Path]:
    """A lab of the harness's kind, and a cache with something private in it."""
    folder, cache = new_lab(settings=settings), tmp_path / "cache"
    (folder / "prepare.py").write_text("# AUTORESEARCH_PROFILE\n")
    git(folder, "commit", "--quiet", "--all", "--message=harness")
    (cache / "private" / "x").mkdir(parents=True)
    (cache / "tokens").mkdir()
    (cache / "private" / "x" / "rows").write_text("rows")
    (cache / "private" / "x" / "hidden.json").write_text(json.dumps({"modules": ["mailbox"], "paths": []}))
    return folder, cache


@LINUX
@pytest.mark.parametrize("kind", ["bubblewrap", "landlock"])
def test_what_is_scored_is_in_no_runs_sight(
    new_lab: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine_left_out: None,
    kind: str,
) -> None:
    mechanism = policy.landlock_only() if kind == "landlock" else policy.choose()
    if mechanism.kind.value != kind:
        pytest.skip(mechanism.note)
    folder, cache = prepared(tmp_path, new_lab, REFEREED)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    found = whole(folder)
    assert (cache / "private").resolve() in found.hidden
    assert cache / "tokens" in found.readable
    assert not {cache, cache / "private"} & set(found.readable)
    code = (
        "import json, sys, sysconfig\nfrom pathlib import Path\nlibrary = Path(sysconfig.get_path('stdlib'))\n"
        "for path in (Path(sys.argv[1], 'private/x/rows'), library / 'mailbox.py', library / 'json/decoder.py'):\n"
        "    try:\n        print(len(path.read_bytes()) > 0)\n    except OSError:\n        print(False)\n"
    )
    python = str(Path(sys.executable).resolve())
    command = policy.wrap([python, "-I", "-c", code, str(cache)], found, mechanism)
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False", "True"], done.stderr


def test_what_is_handed_over_is_in_no_runs_sight(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine_left_out: None
) -> None:
    """Of the cache, and of every data set in it."""
    folder, cache = prepared(tmp_path, new_lab, REFEREED)
    for name in ("tokens/a.bin", "own-2048/tokens/a.bin", "own-2048/data/a.parquet", "own-2048/tokenizer/t.json"):
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_text("text")
    (cache / "own-2048" / "manifest.json").write_text("{}")
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    assert {cache / "tokens", cache / "own-2048"} <= set(whole(folder).readable)
    (folder / "prepare.py").write_text("# AUTORESEARCH_PROFILE AUTORESEARCH_HANDOVER\n")
    git(folder, "commit", "--quiet", "--all", "--message=hands over")
    found = whole(folder)
    assert {cache / "own-2048" / "tokenizer", cache / "own-2048" / "manifest.json"} <= set(found.readable)
    hidden = {cache / name for name in ("tokens", "own-2048/tokens", "own-2048/data", "private")}
    assert {path.resolve() for path in hidden} <= set(found.hidden)
    assert not [each for each in found.readable for path in hidden if path.is_relative_to(each)]


def test_runs_that_score_themselves_see_what_they_score(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = prepared(tmp_path, new_lab, SETTINGS)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    found = whole(folder)
    assert cache in found.readable
    assert not found.masked
