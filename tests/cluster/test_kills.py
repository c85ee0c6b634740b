"""Engines, bridges, seats, supervisors and nodes killed at random moments: no try runs twice, nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from autoresearch_tui.engine.experiments import BASELINE_LOST
from tests.cluster.local import local_cluster
from tests.cluster.sessions import QUICK, Night, supervisor
from tests.conftest import THOROUGH, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.history import contradictions, survivors

NODES, ENGINE_KILLS, NODE_KILLS = 8, 50, 20
PAUSE_SECONDS = 8.0
SOUND = TRAIN.replace("PAUSE = 0.0\n", "").replace('FAIL = ""\n\nif FAIL:\n    raise RuntimeError(FAIL)\n', "")
SOUND = SOUND.replace("time.sleep(PAUSE / steps)", "time.sleep(0.4)")
# Each run notes that it begins, in a file that all nodes share here.
NOTE = "note = os.open({!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\nos.write(note, os.getcwd().encode() + b'\\n')\n"


class Killer:
    """Draws what dies next, and when."""

    def __init__(self, night: Night, seed: int) -> None:
        self.night, self.dice = night, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.gone: list[str] = []
        self.engine = 0

    def play(self) -> None:
        """All that is to be killed, in any order; a node that has gone comes back some time later."""
        kinds = {"engine": ENGINE_KILLS, "node": NODE_KILLS}
        kinds |= dict.fromkeys(("bridge", "seat", "supervisor"), (NODE_KILLS + 3) // 4)
        deaths = [kind for kind, count in kinds.items() for _ in range(count)]
        self.dice.shuffle(deaths)
        self.engine = self.night.start(100_000)
        for what in deaths:
            time.sleep(self.dice.uniform(0.0, PAUSE_SECONDS))
            {"engine": self._kill_engine, "node": self._take_node}.get(what, lambda: None)()
            for process in self._others(what):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.counts[what] += 1
            print(dict(self.counts), flush=True)
            if self.gone and (len(self.gone) > NODES // 4 or self.dice.random() < 0.3):
                self.night.cluster.add(self.gone.pop(0))
        self._end_engine()
        for name in self.gone:
            self.night.cluster.add(name)

    def _kill_engine(self) -> None:
        self._end_engine()
        assert contradictions(self.night.lab, "t") == [], f"after {self.counts}"
        self.engine = self.night.start(100_000)

    def _end_engine(self) -> None:
        """Or it has given up, which the loss of baselines' runs may lead to."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.engine, signal.SIGKILL)
        (end,) = self.night.engines.ends()
        assert end == -signal.SIGKILL or (end == 1 and BASELINE_LOST in self.night.said()), self.night.said()

    def _take_node(self) -> None:
        """With all that is Ray's there; its run continues, as on a node that was cut off."""
        if len(self.night.cluster.nodes) > 1:
            self.gone.append(self.dice.choice(self.night.cluster.nodes))
            self.night.cluster.remove(self.gone[-1])

    def _others(self, what: str) -> list[psutil.Process]:
        """One to be killed of these, if there is one now."""
        if what == "bridge":
            there = [self.night.bridge()]
        elif what == "seat":
            there = [*self.night.cluster.seats()]
        elif what == "supervisor":
            there = [supervisor(run) for name in self.night.cluster.nodes for run in self.night.training(name)]
        else:
            return []
        found = [process for process in there if process is not None]
        return [self.dice.choice(found)] if found else []


@pytest.mark.skipif(not THOROUGH, reason="ten minutes")
@pytest.mark.timeout(3600)
def test_killed_at_random_moments() -> None:
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    print(f"AUTORESEARCH_TEST_SEED={seed}")
    with (
        local_cluster(*(f"n{number}" for number in range(NODES))) as cluster,
        Engines(cluster.environ) as engines,
    ):
        lab, notes = cluster.folder / "killed", cluster.folder / "notes"
        train = SOUND.replace("steps = 5", NOTE.format(str(notes)) + "steps = 5")
        night = Night(cluster, engines, make_lab(lab, QUICK, train))
        killer = Killer(night, seed)
        began = time.monotonic()
        killer.play()
        state = night.state()
        print(f"{killer.counts} in {time.monotonic() - began:.0f} s, {len(state.table)} rows")
        state = night.finish(len(state.table) + len(state.in_flight) + NODES)
        begun = Counter(int(Path(line).parent.name) for line in notes.read_text().splitlines())
        print(f"{len(state.table)} rows, {sum(begun.values())} runs begun, {sum(e.attempt for e in state.table)} tries")
        for experiment in state.experiments:
            assert begun[experiment.number] <= experiment.attempt, f"#{experiment.number}"
        assert survivors(lab) == []
