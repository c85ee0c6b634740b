"""Sessions over a real Ray cluster: what a human sees is what one machine would show."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.session.state import State
from tests.cluster.local import CLUSTER_SETTINGS, LocalCluster, local_cluster
from tests.cluster.test_prepare import PREPARE
from tests.conftest import SETTINGS, git, make_lab
from tests.faults.engines import Engines
from tests.history import problems, state_of

QUICK = SETTINGS.replace('["python", "train.py"]', '["python", "-I", "-S", "train.py"]') + CLUSTER_SETTINGS


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster("a", "b") as made:
        yield made


@pytest.fixture(scope="module")
def engines(cluster: LocalCluster) -> Iterator[Engines]:
    with Engines(cluster.environ) as started:
        yield started


def words(cluster: LocalCluster, lab: Path, rows: int) -> Sequence[str]:
    """The command line of an engine."""
    return [str(lab), "--headless", "--tag", "t", "--experiments", str(rows), "--cluster", cluster.address]


def finish(cluster: LocalCluster, engines: Engines, lab: Path, rows: int) -> State:
    """A session, from where it is to so many rows; its history is sound then."""
    errors = lab.with_suffix(".errors")
    end = engines.run(words(cluster, lab, rows), errors)
    assert end == 0, Path(f"{errors}-0").read_text()
    assert problems(lab, "t") == []
    return state_of(lab, "t")


def test_each_device_runs_a_baseline_before_any_proposal(cluster: LocalCluster, engines: Engines) -> None:
    lab = make_lab(cluster.folder / "session", QUICK)
    state = finish(cluster, engines, lab, 7)
    assert {e.device for e in state.table} == {"a:0", "b:0"}
    for device in ("a:0", "b:0"):
        first, *rest = [e for e in state.table if e.device == device]
        assert first.proposal.author == BASELINE
        assert all(e.proposal.author != BASELINE for e in rest)
    for experiment in state.table:
        log = (lab / f".autoresearch/t/runs/{experiment.name}/run.log").read_bytes()
        there = cluster.run(experiment.device[0], "session", experiment.number) / "run.log"
        assert log == there.read_bytes()


def test_a_node_that_lacks_the_data_is_named_and_not_used(cluster: LocalCluster, engines: Engines) -> None:
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
    state = finish(cluster, engines, lab, 3)
    assert {e.device for e in state.table} == {"a:0"}
    refused = state.fleet.refused["b"]
    assert (refused.reason, refused.remedy) == (
        "its data are not ready: no tokens", "`autoresearch-tui prepare --nodes`"
    )  # fmt: skip
    assert state.fleet.devices["a:0"].found["data"] == "of a test"
