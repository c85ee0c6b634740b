"""The only module that imports Ray: nodes, and seats on them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from autoresearch_tui.cluster.preparer import Preparer
from autoresearch_tui.cluster.seat import Seat
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

NAMESPACE = "autoresearch"
# Threads of a seat: a referee may run while a log is read.
_CONCURRENT = 8
_REASON = 300
_SLICE_SECONDS = 0.5


class ClusterUnreachable(Exception):
    """The cluster cannot be joined, or no longer answers."""


class SeatLost(Exception):
    """A seat is dead, cannot be made, or does not answer."""


class SeatSilent(SeatLost):
    """A seat has not answered in time: it may hang."""


class SeatRefused(Exception):
    """A seat raised an error; `kind` is the name of its class."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Node(Frozen):
    """A living node. `name` is unique in the cluster; `leaving`: why it is about to be taken away."""

    name: str
    id: str
    resources: Mapping[str, float]
    leaving: str = ""

    def places(self, wanted: Mapping[str, float]) -> int:
        """How many runs that need `wanted` fit on it at once."""
        return int(min((self.resources.get(name, 0) // share for name, share in wanted.items() if share), default=0))


class Cluster:
    """A connection to a running cluster; one for each process, until the process ends."""

    def __init__(self, address: str) -> None:
        """Raises ClusterUnreachable. Takes seconds."""
        import ray

        self._ray: Any = ray
        self._names: dict[str, str] = {}  # by Ray's id
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.CRITICAL)
        except Exception as error:  # Ray raises ConnectionError, RuntimeError and its own
            raise ClusterUnreachable(_in_a_line(error)) from None

    def nodes(self) -> list[Node]:
        """The living nodes, by name. Raises ClusterUnreachable."""
        try:
            found = [node for node in self._ray.nodes() if node["Alive"]]
            leaving = self._leaving()
        except Exception as error:
            raise ClusterUnreachable(_in_a_line(error)) from None
        nodes = [
            Node(self._name(node, found), node["NodeID"], node["Resources"], leaving.get(node["NodeID"], ""))
            for node in sorted(found, key=lambda node: str(node["NodeID"]))
        ]
        return sorted(nodes, key=lambda node: node.name)

    def _name(self, node: Mapping[str, Any], living: list[Mapping[str, Any]]) -> str:
        """The node's name, constant while it lives; with a part of its id if the name is taken."""
        own = str(node["NodeID"])
        if own not in self._names:
            name = clean_line(node["NodeName"]) or own[:8]
            taken = {self._names.get(other["NodeID"]) for other in living}
            self._names[own] = f"{name}-{own[:6]}" if name in taken else name
        return self._names[own]

    def _leaving(self) -> Mapping[str, str]:
        """Nodes that Ray is draining: preempted by their cloud, or scaled down."""
        from ray._private.state import state

        draining: Any = getattr(state, "get_draining_nodes", dict)()
        return dict.fromkeys(draining, "its node is being taken away")

    def ask_for(self, resources: Mapping[str, float], count: int) -> None:
        """Tells a cluster that scales how many devices are wanted; others ignore it."""
        from ray.autoscaler.sdk import request_resources

        with contextlib.suppress(Exception):  # faults of the connection show in other calls
            request_resources(bundles=[dict(resources)] * count)

    def seat(self, device: str, node: Node, lab: str, tag: str, resources: Mapping[str, float]) -> SeatHandle:
        """The device's seat, made on the node if there is none. Does not wait for it. Raises SeatLost."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        rest = dict(resources)
        try:
            actor = (
                self._ray.remote(Seat)
                .options(
                    name=f"{lab}/{tag}/{device}",
                    namespace=NAMESPACE,
                    lifetime="detached",
                    get_if_exists=True,
                    num_cpus=rest.pop("CPU", 0),
                    num_gpus=rest.pop("GPU", 0),
                    resources=rest,
                    max_concurrency=_CONCURRENT,
                    max_restarts=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
                )
                .remote(node.name, device, lab, tag)
            )
        except Exception as error:
            raise SeatLost(_in_a_line(error)) from None
        return SeatHandle(self._ray, actor)

    def preparer(self, node: Node, lab: str) -> SeatHandle:
        """The actor that prepares the lab on the node; it ends with this process. Raises SeatLost."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        try:
            there = NodeAffinitySchedulingStrategy(node.id, soft=False)
            actor = self._ray.remote(Preparer).options(num_cpus=0, max_concurrency=2, scheduling_strategy=there)
            return SeatHandle(self._ray, actor.remote(node.name, lab))
        except Exception as error:
            raise SeatLost(_in_a_line(error)) from None


class SeatHandle:
    """Calls a seat's methods."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor

    def call(
        self, method: str, *arguments: Any, seconds: float = 30.0, given_up: Callable[[], bool] | None = None
    ) -> Any:
        """The method's result. Raises SeatSilent without an answer in time, or when `given_up` returns True;
        SeatLost, SeatRefused."""
        try:
            asked = getattr(self._actor, method).remote(*arguments)
            until = time.monotonic() + seconds
            while given_up is not None and not self._ray.wait([asked], timeout=_SLICE_SECONDS)[0]:
                if given_up() or time.monotonic() > until:
                    break
            return self._ray.get(asked, timeout=seconds if given_up is None else 0)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if error.cause is not None else error
            raise SeatRefused(type(cause).__name__, _in_a_line(cause)) from None
        except self._ray.exceptions.GetTimeoutError:
            raise SeatSilent(f"no answer to `{method}` within {seconds:g} s") from None
        except Exception as error:
            raise SeatLost(_in_a_line(error)) from None

    def kill(self) -> None:
        """Ends the seat; its run keeps its supervisor."""
        try:
            self._ray.kill(self._actor)
        except Exception:  # it or its node is dead already
            return


def _in_a_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return clean_line(lines[0] if lines else type(error).__name__)[:_REASON]
