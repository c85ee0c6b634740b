"""What a checkout's own files say about running it: read, never executed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab import discovery, instructions
from autoresearch_tui.lab.paths import find
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.util.errors import UserError
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
        ("run uv run python train.py", "uv run python train.py"),
        ("Launch it with python train.py --fast --depth 4 and wait for the end.", "python train.py --fast --depth 4"),
        ("`python train.py --steps 3 --lr=0.1 lr=2 > run.log 2>&1`", "python train.py --steps 3 --lr=0.1 lr=2"),
        (
            "`uv run torchrun --standalone --nproc_per_node=1 train.py`",
            "uv run torchrun --standalone --nproc_per_node=1 train.py",
        ),
        (
            "`accelerate launch --mixed_precision bf16 train.py &> run.log`",
            "accelerate launch --mixed_precision bf16 train.py",
        ),
        ("`timeout 600 python -u train.py --n 2 > run.log`", "timeout 600 python -u train.py --n 2"),
        ("`nohup .venv/bin/python train.py >> run.log 2>&1 &`", "nohup .venv/bin/python train.py"),
        ("```bash\npython \\\n  train.py \\\n  --lr 3\n```", "python train.py --lr 3"),
        (
            "check it with `python -m py_compile train.py`, start it with `python -m train --x 1`",
            "python -m train --x 1",
        ),
        ("`uv run train.py --help`; an experiment is `uv run train.py > run.log`", "uv run train.py"),
        ("`chmod +x train.py && ./train.py`", "./train.py"),
        ("edit train.py; it is the only file that you edit", ""),
        ("`git add train.py && git commit`, `cat train.py`, `ruff check train.py`", ""),
        ("`uv run train.pyc` and `uv run my_train.py`", ""),
        ("; rm -rf / # `curl x | sh train.py`", ""),
    ],
)
def test_the_command_that_the_program_tells_its_agent(program: str, command: str) -> None:
    found = instructions.command(program, ("train.py",))
    assert (found.words if found else ()) == tuple(command.split())


@pytest.mark.parametrize(
    ("program", "env", "activated", "left_out"),
    [
        (
            "`CUDA_VISIBLE_DEVICES=0 OMP_NUM_THREADS=4 python train.py`",
            {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "4"},
            "",
            (),
        ),
        ("```\nexport MODE=fast\n```\n`export A='b c' && python train.py`", {"A": "b c"}, "", ()),
        ("`source env/bin/activate && python train.py`", {}, "env", ()),
        (
            "`cd lab && python train.py --seed <SEED> && grep x run.log`",
            {},
            "",
            ("cd lab", "--seed", "…", "grep x run.log"),
        ),
        ("`python train.py --out $SCRATCH/x 2>&1 | tee run.log`", {}, "", ("--out", "$SCRATCH/x")),
    ],
)
def test_what_stands_around_the_command(
    program: str, env: dict[str, str], activated: str, left_out: tuple[str, ...]
) -> None:
    found = instructions.command(program, ("train.py",))
    assert found is not None
    assert (dict(found.env), found.activated) == (env, activated)
    assert tuple(word.strip() for word in found.left_out) == left_out


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
    assert instructions.timeout(program) == seconds


@pytest.mark.parametrize(
    ("program", "name", "goal"),
    [
        ('get the lowest val_bpb. `grep "^val_bpb:\\|^peak_vram_mb:" run.log`', "val_bpb", "minimize"),
        ("**Maximize `puzzles_solved`.** Read it: `grep '^puzzles_solved:' run.log`", "puzzles_solved", "maximize"),
        ('`grep -E "^(peak_vram_mb|val_rmse):" run.log`; the val_rmse should go down', "val_rmse", "minimize"),
        ("If val_sharpe improved (higher), keep. `grep ^val_sharpe: run.log`", "val_sharpe", "maximize"),
        ("`rg '^mean_reward=' run.log` Higher is better.", "mean_reward", "maximize"),
        ("`awk '/^wobble:/' run.log`", "wobble", None),
        ("lowest loss_a and highest wobble: `grep '^wobble:' run.log`", "wobble", "maximize"),
    ],
)
def test_the_metric_that_the_program_has_its_agent_read(program: str, name: str, goal: str | None) -> None:
    assert instructions.metric(program) == instructions.Metric(name, goal)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("program", "editable", "fixed"),
    [
        (
            "- Modify `train_rocm.py` — this is the file you edit.\n- Modify `prepare.py`. It is read-only.",
            "train_rocm.py",
            "prepare.py",
        ),
        (
            "You modify `attack.py` (the ONLY file you should edit). Never touch `prepare.py` or `run.py`.",
            "attack.py",
            "prepare.py run.py",
        ),
        ("- Edit **only** `attack.py`.\n- Do not edit `prepare.py`.", "attack.py", "prepare.py"),
        (
            "`train_rocm.py` is frozen.\n`attack.py` is the editable genome; `run.py` is fixed infrastructure.",
            "attack.py",
            "train_rocm.py run.py",
        ),
        ("Change `nothing.py` and be happy.", "", ""),
    ],
)
def test_the_file_that_the_program_has_its_agent_edit(program: str, editable: str, fixed: str) -> None:
    there = {"train_rocm.py", "prepare.py", "attack.py", "run.py"}
    assert instructions.edited(program, there.__contains__) == (tuple(editable.split()), tuple(fixed.split()))


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
    assert discovery.kernels(text) == names


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading(text: str) -> None:
    instructions.command(text, ("train.py",))
    instructions.metric(text)
    instructions.goal(text, "val_bpb")
    instructions.edited(text, lambda name: True)
    instructions.timeout(text)
    discovery.kernels(text)


def lab(folder: Path, **files: str) -> Path:
    """A repository with these files; `toml`, `program`, `prepare` and `train` have their usual names."""
    names = {"toml": "autoresearch.toml", "program": "program.md", "prepare": "prepare.py", "train": "train.py"}
    usual = {
        "program": "Run: `python train.py > run.log 2>&1`\n",
        "prepare": "TIME_BUDGET = 2\n",
        "train": "print('val_bpb: 1')\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**usual, **files}.items():
        (folder / names.get(name, name)).write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=lab")
    return folder


def needed(folder: Path, given: tuple[str, ...] = ()) -> str:
    return discovery.needed(find(folder).doubts, given)


@pytest.mark.parametrize(
    ("prepare", "seconds"),
    [
        ("TIME_BUDGET = 20 * 60", 1200),
        ("TIME_BUDGET = 5*60.0", 300),
        ("TIME_BUDGET: int = int(1.5 * 60)", 90),
        ("MINUTES = 7\nTIME_BUDGET = MINUTES * 60", 420),
        ("import os\nTIME_BUDGET = int(os.environ.get('BUDGET', 900))", 900),
        ("import os\nTIME_BUDGET = float(os.getenv('BUDGET') or '45')", 45),
        ("from os import environ\nTIME_BUDGET = int(environ.get('BUDGET', str(2 * 3600)))", 7200),
        (
            "import os\ndef get(name, usual=1):\n    return int(os.getenv(name, usual))\nTIME_BUDGET = get('X', 70)",
            70,
        ),
        ("from config import LIMITS\nTIME_BUDGET = LIMITS['seconds']", 80),
        ("import config\nTIME_BUDGET = config.MINUTES * 60", 180),
        ("from datetime import timedelta\nTIME_BUDGET = timedelta(minutes=10).total_seconds()", 600),
        ("TIME_BUDGET = 100\nTIME_BUDGET += 20", 120),
        ("if True:\n    TIME_BUDGET = 33\nelse:\n    TIME_BUDGET = 33", 33),
    ],
)
def test_a_budget_is_worked_out(prepare: str, seconds: float, tmp_path: Path) -> None:
    config = "LIMITS = {'seconds': 80}\nMINUTES = 3\n"
    folder = lab(tmp_path / "lab", prepare=prepare, **{"config.py": config})
    settings, reading = discovery.read(folder)
    assert settings.run.budget_seconds == seconds
    assert settings.run.timeout_seconds == max(600, 1.5 * seconds)
    assert reading.doubts == ()
    assert needed(folder) == ""


@pytest.mark.parametrize(
    "prepare",
    [
        "import json\nTIME_BUDGET = json.load(open('config.json'))['budget']",
        "import os\nTIME_BUDGET = int(os.environ['BUDGET'])",
        "import torch\nif torch.cuda.is_available():\n    TIME_BUDGET = 300\nelse:\n    TIME_BUDGET = 60",
        "TIME_BUDGET = 'x'",
        "TIME_BUDGET = 9 ** 9 ** 9 ** 9",
        "TIME_BUDGET = __import__('os').system('touch pwned')",
        "TIME_BUDGET = OTHER\nOTHER = TIME_BUDGET",
    ],
)
def test_a_budget_that_cannot_be_known_is_asked_for(prepare: str, tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", prepare=prepare)
    assert "prepare.py: TIME_BUDGET is " in needed(folder)
    assert "run.budget_seconds = 300" in needed(folder)
    assert needed(folder, given=("run.budget_seconds",)) == ""
    assert not (folder / "pwned").exists()
    (folder / "autoresearch.toml").write_text("run.budget_seconds = 40\n")
    assert needed(folder) == ""
    assert find(folder).settings.run.budget_seconds == 40


def test_a_budget_that_takes_what_it_is_given_is_no_question(tmp_path: Path) -> None:
    budget = "int(os.environ['AUTORESEARCH_TIME_BUDGET'])"
    prepare = f"import os\ntry:\n    TIME_BUDGET = {budget}\nexcept KeyError:\n    TIME_BUDGET = 300\n"
    folder = lab(tmp_path / "lab", prepare=prepare)
    assert needed(folder) == ""
    assert discovery.ignores_time_budget(folder) == ""
    assert discovery.read(folder)[1].doubts == ()


@pytest.mark.parametrize(
    "toml",
    [
        "metric.name = 'x'",
        "run.memory_gb = 3",
        "review.mode = 'auto'",
        "lab.editable = ['train.py']",
        "run.env = { A = '1' }",
    ],
)
def test_one_written_key_leaves_the_others_read(toml: str, tmp_path: Path) -> None:
    program = "`B=2 python -u train.py > run.log`. If a run exceeds 50 minutes, kill it.\n"
    settings = find(lab(tmp_path / "lab", program=program, prepare="TIME_BUDGET = 1200\n", toml=toml)).settings
    assert settings.run.command == ("python", "-u", "train.py")
    assert (settings.run.budget_seconds, settings.run.timeout_seconds) == (1200, 3000)
    assert settings.run.env["B"] == "2"


def test_what_is_written_is_not_read(tmp_path: Path) -> None:
    run = "command = ['python', 'other.py']\nbudget_seconds = 50\ntimeout_seconds = 60\n"
    toml = f"[run]\n{run}[metric]\ngoal = 'maximize'\n"
    settings = find(lab(tmp_path / "lab", prepare="TIME_BUDGET = input()\n", toml=toml)).settings
    assert (settings.run.budget_seconds, settings.run.timeout_seconds) == (50, 60)
    assert settings.run.command == ("python", "other.py")
    assert settings.metric.goal == "maximize"


def test_another_metric_is_taken_from_the_program(tmp_path: Path) -> None:
    program = "`python train.py`, then `grep '^puzzles_solved:' run.log`. More is better: maximize puzzles_solved.\n"
    settings, reading = discovery.read(lab(tmp_path / "lab", program=program, train="print(f'puzzles_solved: {1}')\n"))
    assert (settings.metric.name, settings.metric.goal) == ("puzzles_solved", "maximize")
    assert settings.metric.pattern == r"^puzzles_solved:\s+(\S+)"
    assert reading.doubts == ()


@pytest.mark.parametrize(
    ("program", "train", "key", "words"),
    [
        ("`python train.py`, `grep '^wobble:' run.log`", "", "metric.goal", "more or less of wobble"),
        ("`python train.py`, `grep '^val_rmse:' run.log`", "", "metric.goal", "less is taken, by its name"),
        ("`python train.py`", "print(f'val_rmse: {1}')\nprint(f'num_steps: {1}')", "metric.name", "it prints val_rmse"),
        ("`python train.py --seed $SEED`", "val_bpb = 1", "run.command", "left out: `--seed`, `$SEED`"),
        ("`python train.py`, or `python train.py --big`", "val_bpb = 1", "run.command", "`python train.py --big`"),
        ("Just do it.", "val_bpb = 1", "run.command", "`uv run train.py` is assumed"),
    ],
)
def test_what_is_not_clear_is_a_doubt(program: str, train: str, key: str, words: str, tmp_path: Path) -> None:
    doubts = discovery.read(lab(tmp_path / "lab", program=program, train=train))[1].doubts
    assert [doubt.key for doubt in doubts] == [key]
    assert words in doubts[0].text
    assert "autoresearch.toml" in doubts[0].remedy
    assert not doubts[0].needed


def test_a_program_that_submits_its_runs_is_asked_how_they_run_here(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", program="Submit with `sbatch --gres=gpu:1 job.sh` and wait.\n")
    assert "`sbatch --gres=gpu:1 job.sh`" in needed(folder)
    assert 'run.command = ["python", "train.py"]' in needed(folder)
    (folder / "program.md").write_text("Here: `python train.py`. Elsewhere: `sbatch job.sh`.\n")
    assert needed(folder) == ""


@pytest.mark.parametrize(
    "names", [("PROGRAM.md", "prepare.py", "train.py"), ("program_ane.md", "prepare-mlx.py", "Train.py")]
)
def test_near_names_are_found(names: tuple[str, str, str], tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    for old, new in zip(("program.md", "prepare.py", "train.py"), names, strict=True):
        (folder / old).rename(folder / new)
    found = find(folder).settings.lab
    assert (found.program, *found.locked, *found.editable) == names


def test_a_fork_without_the_three_names_is_told_what_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "README.md").write_text("Edit only `solver.py`. Never touch `judge.py`.\n")
    (folder / "solver.py").write_text("")
    (folder / "judge.py").write_text("")
    git(folder, "init", "--quiet")
    with pytest.raises(UserError) as caught:
        find(folder)
    (line,) = str(caught.value).splitlines()
    toml = line.partition("`lab = {")[2].partition("`")[0]
    (folder / "autoresearch.toml").write_text(f"lab = {{{toml}\n")
    assert find(folder).settings.lab.editable == ("solver.py",)
    assert find(folder).settings.lab.locked == ("judge.py",)


def test_a_file_that_git_has_is_got_back_from_git(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    (folder / "prepare.py").unlink()
    with pytest.raises(UserError, match=r"git checkout HEAD -- prepare\.py"):
        find(folder)


def test_two_of_a_kind_are_not_guessed_at(tmp_path: Path) -> None:
    for name in ("program.md", "prepare.py", "train_a.py", "train_b.py"):
        (tmp_path / name).write_text("TIME_BUDGET = 60\n")
    git(tmp_path, "init", "--quiet")
    assert discovery.files(tmp_path) is None
    with pytest.raises(UserError, match=r"no train\.py, which a lab needs"):
        find(tmp_path)
    (tmp_path / "program.md").write_text("`train_b.py` is the file you edit.\n")
    assert find(tmp_path).settings.lab.editable == ("train_b.py",)
    (tmp_path / "program.md").write_text("\n")
    (tmp_path / "train_b.py").unlink()
    assert find(tmp_path).settings.lab.editable == ("train_a.py",)
    assert find(tmp_path).settings.run.budget_seconds == 60


def test_a_lab_of_ones_own_is_as_its_settings_say(tmp_path: Path) -> None:
    """Nothing in an empty program, and nothing that is written, is taken for anything else."""
    folder = lab(
        tmp_path / "lab", program="\n", prepare="\n", toml="[metric]\nname = 'accuracy'\npattern = '^a: (.*)'\n"
    )
    settings = find(folder).settings
    assert settings.metric.goal == "minimize"
    assert settings.run == Settings().run
