"""results.tsv: the reference's five columns, derived whole from the state, rewritten atomically."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.text import describe

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription"


def render(state: State) -> str:
    """The table. The second column carries the lab's metric, under the name that every reader of it expects."""
    return "\n".join([HEADER, *(_row(experiment) for experiment in state.table)]) + "\n"


def _row(experiment: Experiment) -> str:
    scored = experiment.outcome in ("keep", "discard") and experiment.value is not None
    value = experiment.value if scored and experiment.value is not None else 0.0
    memory = experiment.memory_gb if scored else 0.0
    return "\t".join(
        (
            experiment.commit[:7],
            f"{value:.6f}",
            f"{memory:.1f}",
            experiment.outcome,
            describe(experiment.description),
        )
    )


def write(path: Path, text: str) -> None:
    """Replace `path` by `text`: readers see the old file or the new one, never half of one. One writer at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Always the same name: what a killed engine left is written over by the next.
    half = path.with_name(partial(path.name))
    try:
        with half.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def partial(name: str) -> str:
    """What a file is called until it is whole."""
    return f".{name}.partial"


class LabTable:
    """`results.tsv` at the top of a lab: ours to rewrite only while its bytes are those that we wrote last."""

    def __init__(self, path: Path, mark: Path) -> None:
        self._path = path
        self._mark = mark

    def foreign(self) -> bool:
        """Whether somebody else wrote, or edited, the table that is there now."""
        if self._path.exists() and not self._path.is_file():
            return True  # a folder, or a pipe that would be waited on for ever
        try:
            present = hashlib.sha256(self._path.read_bytes()).hexdigest()
        except FileNotFoundError:
            return False
        try:
            # Two lines: what we wrote last, and what we were about to write when we may have died.
            return present not in self._mark.read_text("ascii").split()
        except FileNotFoundError:
            return True

    def write(self, text: str) -> bool:
        """Rewrite the table; False where a foreign one stands there, which is left as it is."""
        if self.foreign():
            return False
        new = hashlib.sha256(text.encode()).hexdigest()
        old = self._mark.read_text("ascii").split()[:1] if self._mark.exists() else []
        write(self._mark, "\n".join([new, *old]) + "\n")
        write(self._path, text)
        return True
