"""doctor: the cluster that a lab's runs are executed on, with a stand-in for Ray."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoresearch_tui import doctor
from autoresearch_tui.cluster import requirements
from autoresearch_tui.doctor import cluster
from autoresearch_tui.doctor.item import Item
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.session import cluster_file
from tests.conftest import SETTINGS

STAND_IN = Path(__file__).parents[1] / "fakes" / "ray"
NewLab = Callable[..., Path]


@pytest.fixture
def head() -> Iterator[str]:
    """The address of something that listens, on loopback alone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def item(folder: Path, **environ: str) -> Item:
    (found,) = cluster.check(labs.find(folder), {**os.environ, "PYTHONPATH": str(STAND_IN), **environ})
    assert found.name == "cluster" and (found.remedy or found.status == "ok")
    return found


def on(address: str, more: str = "") -> str:
    return f'{SETTINGS}\n[cluster]\naddress = "{address}"\nresources = {{ CPU = 2 }}\n{more}'


def test_a_lab_without_a_cluster_has_nothing_to_say(lab_folder: Path) -> None:
    assert cluster.check(labs.find(lab_folder), os.environ) == []


def test_a_cluster_that_answers(new_lab: NewLab, head: str) -> None:
    folder = new_lab(settings=on(head))
    nodes = json.dumps({"head": {"CPU": 0}, "node-1": {"CPU": 4}, "node-2": {"CPU": 3}})
    found = item(folder, STAND_IN_NODES=nodes, RAY_AUTH_TOKEN="a" * 32)
    assert found.status == "ok"
    version = requirements.ray_version()
    assert found.found == f"{head}: 3 nodes, room for 3 runs (CPU = 2); Ray {version}; a token is set"
    nowhere = {"RAY_AUTH_TOKEN_PATH": "/nowhere"}
    found = item(folder, STAND_IN_NODES="{}", **nowhere)
    assert found.status == "warning" and "0 nodes, room for 0 runs" in found.found and "on loopback" in found.found


def test_a_cluster_that_cannot_be_used(new_lab: NewLab, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_lab(settings=on(head))
    found = item(folder, STAND_IN_DOWN="Version mismatch: the cluster has Ray 2.55.0")
    assert found.status == "problem"
    assert found.found == f"{head} answers, and cannot be joined: Version mismatch: the cluster has Ray 2.55.0"
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = f"127.0.0.1:{gone.getsockname()[1]}"
    found = item(new_lab(settings=on(nobody), name="gone"), RAY_AUTH_TOKEN="a" * 32)
    assert (found.status, found.found) == ("problem", f"{nobody} cannot be reached: Connection refused")
    found = item(new_lab(settings=on("10.0.0.1:6379"), name="far"), RAY_AUTH_TOKEN_PATH="/nowhere")
    assert found.status == "problem" and "can be reached by others, and no token can be read" in found.found
    monkeypatch.setattr(requirements, "ray_version", lambda: "")
    found = item(folder)
    assert found.status == "problem" and found.remedy == "pip install 'autoresearch-tui[cluster]'"


def test_the_cluster_of_the_latest_session_counts_where_the_lab_names_none(lab_folder: Path, head: str) -> None:
    files = labs.find(lab_folder).session("t")
    files.folder.mkdir(parents=True)
    files.journal.touch()
    cluster_file.write(files.cluster, cluster_file.ClusterNow(head, 0.0))
    assert item(lab_folder, STAND_IN_NODES=json.dumps({"n": {"GPU": 8}})).found.startswith(
        f"{head}: 1 node, room for 8"
    )


def test_what_only_nodes_need_is_not_looked_for_here(
    new_lab: NewLab, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    missing = on(head).replace('["python", "-S", "train.py"]', '["no-such-program", "train.py"]')
    names = {each.name for each in doctor.examine(labs.find(new_lab(settings=missing)))}
    assert {"cluster", "sandbox", "disk"} <= names
    assert not {"command", "data", "accelerator", "torch"} & names
