"""States for tests, without a journal."""

from __future__ import annotations

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.state import Experiment, Stage, State


def experiment(number: int, outcome: str = "discard", value: float | None = None, **more: object) -> Experiment:
    """One that is done, unless told otherwise."""
    fields: dict[str, object] = {
        "commit": f"c{number}",
        "base": "c0",
        "description": f"idea {number}",
        "hypothesis": f"because of {number}",
        "author": "claude" if number else "baseline",
        "program": "",
        "added": 1,
        "removed": 1,
        "flags": (),
        "low_risk": True,
        "tokens": 0,
        "usd": None,
        "stage": Stage.DONE if outcome else Stage.REVIEW,
        "proposed_at": "",
        "outcome": outcome,
        "value": value,
        "ended_at": f"{number:06d}",
        "turn": number,
        "run": ev.RunEnded(number, "crashed" if outcome == "crash" else "finished", 0, 1.0),
    }
    return Experiment(number=number, **{**fields, **more})  # type: ignore[arg-type]


def state(*experiments: Experiment, goal: str = "minimize", **more: object) -> State:
    """A session with these experiments; its frontier is the last keep."""
    began = ev.SessionBegan("t", "autoresearch/t", "c0", "val_bpb", goal, 0.0, 300, ("train.py",), {})
    keeps = [e.number for e in experiments if e.outcome == "keep"]
    frontier = keeps[-1] if keeps else None
    return State(session=began, experiments=experiments, frontier=frontier, **more)  # type: ignore[arg-type]
