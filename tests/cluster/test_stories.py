"""Sessions over a real Ray cluster: what a human sees is what one machine would show."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.launch.verbs import steer
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.cluster.local import LocalCluster, local_cluster
from tests.cluster.sessions import LONG, QUICK, Night, go_on, wait_again, waiting_lab
from tests.cluster.test_prepare import PREPARE
from tests.conftest import git, make_lab
from tests.faults.engines import Engines
from tests.waiting import wait_for

FLOOD_BYTES = 24 << 20
TRAIN = f"""\
import os
from pathlib import Path

RATE = 0.5
WIDTH = 8

print("budget", os.environ["AUTORESEARCH_TIME_BUDGET"])
if RATE == 0.5 and WIDTH == 8:
    for number in range({FLOOD_BYTES >> 10}):
        print(f"{{number:1023d}}")
if WIDTH == 7:
    Path("prepare.py").write_text("MAX_SEQ_LEN = 1")
Path("model.pt").write_bytes(f"{{RATE}} {{WIDTH}}".encode() * 300_000)
Path("answer").write_text(str(1.0 + (RATE - 0.125) ** 2 + (WIDTH - 16) ** 2 / 1000))
"""
JUDGE = 'print("val_bpb:", open("answer").read())\n'
SETTINGS = f"""
[lab]
locked = ["prepare.py", "judge.py"]
[metric]
referee = ["{sys.executable}", "-I", "judge.py"]
{QUICK.replace("[run]", "[run]" + chr(10) + 'keep = ["model.pt"]' + chr(10) + "keep_frontiers = 7")}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster("a", "b") as made:
        yield made


@pytest.fixture(scope="module")
def engines(cluster: LocalCluster) -> Iterator[Engines]:
    with Engines(cluster.environ) as started:
        yield started


@pytest.fixture
def night_of(cluster: LocalCluster, engines: Engines) -> Iterator[Callable[[Path], Night]]:
    """Makes a lab's session."""
    made: list[Night] = []

    def make(lab: Path) -> Night:
        made.append(Night(cluster, engines, lab))
        return made[-1]

    yield make
    for night in made:
        night.abandon()


def awkward_lab(top: Path) -> Path:
    """In a folder of a repository with SHA-256 names, with a referee that looks at what a run has left."""
    lab = top / "labs" / "one"
    lab.mkdir(parents=True)
    for name, text in {
        "train.py": TRAIN,
        "prepare.py": "MAX_SEQ_LEN = 8\n",
        "judge.py": JUDGE,
        "program.md": "# Program\n",
        "autoresearch.toml": SETTINGS,
    }.items():
        (lab / name).write_text(text)
    (top / "elsewhere.txt").write_text("nothing of the lab\n")
    git(top, "init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=lab")
    return lab


def test_a_night_on_two_nodes(cluster: LocalCluster, night_of: Callable[[Path], Night]) -> None:
    """Baselines first; logs, scores, budget and kept files as on one machine; nothing is left on the nodes."""
    night = night_of(awkward_lab(cluster.folder / "awkward"))
    state = night.finish(7, "--budget", "7")
    assert {e.device for e in state.table} == {"a:0", "b:0"}
    for device in ("a:0", "b:0"):
        first, *rest = [e for e in state.table if e.device == device]
        assert first.proposal.author == BASELINE
        assert all(e.proposal.author != BASELINE for e in rest)
    for experiment in state.table:
        log = (night.run(experiment.number) / "run.log").read_text()
        assert log.startswith("budget 7\n")
        if experiment.proposal.author == BASELINE:
            assert log == "budget 7\n" + "".join(f"{number:1023d}\n" for number in range(FLOOD_BYTES >> 10))
    kept = [e for e in state.table if e.outcome == "keep"]
    assert len(kept) > 1
    for experiment in kept:
        model = night.run(experiment.number) / "kept" / "model.pt"
        assert model.stat().st_size > 1_000_000, experiment.number
    caught = [e for e in state.table if e.outcome == "invalid"]
    assert caught and all("prepare.py was changed during the run" in e.reason for e in caught)
    wait_for(lambda: cluster.seats() == [], LONG, "accelerators that are free")
    assert night.there("a") == night.there("b") == []


def test_a_human_steers(cluster: LocalCluster, night_of: Callable[[Path], Night]) -> None:
    """Veto, undo, pause, stop of runs on nodes; what was not committed at the start is there as well."""
    lab = waiting_lab(cluster.folder / "steered", QUICK.replace('mode = "auto"', 'mode = "ask"'))
    night = night_of(lab)
    with (lab / "train.py").open("a") as file:
        file.write("print('not committed')\n")

    def say(command: cmd.Command) -> None:
        steer(lab, "t", lambda _: command)

    def training() -> list[Path]:
        return [*night.training("a"), *night.training("b")]

    night.start(100)
    night.wait_until_training("a", "b")
    go_on(lab)
    wait_for(lambda: len(night.state().table) == 2 and night.state().waiting, LONG, "a proposal")
    wait_again(lab)
    first = night.state().waiting[0]
    say(cmd.Pause())  # another proposal would take the place of one that is vetoed
    wait_for(lambda: not night.state().asks, LONG, "an answer")
    say(cmd.Veto(first.number, first.commit, "no"))
    say(cmd.Undo(_last_veto(lab)))
    say(cmd.Resume())
    say(cmd.Approve(first.number, first.commit))
    wait_for(training, LONG, "its run")
    say(cmd.Pause(stop_run=True))
    wait_for(lambda: not training() and night.state().experiments[first.number].stage == "approved", LONG, "its end")
    say(cmd.Resume())
    wait_for(training, LONG, "its run")
    say(cmd.StopRun(first.number, "enough"))
    wait_for(lambda: night.state().experiments[first.number].status == "stopped", LONG, "its end")
    assert night.state().experiments[first.number].attempt == 2
    say(cmd.Stop(now=True))
    night.ends()
    assert (night.run(0) / "run.log").read_text().endswith("not committed\n")


def test_a_node_that_lacks_the_data_is_named_and_not_used(
    cluster: LocalCluster, night_of: Callable[[Path], Night]
) -> None:
    lab = make_lab(cluster.folder / "prepared", QUICK)
    (lab / "prepare.py").write_text(PREPARE)
    git(lab, "commit", "--quiet", "--all", "--message=data")
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch_tui", "prepare", str(lab), "--nodes", "--cluster", cluster.address],
        env={**os.environ, **cluster.environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "Nodes that are ready: 2 of 2.\n"), done.stderr
    (tokens,) = (cluster.folder / "nodes" / "b").glob("prepared-*/tokens")
    tokens.unlink()
    state = night_of(lab).finish(3)
    assert {e.device for e in state.table} == {"a:0"}
    refused = state.fleet.refused["b"]
    assert (refused.reason, refused.remedy) == (
        "its data are not ready: no tokens", "`autoresearch-tui prepare --nodes`"
    )  # fmt: skip
    assert state.fleet.devices["a:0"].found["data"] == "of a test"


def _last_veto(lab: Path) -> int:
    """The number of its record."""
    return [r.seq for r in read(lab / ".autoresearch/t/journal.jsonl") if isinstance(r.event, ev.ProposalVetoed)][-1]
