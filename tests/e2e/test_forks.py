"""Forks that differ more: other caches, metrics, commands, data beside the code. Real processes, nothing configured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoresearch_tui.lab.paths import find
from tests import checkouts
from tests.conftest import git
from tests.e2e.test_checkouts import command, once
from tests.history import state_of

PREPARE = """\
import os
TIME_BUDGET = 2
DATASETS = os.path.join(os.path.expanduser("~"), ".cache", CACHE)
def download(name):
    folder = os.path.join(DATASETS, name)
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "part.bin"), "w").write("books")
if __name__ == "__main__":
    MAIN
    print("prepared")
"""
TRAIN = """\
import os, sys, time
from prepare import DATASETS
print("step 00000 (50.0%) | loss: 5.0", sys.argv[1:], os.environ.get("MODE"), sys.executable)
print(open(os.path.join(DATASETS, "books", "part.bin")).read())
print("---")
print(f"val_bpb: {1.04:.6f}")
"""
SIMPLE = """\
import os, sys
print("arguments", sys.argv[1:], os.environ.get("MODE"))
print("---")
print(f"val_bpb: {1.0:.6f}")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def env(tmp_path: Path, home: Path) -> dict[str, str]:
    """A user's environment, with `uv`."""
    return checkouts.environ(home, checkouts.install_uv(tmp_path / "tools"))


def make(folder: Path, program: str, **files: str) -> Path:
    """A committed checkout of these files."""
    folder.mkdir()
    (folder / "program.md").write_text(program)
    for name, text in {"prepare": "TIME_BUDGET = 2\n", "train": SIMPLE, **files}.items():
        (folder / (name if "." in name else f"{name}.py")).write_text(text)
    (folder / ".gitignore").write_text(".venv\nresults.tsv\ndata/\n__pycache__/\n")
    git(folder, "init", "--quiet", "--initial-branch=master")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=fork")
    return folder


@pytest.mark.parametrize("cache", ['"autoresearch", "datasets"', '"mine"', 'os.environ.get("FORK", "mine"), "v2"'])
def test_a_fork_with_a_cache_of_its_own_is_prepared_and_runs(cache: str, tmp_path: Path, env: dict[str, str]) -> None:
    prepare = PREPARE.replace("CACHE", cache).replace("MAIN", "download('books')")
    folder = make(tmp_path / "lab", "Run: `python train.py > run.log 2>&1`\n", prepare=prepare, train=TRAIN)
    refused, _ = once(folder, env)
    assert (refused.returncode, "run `autoresearch-tui prepare`" in refused.stderr) == (2, True), refused.stderr
    prepared = command("prepare", cwd=folder, env=env)
    assert prepared.returncode == 0, prepared.stderr
    assert "prepared" in prepared.stdout
    assert git(folder, "status", "--porcelain") == ""
    done, log = once(folder, env)
    assert done.returncode == 0, done.stderr
    assert "books" in log
    again = command("prepare", cwd=folder, env=env)
    assert (again.returncode, "nothing was run" in again.stdout) == (0, True), again.stdout + again.stderr


def test_a_preparer_that_failed_proves_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    prepare = PREPARE.replace("CACHE", '"mine"').replace("MAIN", "raise SystemExit(3)")
    folder = make(tmp_path / "lab", "Run: `python train.py`\n", prepare=prepare, train=TRAIN)
    failed = command("prepare", cwd=folder, env=env)
    assert failed.returncode == 2
    assert "exit code 3" in failed.stderr
    assert once(folder, env)[0].returncode == 2


def test_data_that_went_away_again_is_missed(tmp_path: Path, home: Path, env: dict[str, str]) -> None:
    prepare = PREPARE.replace("CACHE", '"mine"').replace(
        "MAIN", "os.makedirs(DATASETS, exist_ok=True); download('books')"
    )
    folder = make(tmp_path / "lab", "Run: `python train.py`\n", prepare=prepare, train=TRAIN)
    assert command("prepare", cwd=folder, env=env).returncode == 0
    (home / ".cache" / "mine").rename(home / "elsewhere")
    refused, _ = once(folder, env)
    assert refused.returncode == 2
    assert f"nothing yet in {home}/.cache/mine" in refused.stderr


@pytest.mark.parametrize("main", ["print('no folder')", ""])
def test_an_environment_is_made_whatever_its_preparer_does(main: str, tmp_path: Path, env: dict[str, str]) -> None:
    """No `.venv`, and a preparer that speaks of no tokenizer, or does nothing at all."""
    prepare = "TIME_BUDGET = 2\n" + (f"if __name__ == '__main__':\n    {main}\n" if main else "")
    uv = checkouts.UV.replace("PYTHON", sys.executable).replace(
        '[ "$1" = run ]', f'[ "$1" = sync ] && exec {sys.executable} -m venv --without-pip .venv\n[ "$1" = run ]'
    )
    Path(env["PATH"].partition(":")[0], "uv").write_text(uv)
    files = {"pyproject.toml": checkouts.PYPROJECT}
    folder = make(tmp_path / "lab", "Run: `uv run train.py > run.log 2>&1`\n", prepare=prepare, **files)
    refused, _ = once(folder, env)
    assert (refused.returncode, "no .venv yet" in refused.stderr) == (2, True)
    prepared = command("prepare", cwd=folder, env=env)
    assert prepared.returncode == 0, prepared.stderr
    assert (folder / ".venv" / "bin" / "python").exists()
    assert ("ended well" if main else "nothing else to prepare") in prepared.stdout
    done, log = once(folder, env)
    assert done.returncode == 0, done.stderr
    assert "arguments []" in log


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        (".venv/bin/python train.py", "[] None"),
        ("MODE=fast .venv/bin/python -u train.py --steps 3 lr=2 > run.log 2>&1", "['--steps', '3', 'lr=2'] fast"),
        ("source .venv/bin/activate && python train.py --x", "['--x'] None"),
        ("nohup .venv/bin/python train.py 2>&1 | tee run.log", "[] None"),
        ("MODE=a uv run torchrun --standalone train.py --y", "['--y'] a"),
        ("accelerate launch train.py", "[] None"),
        ("tools/bin/python train.py", "[] None"),
    ],
)
def test_the_command_is_run_as_it_is_written(told: str, arguments: str, tmp_path: Path, env: dict[str, str]) -> None:
    folder = make(tmp_path / "lab", f"Run: `{told}`\n")
    checkouts.sync(folder)
    (folder / "tools").symlink_to(folder / ".venv")
    for name, words in (("torchrun", "--standalone"), ("accelerate", "launch")):
        program = folder / ".venv" / "bin" / name
        program.write_text(f'#!{folder}/.venv/bin/python\nimport sys, os\nassert sys.argv[1] == "{words}"\n')
        program.write_text(program.read_text() + "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])\n")
        program.chmod(0o755)
    done, log = once(folder, env)
    assert done.returncode == 0, done.stderr + log
    assert f"arguments {arguments}" in log


def test_data_beside_the_code_is_seen(tmp_path: Path, env: dict[str, str]) -> None:
    train = "print(open('data/x').read())\nimport helpers\nprint('---')\nprint(f'val_bpb: {1.0:.6f}')\n"
    folder = make(tmp_path / "lab", "Run: `python train.py`\n", train=train)
    (folder / "data").mkdir()
    (folder / "data" / "x").write_text("seen")
    (folder / "helpers.py").write_text("print('imported')\n")
    done, log = once(folder, env)
    assert done.returncode == 0, done.stderr
    assert {"seen", "imported"} <= set(log.split())
    doctor = command("doctor", cwd=folder, env=env).stdout
    assert "data, helpers.py" in " ".join(doctor.split())


def test_a_score_by_another_name_is_read_from_the_program(tmp_path: Path, env: dict[str, str]) -> None:
    program = (
        "Run: `python train.py`. Read `grep '^puzzles_solved:' run.log`; more is better.\nMaximize puzzles_solved.\n"
    )
    folder = make(tmp_path / "lab", program, train="print('---')\nprint(f'puzzles_solved: {12}')\n")
    done, _ = once(folder, env)
    assert done.returncode == 0, done.stderr
    assert find(folder).settings.metric.goal == "maximize"
    (row,) = state_of(folder, "t").table
    assert (row.outcome, row.score.value if row.score else None) == ("keep", 12)


def test_a_score_that_nobody_names_is_asked_for_with_the_keys_of_the_log(tmp_path: Path, env: dict[str, str]) -> None:
    train = "print(f'val_rmse: {0.5}')\nprint(f'peak_vram_mb: {100}')\nprint(f'speed_up = {2}')\n"
    folder = make(tmp_path / "lab", "Run: `python train.py`\n", train=train)
    doctor = command("doctor", cwd=folder, env=env).stdout
    assert "it prints val_rmse, speed_up" in " ".join(doctor.split())
    done, _ = once(folder, env)
    assert done.returncode == 1
    assert "its log has speed_up, val_rmse" in done.stderr
    (folder / "autoresearch.toml").write_text('metric = { name = "val_rmse", goal = "minimize" }\n')
    again = command("--headless", "--researcher", "search", "--tag", "u", "--experiments", "1", cwd=folder, env=env)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("program", "prepare", "words"),
    [
        ("Submit: `sbatch job.sh`\n", "TIME_BUDGET = 2\n", "run.command"),
        ("Run: `python train.py`\n", "TIME_BUDGET = load()\n", "run.budget_seconds = 300"),
    ],
)
def test_what_must_be_known_is_asked_for_before_a_run_is_wasted(
    program: str, prepare: str, words: str, tmp_path: Path, env: dict[str, str]
) -> None:
    folder = make(tmp_path / "lab", program, prepare=prepare)
    refused, _ = once(folder, env)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert words in refused.stderr
    assert not (folder / ".autoresearch").exists()
    assert command("doctor", cwd=folder, env=env).returncode == 1


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("open(str.join('/', ['wan' + part + 'db', 'base']))", 'lab.share = ["*", "wandb/base"]'),
        ("open(os.path.abspath(str.join('/', ['wan' + part + 'db', 'base'])))", 'lab.share = ["*", "wandb/base"]'),
        ("open(os.path.expanduser('~/cor' + part + 'pus'))", 'lab.share = ["*", "~/corpus"]'),
        ("open('da' + part + 'ta/large', 'a')", 'lab.share = ["*", "!data/large"]'),
    ],
)
def test_what_a_run_did_not_see_is_named_with_the_setting(
    line: str, setting: str, tmp_path: Path, home: Path, env: dict[str, str]
) -> None:
    """Names that are made while it runs are in no file that is read."""
    train = f"import os, sys\nfor part in ['']:\n    {line}\nprint('---')\nprint(f'val_bpb: {{1.0}}')\n"
    folder = make(tmp_path / "lab", "Run: `python train.py`\n", train=train)
    for place in (folder / "wandb" / "base", home / "corpus", folder / "data" / "large"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x" * (2 << 20))
    failed, log = once(folder, env)
    assert failed.returncode == 1, failed.stderr + log
    assert setting in failed.stderr
    (folder / "autoresearch.toml").write_text(f"{setting}\n")
    again = command("--headless", "--researcher", "search", "--tag", "u", "--experiments", "1", cwd=folder, env=env)
    assert again.returncode == 0, again.stderr
