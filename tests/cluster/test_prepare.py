"""Nodes made ready: what one does, and `prepare --nodes` over all of them, on a stand-in for Ray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from autoresearch_tui.cluster import node_lab
from autoresearch_tui.cluster.preparer import Preparer, prepare_here
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.util.errors import UserError
from tests import checkouts
from tests.conftest import SETTINGS, git
from tests.waiting import wait_for

STAND_IN = Path(__file__).parents[1] / "fakes" / "ray"
ADDRESS = "127.0.0.1:6379"
CLUSTER = f'{SETTINGS}\n[cluster]\naddress = "{ADDRESS}"\nresources = {{ CPU = 1 }}\n'
# As prepare.py of a lab of ours, it can be asked, and reports its progress. It fails in folders of `node-bad`.
PREPARE = """\
import json, pathlib, sys
MAX_SEQ_LEN = 8  # AUTORESEARCH_PROFILE
here = pathlib.Path(__file__).parent
if "--check" in sys.argv:
    if not (here / "tokens").exists():
        sys.exit("no tokens: run `autoresearch-tui prepare`")
    print(json.dumps({"stage": "ready", "data": "of a test"}))
    sys.exit()
for done in range(3):
    print(json.dumps({"stage": "tokens", "done": done, "total": 2, "unit": "files"}), flush=True)
if "node-bad" in here.parts:
    print("a line", file=sys.stderr)
    sys.exit("the disk of this\\x1b[31mnode is full")
(here / "tokens").touch()
print(json.dumps({"stage": "done", "done": 1, "total": 1}))
"""


@pytest.fixture
def folder(new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A lab whose prepare.py is as above, on a cluster; nodes keep their copies below `nodes`."""
    made = new_lab(settings=CLUSTER)
    (made / "prepare.py").write_text(PREPARE)
    git(made, "commit", "--quiet", "--all", "--message=data")
    monkeypatch.setenv("AUTORESEARCH_NODES", str(tmp_path / "nodes"))
    return made


def command(folder: Path, *words: str, nodes: Sequence[str] = (), cpus: int = 1, **environ: str) -> tuple[int, str]:
    """`prepare --nodes` on such nodes: exit code, and what it said."""
    env = {**os.environ, "PYTHONPATH": str(STAND_IN), "STAND_IN_NODES": json.dumps({n: {"CPU": cpus} for n in nodes})}
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch_tui", "prepare", str(folder), "--nodes", *words],
        env={**env, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_a_node_prepares_its_copy_and_tells_how_far_it_is(folder: Path) -> None:
    told: list[tuple[str, float, float]] = []
    lab = labs.find(folder)
    assert prepare_here(lab, lambda *step: told.append(step)) == "Data and tokenizer are ready."
    assert told == [("tokens", 0, 2), ("tokens", 1, 2), ("tokens", 2, 2)]
    assert (folder / "tokens").exists()


def test_a_checkout_is_prepared_as_its_human_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("AUTORESEARCH_CACHE", raising=False)
    monkeypatch.setenv("PATH", f"{checkouts.install_uv(tmp_path / 'tools')}:{os.environ['PATH']}")
    lab = labs.find(checkouts.make(tmp_path / "checkout", checkouts.FORKS["macos"]))
    told: list[str] = []

    def prepare() -> str:
        return prepare_here(lab, lambda doing, _done, _total: told.append(doing))

    assert prepare() == "prepare.py ended well: the lab is prepared."
    assert told[0].endswith("uv run prepare.py")
    assert prepare() == "Everything is there; nothing was run."
    shutil.rmtree(home / ".cache")
    broken = 'tokenizer = "none"\nif __name__ == "__main__":\n    raise SystemExit("no network")\n'
    (lab.root / "prepare.py").write_text(broken)
    with pytest.raises(UserError, match=r"ended with exit code 1: no network$"):
        prepare()


def test_a_preparer_is_asked_how_it_goes(folder: Path, tmp_path: Path) -> None:
    lab = labs.find(folder)
    repo = GitRepo(folder)
    parcel = node_lab.parcel(lab, repo, repo.head())
    good, bad = Preparer("node-1", "lab"), Preparer("node-bad", "lab")
    for preparer in (good, bad):
        preparer.begin(parcel)
    wait_for(lambda: good.progress()["ready"])
    assert (tmp_path / "nodes" / "node-1" / "lab" / "tokens").exists()
    wait_for(lambda: bad.progress()["problem"])
    assert bad.progress()["problem"] == "the disk of this·[31mnode is full"
    assert not bad.progress()["ready"]
    assert not (folder / "tokens").exists()


def test_all_nodes_are_prepared_and_those_that_fail_are_named(folder: Path, tmp_path: Path) -> None:
    code, said = command(folder, nodes=("node-1", "node-2"))
    assert (code, said.splitlines()[0]) == (0, "Nodes that are ready: 2 of 2.")
    for node in ("node-1", "node-2"):
        assert list((tmp_path / "nodes" / node).glob("*/tokens"))
    code, said = command(folder, nodes=("node-1", "node-bad"))
    assert code == 1
    assert "Nodes that are ready: 1 of 2." in said
    assert "autoresearch-tui: node-bad: the disk of this·[31mnode is full\n" in said


def test_a_cluster_that_cannot_be_used_is_one_line(folder: Path) -> None:
    code, said = command(folder, STAND_IN_DOWN="Failed to connect to Ray cluster")
    assert (code, said) == (2, f"autoresearch-tui: the cluster {ADDRESS}: Failed to connect to Ray cluster\n")
    code, said = command(folder, nodes=("node-1",), cpus=0)
    assert code == 2
    assert "no node has room for a run, which takes CPU = 1 (`cluster.resources`)" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cluster", "none"), "no cluster is named; set `cluster.address`, or give --cluster host:port"),
        (("--data", "embedded"), "--data: nodes prepare what the lab's settings say; set AUTORESEARCH_DATA"),
        (("--cluster", "head"), "'head' is not a cluster's address"),
    ],
)
def test_wrong_usage_is_one_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    code, told = command(folder, *words)
    assert code == 2 and said in told and told.count("\n") == 1
