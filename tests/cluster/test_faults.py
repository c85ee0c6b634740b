"""Whatever dies of a session over a cluster, no run is executed twice, none is lost, and no proposal is blamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.session import cluster_file
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.cluster.local import LocalCluster, local_cluster
from tests.cluster.sessions import (
    LONG,
    QUICK,
    Night,
    failed,
    go_on,
    supervisor,
    tries,
    wait_again,
    waiting_lab,
)
from tests.conftest import THOROUGH, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.waiting import wait_for

# No constant of it makes a run crash.
SOUND = TRAIN.replace("PAUSE = 0.0\n", "").replace('FAIL = ""\n\nif FAIL:\n    raise RuntimeError(FAIL)\n', "")
SOUND = SOUND.replace("time.sleep(PAUSE / steps)", "time.sleep(0.01)")


# They take the longest, for Ray is slow to notice.
by_night = pytest.mark.skipif(not THOROUGH, reason="in the thorough run")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster("a", "b") as made:
        yield made


@pytest.fixture(scope="module")
def engines(cluster: LocalCluster) -> Iterator[Engines]:
    with Engines(cluster.environ) as started:
        yield started


@pytest.fixture
def night(cluster: LocalCluster, engines: Engines, request: pytest.FixtureRequest) -> Iterator[Night]:
    """A session of a lab whose runs wait for a word, named like the test."""
    name = request.node.name.removeprefix("test_")[:24]
    night = Night(cluster, engines, waiting_lab(cluster.folder / name, QUICK, SOUND))
    yield night
    night.abandon()


def joined(lab: Path) -> Counter[str]:
    """How often each device joined."""
    records = read(lab / ".autoresearch/t/journal.jsonl")
    return Counter(r.event.device for r in records if isinstance(r.event, ev.DeviceJoined))


def test_engine_bridge_and_seats_die_and_the_runs_go_on(night: Night) -> None:
    engine = night.start(5)
    night.wait_until_training("a", "b")
    owners = [supervisor(run) for node in "ab" for run in night.training(node)]
    night.kill(engine)
    night.start(5)
    wait_for(night.bridge, LONG, "a bridge")
    for seat in night.cluster.seats():
        seat.kill()
    wait_for(lambda: len(night.cluster.seats()) == 2, LONG, "new seats")
    old = night.bridge()
    assert old is not None
    old.kill()
    wait_for(lambda: night.bridge() not in (None, old), LONG, "a new bridge")
    assert owners == [supervisor(run) for node in "ab" for run in night.training(node)]
    go_on(night.lab)
    state = night.ends()
    assert {*tries(state.table).values()} == {1} and failed(state) == []
    assert joined(night.lab) == {"a:0": 1, "b:0": 1}
    assert [e.proposal.author for e in state.table].count(BASELINE) == 2


def under_way(night: Night, rows: int) -> None:
    """A session that has its baselines, and waits in what comes next on both devices."""
    go_on(night.lab)
    night.start(rows)
    wait_for(lambda: len(night.state().table) >= 2, LONG, "baselines")
    wait_again(night.lab)
    night.wait_until_training("a", "b")


def test_a_supervisor_that_is_killed_twice(night: Night) -> None:
    """Once is the machine's fault; the second time it is the proposal's."""
    under_way(night, 9)
    number = int(night.training("a")[0].name)
    for attempt in (1, 2):
        wait_for(lambda: tries(night.state().experiments).get(number) == attempt, LONG, "a try")  # noqa: B023
        wait_for(lambda: _of(night, number), LONG, "its run")
        for run in _of(night, number):
            if (owner := supervisor(run)) is not None:
                owner.kill()
    wait_for(lambda: night.state().experiments[number].outcome is not None, LONG, "its end")
    go_on(night.lab)
    state = night.ends()
    assert failed(state) == [(number, "lost: its supervisor was killed")]
    assert {n for n, count in tries(state.table).items() if count > 1} == {number}


@by_night
def test_a_node_goes_and_comes_back(night: Night) -> None:
    """Its run is repeated elsewhere, once; when it comes back, what still runs there is ended and dropped."""
    cluster = night.cluster
    under_way(night, 10)
    (left,) = night.training("b")
    owner = supervisor(left)
    assert owner is not None
    cluster.remove("b")
    wait_for(lambda: night.state().experiments[int(left.name)].infrastructure_retries == 1, LONG, "its loss")
    assert owner.is_running()
    assert night.state().fleet.devices["b:0"].left
    cluster.add("b")
    wait_for(lambda: not owner.is_running(), LONG, "its end")
    go_on(night.lab)
    state = night.ends()
    again = state.experiments[int(left.name)]
    assert (again.attempt, failed(state)) == (2, [])  # on whichever was free first
    late = [e for e in state.table if e.device == "b:0" and e.started_at > state.fleet.devices["b:0"].joined_at]
    assert not late or late[0].proposal.author == BASELINE
    assert night.there("b") == []


def test_two_labs_share_a_cluster(night: Night) -> None:
    """One waits until the other gives its accelerators back, and says for what; then neither holds any."""
    cluster = night.cluster
    night.start(3)
    night.wait_until_training("a", "b")
    with Engines(cluster.environ) as more:
        other = Night(cluster, more, make_lab(cluster.folder / "other", QUICK, SOUND))
        other.start(3)
        wait_for(lambda: _doing(other) == {"waits for its accelerator"}, LONG, "a word about it")
        assert tries(other.state().experiments) == {}
        go_on(night.lab)
        night.ends()
        other.ends()
    wait_for(lambda: cluster.seats() == [], LONG, "accelerators that are free")


@by_night
def test_nothing_can_be_started_on_a_node(night: Night) -> None:
    """No proposal is blamed for it: the device is given no more runs, and they go elsewhere."""
    (night.lab.with_suffix(".slow")).unlink()
    night.finish(2)
    (top,) = (night.cluster.folder / "nodes" / "b").glob(f"{night.lab.name}-*")
    runs = top / ".autoresearch" / "t" / "runs"
    runs.rename(runs.with_name("moved"))
    runs.write_text("no folder")
    state = night.finish(6)
    assert failed(state) == []
    assert {e.device for e in state.table[2:]} == {"a:0"}
    assert "runs cannot be started there" in state.fleet.devices["b:0"].left
    assert {e.infrastructure_retries for e in state.table} == {0}


def _of(night: Night, number: int) -> list[Path]:
    """Where a run trains."""
    return [run for node in night.cluster.nodes for run in night.training(node) if int(run.name) == number]


def _doing(night: Night) -> set[str]:
    now = cluster_file.read(night.lab / ".autoresearch/t/cluster.json")
    return {node.doing for node in now.nodes} if now is not None else set()


def test_a_node_that_is_to_be_taken_away_gets_no_more_runs(night: Night) -> None:
    """What runs there is finished."""
    night.start(7)
    night.wait_until_training("a", "b")
    assert night.cluster.ask("drain", "b") is True
    wait_for(lambda: night.state().fleet.devices["b:0"].left == "its node is being taken away", LONG, "a word about it")
    go_on(night.lab)
    state = night.ends()
    assert len([e for e in state.table if e.device == "b:0"]) == 1
    assert failed(state) == [] and {*tries(state.table).values()} == {1}
    night.cluster.remove("b")
    night.cluster.add("b")


@by_night
def test_the_head_goes_and_comes_back(cluster: LocalCluster, night: Night) -> None:
    """Nodes and seats go with it. The engine waits, and finds what ran meanwhile as it is."""
    settings = night.lab / "autoresearch.toml"
    settings.write_text(settings.read_text().replace("lost_after_seconds = 2", "lost_after_seconds = 60"))
    night.start(5)
    night.wait_until_training("a", "b")
    owners = [supervisor(run) for node in "ab" for run in night.training(node)]
    cluster.lose_head()
    wait_for(lambda: not cluster.seats(), LONG, "the end of the seats")
    wait_for(lambda: _problem(night), LONG, "a word about it")
    assert owners == [supervisor(run) for node in "ab" for run in night.training(node)]
    cluster.start_again()
    go_on(night.lab)
    state = night.ends()
    assert {*tries(state.table).values()} == {1} and failed(state) == []
    assert joined(night.lab) == {"a:0": 1, "b:0": 1}


def _problem(night: Night) -> str:
    now = cluster_file.read(night.lab / ".autoresearch/t/cluster.json")
    return now.problem if now is not None else ""
