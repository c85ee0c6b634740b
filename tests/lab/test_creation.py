"""The `sine` and `sort` labs: made by `init`, run by the offline researcher, and hard to fool."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_tui.lab.creation import init
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.logs.lines import parse_progress
from tests import warm
from tests.conftest import git
from tests.history import problems, state_of


def command(*words: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui`, as a user would call it."""
    return warm.run(words, cwd=cwd, env=env, seconds=1500)


def headless(lab: Path, *, budget: float, experiments: int) -> str:
    """A session of the offline researcher to its end; returns its tag."""
    words = ["--researcher", "search", "--review", "auto", "--budget", str(budget), "--experiments", str(experiments)]
    done = command(str(lab), "--headless", *words, cwd=lab.parent)
    assert done.returncode == 0, done.stderr
    return open_lab(lab).tags()[-1]


def edit(path: Path, old: str, new: str) -> None:
    """Replace what has to be there once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("template", ["sine", "sort", "kernel", "strategy", "prompt", "skill"])
def test_a_new_lab_is_whole_and_committed(tmp_path: Path, template: str) -> None:
    done = command("init", "lab", "--template", template, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lab = open_lab(tmp_path / "lab")
    committed = git(lab.root, "ls-files").splitlines()
    settings = lab.settings.lab
    editable = [str(path.relative_to(lab.root)) for name in settings.editable for path in lab.root.glob(name)]
    assert sorted(committed) == sorted(
        [".gitignore", "autoresearch.toml", settings.program, *editable, *settings.locked]
    )
    assert git(lab.root, "status", "--porcelain") == ""
    assert lab.settings.metric.name in lab.program.read_text()


@pytest.mark.parametrize("template", ["sine", "sort"])
def test_the_offline_search_keeps_something(tmp_path: Path, template: str) -> None:
    """Within seven experiments; on a busy machine, whose clock hides what a sort gains, within twenty."""
    lab = init(tmp_path / "lab", template)
    if template == "sine":  # how far a run comes in its seconds is the machine's affair
        edit(lab / "autoresearch.toml", "budget_seconds = ", "budget_tokens = 64_000\nbudget_seconds = ")
    for experiments in (7, 20):
        tag = headless(lab, budget=0.3, experiments=experiments)
        state = state_of(lab, tag)
        outcomes = [experiment.outcome for experiment in state.table]
        assert len(outcomes) == experiments
        if outcomes.count("keep") >= 2:
            break
    assert outcomes[0] == "keep"
    assert outcomes.count("keep") >= 2, outcomes
    assert set(outcomes) <= {"keep", "discard"}, outcomes
    # Drawing otherwise is to be read by a human; nothing else that it tries is.
    flags = [flag for experiment in state.table[1:] for flag in experiment.proposal.flags]
    assert all(flag.endswith("seed uses random.choices") for flag in flags), flags
    assert problems(lab, tag) == []


# A model whose steps take less than the import of torch.
SMALL = {"DEPTH": 1, "ASPECT_RATIO": 32, "HEAD_DIM": 32, "TOTAL_BATCH_SIZE": 1024, "DEVICE_BATCH_SIZE": 8}


@pytest.mark.timeout(1800)
def test_the_gpt_lab_is_improved_by_the_offline_search(tmp_path: Path, cache: Path) -> None:
    """The whole of the product on the CPU: a language model, its referee, the search, until something is kept."""
    lab = init(tmp_path / "lab", "gpt", demo=True)
    train = (lab / "train.py").read_text()
    for name, value in SMALL.items():
        train, count = re.subn(rf"^{name} = \d+", f"{name} = {value}", train, flags=re.MULTILINE)
        assert count == 1, name
    (lab / "train.py").write_text(train)
    git(lab, "commit", "--all", "--quiet", "--message=small")
    edit(lab / "autoresearch.toml", "budget_seconds = ", "budget_tokens = 30000\nbudget_seconds = ")
    edit(lab / "autoresearch.toml", "timeout_seconds = 300", "timeout_seconds = 1500")
    env = {**os.environ, "AUTORESEARCH_CACHE": str(cache)}
    for experiments in (3, 4):
        words = [str(lab), "--headless", "--review", "auto", "--experiments", str(experiments)]
        done = command(*words, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        state = state_of(lab, open_lab(lab).tags()[-1])
        if state.frontier_number:
            break
    told = [(e.description, e.outcome, e.reason) for e in state.table]
    assert state.frontier_number, told
    assert {e.outcome for e in state.table} <= {"keep", "discard"}, told
    assert all(e.score is not None and e.score.source == "referee" for e in state.table)
    assert problems(lab, open_lab(lab).tags()[-1]) == []


AGENT = """
import json, os, re
path = next(name for name in ("train.py", "sort.py") if os.path.exists(name))
text = open(path).read()
for old, new in (("DEGREE = 5", "DEGREE = 4"), ("BLOCK = 64", "BLOCK = 32"), ("DEPTH = ", "DEPTH = 1 + ")):
    if old in text:
        open(path, "w").write(text.replace(old, new, 1))
        break
json.dump({"description": "an agent's idea", "hypothesis": "it may help"}, open(os.environ["AUTORESEARCH_RESULT"], "w"))
"""


@pytest.mark.parametrize("template", ["sine", "sort"])
def test_a_command_agent_works_in_every_template(tmp_path: Path, template: str) -> None:
    lab = init(tmp_path / "lab", template)
    (tmp_path / "agent.py").write_text(AGENT)
    agent = json.dumps([sys.executable, "-c", AGENT])
    edit(lab / "autoresearch.toml", "[researcher]\n", f"[researcher]\ncommand = {agent}\n")
    words = ["--researcher", "command", "--review", "auto", "--budget", "0.3", "--experiments", "2"]
    done = command(str(lab), "--headless", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    baseline, tried = state_of(lab, open_lab(lab).tags()[-1]).table
    assert baseline.outcome == "keep"
    assert (tried.description, tried.proposal.author) == ("an agent's idea", "command")
    assert tried.outcome in ("keep", "discard")


# ── sine ────────────────────────────────────────────────────────────────────────────────────────────────────────


def train(lab: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A run by hand."""
    return subprocess.run(
        [sys.executable, "train.py"], cwd=lab, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def scored(text: str, name: str) -> float:
    """The last score printed."""
    return float(re.findall(rf"^METRIC:{name}=(\S+)$", text, re.MULTILINE)[-1])


@pytest.fixture
def sine(tmp_path: Path) -> Path:
    return init(tmp_path / "sine", "sine")


@pytest.fixture
def sort(tmp_path: Path) -> Path:
    return init(tmp_path / "sort", "sort")


def referee(lab: Path) -> subprocess.CompletedProcess[str]:
    """The lab's own scorer, on what the last run left."""
    command = [sys.executable, *open_lab(lab).settings.metric.referee[1:]]
    return subprocess.run(command, cwd=lab, capture_output=True, text=True, check=False, timeout=30)


def test_sine_prints_what_its_referee_finds(sine: Path) -> None:
    done = train(sine, AUTORESEARCH_TIME_BUDGET="0.2")
    assert done.returncode == 0, done.stderr
    assert scored(done.stdout, "mse") == scored(referee(sine).stdout, "mse") < 0.5
    frames = [found for line in done.stdout.splitlines() if (found := parse_progress(line))]
    assert frames[-1].percent == 100
    assert frames[-1].loss < frames[0].loss


def test_sine_repeats_itself_under_a_budget_of_points(sine: Path) -> None:
    first, second = (train(sine, AUTORESEARCH_TOKEN_BUDGET="6400").stdout for _ in range(2))
    assert scored(first, "mse") == scored(second, "mse")
    assert "num_steps:        200\n" in first


def test_sine_fails_fast_when_it_diverges(sine: Path) -> None:
    edit(sine / "train.py", "LEARNING_RATE = 0.02", "LEARNING_RATE = 20.0")
    done = train(sine)
    assert done.returncode == 1
    assert done.stdout.endswith("\nFAIL\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "there is no coefficients.json"),
        ("[", "is not JSON"),
        ("secret", "is not JSON"),
        ("{}", "must be a list"),
        ("[]", "must be a list"),
        (json.dumps([0.0] * 11), "1 to 10 coefficients"),
        ("[0.0, NaN]", "coefficient 1"),
        ("[1e300]", "between -1e6 and 1e6"),
        ('["secret"]', "coefficient 0"),
        ('[{"secret": 1}]', "coefficient 0"),
        ("[true]", "coefficient 0"),
        ("9" * 5000, "is not JSON"),
        ("[" * 20_000, "too deep"),
    ],
)
def test_sine_refuses_what_is_no_polynomial(sine: Path, answer: str | None, why: str) -> None:
    if answer is not None:
        (sine / "coefficients.json").write_text(answer)
    done = referee(sine)
    assert done.returncode == 1
    assert why in done.stderr.strip()
    assert "secret" not in done.stderr  # it would stand in the next prompt
    assert len(done.stderr.splitlines()) == 1
    assert "METRIC" not in done.stdout


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "socket", "device"])
def test_sine_reads_plain_files_alone(sine: Path, tmp_path: Path, kind: str) -> None:
    """A run chooses what lies under the answer's name; its referee can read whatever the user can."""
    answer = sine / "coefficients.json"
    (tmp_path / "token").write_text("[0.125]")
    if kind == "link":
        answer.symlink_to(tmp_path / "token")
    elif kind == "pipe":
        os.mkfifo(answer)
    elif kind == "folder":
        answer.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as end, contextlib.chdir(sine):
            end.bind(answer.name)
    else:
        answer.symlink_to("/dev/zero")
    done = referee(sine)
    assert done.returncode == 1
    assert "must be a plain file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_printed_score_does_not_decide(sine: Path) -> None:
    (sine / "train.py").write_text(
        'print("METRIC:mse=0.000001")\n'
        "from prepare import save\n"
        "import prepare\n"
        "prepare.evaluate_mse = lambda _: 0.0\n"
        "save([0.0])\n"
    )
    git(sine, "commit", "--all", "--quiet", "--message=cheat")
    tag = headless(sine, budget=0.2, experiments=1)
    (baseline,) = state_of(sine, tag).table
    assert baseline.value == pytest.approx(0.5, abs=0.01)


# ── sort ────────────────────────────────────────────────────────────────────────────────────────────────────────


def judge(lab: Path, code: str | None = None) -> subprocess.CompletedProcess[str]:
    """The judge's short judgement on a sort.py."""
    if code is not None:
        (lab / "sort.py").write_text(code)
    env = {**os.environ, "AUTORESEARCH_TIME_BUDGET": "0.2"}
    words = open_lab(lab).settings.run.command[1:]
    return subprocess.run([sys.executable, *words], cwd=lab, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def sort(numbers):\n    return numbers\n", "limits: the answer is not the same numbers in order"),
        ("def sort(numbers):\n    return sorted(set(numbers))\n", "all equal: the answer is not the same numbers"),
        (
            "def sort(numbers):\n    return sorted(numbers) + [1]\n",
            "empty: the answer is not the same numbers in order",
        ),
        ("def sort(numbers):\n    return [0] * 2**18\n", "an answer of 2097152 bytes where at most 1048576 belong"),
        ("def sort(numbers):\n    return numbers[0]\n", "IndexError: list index out of range"),
        ("def sort(numbers):\n    return ['x']\n", "TypeError"),
        ("def sort(numbers:\n", "its start: SyntaxError"),
        ("import numpy\n", "its start: ModuleNotFoundError: No module named 'numpy'"),
        ("import judge\n", "its start: ModuleNotFoundError: No module named 'judge'"),
        ("x = 1\n", "sort.py has no function sort(numbers)"),
        ("import os\nos._exit(0)\n", "its start: it ended without an answer"),
    ],
)
def test_a_wrong_sort_is_refused_and_named(sort: Path, code: str, why: str) -> None:
    done = judge(sort, code)
    assert done.returncode == 1
    assert why in done.stdout.splitlines()[-1]
    assert done.stdout.splitlines()[-1].startswith("FAIL ")
    assert "METRIC" not in done.stdout


def test_a_sort_that_never_answers_is_ended(sort: Path) -> None:
    edit(sort / "judge.py", "ANSWER_SECONDS = 5.0", "ANSWER_SECONDS = 2.0")
    done = judge(sort, "import threading\ndef sort(numbers):\n    threading.Event().wait()\n")
    assert done.returncode == 1
    assert done.stdout.endswith("FAIL empty: no answer within 2 s\n")


def test_the_sort_cannot_speak_for_the_judge(sort: Path) -> None:
    claim = 'print("METRIC:ratio=0.000001", flush=True)'
    done = judge(
        sort,
        f"import atexit, time\ntime.perf_counter = lambda: 0.0\ndef sort(numbers):\n    {claim}\n"
        f"    return sorted(numbers)\natexit.register(lambda: {claim})\n",
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("METRIC") == 1
    assert 0.01 < scored(done.stdout, "ratio") < 0.9


def test_what_is_remembered_does_not_help(sort: Path) -> None:
    done = judge(
        sort,
        "seen = set()\n"
        "def sort(numbers):\n"
        "    key = tuple(numbers)\n"
        "    if len(numbers) == 1000 and key in seen:\n"
        "        raise RuntimeError('sent twice')\n"
        "    seen.add(key)\n"
        "    return sorted(numbers)\n",
    )
    assert done.returncode == 0, done.stdout


def test_every_wrong_kind_is_caught(sort: Path) -> None:
    """A sort that is wrong from a certain length on, or for one kind of list only, does not pass."""
    for condition in (
        "len(numbers) == 129",
        "len(numbers) == 1000 and numbers[0] > numbers[-1]",
        "min(numbers) < -2**62",
    ):
        done = judge(sort, f"def sort(numbers):\n    return numbers if numbers and {condition} else sorted(numbers)\n")
        assert done.returncode == 1, condition
