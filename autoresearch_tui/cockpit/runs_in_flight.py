"""All runs in flight for the screen: the progress of each, the load of its device, and which one is shown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from autoresearch_tui.lab import devices
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.logs.lines import Progress, Splitter
from autoresearch_tui.logs.tail import FileTail
from autoresearch_tui.session import cluster_file, devices_now
from autoresearch_tui.session.cluster_file import ClusterNow, DeviceLoad
from autoresearch_tui.session.questions import DEVICE
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.status import Live, live

if TYPE_CHECKING:
    from autoresearch_tui.lab.machine_load import Sample

# Of a log that is not on the screen, at most this much of its end is read.
GLANCE_BYTES = 4096
# Each poll reads a quarter of the logs, but about 16 of them at most so that no key waits. Up to 64 logs are read at
# once when they are new.
_SHARE, _AT_A_TIME, _AT_ONCE = 4, 16, 64


class Glance:
    """The newest progress line of a log that is not on the screen."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._splitter = path, FileTail(path), Splitter()
        self.progress: Progress | None = None
        self.seen = 0.0

    def poll(self, now: float) -> None:
        """Reads the end of what is new."""
        if not self._file.grown:
            return
        first = not self._file.offset
        try:
            piece = self._file.read(GLANCE_BYTES, most_behind=GLANCE_BYTES)
            # At the first read, the line may have been written long ago.
            written = min(now, self._path.stat().st_mtime) if first else now
        except OSError:
            return
        if piece.restarted or piece.skipped:
            self._splitter = Splitter()
        chunk = self._splitter.feed(piece.data)
        found = chunk.current or next(iter(chunk.progress[-1:]), None)
        if found is not None:
            self.progress, self.seen = found, written


class RunsInFlight:
    """Polled by the app's one timer. It reads files only, so it neither blocks nor asks the cluster.

    `followed` is the device whose runs are shown, one after the other; None: always the newest run.
    """

    def __init__(self, files: SessionFiles) -> None:
        self._files = files
        self._cluster_path = files.cluster
        self._cluster_seen: tuple[int, ...] = ()
        self._cluster: ClusterNow | None = None
        self._loads: Mapping[str, DeviceLoad] = {}
        self._glances: dict[tuple[int, int, str], Glance] = {}
        self._turn = 0
        self.followed: str | None = None
        self._last: int | None = None

    # -- reading ---------------------------------------------------------------------------------------------

    def poll(self, runs: Sequence[Experiment], now: float) -> None:
        """Reads what is new in the runs' logs, of many logs some at a time by turns, and in the cluster's file."""
        self._read_cluster()
        keys = {(run.number, run.attempt, run.started_at): run for run in runs}
        for key in self._glances.keys() - keys:
            del self._glances[key]
        self._turn += 1
        share = max(_SHARE, len(keys) // _AT_A_TIME)
        for place, (key, run) in enumerate(keys.items()):
            new = key not in self._glances
            if new:
                self._glances[key] = Glance(self._files.run(run.number).log)
            if (new and len(keys) <= _AT_ONCE) or (place + self._turn) % share == 0:
                self._glances[key].poll(now)

    def _read_cluster(self) -> None:
        try:
            found = self._cluster_path.stat()
        except OSError:
            self._cluster, self._cluster_seen = None, ()
            return
        seen = (found.st_mtime_ns, found.st_size, found.st_ino)
        if seen != self._cluster_seen:
            before, now = self._cluster, cluster_file.read(self._cluster_path)
            if before is not None and now is not None and now.problem and not now.devices:
                # The engine cannot reach the cluster: the devices that were known last are shown as old.
                now = replace(now, devices=before.devices, nodes=before.nodes)
            self._cluster, self._cluster_seen = now, seen

    def take_load(self, names: Sequence[str], sample: Sample) -> None:
        """Takes the load of this machine's devices of these names."""
        self._loads = loads_of(names, sample)

    # -- results ---------------------------------------------------------------------------------------------

    @property
    def beside(self) -> devices_now.Now:
        """The facts about the devices that are not in the journal."""
        return devices_now.Now(self._cluster, self._loads)

    def lives(self, budget: float | None) -> dict[int, Live]:
        """The progress in each log, by the number of its experiment."""
        return {
            number: live(number, glance.progress, budget, glance.seen)
            for (number, _, _), glance in self._glances.items()
            if glance.progress is not None
        }

    # -- which one is shown ----------------------------------------------------------------------------------

    def follow(self, state: State, device: str | None) -> None:
        """Shows the runs of this device from now on, beginning with its last one; None: always the newest run."""
        self.followed, self._last = device, None
        if device is not None and not any(run.device == device for run in state.in_flight):
            before = next((e for e in state.experiments.newest(DEVICE, device) if e.started_at), None)
            self._last = before.number if before is not None else None

    def shown(self, state: State) -> Experiment | None:
        """The run of the followed device, or its last one; else the newest run in flight. None if there is none."""
        if self.followed is None:
            return state.running
        run = next((run for run in state.in_flight if run.device == self.followed), None)
        if run is not None:
            self._last = run.number
            return run
        if self._last is not None and self._last < len(state.experiments):
            return state.experiments[self._last]
        return state.running


def loads_of(names: Sequence[str], sample: Sample) -> dict[str, DeviceLoad]:
    """The load of the devices of these names in a sample of this machine."""
    accelerators = [name for name in names if not devices.cpus(name)]
    if len(accelerators) == len(sample.devices):
        pairs = list(zip(accelerators, sample.devices, strict=True))
    else:
        pairs = [(str(each.index), each) for each in sample.devices if str(each.index) in accelerators]
    found = {
        name: DeviceLoad(
            name, "", each.name, -1, each.busy, each.memory_used, each.memory_total, each.temperature, each.power,
            sample.time, f"throttled by {each.throttled}" if each.throttled else "",
        )
        for name, each in pairs
    }  # fmt: skip
    for name in names:
        cores = [sample.cores[core] for core in devices.cpus(name) if core < len(sample.cores)]
        if cores:
            found[name] = DeviceLoad(name, "", "", busy=statistics.fmean(cores), heard=sample.time)
    return found
