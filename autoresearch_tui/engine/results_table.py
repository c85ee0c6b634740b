"""results.tsv: the reference's five columns, derived from the state, rewritten atomically."""

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
    rows = zip(*map(state.experiments.column, _Row._fields), state.experiments.column("judged_after"), strict=True)
    judged = ((after, _line(_Row(*fields))) for *fields, after in rows if fields[0] in JUDGED)
    return "\n".join([header(state), *(line for _, line in sorted(judged, key=itemgetter(0)))]) + "\n"


def header(state: State) -> str:
    """The header line; a metric with the name of another column gets the reference's name."""
    metric = COLUMNS[1] if state.session is None else describe(state.session.metric)
    return "\t".join((COLUMNS[0], COLUMNS[1] if metric in COLUMNS else metric, *COLUMNS[2:]))


def row(experiment: Experiment) -> str:
    """An experiment's row; without a verdict, when it is not in the table yet, with its stage as the status."""
    fields = _Row(*(getattr(experiment, name) for name in _Row._fields))
    return _line(fields._replace(outcome=fields.outcome or experiment.stage))


class _Row(NamedTuple):
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
        value = math.nan  # not 0, which would be the best of all that did not crash
    memory = row.memory_gb if scored else 0.0
    # Not its status, as the reference has no stopped runs.
    return "\t".join((row.commit[:7], f"{value:.6f}", f"{memory:.1f}", row.outcome, as_text(describe(row.description))))


class LabTable:
    """`results.tsv` at the top of a lab: rewritten only while its bytes are those that we wrote last."""

    def __init__(self, path: Path, mark: Path) -> None:
        self._path = path
        self._mark = mark

    def foreign(self) -> bool:
        """Whether another program or a human wrote or edited the present table."""
        if self._path.exists() and not self._path.is_file():
            return True  # a folder, or a pipe, whose reading would block
        try:
            present = _digest(self._path.read_bytes())
        except FileNotFoundError:
            return False
        try:
            # Two lines: what we wrote last, and what we were about to write.
            return present not in self._mark.read_text("ascii").split()
        except FileNotFoundError:
            return True

    def write(self, text: str) -> bool:
        """Rewrite the table; False if there is a foreign one, which is left alone."""
        if self.foreign():
            return False
        new = _digest(text.encode())
        old = self._mark.read_text("ascii").split()[:1] if self._mark.exists() else []
        write(self._mark, "\n".join([new, *old]) + "\n")
        write(self._path, text)
        return True


def _digest(data: bytes) -> str:
    import hashlib  # not needed before a screen's first paint

    return hashlib.sha256(data).hexdigest()
