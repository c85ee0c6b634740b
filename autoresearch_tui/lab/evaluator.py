"""What a lab's evaluation may offer beside one score: new data for each verdict, and a holdout.

A lab offers either by reading a variable in a locked file. Only the referee gets these variables, never a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoresearch_tui.util.errors import UserError

if TYPE_CHECKING:
    from autoresearch_tui.lab.paths import Lab

DRAW = "AUTORESEARCH_DRAW"
"""The seed of a verdict's data, a decimal number below :data:`MOST_DRAWS`."""
SPLIT = "AUTORESEARCH_SPLIT"
"""`holdout` when the holdout is opened; unset before."""
HOLDOUT = "holdout"
FRESH, FIXED = "fresh", "fixed"
EMBARGOED = "embargoed"
MOST_DRAWS = 2**31
"""Every random number generator accepts a seed below this."""


def reads(lab: Lab, variable: str) -> bool:
    """Whether the lab has a referee, and a locked file of the checkout names the variable."""
    files = (lab.root / name for name in lab.settings.lab.locked) if lab.settings.metric.referee else ()
    return any(variable in path.read_text("utf-8", "replace") for path in files if path.is_file())


def has_holdout(lab: Lab) -> bool:
    """Whether there is a holdout: a split that the referee scores on request, or embargoed scores of a sealed one."""
    return reads(lab, SPLIT) or lab.settings.metric.sealed == EMBARGOED


def cannot_open(lab: Lab) -> str:
    """Why the holdout cannot be scored although the lab has one; empty if it can."""
    if lab.settings.cluster.address and reads(lab, SPLIT):
        return "the referee would score it in the runs' working copies, and those stay on the cluster's nodes"
    return ""


def check(lab: Lab) -> None:
    """Raises UserError for a fresh evaluator whose referee would score the same data again and again."""
    if lab.settings.metric.evaluator == FRESH and not reads(lab, DRAW):
        raise UserError(
            f"{lab.root}: `metric.evaluator` is fresh, and no locked file reads {DRAW}",
            "let the referee draw its data from that seed, or set `metric.evaluator` to fixed",
        )
