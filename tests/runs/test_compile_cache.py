"""The compiler's cache: the frontier fills it, later runs get copies, and nothing goes from one of them to another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.runs import compile_cache
from tests.conftest import TRAIN
from tests.engine.test_loop import Script, running, turn
from tests.history import problems, state_of
from tests.runs import test_handover as handover
from tests.runs.test_handover import SCORE, TAKE

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


def found(files: SessionFiles, number: int) -> list[list[str]]:
    """What a run found of each compiler's: Inductor's and Triton's."""
    lines = files.run(number).log.read_text().splitlines()
    return [line.split()[2:] for line in lines if line.startswith("FOUND")]


def test_runs_find_the_frontiers_work_and_no_other(new_lab: Callable[..., Path]) -> None:
    """Without a referee. Width 10 is kept, 7 is not; Triton's folder does not outlive a change of path."""
    folder = new_lab(train=COMPILES)
    with running(folder, Script(turn("WIDTH", 7), turn("WIDTH", 10), turn("PAUSE", 0.001)), rows=4) as driver:
        driver.join()
    files = labs.find(folder).session("t")
    assert [e.outcome for e in state_of(folder, "t").experiments] == ["keep", "discard", "keep", "discard"]
    after = ["width-10", "width-8"]
    assert [found(files, n) for n in range(4)] == [[[], []], [["width-8"], []], [["width-8"], []], [after, []]]
    kept = {p.name: p.read_text() for p in (files.compiled / "inductor" / "ab").iterdir()}
    assert kept["width-10"] == "kernel touched by 10"
    assert not (files.compiled / "triton").exists()
    assert not list(files.folder.glob("runs/*/compiled"))
    assert problems(folder, "t") == []


def test_with_a_referee_only_what_was_there_before_the_data_is_kept(tmp_path: Path) -> None:
    """Weights that a run has trained, under a compiler's file names, reach no other run."""
    folder = "os.path.join(os.environ['TORCHINDUCTOR_CACHE_DIR'], 'ab')"
    write = (
        f"os.makedirs({folder}, exist_ok=True)\nwrite = lambda n, t: open(os.path.join({folder}, n), 'w').write(t)\n"
    )
    trainer = (
        f"{write}write('kernel', 'made before')\n{TAKE}write('kernel', 'trained')\nwrite('weights', 'trained')\n{SCORE}"
    )
    env = compile_cache.environment(tmp_path / "scratch")
    ended = handover.run(tmp_path, trainer, env={"PATH": "/usr/bin:/bin", **env})
    assert ended.reason == "finished", (tmp_path / "run.log").read_text()
    saved = tmp_path / "compiled"
    assert {path.name: path.read_text() for path in saved.rglob("*") if path.is_file()} == {"kernel": "made before"}
    store = tmp_path / "session" / "compiled"
    store.parent.mkdir()
    for _ in range(2):  # an engine that was killed in between does it again
        compile_cache.keep(saved, store)
    assert (store / "inductor" / "ab" / "kernel").read_text() == "made before"
    assert not saved.exists()


def test_a_run_leads_the_copy_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, store, secret = tmp_path / "scratch", tmp_path / "compiled", tmp_path / "secret"
    (scratch / "inductor" / "in").mkdir(parents=True)
    secret.write_text("x")
    (scratch / "inductor" / "link").symlink_to(secret)
    (scratch / "inductor" / "folder").symlink_to(tmp_path)
    (scratch / "inductor" / "twin").hardlink_to(secret)
    os.mkfifo(scratch / "inductor" / "pipe")
    deep = scratch / "inductor" / "/".join("d" * 30)
    deep.mkdir(parents=True)
    (deep / "hidden").write_text("z")
    (scratch / "inductor" / "in" / "real").write_text("y")
    compile_cache.save(scratch, store)
    assert [str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()] == ["inductor/in/real"]
    monkeypatch.setattr(compile_cache, "_MOST_BYTES", 0)
    compile_cache.restore(store, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "inductor").symlink_to(tmp_path)
    compile_cache.save(tmp_path / "third", tmp_path / "stolen")
    assert not (tmp_path / "stolen").exists()


def test_where_it_cannot_be_kept_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch" / "inductor").mkdir(parents=True)
    (tmp_path / "scratch" / "inductor" / "kernel").write_text("y")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    compile_cache.save(tmp_path / "scratch", tmp_path / "compiled")
    compile_cache.restore(tmp_path / "nowhere", tmp_path / "scratch")
    assert [p.name for p in tmp_path.iterdir()] == ["scratch"]


# The import takes longer than the rest: once, and a fork for each run. Nothing is computed before the forks.
REAL = """
import os, sys
from pathlib import Path
import torch
import torch._dynamo, torch._inductor.compile_fx
from torch._dynamo.utils import counters
from autoresearch_tui.runs import compile_cache

torch._inductor.cpu_vec_isa.supported_vec_isa_list.clear()  # each would be tried with a program of its own

def run(scratch):
    os.environ.update(compile_cache.environment(scratch))
    f = torch.compile(lambda x: (x * 2).sin() + 1)
    assert torch.allclose(f(torch.ones(64)), (torch.ones(64) * 2).sin() + 1)
    print(counters["inductor"]["fxgraph_cache_hit"] or counters["aot_autograd"]["autograd_cache_hit"], flush=True)

store = Path("compiled")
for name in ("baseline", "later"):
    scratch = Path(name, "scratch").absolute()
    scratch.mkdir(parents=True)
    compile_cache.restore(store, scratch)
    if (child := os.fork()) == 0:
        run(scratch)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    compile_cache.save(scratch, store)
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler on a CPU")
def test_torchs_compiler_takes_the_copy(tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        # What takes long and says nothing of the cache: workers, headers, what the processor can do.
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS": "0",
        "TORCHINDUCTOR_VEC_ISA_OK": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", REAL], env=env, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = map(int, done.stdout.split())
    assert before == 0
    assert after > 0
