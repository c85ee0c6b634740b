"""results.tsv: the reference's five columns, derived whole from the state, rewritten atomically."""

from __future__ import annotations

import math
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from autoresearch_tui.session.ends import JUDGED, SCORED, Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.text import as_text, describe

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")


def render(state: State) -> str:
    """The table. The second column carries the lab's metric under its own name."""
    told = zip(*map(state.experiments.column, _Row._fields), state.experiments.column("judged_after"), strict=True)
    judged = ((after, _line(_Row(*fields))) for *fields, after in told if fields[0] in JUDGED)
    return "\n".join([header(state), *(line for _, line in sorted(judged, key=itemgetter(0)))]) + "\n"


def header(state: State) -> str:
    """The names of the columns; a metric that is called like another column keeps the reference's name."""
    metric = COLUMNS[1] if state.session is None else describe(state.session.metric)
    return "\t".join((COLUMNS[0], COLUMNS[1] if metric in COLUMNS else metric, *COLUMNS[2:]))


def row(experiment: Experiment) -> str:
    """An experiment's row; of one without a verdict, which the table does not have yet, with how far it has come."""
    said = _Row(*(getattr(experiment, name) for name in _Row._fields))
    return _line(said._replace(outcome=said.outcome or experiment.stage))


class _Row(NamedTuple):
    """What a row tells of an experiment."""

    outcome: str
    status: str
    commit: str
    value: float | None
    memory_gb: float
    description: str


def _line(row: _Row) -> str:
    scored = row.outcome in SCORED and row.value is not None
    value = row.value if scored and row.value is not None else 0.0
    if row.status == Outcome.GIVEN_UP:
        value = math.nan  # no number: who takes the best of what did not crash must not find a 0
    memory = row.memory_gb if scored else 0.0
    # Not its status: the reference knows no stopped runs.
    return "\t".join((row.commit[:7], f"{value:.6f}", f"{memory:.1f}", row.outcome, as_text(describe(row.description))))


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
