"""What the figures against the reference stand on: its rows, and its file made to run on a CPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from .conftest import HARNESS

BENCHMARKS = HARNESS.parent / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slowly(texts: list[np.ndarray], capacity: int, rows: int) -> list[list[int]]:
    """The reference's packing, by looking at every document in the buffer."""
    buffer, at, packed = [], 0, []
    for _ in range(rows):
        row: list[int] = []
        while len(row) < capacity:
            while len(buffer) < 1000:
                buffer += [texts[(at + i) % len(texts)].tolist() for i in range(128)]
                at += 128
            room = capacity - len(row)
            fitting = [text for text in buffer if len(text) <= room]
            chosen = max(fitting, key=len) if fitting else min(buffer, key=len)
            buffer.pop(next(i for i, text in enumerate(buffer) if text is chosen))
            row += chosen[:room]
        packed.append(row)
    return packed


@pytest.mark.parametrize(("seed", "longest"), [(0, 12), (1, 40), (2, 400)])
def test_rows_are_packed_as_the_reference_packs_them(seed: int, longest: int) -> None:
    rows = load("reference_rows")
    rng = np.random.default_rng(seed)
    offsets = [np.concatenate(([0], np.cumsum(rng.integers(1, longest, 300)))) for _ in range(2)]
    tokens = [rng.integers(4, 900, bounds[-1]).astype(np.uint16) for bounds in offsets]
    texts = rows.documents(tokens, offsets, bos=2)
    assert len(texts) == 600
    assert all(text[0] == 2 for text in texts)
    assert sum(map(len, texts)) == 600 + sum(map(len, tokens))
    assert rows.packed_rows(texts, 33, 80).tolist() == slowly(texts, 33, 80)


FILE = """import torch
from kernels import get_kernel
cap = torch.cuda.get_device_capability()
fa3 = get_kernel("a").flash_attn_interface

from prepare import Tokenizer, make_dataloader
y = fa3.flash_attn_func(q, k, v, causal=True, window_size=window_size)
cos, sin = cos.bfloat16(), sin.to(dtype=torch.bfloat16)
@torch.compile(dynamic=False, fullgraph=True)
def step(): pass
DEPTH = 8               # number of layers
WINDOW_PATTERN = "SSSL" # pattern
torch.manual_seed(42)
torch.cuda.manual_seed(42)
device = torch.device("cuda")
autocast_ctx = torch.amp.autocast(device_type="cuda", dtype=torch.bfloat16)
model = torch.compile(model, dynamic=False)
frac = min(step / 300, 1)
torch.cuda.synchronize()
print(torch.cuda.max_memory_allocated() / 1024)
"""


def test_the_references_file_is_patched_for_a_cpu_or_what_is_not_found_is_named() -> None:
    patched = load("reference_cpu").patched
    text = patched(FILE, {"DEPTH": 2, "WINDOW_PATTERN": "L", "MOMENTUM_WARMUP_STEPS": 50})
    compile(text, "reference.py", "exec")
    for gone in ("cuda", "kernels", "bfloat16", "torch.compile", "300"):
        assert gone not in text
    for there in (
        "DEPTH = 2 ",
        'WINDOW_PATTERN = "L" ',
        "step / 50",
        "fa3.flash_attn_func(q, k, v",
        "def step(): pass",
    ):
        assert there in text
    for line in ("model = torch.compile(model, dynamic=False)\n", "DEPTH = 8               # number of layers\n"):
        with pytest.raises(ValueError, match="has no `"):
            patched(FILE.replace(line, ""), {"DEPTH": 2})


def test_a_reference_that_is_not_there_is_one_line(tmp_path: Path, cache: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "harness.py"), "cpu", "--reference", str(tmp_path / "nowhere")]
    env = {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--reference takes a checkout" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
