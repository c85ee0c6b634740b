"""Sessions over a real Ray cluster, the same one for all of them.

Whatever dies, no run is executed twice, none is lost, and no proposal is blamed. What a human sees is what one machine
would show.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.launch.verbs import steer
from autoresearch_tui.session import cluster_file
from autoresearch_tui.session import commands as cmd
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
from tests.cluster.test_prepare import PREPARE
from tests.conftest import THOROUGH, TRAIN, git, make_lab
from tests.faults.engines import Engines
from tests.waiting import wait_for

# No constant of it makes a run crash.
SOUND = TRAIN.replace("PAUSE = 0.0\n", "").replace('FAIL = ""\n\nif FAIL:\n    raise RuntimeError(FAIL)\n', "")
SOUND = SOUND.replace("time.sleep(PAUSE / steps)", "time.sleep(0.01)")

FLOOD_BYTES = 24 << 20
AWKWARD = f"""\
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
AWKWARD_SETTINGS = f"""
[lab]
locked = ["prepare.py", "judge.py"]
[metric]
referee = ["{sys.executable}", "-I", "judge.py"]
{QUICK.replace("[run]", "[run]" + chr(10) + 'keep = ["model.pt"]' + chr(10) + "keep_frontiers = 7")}
"""


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
    """Meanwhile another lab waits for the accelerators, and says so; in the end neither holds any."""
    cluster = night.cluster
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
    with Engines(cluster.environ) as more:
        other = Night(cluster, more, make_lab(cluster.folder / "other", QUICK, SOUND))
        other.start(3)
        wait_for(lambda: _doing(other) == {"waits for its accelerator"}, LONG, "a word about it")
        assert tries(other.state().experiments) == {}
        go_on(night.lab)
        state = night.ends()
        other.ends()
    wait_for(lambda: cluster.seats() == [], LONG, "accelerators that are free")
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


# ── what a human sees ─────────────────────────────────────────────────────────────────────────────────────────────────


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
        "train.py": AWKWARD,
        "prepare.py": "MAX_SEQ_LEN = 8\n",
        "judge.py": JUDGE,
        "program.md": "# Program\n",
        "autoresearch.toml": AWKWARD_SETTINGS,
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
