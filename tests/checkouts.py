"""Checkouts for tests, laid out like the reference's and its forks': nothing of ours is in them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import git

PREPARE = '''\
"""Downloads the data, trains a tokenizer, and evaluates. Fixed."""

import os
import sys

MAX_SEQ_LEN = 2048
TIME_BUDGET = 2
CACHE_DIR = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")
DATA_DIR = os.path.join(CACHE_DIR, "data")
TOKENIZER_DIR = os.path.join(CACHE_DIR, "tokenizer")


def load():
    with open(os.path.join(DATA_DIR, "shard_00000.parquet")) as file:
        text = file.read()
    with open(os.path.join(TOKENIZER_DIR, "tokenizer.pkl")) as file:
        return text, file.read()


if __name__ == "__main__":
    for folder, name in ((DATA_DIR, "shard_00000.parquet"), (DATA_DIR, "shard_06542.parquet"),
                         (TOKENIZER_DIR, "tokenizer.pkl")):
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write("data")
    print("Done! Ready to train.", sys.argv[1:])
'''

TRAIN = '''\
"""Pretraining script. Single device, single file."""

import os
import sys
import time

KERNELS
from prepare import MAX_SEQ_LEN, TIME_BUDGET, load

DEPTH = 8
started = time.time()
text, tokens = load()
steps = 20
for step in range(steps):
    time.sleep(0.02)
    done = step / steps
    print(
        f"\\rstep {step:05d} ({100 * done:.1f}%) | loss: {3.0:.6f} | lrm: 1.00 | dt: {TIME_BUDGET * 50:d}ms | "
        f"tok/sec: 1,000 | mfu: 1.0% | epoch: 1 | remaining: {TIME_BUDGET * (1 - done):.0f}s    ",
        end="",
        flush=True,
    )
print()
print("---")
print(f"val_bpb:          {1.0 + (DEPTH - 12) ** 2 / 100:.6f}")
print(f"training_seconds: {TIME_BUDGET if os.environ.get('HONEST') else time.time() - started:.1f}")
print(f"total_seconds:    {time.time() - started:.1f}")
print("peak_vram_mb:     2048.0")
print(f"num_steps:        {steps}")
'''

KERNELS = """\
from kernels import get_kernel

repo = "someone/flash-attention-3" if os.environ.get("HOPPER") else "kernels-community/flash-attn3"
fa3 = get_kernel(repo).flash_attn_interface
"""

PROGRAM = """\
# autoresearch

This is an experiment to have the LLM do its own research.

1. **Verify data exists**: check that `~/.cache/autoresearch/` contains data shards and a tokenizer. If not, tell the
   human to run `RUN prepare.py`.

The training script runs for a fixed time budget. You launch it simply as: `RUN train.py`.

4. Run the experiment: `RUN train.py > run.log 2>&1` (redirect everything)

**Timeout**: MINUTES
"""

PYPROJECT = '[project]\nname = "autoresearch"\nversion = "0.1.0"\nrequires-python = ">=3.10"\ndependencies = []\n'

# As the package of that name does it: from the hub's cache, and from the network where nobody forbids it.
KERNELS_PACKAGE = """\
import os
from pathlib import Path
from types import SimpleNamespace


def get_kernel(name):
    hub = Path(os.path.expanduser("~/.cache/huggingface/hub"))
    folder = hub / ("models--" + name.replace("/", "--"))
    if not folder.is_dir():
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            raise OSError(f"{name} is not in the cache, and the hub is offline")
        (folder / "snapshots" / "abc" / "build" / "torch").mkdir(parents=True)
        (folder / "snapshots" / "abc" / "build" / "torch" / "code.py").write_text("flash_attn_interface = 'fa3'")
    if (hub.parent / "token").exists():
        raise OSError("the token can be seen")
    names = {}
    exec((folder / "snapshots" / "abc" / "build" / "torch" / "code.py").read_text(), names)
    return SimpleNamespace(**names)
"""

# Like the real one: an environment is made where there is none and nobody forbids it; here that is a failure.
UV = """\
#!/bin/sh
[ "$1" = run ] || { echo "uv: what is $1?" >&2; exit 2; }
shift
if [ -n "$UV_PROJECT_ENVIRONMENT" ]; then
    [ "$UV_OFFLINE" = 1 ] && [ "$UV_NO_SYNC" = 1 ] || { echo "uv: would go to the network" >&2; exit 1; }
    venv="$UV_PROJECT_ENVIRONMENT"
else
    venv=.venv
    [ -d .venv ] || { echo "uv: making .venv" >&2; PYTHON -m venv --without-pip .venv; }
fi
folder="$(pwd)"
while [ "$folder" != / ]; do
    if [ -e "$folder/pyproject.toml" ] && ! cat "$folder/pyproject.toml" > /dev/null; then exit 1; fi
    folder="$(dirname "$folder")"
done
while true; do case "$1" in --*|python*) shift ;; *) break ;; esac; done
echo "uv ran"
exec "$venv/bin/python" "$@"
"""


@dataclass(frozen=True, slots=True)
class Fork:
    """How a fork differs from the reference."""

    run: str = "uv run"
    train: str = "train.py"
    fixed: str = "prepare.py"
    kernels: bool = True
    minutes: str = "If a run exceeds 10 minutes, kill it and treat it as a failure."
    project: bool = True


FORKS = {
    "reference": Fork(),
    "macos": Fork(kernels=False),
    "mlx": Fork(kernels=False, minutes="Expected: ~7 minutes/run. Kill if >15 minutes"),
    "windows": Fork(kernels=False),
    "amd": Fork(run="python", kernels=False, project=False),
    "renamed": Fork(run="uv run --no-sync", train="train_mlx.py", fixed="prepare_mlx.py", kernels=False),
}


def make(folder: Path, fork: Fork) -> Path:
    """A committed checkout, as cloned: no environment yet, and no results."""
    folder.mkdir(parents=True)
    module = fork.fixed.removesuffix(".py")
    train = TRAIN.replace("KERNELS\n", KERNELS if fork.kernels else "").replace("from prepare", f"from {module}")
    program = PROGRAM.replace("RUN prepare.py", f"RUN {fork.fixed}").replace("train.py", fork.train)
    (folder / fork.train).write_text(train)
    (folder / fork.fixed).write_text(PREPARE)
    (folder / "program.md").write_text(program.replace("RUN", fork.run).replace("MINUTES", fork.minutes))
    (folder / ".gitignore").write_text(".venv\nrun.log\nresults.tsv\n__pycache__/\n")
    if fork.project:
        (folder / "pyproject.toml").write_text(PYPROJECT)
    git(folder, "init", "--quiet", "--initial-branch=master")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=autoresearch")
    return folder


def install_uv(folder: Path) -> Path:
    """A stand-in for `uv` in a folder of its own."""
    folder.mkdir(parents=True)
    (folder / "uv").write_text(UV.replace("PYTHON", sys.executable))
    (folder / "uv").chmod(0o755)
    return folder


def sync(lab: Path) -> None:
    """What `uv sync` leaves: the environment, with the package that loads kernels."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", lab / ".venv"], check=True)
    (packages,) = lab.glob(".venv/lib/python3*/site-packages")
    (packages / "kernels.py").write_text(KERNELS_PACKAGE)


def fill_home(home: Path, *, kernels: bool = True) -> None:
    """What `prepare.py` and a first run leave in the user's home, and a secret beside it."""
    for place in ("data/shard_00000.parquet", "data/shard_06542.parquet", "tokenizer/tokenizer.pkl"):
        path = home / ".cache" / "autoresearch" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("data")
    hub = home / ".cache" / "huggingface" / "hub"
    (hub / "models--someone--chat" / "snapshots" / "abc").mkdir(parents=True)
    (hub / "models--someone--chat" / "snapshots" / "abc" / "weights").write_text("large")
    (hub.parent / "token").write_text("hf_secret")
    if kernels:
        build = hub / "models--kernels-community--flash-attn3" / "snapshots" / "abc" / "build" / "torch"
        build.mkdir(parents=True)
        (build / "code.py").write_text("flash_attn_interface = 'fa3'")


def environ(home: Path, *path: Path) -> dict[str, str]:
    """A user's environment with this home, and these folders first on PATH."""
    dropped = ("PYTHON", "AUTORESEARCH", "ANTHROPIC", "HF_", "XDG_", "VIRTUAL_ENV", "UV_", "KERNELS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**env, "HOME": str(home), "PATH": os.pathsep.join([*map(str, path), env["PATH"]])}
