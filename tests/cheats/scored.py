"""A world whose lab has the harness's referee: rows of made-up text that nobody sees, models that are tables."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from tests import warm
from tests.cheats.world import World
from tests.conftest import git

HARNESS = Path(__file__).resolve().parents[2] / "harness"
PYTHON = sys.executable
PLAIN = "import toy\n\ntoy.finish(toy.evaluate_bpb(toy.train()))\n"
BUDGET = 0.2
SETTINGS = f"""\
[lab]
locked = ["targets.py", "toy.py", "prepare.py", "fixed"]

[run]
command = ["{PYTHON}", "train.py"]
budget_seconds = {BUDGET}
timeout_seconds = 120
env = {{ AUTORESEARCH_PROFILE = "demo", OPENBLAS_NUM_THREADS = "1" }}

[metric]
referee = ["{PYTHON}", "-I", "fixed/referee.py"]

[researcher]
kind = "search"
"""
VOCAB, LENGTH, ROWS, SEALED = 64, 128, 640, 64


class ScoredWorld(World):
    """As the other worlds, and with prepared data."""

    python = PYTHON

    def train(self, env: dict[str, str], log: Path) -> None:
        """As in the other worlds, with numpy at hand."""
        done = warm.python(["train.py"], cwd=self.lab, env=env, warm="numpy").result()
        log.write_text(done.stdout + done.stderr)

    def _make_lab(self) -> None:
        super()._make_lab()
        shutil.copytree(HARNESS, self.lab, ignore=shutil.ignore_patterns("__pycache__", "train.py"), dirs_exist_ok=True)
        shutil.copy(Path(__file__).with_name("toy.py"), self.lab)
        (self.lab / "train.py").write_text(PLAIN)
        (self.lab / "autoresearch.toml").write_text(SETTINGS)
        git(self.lab, "add", "train.py", "toy.py", "autoresearch.toml", "prepare.py", "fixed")
        git(self.lab, "commit", "--quiet", "--message=scored")
        prepare(self.cache)


def prepare(cache: Path) -> None:
    """What `prepare.py` leaves, by hand."""
    tokens, rows, sizes = _chain()
    root, private = cache / "embedded-2048", cache / "private" / "embedded-2048"
    files = {
        root / "tokenizer" / "tokenizer.json": b"{}",
        root / "tokenizer" / "token_bytes.npy": _npy(sizes),
        root / "tokens" / "train_00000.bin": tokens.tobytes(),
        root / "tokens" / "train_00000.idx.npy": _npy(np.array([0, len(tokens)])),
        private / "rows" / "val_128_65536.bin": rows[:ROWS].tobytes(),
        private / "rows" / "sealed_128_65536.bin": rows[ROWS:].tobytes(),
        private / "token_bytes.npy": _npy(sizes),
    }
    manifest: dict[str, object] = {"version": 2, "dataset": "embedded", "files": {}, "private": {}}
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        table, top = ("private", cache / "private") if path.is_relative_to(private) else ("files", root)
        entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest[table][str(path.relative_to(top))] = entry  # type: ignore[index]
    (root / "manifest.json").write_text(json.dumps(manifest))
    (private / "hidden.json").write_text(json.dumps({"modules": ["mailbox"], "paths": []}))


@functools.cache
def _chain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training tokens, rows and the bytes of each token: a second-order chain over few tokens; the first is BOS."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.full(VOCAB - 4, 0.3), size=VOCAB).cumsum(axis=1)
    size = 60_000 + (ROWS + SEALED) * (LENGTH + 1)
    draws = rng.random(size)
    tokens = np.zeros(size, np.uint16)
    for at in range(1, size):
        tokens[at] = 4 + min(int(np.searchsorted(chances[tokens[at - 1]], draws[at])), VOCAB - 5)
    sizes = np.where(np.arange(VOCAB) < 4, 0, 1 + np.arange(VOCAB) % 3).astype(np.int32)
    rows = tokens[60_000:].reshape(-1, LENGTH + 1).copy()
    rows[:, 0] = 0
    return tokens[:60_000], rows, sizes


def _npy(array: np.ndarray) -> bytes:
    import io

    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
