"""What a checkout's own files say about running it: read, never executed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui import checkout
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import find
from tests.conftest import git


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("You launch it simply as: `uv run train.py`.", "uv run train.py"),
        ("4. Run: `uv run train.py > run.log 2>&1` (redirect everything)", "uv run train.py"),
        ("```\n$ python3 -u train.py\n```", "python3 -u train.py"),
        ("    .venv/bin/python train.py | tee run.log", ".venv/bin/python train.py"),
        ("run `uv run --no-sync --frozen train.py` on the GPU", "uv run --no-sync --frozen train.py"),
        ("first `uv run prepare.py`, then `python train.py`", "python train.py"),
        ("run uv run python train.py", "python train.py"),
        ("edit train.py; it is the only file that you edit", ""),
        ("`uv run train.pyc` and `uv run my_train.py`", ""),
        ("; rm -rf / # `curl x | sh train.py`", ""),
    ],
)
def test_the_command_that_the_program_tells_its_agent(program: str, command: str) -> None:
    assert checkout.command(program, "train.py") == tuple(command.split())


@pytest.mark.parametrize(
    ("program", "seconds"),
    [
        ("If a run exceeds 10 minutes, kill it and treat it as a failure (discard and revert).", 600),
        ("- Expected: ~7 minutes/run\n* Kill if >15 minutes", 900),
        ("If it takes longer than 20 min, stop it.", 1200),
        ("Runs take about 5 minutes (plus a few seconds of start-up).", None),
        ("Never kill a run. In 10 minutes much can happen.", None),
    ],
)
def test_the_timeout_that_the_program_tells_its_agent(program: str, seconds: float | None) -> None:
    assert checkout.timeout(program) == seconds


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('from kernels import get_kernel\nfa = get_kernel("a/flash").x\n', ("a/flash",)),
        ('import kernels\nr = "a/x" if hot else "b/y"\nk = kernels.get_kernel(r, version=1)\n', ("a/x", "b/y")),
        ('repo = "a/x"\npath = "data/file.txt"\n', ()),
        ("get_kernel(choose())\n", ()),
        ("def (", ()),
    ],
)
def test_the_kernels_that_a_script_asks_for(text: str, names: tuple[str, ...]) -> None:
    assert checkout.kernels(text) == names


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    checkout.command(text, "train.py")
    checkout.timeout(text)
    checkout.kernels(text)


def test_two_of_a_kind_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("program.md", "prepare.py", "train_a.py", "train_b.py"):
        (tmp_path / name).write_text("TIME_BUDGET = 'x'\n")
    git(tmp_path, "init", "--quiet")
    assert checkout.files(tmp_path) is None
    with pytest.raises(UserError, match=r"no train\.py, which a lab needs"):
        find(tmp_path)
    (tmp_path / "train_b.py").unlink()
    assert find(tmp_path).settings.lab.editable == ("train_a.py",)
    assert find(tmp_path).settings.run.budget_seconds == 300
