"""A history checker: journal, git, run folders and results.tsv of a lab must tell one and the same story."""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.fold import fold_all
from autoresearch_tui.engine.journal import read
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.lock import held
from autoresearch_tui.engine.results import render
from autoresearch_tui.engine.state import Stage, State, best_keep

ENDS = (ev.VerdictGiven, ev.ProposalVetoed, ev.ProposalWithdrawn)


def state_of(lab: Path, tag: str) -> State:
    """What the session's journal amounts to; nothing while there is none."""
    path = lab / ".autoresearch" / tag / "journal.jsonl"
    return fold_all(read(path)) if path.exists() else State()


def problems(lab: Path, tag: str, *, at_rest: bool = True) -> list[str]:
    """Every contradiction found; empty for a sound history. `at_rest`: no engine is at work any more."""
    folder = lab / ".autoresearch" / tag
    records = read(folder / "journal.jsonl")
    state = fold_all(records)
    found = [*_ends(records), *_git(lab, tag, state), *_runs(folder, state, records)]
    table = (folder / "results.tsv").read_text()
    if table != render(state):
        found.append("results.tsv is not the projection of the journal")
    if at_rest and held(lab / ".autoresearch" / "engine.lock"):
        found.append("the lab's lock is still held")
    return found


def _ends(records: tuple[ev.Record, ...]) -> list[str]:
    found = []
    made = [r.event.number for r in records if isinstance(r.event, ev.ProposalMade)]
    if made != list(range(len(made))):
        found.append(f"experiments are numbered {made}")
    ends = Counter(r.event.number for r in records if isinstance(r.event, ENDS))
    found += [f"experiment {number} ended {count} times" for number, count in ends.items() if count > 1]
    scores = Counter(r.event.number for r in records if isinstance(r.event, ev.RunScored))
    found += [f"experiment {number} was scored {count} times" for number, count in scores.items() if count > 1]
    return found


def _git(lab: Path, tag: str, state: State) -> list[str]:
    assert state.session is not None
    ledger = Ledger(lab)
    found = []
    if ledger.resolve(f"refs/heads/{state.session.branch}") != state.frontier_commit:
        found.append("the branch's head is not the best keep")
    refs = ledger.refs(f"refs/autoresearch/{tag}/")
    wanted = {f"refs/autoresearch/{tag}/{e.name}": e.commit for e in state.experiments}
    if refs != wanted:
        found.append(f"refs are {refs}, attempts are {wanted}")
    if any(e.overruled for e in state.experiments) or state.frontier != best_keep(state.experiments, state.session):
        return found  # a human chose where the search goes on
    keeps = [e for e in state.table if e.outcome == "keep"]
    bases = {e.commit for e in keeps}
    for older, newer in pairwise(keeps):
        assert older.value is not None
        assert newer.value is not None
        if not newer.value < older.value:
            found.append(f"#{newer.number} was kept with {newer.value} after {older.value}")
        beside = newer.device and newer.base in bases  # others were judged while it ran
        if newer.base != older.commit and not newer.side and not beside:
            found.append(f"#{newer.number} was kept but does not start from the keep before it")
    return found


def _runs(folder: Path, state: State, records: tuple[ev.Record, ...]) -> list[str]:
    found = []
    started = {r.event.number for r in records if isinstance(r.event, ev.RunStarted)}
    for experiment in state.experiments:
        run = folder / "runs" / experiment.name
        if experiment.stage is Stage.DONE and (run / "work").exists():
            found.append(f"{experiment.name}/work was left behind")
        if experiment.outcome in ("keep", "discard") and not (run / "score.json").exists():
            found.append(f"{experiment.name} has a verdict and no score.json")
        if experiment.number not in started and (run / "run.log").exists():
            found.append(f"{experiment.name} has a log and was never started")
        if experiment.run is not None and experiment.run.reason != "lost":
            ended = json.loads((run / "exit.json").read_text())
            if ended["reason"] != experiment.run.reason:
                found.append(f"{experiment.name} ended {ended['reason']}, the journal says {experiment.run.reason}")
    return found


def survivors(lab: Path) -> list[str]:
    """Processes that still work in the lab's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(lab) in word for word in words) and int(entry.name) != os.getpid():
            found.append(" ".join(words))
    return found
