"""A loop written by hand (three scripts, which print their scores) becomes a lab by `autoresearch.toml` alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.util.errors import UserError
from tests import warm
from tests.conftest import git
from tests.history import problems, state_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "labs.md"
TRAIN = '''\
import math


def train():
    """A polynomial in place of sin(x)."""
    coefficients = [0.0, 0.5, 0.0, -0.1]

    def predict(x):
        return sum(c * x**i for i, c in enumerate(coefficients))

    test_points = [i * 0.1 for i in range(-30, 31)]
    mse = sum((predict(x) - math.sin(x)) ** 2 for x in test_points) / len(test_points)
    print(f"METRIC:mse={mse:.6f}")
    return mse


if __name__ == "__main__":
    train()
'''
EVALUATE = """\
import re
import subprocess
import sys


def evaluate():
    run = subprocess.run([sys.executable, "my_train.py"], capture_output=True, text=True, timeout=10)
    if run.returncode != 0:
        print(f"EVAL_ERROR: script failed\\n{run.stderr}")
        return None
    found = re.search(r"METRIC:mse=([\\d.]+)", run.stdout)
    if not found:
        print("EVAL_ERROR: no METRIC line found in output")
        return None
    print(f"EVAL_RESULT: mse={float(found.group(1)):.6f}")
    return float(found.group(1))


if __name__ == "__main__":
    evaluate()
"""
LOOP = """\
PROMPT = "You are a researcher. Make the mse of the polynomial in my_train.py smaller, one change at a time."


def ask_agent(current_code, current_mse, history):
    raise NotImplementedError("call a language model here")
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """The three files as they are, and the settings that docs/labs.md shows."""
    root = tmp_path / "mine"
    root.mkdir()
    section = DOCUMENT.read_text("utf-8").split("## A loop of your own, made a lab", 1)[1]
    settings = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)[0]
    files = {"my_train.py": TRAIN, "my_eval.py": EVALUATE, "my_loop.py": LOOP, "autoresearch.toml": settings}
    for name, text in files.items():
        (root / name).write_text(text)
    git(root, "init", "--quiet", "--initial-branch=main")
    commit(root)
    return root


def commit(root: Path) -> None:
    git(root, "add", ".")
    git(root, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--message=mine")


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return warm.run(words, cwd=cwd)


def test_a_night_of_the_offline_search(lab: Path) -> None:
    done = command(".", "--headless", "--review", "auto", "--experiments", "4", cwd=lab)
    assert done.returncode == 0, done.stderr
    (tag,) = open_lab(lab).tags()
    state = state_of(lab, tag)
    assert [e.outcome for e in state.table].count(Outcome.KEEP) >= 2, [(e.description, e.outcome) for e in state.table]
    assert state.best is not None
    assert state.best.value is not None
    assert state.best.value < 0.47  # the first guess has 0.472251
    assert problems(lab, tag) == []
    assert git(lab, "diff", "--name-only", "main", f"autoresearch/{tag}") == "my_train.py"
    assert command("report", ".", cwd=lab).returncode == 0
    assert "mse" in (lab / ".autoresearch" / tag / "report" / "report.md").read_text("utf-8")


def test_an_evaluation_that_fails_with_code_0_says_why(lab: Path) -> None:
    """It prints EVAL_ERROR and ends with code 0."""
    (lab / "my_train.py").write_text(TRAIN.replace("    train()\n", "    train(1 / 0)\n"))
    commit(lab)
    done = command(".", "--headless", "--review", "auto", "--experiments", "2", cwd=lab)
    assert done.returncode == 1
    (tag,) = open_lab(lab).tags()
    (baseline,) = state_of(lab, tag).table
    assert baseline.outcome == "invalid"
    assert baseline.reason.endswith("it ends with `ZeroDivisionError: division by zero`")
    assert "ZeroDivisionError" in done.stderr


def test_without_instructions_it_says_what_to_write(lab: Path) -> None:
    (lab / "autoresearch.toml").write_text('lab = { editable = ["my_train.py"], locked = ["my_eval.py"] }\n')
    with pytest.raises(UserError, match=r"no program\.md, which .* write down there what to improve and how"):
        open_lab(lab)
