"""Every run is confined, and where none can be, nothing runs with nobody watching."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui import lab as labs
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.cages import cage, sandbox
from autoresearch_tui.engine.cages.environment import environment
from autoresearch_tui.engine.cages.sandbox import Kind, Sandbox
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.running.launch import Launcher, LaunchRefused, tidy
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import State
from autoresearch_tui.errors import UserError
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Script
from tests.history import state_of

NOTHING = Sandbox(Kind.NONE, note="bubblewrap is not installed: `apt install bubblewrap`")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there is no cage outside Linux")


def play(folder: Path, *, headless: bool, rows: int = 1) -> tuple[str, State]:
    """One engine from start to end, and what its journal amounts to."""
    engine = Engine(Session(labs.find(folder), "t"), Script(), headless=headless, rows=rows)
    return engine.run(), state_of(folder, "t")


@LINUX
def test_every_run_is_confined_and_the_journal_says_by_what(lab_folder: Path) -> None:
    outcome, state = play(lab_folder, headless=True)
    assert outcome == "finished"
    assert state.cage is not None
    assert state.cage.kind == sandbox.choose().kind.value
    assert {"home folder", "hidden files", "API key", "tcp"} <= set(state.cage.holds)
    spec = json.loads((lab_folder / ".autoresearch/t/runs/0000/run.json").read_text())
    assert any(word.endswith("cage_launcher.py") for word in spec["command"])
    assert spec["command"][-2:] == ["python", "train.py"]


def test_without_a_cage_nothing_runs_unattended(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "choose", lambda: NOTHING)
    outcome, state = play(lab_folder, headless=True)
    assert outcome == "failed"
    assert state.paused is not None
    for words in ("not confined", "apt install bubblewrap", "AUTORESEARCH_NO_CAGE=1"):
        assert words in state.paused.reason
    assert state.cage is not None
    assert state.cage.kind == "none"
    assert not list(lab_folder.glob(".autoresearch/t/runs/*/run.log"))
    monkeypatch.undo()
    outcome, state = play(lab_folder, headless=True)  # mended: it goes on by itself
    assert (outcome, state.paused) == ("finished", None)


def test_a_human_watches_or_has_said_so(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "choose", lambda: NOTHING)
    outcome, state = play(lab_folder, headless=False)
    assert outcome == "finished"
    monkeypatch.undo()
    monkeypatch.setenv(cage.NO_CAGE, "1")
    session = Session(labs.find(lab_folder), "u")
    assert Engine(session, Script(), headless=True, rows=1).run() == "finished"
    state = state_of(lab_folder, "u")
    assert state.cage is not None
    assert (state.cage.kind, state.cage.holds, state.cage.note) == ("none", (), "AUTORESEARCH_NO_CAGE=1")
    assert json.loads((lab_folder / ".autoresearch/u/runs/0000/run.json").read_text())["command"][0] == "python"


def test_a_cage_that_does_not_hold_is_none() -> None:
    sound = ev.CageChecked("landlock", ("tcp",), ("locked files", "signals"))
    assert cage.why_not_unattended(sound) == ""
    leaking = ev.CageChecked("bubblewrap", ("tcp",), ("home folder",), "home folder: possible")
    assert "home folder: possible" in cage.why_not_unattended(leaking)


def whole(folder: Path) -> sandbox.Cage:
    lab = labs.find(folder)
    return cage.of_lab(lab, Ledger(lab.root), environment(lab, lab.state_folder))


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
    folder = new_lab(settings=SETTINGS.replace('"python", "train.py"', f'"{tools}/start"'))
    assert {tools / "start", tools / "interpreter"} <= set(whole(folder).readable)


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
    launcher, files = Launcher(lab, Ledger(lab.root)), lab.session("t").run(1)
    changed = ev.ProposalMade(1, commit, base.commit, "", "", "x", "", 1, 1)
    with pytest.raises(LaunchRefused, match=said):
        launcher.prepare(changed, files)  # type: ignore[arg-type]
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
    Launcher(lab, Ledger(lab.root)).prepare(state_of(folder, "t").experiments[0], files)
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
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mechanism = sandbox.landlock_only() if kind == "landlock" else sandbox.choose()
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
    command = sandbox.wrap([python, "-I", "-c", code, str(cache)], found, mechanism)
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False", "True"], done.stderr


def test_runs_that_score_themselves_see_what_they_score(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = prepared(tmp_path, new_lab, SETTINGS)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    found = whole(folder)
    assert cache in found.readable
    assert not found.masked
