"""What the tests of a cluster share: labs whose runs wait for a word, sessions from their start to a sound end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from autoresearch_tui.lab import session_files
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State
from tests.cluster.local import CLUSTER_SETTINGS, LocalCluster
from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.history import contradictions, problems, state_of
from tests.waiting import wait_for

# A run may have to wait for what a test does.
QUICK = SETTINGS.replace("timeout_seconds = 30", "timeout_seconds = 600") + CLUSTER_SETTINGS
LONG = 120.0


@dataclass
class Night:
    """One lab's session `t` on a cluster."""

    cluster: LocalCluster
    engines: Engines
    lab: Path
    engine: int = 0
    """The pid of the engine that was started and has not ended, as far as is known here."""

    def words(self, rows: int, *more: str) -> Sequence[str]:
        """The command line of an engine."""
        given = [str(self.lab), "--headless", "--tag", "t", "--experiments", str(rows)]
        return [*given, "--cluster", self.cluster.address, *more]

    @property
    def errors(self) -> Path:
        return self.lab.with_suffix(".errors")

    def said(self) -> str:
        return Path(f"{self.errors}-0").read_text()

    def start(self, rows: int, *more: str, env: Mapping[str, str] | None = None) -> int:
        """An engine; its pid."""
        (self.engine,) = self.engines.start(self.words(rows, *more), self.errors, env=env or {})
        return self.engine

    def kill(self, pid: int) -> None:
        """An engine."""
        os.kill(pid, signal.SIGKILL)
        self.engine = 0
        assert self.engines.ends() == [-signal.SIGKILL], self.said()
        assert contradictions(self.lab, "t") == []

    def ends(self) -> State:
        """The engine has ended by itself, and the history is sound."""
        self.engine = 0
        assert self.engines.ends() == [0], self.said()
        return self.sound()

    def abandon(self) -> None:
        """After a failure: no engine is in the way of the next test."""
        if self.engine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.engine, signal.SIGKILL)
            self.engines.ends()
        for seat in self.cluster.seats():
            with contextlib.suppress(psutil.NoSuchProcess):
                seat.kill()

    def finish(self, rows: int, *more: str) -> State:
        """From where it is to so many rows."""
        self.start(rows, *more)
        return self.ends()

    def sound(self) -> State:
        assert problems(self.lab, "t") == []
        return self.state()

    def state(self) -> State:
        return state_of(self.lab, "t")

    def run(self, number: int) -> Path:
        """A run's folder here."""
        return session_files.of(self.lab, "t").run(number).folder

    def bridge(self) -> psutil.Process | None:
        """The process that holds the connection, if there is one, and one only."""
        found = [p for p in psutil.process_iter() if _is_bridge(p, self.lab)]
        return found[0] if len(found) == 1 else None

    def training(self, node: str) -> list[Path]:
        """The folders on a node of the runs that train there."""
        return [path.parent for path in self._there(node) if supervisor(path.parent) is not None]

    def there(self, node: str) -> list[str]:
        """The names of the runs that a node has anything of."""
        return sorted(path.parent.name for path in self._there(node))

    def _there(self, node: str) -> list[Path]:
        return [*(self.cluster.folder / "nodes" / node).glob(f"{self.lab.name}-*/**/runs/*/attempt")]

    def wait_until_training(self, *nodes: str) -> None:
        wait_for(lambda: all(self.training(node) for node in nodes), LONG, f"runs on {nodes}")


def supervisor(run: Path) -> psutil.Process | None:
    """The supervisor of a run that trains."""
    from autoresearch_tui.runs import runner

    status = runner.look(run)
    if status.state is not runner.RunState.RUNNING or status.started is None:
        return None
    return psutil.Process(status.started.supervisor_pid)


def waiting_lab(folder: Path, settings: str = QUICK, train: str = TRAIN) -> Path:
    """A lab whose runs wait as long as there is the file `slow` beside it."""
    wait = f"while os.path.exists({str(folder.with_suffix('.slow'))!r}):\n    time.sleep(0.02)\n"
    folder.with_suffix(".slow").touch()
    return make_lab(folder, settings, train.replace("score = ", f"{wait}score = ", 1))


def go_on(lab: Path) -> None:
    """Let the runs of a waiting lab end."""
    lab.with_suffix(".slow").unlink()


def wait_again(lab: Path) -> None:
    """Let the next runs of a waiting lab wait."""
    lab.with_suffix(".slow").touch()


def tries(experiments: Sequence[Experiment]) -> dict[int, int]:
    """How often each was started."""
    return {e.number: e.attempt for e in experiments if e.attempt}


def failed(state: State) -> list[tuple[int, str]]:
    """Experiments that crashed."""
    return [(e.number, e.reason) for e in state.table if e.outcome == Outcome.CRASH]


def _is_bridge(process: psutil.Process, lab: Path) -> bool:
    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return "autoresearch_tui.cluster.bridge" in words and any(f'"{lab}"' in word for word in words)
