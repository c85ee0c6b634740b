"""The compiler's cache: the baseline fills it, later runs get copies, and nothing goes from one of them to another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui import lab as labs
from autoresearch_tui.engine.running import compiled
from tests.conftest import TRAIN
from tests.engine.test_loop import Script, running, turn
from tests.history import problems, state_of

# Says what it finds, and leaves what it "compiled" for its WIDTH.
COMPILES = TRAIN.replace(
    "steps = 5\n",
    """
for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
    folder = os.path.join(os.environ[name], "ab")
    print("FOUND", name, *sorted(os.listdir(folder) if os.path.isdir(folder) else ()))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"width-{WIDTH}"), "w") as f:
        f.write("kernel")
    for each in os.listdir(folder):
        with open(os.path.join(folder, each), "a") as f:
            f.write(f" touched by {WIDTH}")
steps = 5
""",
)


def test_runs_find_the_baselines_work_and_no_other(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=COMPILES)
    with running(folder, Script(turn("WIDTH", 7), turn("WIDTH", 6)), rows=3) as driver:
        driver.join()
    files = labs.find(folder).session("t")
    found = [
        [line.split()[2:] for line in files.run(n).log.read_text().splitlines() if line.startswith("FOUND")]
        for n in range(3)
    ]
    assert found == [[[], []], [["width-8"], ["width-8"]], [["width-8"], ["width-8"]]]
    kept = {p.name: p.read_text() for p in (files.compiled / "inductor" / "ab").iterdir()}
    assert kept == {"width-8": "kernel touched by 8"}
    assert [e.outcome for e in state_of(folder, "t").experiments] == ["keep", "discard", "discard"]
    assert problems(folder, "t") == []


def test_links_are_not_followed_and_too_much_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, store = tmp_path / "scratch", tmp_path / "compiled"
    (scratch / "inductor").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (scratch / "inductor" / "link").symlink_to(tmp_path / "secret")
    (scratch / "inductor" / "real").write_text("y")
    (scratch / "triton").symlink_to(tmp_path)
    compiled.keep(scratch, store)
    assert sorted(str(p.relative_to(store)) for p in store.rglob("*")) == ["inductor", "inductor/real"]
    monkeypatch.setattr(compiled, "_MOST_BYTES", 0)
    compiled.give(store, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_where_it_cannot_be_kept_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch" / "inductor").mkdir(parents=True)
    (tmp_path / "scratch" / "inductor" / "kernel").write_text("y")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    compiled.keep(tmp_path / "scratch", tmp_path / "compiled")
    compiled.give(tmp_path / "nowhere", tmp_path / "scratch")
    assert [p.name for p in tmp_path.iterdir()] == ["scratch"]


REAL = """
import sys, torch
from torch._dynamo.utils import counters
f = torch.compile(lambda x: (x * 2).sin() + 1)
assert torch.allclose(f(torch.ones(64)), (torch.ones(64) * 2).sin() + 1)
print(counters["inductor"]["fxgraph_cache_hit"] or counters["aot_autograd"]["autograd_cache_hit"])
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler on a CPU")
def test_torchs_compiler_takes_the_copy(tmp_path: Path) -> None:
    answers = []
    for name in ("baseline", "later"):
        scratch = tmp_path / name / "scratch"
        scratch.mkdir(parents=True)
        compiled.give(tmp_path / "compiled", scratch)
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **compiled.environment(scratch)}
        command = [sys.executable, "-c", REAL]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path / name)
        assert done.returncode == 0, done.stderr[-2000:]
        answers.append(int(done.stdout))
        compiled.keep(scratch, tmp_path / "compiled")
    assert answers[0] == 0
    assert answers[1] > 0
