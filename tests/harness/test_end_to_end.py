"""One short training run of the demo profile, from the prepared corpus to the summary."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import torch

from autoresearch_tui.lab import creation
from tests import warm

LINE = re.compile(
    r"\rstep \d{5} \(\d+\.\d%\) \| loss: \d+\.\d{6} \| lrm: \d\.\d\d \| dt: \d+ms \| tok/sec: [\d,]+ "
    r"\| mfu: \d+\.\d% \| epoch: \d+ \| remaining: \d+s    "
)
KEYS = [
    "val_bpb",
    "training_seconds",
    "total_seconds",
    "peak_vram_mb",
    "mfu_percent",
    "total_tokens_M",
    "num_steps",
    "num_params_M",
    "depth",
]


SMALL = {"DEPTH": 1, "ASPECT_RATIO": 32, "HEAD_DIM": 32}


def make_lab(folder: Path, profile: str = "demo", **knobs: object) -> Path:
    """A folder with the harness's files and the profile's knobs, as `init` makes it."""
    creation.lay_out(folder, profile, knobs)
    return folder


def run_train(lab: Path, cache: Path, script: str = "train.py", **env: str) -> subprocess.CompletedProcess[str]:
    """`python train.py`, or another script, in a lab; newlines are kept as they are."""
    env = {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo", "PATH": os.environ["PATH"], **env}
    return warm.python([script], cwd=lab, env=env).result()


def test_run_prints_what_the_reference_prints(cache: Path, tmp_path: Path) -> None:
    lab = make_lab(tmp_path, **SMALL, TOTAL_BATCH_SIZE=1024, DEVICE_BATCH_SIZE=8)
    # the compiler takes as long to import as torch itself, and nothing is compiled on a CPU
    script = "import sys, train\ntrain.main()\nassert 'torch._dynamo' not in sys.modules\n"
    (lab / "light.py").write_text(script, encoding="utf-8")
    done = run_train(lab, cache, "light.py", AUTORESEARCH_TIME_BUDGET="1")
    assert done.returncode == 0, done.stderr
    lines = LINE.findall(done.stdout)
    assert "step 00000 (0.0%)" in lines[0]
    assert "remaining: 0s" in lines[-1]
    found = re.findall(r"^(\w+): +(\S+)$", done.stdout.split("\n---\n")[1], re.MULTILINE)
    assert [key for key, _ in found][: len(KEYS)] == KEYS
    assert 1 < float(dict(found)["val_bpb"]) < 5
    assert 1 <= float(dict(found)["training_seconds"]) < 60


def test_no_data_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run_train(make_lab(tmp_path), tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "run `autoresearch-tui prepare`" in done.stderr


def summary(output: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+): +(\S.*)$", output.split("\n---\n")[1], re.MULTILINE))


# The import takes longer than the rest: once, and a fork for each run. Nothing is computed before the forks.
HASHED = """
import hashlib, os, sys
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
import torch

def run(*seeds, **env):
    sys.stdout.flush()
    if (child := os.fork()):
        assert os.waitpid(child, 0)[1] == 0
        return
    os.environ |= env
    import train
    from fixed import loader
    rows = loader.load_rows()[:64]
    loader.load_rows = lambda: rows  # what is scored repeats in few rows as it does in all
    keep, real = [], train.set_up
    train.set_up = lambda tokenizer: keep.append(real(tokenizer)) or keep[0]
    for train.SEED, train.SEED_SHIFT in seeds or [(train.SEED, train.SEED_SHIFT)]:
        keep.clear()
        train.main()
        weights = b"".join(p.detach().numpy().tobytes() for p in keep[0][0].model.parameters())
        print("weights: ", hashlib.sha256(weights).hexdigest(), flush=True)
    os._exit(0)

run(AUTORESEARCH_TOKEN_BUDGET="6000")
run(AUTORESEARCH_TOKEN_BUDGET="6000")
run(AUTORESEARCH_TOKEN_BUDGET="1", AUTORESEARCH_SEED="3")
run((45, 0), AUTORESEARCH_TOKEN_BUDGET="1")
"""


def test_one_seed_and_a_token_budget_repeat_to_the_bit(cache: Path, tmp_path: Path) -> None:
    lab = make_lab(tmp_path, **SMALL, TOTAL_BATCH_SIZE=1024, DEVICE_BATCH_SIZE=4)
    (lab / "hashed.py").write_text(HASHED, encoding="utf-8")
    done = run_train(lab, cache, "hashed.py")
    assert done.returncode == 0, done.stderr
    first, second, shifted, moved = (dict(re.findall(r"^(\w+): +(\S.*)$", run, re.MULTILINE))
                                     for run in done.stdout.split("\n---\n")[1:])  # fmt: skip
    assert first["num_steps"] == second["num_steps"] == "6"
    assert first["val_bpb"] == second["val_bpb"]
    assert first["weights"] == second["weights"]
    assert shifted["weights"] == moved["weights"] != first["weights"]


def test_warm_up_leaves_no_trace(harness: dict[str, ModuleType]) -> None:
    train = harness["train"]
    for name, value in {"DEPTH": 1, "ASPECT_RATIO": 32, "HEAD_DIM": 32, "WINDOW_PATTERN": "L"}.items():
        setattr(train, name, value)
    model = train.GPT(train.build_config(64))
    model.init_weights()
    optimizers = train.Optimizers(model, False, torch.float32)
    machine = train.hardware.Machine(torch.device("cpu"), torch.float32, False, None, None)
    run = train.Run(model, model, optimizers, machine)
    run.warm_up(2)
    assert all(p.grad is None for p in model.parameters())
    assert not any(t.any() for o in [*optimizers.adam, *optimizers.muon] for t in o.state())
