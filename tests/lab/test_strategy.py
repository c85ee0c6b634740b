"""The `strategy` lab: its market, its referee, and a night on a finite history beside one on fresh draws."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from autoresearch_tui.lab import creation
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.session.ends import Outcome
from tests import warm
from tests.conftest import git
from tests.history import problems, state_of

BACKTEST = Path(creation.__file__).with_name("templates") / "strategy" / "backtest.py"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("strategy"), "fixed")


def small(folder: Path, evaluator: str) -> Path:
    """The lab, with two markets a draw."""
    lab = creation.init(folder / "lab", "strategy")
    for path, old, new in (
        ("autoresearch.toml", 'evaluator = "fresh"', f'evaluator = "{evaluator}"'),
        ("backtest.py", "DRAWN, HELD_OUT = 16, 48", "DRAWN, HELD_OUT = 2, 2"),
    ):
        text = (lab / path).read_text()
        assert text.count(old) == 1
        (lab / path).write_text(text.replace(old, new))
    git(lab, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--all", "--quiet", "--message=small")
    return lab


@pytest.fixture(scope="module")
def backtest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("backtest", BACKTEST)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["backtest"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def run(lab: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "strategy.py"], cwd=lab, capture_output=True, text=True, check=False)


def referee(lab: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The lab's own scorer, on what the last run left."""
    line = [sys.executable, *open_lab(lab).settings.metric.referee[1:]]
    return subprocess.run(line, cwd=lab, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def utility(done: subprocess.CompletedProcess[str]) -> float:
    assert done.returncode == 0, done.stderr
    (found,) = re.findall(r"^METRIC:utility=(\S+)$", done.stdout, re.MULTILINE)
    return float(found)


# ── the referee ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_draw_is_a_market_of_its_own_and_stays_the_same(lab: Path) -> None:
    assert run(lab).returncode == 0
    history, draw = referee(lab), referee(lab, AUTORESEARCH_DRAW="7")
    assert referee(lab).stdout == history.stdout
    assert referee(lab, AUTORESEARCH_DRAW="7").stdout == draw.stdout
    assert len({utility(each) for each in (history, draw, referee(lab, AUTORESEARCH_DRAW="8"))}) == 3
    details = json.loads(draw.stdout.splitlines()[-1])
    total, days = (sum(column) for column in zip(*details["rows"], strict=True))
    assert total / days == pytest.approx(utility(draw), abs=1e-5)  # its error is that of the score
    assert details["data"] == "draw 7"


def test_no_day_depends_on_what_comes_after(backtest: ModuleType) -> None:
    signals = (backtest.Signal(40, 1.0), backtest.Signal(3, -0.2, skip=1))
    rule = backtest.Rule(signals, band=0.02, weekdays=(1.0, 0.5, 2.0, 1.0, 1.0))
    returns = backtest.market("any")
    before = backtest.trade(rule, returns)
    for series in returns:
        series[300] += 0.05
    after = backtest.trade(rule, returns)
    first = 300 - backtest.FIRST
    assert before[:first] == after[:first]
    assert before[first:] != after[first:]


WRONG = [
    (None, "there is no rule.json"),
    ("[", "is not JSON"),
    ("[" * 20_000, "too deep"),
    ("{}", "must be what backtest.save() writes"),
    ({"signals": [[1, 1, 0]] * 7}, "at most 6"),
    ({"signals": [[10, "secret", 0]]}, "`signals` must be numbers"),
    ({"signals": [[0.5, 1, 0]]}, "`days` must be a whole number, 1 or more"),
    ({"signals": [[10, 1, -1]]}, "`skip` must be a whole number, 0 or more"),
    ({"exposure": 1e300}, "`exposure` must be numbers between"),
    ({"assets": [1.0] * 5}, "`assets` has not as many numbers as it must"),
    ({"band": [True]}, "`band` must be numbers"),
]


@pytest.mark.parametrize(("answer", "why"), WRONG)
def test_what_is_no_rule_is_refused(lab: Path, answer: object, why: str) -> None:
    path = lab / "rule.json"
    path.unlink(missing_ok=True)
    if isinstance(answer, str):
        path.write_text(answer)
    elif answer is not None:
        assert run(lab).returncode == 0
        path.write_text(json.dumps({**json.loads(path.read_text()), **answer}))  # type: ignore[dict-item]
    done = referee(lab)
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert "secret" not in done.stderr  # it would stand in the next prompt
    assert len(done.stderr.splitlines()) == 1


def test_a_link_is_no_rule(lab: Path, tmp_path: Path) -> None:
    assert run(lab).returncode == 0
    (lab / "rule.json").rename(tmp_path / "elsewhere.json")
    (lab / "rule.json").symlink_to(tmp_path / "elsewhere.json")
    assert "must be a plain file" in referee(lab).stderr
    (lab / "rule.json").unlink()


# ── two nights ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_two_nights_have_kept_is_as_good_as_docs_verdicts_says(backtest: ModuleType) -> None:
    """The rules that 60 experiments of the offline search have kept, on the fixed history and on fresh draws."""

    def rule(days: int, trend: float, reversal: float, exposure: float, volatility: int, band: float, *assets: float):  # type: ignore[no-untyped-def]
        signals = (backtest.Signal(days, trend), backtest.Signal(5, -reversal))
        return backtest.Rule(signals, exposure, volatility, band, assets=assets)

    start = rule(120, 1.0, 0.0, 0.2, 20, 0.0, *[1.0] * 6)
    fixed = rule(80, 1.0, 0.2, 0.4, 48, 0.1, 1.0, 0.5, 0.25, 0.5, 2.0, 2.0)
    fresh = rule(80, 0.5, 0.2, 0.4, 48, 0.0, 1.0, 0.25, 1.0, 1.0, 1.0, 0.5)
    history = backtest.markets({})[1]
    assert backtest.utility(start, history)[0] == pytest.approx(2.366094, abs=1e-5)
    assert backtest.utility(fixed, history)[0] == pytest.approx(30.913368, abs=1e-5)
    holdout = backtest.markets({"AUTORESEARCH_SPLIT": "holdout"})[1]
    found = [backtest.utility(each, holdout)[0] for each in (start, fixed, fresh)]
    assert found == pytest.approx([1.907430, -2.307939, 4.130978], abs=1e-5)


@pytest.mark.parametrize("evaluator", ["fixed", "fresh"])
def test_a_night(tmp_path: Path, evaluator: str) -> None:
    lab = small(tmp_path, evaluator)

    def command(*words: str) -> str:
        done = warm.run(words, cwd=lab)
        assert done.returncode == 0, done.stderr
        return done.stdout

    command("prepare", ".")
    command(".", "--headless", "--review", "auto", "--experiments", "3")
    (tag,) = open_lab(lab).tags()
    state = state_of(lab, tag)
    assert {each.outcome for each in state.table} <= {Outcome.KEEP, Outcome.DISCARD}
    assert len(state.table) == 3
    assert (state.table[0].value == pytest.approx(2.366094, abs=1e-5)) == (evaluator == "fixed")
    assert "the baseline" in command("holdout", ".")
    assert problems(lab, tag) == []
    command("report", ".")
    assert "utility" in (lab / ".autoresearch" / tag / "report" / "report.md").read_text("utf-8")


def test_a_rule_left_in_the_lab_is_not_scored_as_a_runs_own(tmp_path: Path) -> None:
    lab = small(tmp_path, "fixed")
    assert run(lab).returncode == 0
    text = (lab / "strategy.py").read_text()
    (lab / "strategy.py").write_text(text.replace("\nsave(rule)\n", "\n"))
    git(lab, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--all", "--quiet", "--message=idle")
    done = warm.run([".", "--headless", "--review", "auto", "--experiments", "1"], cwd=lab)
    assert done.returncode == 1
    assert "there is no rule.json" in done.stderr
