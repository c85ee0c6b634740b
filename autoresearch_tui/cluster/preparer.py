"""Prepares a lab on the node that this runs on, and reports the progress."""

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
    """Prepares this node's copy of a lab: environment, data, kernels. Returns what was done.

    `report` gets the stage, and how much is done of which total; 0 of 0 if unknown. Raises UserError with the
    preparer's last line.
    """

    def pass_on(step: lab_data.Report) -> None:
        stage, done, total = str(step.get("stage", "")), step.get("done"), step.get("total")
        if stage == "note":
            report(str(step.get("note", "")), 0, 0)
        elif stage and stage != "done" and isinstance(done, int | float) and isinstance(total, int | float):
            report(stage, done, total)

    return lab_data.prepare(lab, (), pass_on)


class Preparer:
    """Prepares one node in a thread. A Ray actor that itself does not use Ray."""

    def __init__(self, node: str, lab: str) -> None:
        self._top = seat.folder(node, lab)
        self._now: dict[str, Any] = {"doing": "receives the lab", "share": None, "problem": "", "ready": False}

    def begin(self, parcel: LabParcel) -> None:
        """Returns at once."""
        threading.Thread(target=self._work, args=(parcel,), name="preparing", daemon=True).start()

    def progress(self) -> dict[str, Any]:
        """The fields of a NodeProgress, except the node's name."""
        return self._now

    def _work(self, parcel: LabParcel) -> None:
        try:
            self._top.mkdir(parents=True, exist_ok=True)
            with (self._top / ".seat.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # seats of the node use the same copy
                lab = node_lab.make(self._top, parcel)
            prepare_here(lab, self._report)
            self._now = {"doing": "ready", "share": 1.0, "problem": "", "ready": True}
        except Exception as error:  # any fault of a node's disk, network or packages is reported
            line = clean_line(" ".join(str(error).split())) or type(error).__name__
            self._now = {**self._now, "problem": line}

    def _report(self, stage: str, done: float, total: float) -> None:
        share = min(1.0, done / total) if total > 0 else None
        self._now = {"doing": describe(stage, _LONGEST), "share": share, "problem": "", "ready": False}
