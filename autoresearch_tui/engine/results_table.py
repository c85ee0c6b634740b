"""results.tsv: the reference's five columns, derived whole from the state, rewritten atomically."""

from __future__ import annotations

import math
from pathlib import Path

from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.text import as_text, describe

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")


def render(state: State) -> str:
    """The table. The second column carries the lab's metric under its own name."""
    return "\n".join([header(state), *(row(experiment) for experiment in state.table)]) + "\n"


def header(state: State) -> str:
    """The names of the columns; a metric that is called like another column keeps the reference's name."""
    metric = COLUMNS[1] if state.session is None else describe(state.session.metric)
    return "\t".join((COLUMNS[0], COLUMNS[1] if metric in COLUMNS else metric, *COLUMNS[2:]))


def row(experiment: Experiment) -> str:
    """An experiment's row; of one without a verdict, which the table does not have yet, with how far it has come."""
    scored = experiment.outcome in SCORED and experiment.value is not None
    value = experiment.value if scored and experiment.value is not None else 0.0
    if experiment.status == Outcome.GIVEN_UP:
        value = math.nan  # no number: who takes the best of what did not crash must not find a 0
    memory = experiment.memory_gb if scored else 0.0
    return "\t".join(
        (
            experiment.commit[:7],
            f"{value:.6f}",
            f"{memory:.1f}",
            # Not its status: the reference knows no stopped runs.
            experiment.outcome or experiment.stage,
            as_text(describe(experiment.description)),
        )
    )


class LabTable:
    """`results.tsv` at the top of a lab: ours to rewrite only while its bytes are those that we wrote last."""

    def __init__(self, path: Path, mark: Path) -> None:
        self._path = path
        self._mark = mark

    def foreign(self) -> bool:
        """Whether another program or a human wrote or edited the table that is there now."""
        if self._path.exists() and not self._path.is_file():
            return True  # a folder, or a pipe that would be waited on for ever
        try:
            present = _digest(self._path.read_bytes())
        except FileNotFoundError:
            return False
        try:
            # Two lines: what we wrote last, and what we were about to write when we may have died.
            return present not in self._mark.read_text("ascii").split()
        except FileNotFoundError:
            return True

    def write(self, text: str) -> bool:
        """Rewrite the table; False if a foreign one stands there, which is left as it is."""
        if self.foreign():
            return False
        new = _digest(text.encode())
        old = self._mark.read_text("ascii").split()[:1] if self._mark.exists() else []
        write(self._mark, "\n".join([new, *old]) + "\n")
        write(self._path, text)
        return True


def _digest(data: bytes) -> str:
    import hashlib  # here: a screen that shows rows does not need it before its first picture

    return hashlib.sha256(data).hexdigest()
