"""The messages between the engine and its bridge: one JSON object a line, on the bridge's pipes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import field

from autoresearch_tui.runs import run_folder
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

PROPOSAL, PACK = "proposal.json", "pack"
"""In place of the working copy of a run to be sent: its proposal, and the objects of its commit."""
KEEP = "keep"
"""In a run's folder while the files of `run.keep` are still on its node."""
SENT = "sent.json"
"""In a run's folder: its device and its try."""


class BridgeSpec(Frozen):
    """The arguments of a bridge. `session` is the session's folder, `found` the session's class.

    `known`: the fields of each DeviceJoined whose device has not left.
    """

    address: str
    lab: str
    tag: str
    root: str
    session: str
    base: str
    budget_seconds: float
    resources: Mapping[str, float]
    accelerator: str
    lost_after_seconds: float
    found: Mapping[str, str] = field(default_factory=dict)
    known: Sequence[Mapping[str, Any]] = ()


class Sent(Frozen):
    """`sent.json`. `accepted`: the node has confirmed that it has the run."""

    number: int
    attempt: int
    device: str
    accepted: bool = False

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        from autoresearch_tui.util.atomic import write

        write(folder / SENT, json.dumps([self.number, self.attempt, self.device, self.accepted]))

    @staticmethod
    def read(folder: Path) -> Sent | None:
        """None if the run was not sent."""
        try:
            return Sent(*json.loads((folder / SENT).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


def line(values: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def lost(note: str) -> bytes:
    """An `exit.json` for a run that was lost."""
    return end_record(RunEnd.LOST, note)


def end_record(reason: RunEnd, note: str) -> bytes:
    """An `exit.json` that no supervisor has written."""
    end = {
        "reason": reason,
        "exit_code": None,
        "signal": None,
        "seconds": 0.0,
        "log_bytes": 0,
        "strays": 0,
        "note": clean_line(note),
        "time": run_folder.now_utc(),
    }
    return json.dumps(end).encode()
