"""Pure: what each device of a session is doing, from the outline and the devices' load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import field

from autoresearch_tui.session import limits
from autoresearch_tui.session.cluster_file import ClusterNow, DeviceLoad
from autoresearch_tui.session.fleet_baselines import BASELINE
from autoresearch_tui.session.outline import Outline
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.columns import cells
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

# How long a device that left is still shown: a night.
FORGOTTEN_AFTER = 12 * 3600


class Doing(StrEnum):
    """What a device is doing, or why it does nothing."""

    TRAINS = "train"
    BASELINE = "baseline"
    SCORES = "scoring"
    WAITS = "awaiting baseline"
    IDLE = "idle"
    ASIDE = "set aside"
    LEFT = "lost"
    PREPARES = "preparing"
    REFUSED = "refused"


BUSY = frozenset({Doing.TRAINS, Doing.BASELINE, Doing.SCORES})
OF_NODES = frozenset({Doing.PREPARES, Doing.REFUSED})
"""These are of nodes without a usable device."""


class Row(Frozen):
    """A device, or a node without one, whose `name` is empty. Texts are as the node wrote them."""

    name: str
    node: str
    doing: Doing
    model: str = ""
    experiment: Experiment | None = None
    load: DeviceLoad | None = None
    why: str = ""
    """Why a device is not used, or what is being done to a node."""
    remedy: str = ""
    share: float | None = None
    """Progress of a node's preparation, 0 to 1."""

    @property
    def key(self) -> str:
        """Unique among the rows."""
        return self.name or f"node {self.node}"

    @property
    def fault(self) -> str:
        """Its last problem, or empty."""
        return self.load.fault if self.load is not None else ""


class Now(Frozen):
    """What the journal does not have: the cluster's state, or the load of this machine's devices by name."""

    cluster: ClusterNow | None = None
    loads: Mapping[str, DeviceLoad] = field(default_factory=dict)


def several(found: Outline) -> bool:
    """Whether a session has more than one device, or a cluster."""
    return bool(found.fleet.devices or found.fleet.refused or len(found.in_flight) > 1 or len(names(found)) > 1)


def names(found: Outline) -> tuple[str, ...]:
    """The devices of this machine that the lab names."""
    engine = found.engine or found.last_engine
    return engine.device_names if engine is not None else ()


def rows(found: Outline, now: Now, moment: float) -> tuple[Row, ...]:
    """Every device in the order in which it joined, those of one node together; then the nodes that have none.

    `moment` is in seconds since 1970.
    """
    runs = {e.device: e for e in found.in_flight}
    cluster = now.cluster
    loads = {**now.loads, **({each.device: each for each in cluster.devices} if cluster else {})}
    if not (found.fleet.devices or found.fleet.refused or (cluster and cluster.nodes)):
        known = dict.fromkeys((*names(found), *sorted(runs)))
        return tuple(_of_machine(name, runs.get(name), loads.get(name)) for name in known)
    devices = [_of_cluster(name, found, runs.get(name), loads.get(name)) for name in found.fleet.devices]
    recent = [row for row in devices if row.doing is not Doing.LEFT or _left_for(found, row, moment) < FORGOTTEN_AFTER]
    # Runs on devices that the journal does not know are shown too.
    recent += [_of_machine(name, run, loads.get(name)) for name, run in runs.items() if name not in found.fleet.devices]
    return (*_together(recent), *_nodes(found, cluster))


def _of_machine(name: str, run: Experiment | None, load: DeviceLoad | None) -> Row:
    model = load.model if load is not None else ""
    return Row(name, "", Doing.IDLE if run is None else _running(run), model, run, load)


def _of_cluster(name: str, found: Outline, run: Experiment | None, load: DeviceLoad | None) -> Row:
    device = found.fleet.devices[name]
    doing, why = Doing.IDLE, ""
    if device.left:
        # A run may still be in flight: until it is found lost, or continues when the node is back.
        doing, why = Doing.LEFT, device.left
    elif run is not None:
        doing, why = _running(run), device.set_aside
    elif device.set_aside:
        doing, why = Doing.ASIDE, device.set_aside
    elif name in found.unready:
        doing = Doing.WAITS
    return Row(name, device.node, doing, device.model, run, load, why)


def _running(run: Experiment) -> Doing:
    if run.stage is not Stage.RUNNING:
        return Doing.SCORES
    return Doing.BASELINE if run.author == BASELINE or not run.number else Doing.TRAINS


def _left_for(found: Outline, row: Row, moment: float) -> float:
    left_at = found.fleet.devices[row.name].left_at
    return moment - timestamps.seconds(left_at) if left_at else 0.0


def _together(found: Iterable[Row]) -> list[Row]:
    by_node: dict[str, list[Row]] = {}
    for row in found:
        by_node.setdefault(row.node, []).append(row)
    return [row for group in by_node.values() for row in group]


def _nodes(found: Outline, cluster: ClusterNow | None) -> list[Row]:
    used = {device.node for device in found.fleet.usable}
    # A node with several devices is prepared once but may be listed for each of them.
    named = {each.node: each for each in reversed(cluster.nodes if cluster else ()) if each.node not in used}
    making = [Row("", name, Doing.PREPARES, why=each.doing, share=each.share) for name, each in named.items()]
    refused = [
        Row("", name, Doing.REFUSED, why=each.reason, remedy=each.remedy)
        for name, each in found.fleet.refused.items()
        if name not in named
    ]
    return [*making, *refused]


def busy_first(found: Sequence[Row], lately: Iterable[str] = ()) -> list[Row]:
    """Busy devices first, otherwise in the same order; those named in `lately` count as busy."""
    stay = frozenset(lately)
    return sorted(found, key=lambda row: not (row.doing in BUSY or row.key in stay))


def summary(found: Sequence[Row], *, nodes: bool = True) -> str:
    """`14/16 train, 1 baseline, 1 lost, 1 node refused`; without `nodes` the last is left out."""
    devices = [row for row in found if row.doing not in OF_NODES]
    counts = Counter(row.doing for row in found)
    words = [f"{counts[Doing.TRAINS]}/{len(devices)} train"] if devices else []
    others = (Doing.BASELINE, Doing.SCORES, Doing.WAITS, Doing.IDLE, Doing.ASIDE, Doing.LEFT)
    words += [f"{counts[doing]} {doing}" for doing in others if counts[doing]]
    for doing, end in ((Doing.PREPARES, "being prepared"), (Doing.REFUSED, "refused")):
        if counts[doing] and nodes:
            words.append(f"{counts[doing]} node{'s' * (counts[doing] > 1)} {end}")
    return ", ".join(words)


def unreachable(cluster: ClusterNow | None) -> str:
    """`cluster not reachable since 03:12`; empty if it is reachable, or there is none."""
    if cluster is None or not cluster.problem:
        return ""
    since = f" since {limits.local(cluster.since)}" if cluster.since else ""
    return f"cluster not reachable{since}"


def in_one_line(found: Sequence[Row], cluster: ClusterNow | None, width: int) -> tuple[str, str]:
    """:func:`summary` and :func:`unreachable`, the former shortened until both fit into a line."""
    lost, devices = unreachable(cluster), summary(found, nodes=False)
    texts = (summary(found), devices, devices.split(",")[0])
    pairs = [(text, words) for text in texts for words in (lost, lost.replace("cluster not reachable", "unreachable"))]
    fitting = (pair for pair in pairs if cells(pair[0]) + cells(pair[1]) + 2 * bool(pair[1]) <= width)
    return next(fitting, pairs[-1])


def short_model(model: str) -> str:
    """`H100`, `RTX 4090`: a short form of an accelerator's model."""
    words = clean_line(model).removeprefix("NVIDIA ").removeprefix("GeForce ").split(" ")
    if words[0] in ("RTX", "GTX", "Tesla", "Quadro", "Instinct", "AMD") and len(words) > 1:
        return " ".join(words[:2])
    return words[0].split("-")[0]
