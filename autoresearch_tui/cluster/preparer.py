"""Makes a lab ready on the node that this runs on, and tells how far it is."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable
from typing import Any

from autoresearch_tui.cluster import node_lab, seat
from autoresearch_tui.cluster.node_lab import LabParcel
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.preparing import lab_data
from autoresearch_tui.util.text import clean_line, describe

_LONGEST = 200


def prepare_here(lab: Lab, report: Callable[[str, float, float], None]) -> str:
    """Make this node's copy of a lab ready: environment, data, kernels. Returns what was done.

    `report` gets what is being done, and how much of it, of which total; 0 of 0 where that is unknown. Raises UserError
    with the preparer's last line.
    """

    def tell(said: lab_data.Report) -> None:
        stage, done, total = str(said.get("stage", "")), said.get("done"), said.get("total")
        if stage == "note":
            report(str(said.get("note", "")), 0, 0)
        elif stage and stage != "done" and isinstance(done, int | float) and isinstance(total, int | float):
            report(stage, done, total)

    return lab_data.prepare(lab, (), tell)


class Preparer:
    """Prepares one node in a thread of its own, and is asked how that goes. An actor of Ray's; knows nothing of Ray."""

    def __init__(self, node: str, lab: str) -> None:
        self._top = seat.folder(node, lab)
        self._now: dict[str, Any] = {"doing": "receives the lab", "share": None, "problem": "", "ready": False}

    def begin(self, parcel: LabParcel) -> None:
        """Start; returns at once."""
        threading.Thread(target=self._work, args=(parcel,), name="preparing", daemon=True).start()

    def progress(self) -> dict[str, Any]:
        """The fields of a NodeProgress, but for the node's name."""
        return self._now

    def _work(self, parcel: LabParcel) -> None:
        try:
            self._top.mkdir(parents=True, exist_ok=True)
            with (self._top / ".seat.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # seats of the node use the same copy
                lab = node_lab.make(self._top, parcel)
            prepare_here(lab, self._report)
            self._now = {"doing": "ready", "share": 1.0, "problem": "", "ready": True}
        except Exception as error:  # whatever a node's disk, network or packages raise is told to who asked for it
            line = clean_line(" ".join(str(error).split())) or type(error).__name__
            self._now = {**self._now, "problem": line}

    def _report(self, stage: str, done: float, total: float) -> None:
        share = min(1.0, done / total) if total > 0 else None
        self._now = {"doing": describe(stage, _LONGEST), "share": share, "problem": "", "ready": False}
