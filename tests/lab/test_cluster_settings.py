"""[cluster]: its defaults, what it cannot be, and what it does not go together with."""

from pathlib import Path

import pytest

from autoresearch_tui.lab import cluster_address
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.lab.settings_reading import from_table, table
from autoresearch_tui.util.errors import UserError


def load(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "autoresearch.toml").write_text(text)
    return from_table(*table(tmp_path))


def test_without_a_cluster_runs_are_executed_here(tmp_path: Path) -> None:
    cluster = load(tmp_path, "").cluster
    assert (cluster.address, cluster.accelerator, cluster.lost_after_seconds) == ("", "", 60)
    assert cluster.resources == {"GPU": 1}


def test_what_one_run_takes_replaces_the_default(tmp_path: Path) -> None:
    cluster = load(tmp_path, '[cluster]\naddress = "head.local:6379"\nresources = { CPU = 4, big = 0.5 }\n').cluster
    assert cluster.address == "head.local:6379"
    assert cluster.resources == {"CPU": 4, "big": 0.5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('address = "head"', "`cluster.address`: 'head' is not a cluster's address; write host:port"),
        ('address = "head:0"', "is not a cluster's address"),
        ('address = "head:6379; rm"', "is not a cluster's address"),
        ('address = "ray://head:10001"', "a Ray Client's address; name the head itself"),
        ('addres = "auto"', "unknown key `cluster.addres`; did you mean `cluster.address`?"),
        ("resources = { }", "`cluster.resources` is empty; say what one run takes"),
        ("resources = { GPU = 0 }", "`cluster.resources.GPU` must be a whole number or a part of 1, not 0"),
        ("resources = { GPU = 1.5 }", "must be a whole number or a part of 1, not 1.5"),
        ("resources = { GPU = inf }", "must be a whole number or a part of 1, not inf"),
        ("resources = { '' = 1 }", "`cluster.resources` has ''"),
        ('resources = { GPU = "1" }', "`cluster.resources` must be a table of numbers, such as { GPU = 1 }"),
        ('accelerator = "a\\nb"', "`cluster.accelerator` must be one line of text"),
        ("lost_after_seconds = 0", "`cluster.lost_after_seconds` must be more than 0"),
        ('address = "auto"\n[run]\ndevices = ["0"]', "`run.devices` names devices of this machine"),
        (
            'address = "auto"\n[metric]\nevaluator = "fresh"\nreferee = ["judge"]',
            "`metric.evaluator` is 'fresh', and a cluster executes the runs; set it to fixed",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, f"[cluster]\n{text}\n")
    line = str(caught.value)
    assert said in line and "autoresearch.toml" in line and "\n" not in line


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:6379", True),
        ("localhost:6379", True),
        ("[::1]:6379", True),
        ("10.0.0.1:6379", False),
        ("auto", False),
        ("head.example:6379", False),
    ],
)
def test_whether_others_can_reach_it(address: str, loopback: bool) -> None:
    assert cluster_address.problem(address) == ""
    assert cluster_address.is_loopback(address) is loopback
