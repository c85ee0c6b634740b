"""A history checker: journal, git, run folders and results.tsv of a lab must tell one and the same story.

:func:`contradictions` may never be, not even in the instant after a kill. :func:`problems` are those, and what the next
start has to put right: where the branch is, the table, what lies about.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from autoresearch_tui.engine.results_table import render
from autoresearch_tui.lab.engine_lock import held
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.runs import runner
from autoresearch_tui.session import draws
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.fold import fold, fold_all
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.state import IN_FLIGHT, WAITING, Experiment, Stage, State, best_keep
from autoresearch_tui.util import timestamps
from tests.conftest import git

ENDS = (ev.VerdictGiven, ev.ProposalVetoed, ev.ProposalWithdrawn)
REST_SECONDS = 60.0

# In which stage an experiment must be for something to happen to it.
_STAGES: dict[type, frozenset[Stage]] = {
    ev.ReviewOpened: frozenset({Stage.PROPOSED, Stage.REVIEW}),
    ev.ProposalHeld: WAITING,
    ev.ProposalApproved: WAITING,
    ev.ProposalVetoed: WAITING,
    ev.ProposalRebased: WAITING,
    ev.ProposalWithdrawn: WAITING,
    ev.RunStarted: frozenset({Stage.APPROVED, Stage.ENDED}),
    ev.RunInvalidated: frozenset({Stage.RUNNING}),
    ev.RunStopAsked: frozenset({Stage.RUNNING}),
    ev.RunGivenUp: frozenset({Stage.RUNNING}),
    ev.RunEnded: frozenset({Stage.RUNNING}),
    ev.RunRequeued: frozenset({Stage.ENDED}),
    ev.DataDrawn: frozenset({Stage.ENDED}),
    ev.RunScored: frozenset({Stage.ENDED}),
    ev.Rescored: frozenset({Stage.SCORED, Stage.CONFIRMING, Stage.DONE}),
    ev.VerdictDeferred: frozenset({Stage.SCORED}),
    ev.VerdictGiven: frozenset({Stage.ENDED, Stage.SCORED, Stage.CONFIRMING}),
    ev.VerdictOverruled: frozenset({Stage.CONFIRMING, Stage.DONE}),
}


def state_of(lab: Path, tag: str) -> State:
    """What the session's journal amounts to; nothing while there is none."""
    path = lab / ".autoresearch" / tag / "journal.jsonl"
    return fold_all(read(path)) if path.exists() else State()


def contradictions(lab: Path, tag: str) -> list[str]:
    """What no kill at any instruction may lead to."""
    folder = lab / ".autoresearch" / tag
    return _contradictions(folder, _refs(lab), read(folder / "journal.jsonl"))


def _contradictions(folder: Path, refs: Mapping[str, str], records: tuple[ev.Record, ...]) -> list[str]:
    return [
        *_order(records),
        *_ends(records),
        *_requests(records),
        *_reachable(refs, folder.name, records),
        *_starts(folder, fold_all(records)),
    ]


def problems(lab: Path, tag: str, *, at_rest: bool = True) -> list[str]:
    """Every contradiction found; empty for a sound history. `at_rest`: no engine is at work any more."""
    folder = lab / ".autoresearch" / tag
    records, refs = read(folder / "journal.jsonl"), _refs(lab)
    state = fold_all(records)
    found = [*_contradictions(folder, refs, records), *_git(lab, tag, refs, state), *_runs(folder, state, records)]
    table = (folder / "results.tsv").read_text()
    if table != render(state):
        found.append("results.tsv is not the projection of the journal")
    if at_rest:
        found += _left(lab, folder)
    return found


def _order(records: tuple[ev.Record, ...]) -> list[str]:
    """Nothing happens to an experiment out of turn: none runs or is scored twice, or without an approval."""
    found, state = [], State()
    for record in records:
        event = record.event
        if type(event) in _STAGES:
            experiment = state.experiments[event.number]
            if _revived(event, experiment):
                pass
            elif experiment.stage not in _STAGES[type(event)]:
                found.append(f"record {record.seq}: {type(event).__name__} of a {experiment.stage} experiment")
            elif isinstance(event, ev.RunStarted):
                found += [
                    f"record {record.seq}: {why}"
                    for why in _launched(state, experiment, event, timestamps.parse(record.time))
                ]
            elif isinstance(event, ev.VerdictGiven) and experiment.stage is Stage.ENDED:
                assert experiment.run is not None
                if experiment.run.reason == "finished":
                    found.append(f"record {record.seq}: a verdict on a run that finished and was not scored")
        state = fold(state, record)
    return found


def _revived(event: ev.Event, experiment: Experiment) -> bool:
    """Whether a human approves what a policy had vetoed."""
    vetoed = isinstance(experiment.dropped, ev.ProposalVetoed) and experiment.dropped.by != "human"
    return vetoed and isinstance(event, ev.ProposalApproved) and event.by == "human"


def _launched(state: State, experiment: Experiment, event: ev.RunStarted, now: datetime) -> list[str]:
    """What is wrong with a launch."""
    found = []
    if not experiment.approved_by:
        found.append("launched without an approval")
    if held := experiment.held_at(now):
        found.append(f"launched while a human had it ({held})")
    if state.paused is not None or state.stopping:
        found.append("launched in a pause, or after a stop was asked for")
    if experiment.stage is Stage.ENDED and (experiment.run is None or experiment.run.reason != "lost"):
        found.append("run again though its run was not lost")
    if event.attempt != experiment.attempt + 1 or event.commit != experiment.commit:
        found.append(f"attempt {event.attempt} of {event.commit[:7]} where another belongs")
    return found


def _ends(records: tuple[ev.Record, ...]) -> list[str]:
    found = []
    made = [r.event.number for r in records if isinstance(r.event, ev.ProposalMade)]
    if made != list(range(len(made))):
        found.append(f"experiments are numbered {made}")
    ends = Counter(r.event.number for r in records if isinstance(r.event, ENDS))
    vetoes = {r.seq for r in records if isinstance(r.event, ev.ProposalVetoed)}
    ends.subtract(
        r.event.number for r in records if isinstance(r.event, ev.JudgementUndone) and r.event.record in vetoes
    )
    by_policy = {r.event.number for r in records if isinstance(r.event, ev.ProposalVetoed) and r.event.by != "human"}
    ends.subtract(
        r.event.number
        for r in records
        if isinstance(r.event, ev.ProposalApproved) and r.event.by == "human" and r.event.number in by_policy
    )
    found += [f"experiment {number} ended {count} times" for number, count in ends.items() if count > 1]
    scores = Counter(r.event.number for r in records if isinstance(r.event, ev.RunScored))
    found += [f"experiment {number} was scored {count} times" for number, count in scores.items() if count > 1]
    return found


def _requests(records: tuple[ev.Record, ...]) -> list[str]:
    """Nothing that another process asked for was answered twice."""
    counts = Counter(record.request for record in records if record.request)
    return [f"request {name} was answered {count} times" for name, count in counts.items() if count > 1]


def _reachable(refs: Mapping[str, str], tag: str, records: tuple[ev.Record, ...]) -> list[str]:
    """The branch and the refs point at nothing but what the journal has had there."""
    commits: dict[int, set[str]] = defaultdict(set)
    heads, branch = set(), ""
    for event in (r.event for r in records):
        match event:
            case ev.SessionBegan():
                branch = event.branch
                heads.add(event.base)
            case ev.ProposalMade() | ev.ProposalRebased():
                commits[event.number].add(event.commit)
            case ev.VerdictGiven(verdict="keep") | ev.VerdictOverruled(verdict="keep"):
                heads |= commits[event.number]
    found = []
    head = refs.get(f"refs/heads/{branch}")
    if head is not None and head not in heads:
        found.append(f"the branch's head {head[:7]} was never a frontier")
    for ref, commit in _attempts(refs, tag).items():
        if commit not in commits[int(ref.rpartition("/")[2])]:
            found.append(f"{ref} points at {commit[:7]}, which the journal does not have there")
    return found


def _refs(lab: Path) -> dict[str, str]:
    lines = git(lab, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def _attempts(refs: Mapping[str, str], tag: str) -> dict[str, str]:
    return {ref: commit for ref, commit in refs.items() if ref.startswith(f"refs/autoresearch/{tag}/")}


def _starts(folder: Path, state: State) -> list[str]:
    """No run was started oftener than the journal says."""
    found = []
    for experiment in state.experiments:
        run = folder / "runs" / experiment.name
        started = sum(len([*run.glob(f"{place}started.json")]) for place in ("", "lost-*/", "earlier-*/"))
        if started > experiment.attempt:
            found.append(f"{experiment.name} was started {started} times, the journal says {experiment.attempt}")
    return found


def _git(lab: Path, tag: str, refs: Mapping[str, str], state: State) -> list[str]:
    assert state.session is not None
    found = []
    if refs.get(f"refs/heads/{state.session.branch}") != state.frontier_commit:
        found.append("the branch's head is not the frontier")
    attempts = _attempts(refs, tag)
    wanted = {f"refs/autoresearch/{tag}/{e.name}": e.commit for e in state.experiments}
    if attempts != wanted:
        found.append(f"refs are {attempts}, attempts are {wanted}")
    whole = subprocess.run(["git", "fsck", "--no-dangling", "--no-progress"], cwd=lab, capture_output=True, check=False)
    if whole.returncode != 0:
        found.append(f"git fsck: {whole.stdout + whole.stderr!r}")
    return found + _keeps(state)


def _keeps(state: State) -> list[str]:
    """Each keep is better than the one before it and starts there, unless a human chose where the search continues."""
    best = state.best_number if draws.fresh(state) else best_keep(state.experiments, state.goal)
    if any(e.overruled for e in state.experiments) or state.frontier_number != best:
        return []
    found = []
    keeps = [e for e in state.table if e.outcome == "keep"]
    bases = {e.commit for e in state.table if e.advanced}
    for older, newer in pairwise(keeps):
        assert older.value is not None
        assert newer.value is not None
        if draws.fresh(state):  # whose scores are of different draws
            found += _paired(newer, state.goal)
            continue
        confirmed = newer.verdict is not None and newer.verdict.error is not None  # by means, which later runs change
        if not state.goal.better(newer.value, older.value) and not confirmed:
            found.append(f"#{newer.number} was kept with {newer.value} after {older.value}")
        beside = newer.proposal.base in bases  # others were judged while it ran, or it clashed with them
        if newer.proposal.base != older.commit and not newer.proposal.exploratory and not beside:
            found.append(f"#{newer.number} was kept but does not start from the keep before it")
    for front in () if draws.fresh(state) else state.heads:
        own = [e for e in state.table if e.advanced and e.proposal.front == front]
        for older, newer in pairwise(own):
            assert older.value is not None
            assert newer.value is not None
            if not state.goal.better(newer.value, older.value):
                found.append(f"#{newer.number} leads its front with {newer.value} after {older.value}")
    return found


def _paired(newer: Experiment, goal: Goal) -> list[str]:
    """What is wrong with a keep that was compared on a draw of its own."""
    verdict = newer.verdict
    if newer.draw is None or verdict is None or verdict.value is None or verdict.against is None:
        return [f"#{newer.number} was kept without a comparison on its draw"]
    return [] if goal.better(verdict.value, verdict.against) else [f"#{newer.number} was kept for {verdict.reason}"]


def _runs(folder: Path, state: State, records: tuple[ev.Record, ...]) -> list[str]:
    found = []
    started = {r.event.number for r in records if isinstance(r.event, ev.RunStarted)}
    for experiment in state.experiments:
        run = folder / "runs" / experiment.name
        if experiment.stage is Stage.DONE and (run / "work").exists() and experiment.number not in draws.copies(state):
            found.append(f"{experiment.name}/work was left behind")
        if experiment.status in ("keep", "discard") and not (run / "score.json").exists():
            found.append(f"{experiment.name} has a verdict and no score.json")
        if experiment.number not in started and (run / "run.log").exists():
            found.append(f"{experiment.name} has a log and was never started")
        if experiment.run is not None and experiment.run.reason != "lost":
            ended = json.loads((run / "exit.json").read_text())
            if ended["reason"] != experiment.run.reason:
                found.append(f"{experiment.name} ended {ended['reason']}, the journal says {experiment.run.reason}")
        if experiment.outcome in JUDGED and experiment.stage in IN_FLIGHT:
            found.append(f"{experiment.name} has an outcome and is in flight")
    return found


def _left(lab: Path, folder: Path) -> list[str]:
    """Locks, processes and half-written files that are there when everybody has gone."""
    checks: dict[str, Callable[[], object]] = {
        "the lab's lock is still held": lambda: held(lab / ".autoresearch" / "engine.lock"),
        "runs are still owned": lambda: [
            run.name for run in (folder / "runs").glob("*") if runner.look(run).state is runner.RunState.RUNNING
        ],
        "processes are left": lambda: survivors(lab),
        "git's locks are left": lambda: [*(lab / ".git").rglob("*.lock")],
        "requests are left": lambda: [*(folder / "inbox").glob("*-*")],
        "half-written files are left": lambda: [*lab.rglob("*.partial")],
    }
    deadline = time.monotonic() + REST_SECONDS
    while (found := [f"{what}: {there}" for what, check in checks.items() if (there := check())]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
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
