"""Sessions on many devices for the tests: journals, logs and `cluster.json` as an engine on a cluster leaves them."""

from __future__ import annotations

from collections.abc import Callable

from autoresearch_tui.session import cluster_file
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.cluster_file import ClusterNow, DeviceLoad, NodeProgress
from tests.cockpit.fakes import FakeSession

H100 = "NVIDIA H100 80GB HBM3"
DEVICES = tuple(f"gpu-{node}:{index}" for node in range(1, 5) for index in range(4))
IDEAS = (
    "MATRIX_LR 0.04→0.03", "WEIGHT_DECAY 0.2→0.1", "rotary base 10,000 → 200,000", "WINDOW SSSL→SSLL",
    "value embeddings on every layer instead of every other one", "EMBEDDING_LR 0.6→0.8", "DEPTH 8→12",
    "gate each head of the attention", "WARMDOWN 0.5→0.7", "halve the batch, double the steps", "softcap 15→30",
    "ADAM_BETAS (0.8, 0.95)→(0.9, 0.95)", "SCALAR_LR 0.5→0.3", "init scale 0.02→0.01", "squared ReLU → SwiGLU",
    "untie the head",
)  # fmt: skip


def join(session: FakeSession, *names: str) -> None:
    session.add(*(ev.DeviceJoined(name, name.partition(":")[0], H100, {"torch": "2.9.1"}) for name in names))


def begun(session: FakeSession, names: tuple[str, ...] = DEVICES) -> None:
    """Each device has joined and run its baseline."""
    session.begin()
    join(session, *names)
    for place, name in enumerate(names):
        number = baseline(session)
        session.start(number, name)
        session.end(number, 0.9979 + place % 3 / 10_000, "discard" if number else "keep", seconds=0.0)


def baseline(session: FakeSession) -> int:
    """One that waits for a device."""
    first, number = session.count == 0, session.count
    about = {} if first else {"repeat_of": 0, "seed": number}
    made = {"author": "baseline", "added": 0, "removed": 0, "tokens": 0, "usd": None, "hypothesis": "", **about}
    session.proposal("baseline", **made)  # type: ignore[arg-type]
    session.files.run(number).diff.write_text("")
    session.approve(number, "engine")
    return number


def run(session: FakeSession, device: str, idea: str, upto: float) -> int:
    """A run of a proposal as far as `upto`."""
    number = session.propose(idea)
    session.approve(number, "auto")
    session.start(number, device)
    session.train(number, upto, floor=2.9 + number / 1000)
    return number


def sixteen(session: FakeSession) -> None:
    """Four nodes of four: 12 train, a new device has its baseline to do, one is set aside, and a node is lost."""
    names = tuple(name for name in DEVICES if name != "gpu-3:3")
    begun(session, names)
    session.now += 1200
    session.add(
        ev.DeviceSetAside("gpu-2:1", "its baseline is 1.021400, and those of 14 others lie between 0.99 and 1.00"),
        ev.DeviceLeft("gpu-4:2", "its node is gone"),
        ev.DeviceLeft("gpu-4:3", "its node is gone"),
        ev.NodeRefused("gpu-5", "its data's manifest is 3f9a…, and that of the session 77c1…", "prepare --nodes gpu-5"),
    )
    join(session, "gpu-3:3")
    for place, name in enumerate(DEVICES):
        if name not in ("gpu-2:1", "gpu-3:3", "gpu-4:2", "gpu-4:3"):
            run(session, name, IDEAS[place], 0.05 + place * 0.06)
    session.now += 170
    baseline(session)
    told(session)


def told(session: FakeSession, problem: str = "", since: float = 0.0, jitter: int = 0) -> None:
    """`cluster.json` as of now; `jitter` moves the load a little."""
    runs = {e.device: e.number for e in session.state.in_flight}
    fleet = session.state.fleet
    loads = tuple(
        DeviceLoad(
            name, device.node, device.model, runs.get(name, -1),
            0.91 + (place + jitter) % 8 / 100 if name in runs else 0.0,
            int((44.1 if name in runs else 0.4) * 2**30), 80 * 2**30, 58 + place % 9, 612.0, session.now - 1,
            "throttled by heat" if name == "gpu-1:2" else "",
        )
        for place, (name, device) in enumerate(fleet.devices.items())
        if not device.left
    )  # fmt: skip
    nodes = (NodeProgress("gpu-6", "data: 41 of 64 shards", 0.64),)
    now = ClusterNow("10.0.0.1:6379", session.now, problem, since, loads, nodes)
    cluster_file.write(session.files.cluster, now)


def unreachable(session: FakeSession) -> None:
    """The same, an hour after the head of the cluster went silent."""
    sixteen(session)
    told(session, "no answer from 10.0.0.1:6379", session.now - 3600)
    session.now += 40


def four_here(session: FakeSession) -> None:
    """One machine with four devices that the lab names, three of them at work."""
    session.begin()
    session.add(
        ev.EngineStarted(
            1, "here", False, "1", "search", "ask", "hold", 300, 600, devices=4, device_names=("0", "1", "2", "3")
        )
    )
    session.whole("baseline", 0.9979, "keep")
    for place, name in enumerate("013"):
        run(session, name, IDEAS[place], 0.2 + place * 0.2)
    session.now += 60


STORIES: dict[str, Callable[[FakeSession], None]] = {"fleet": sixteen, "unreachable": unreachable, "four": four_here}
