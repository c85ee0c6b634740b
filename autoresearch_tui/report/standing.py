"""A session's status: lines for a terminal, one short line for a status bar, an object for a script."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from autoresearch_tui.lab import engine_lock, session_files
from autoresearch_tui.lab.evaluator import FRESH
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.logs.lines import Progress, Splitter
from autoresearch_tui.logs.tail import FileTail
from autoresearch_tui.session import cluster_file, devices_now, limits, looks
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.format import ago, at_best, clock, count, delta
from autoresearch_tui.session.outline import Outline, read_outline
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.session.status import COMMANDS, FEW, Condition, View, condition, live, status, time_left
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.columns import cells, cut
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

WIDTH = 80
_LOG_BYTES = 64 * 1024
_ENDED = (
    Outcome.KEEP, Outcome.DISCARD, Outcome.CRASH, Outcome.INVALID, Outcome.VETOED, Outcome.WITHDRAWN, Outcome.SCALED
)  # fmt: skip


class Standing(Frozen):
    """The status of one session at one moment."""

    root: Path
    tag: str
    outline: Outline
    view: View

    @property
    def condition(self) -> Condition:
        """The status in a word."""
        return condition(self.view)[0]


def look(root: Path, tag: str) -> Standing:
    """The session's status now, with or without an engine. Raises UserError for a damaged journal."""
    found = read_outline(root, tag)
    orphaned = found.engine is not None and not engine_lock.serves(session_files.lock(root), tag)
    files, budget = session_files.of(root, tag), found.session.budget_seconds if found.session else None
    running = [] if orphaned else [e for e in found.in_flight if e.stage is Stage.RUNNING]
    lives = {}
    for run in running:
        # Of many logs, only the ends are read.
        progress, at = _progress(files.run(run.number).log, _LOG_BYTES // len(running))
        if progress is not None:
            lives[run.number] = live(run.number, progress, budget, at)
    beside = devices_now.Now(cluster_file.read(files.cluster))
    return Standing(root, tag, found, View(found, time.time(), lives, beside, orphaned=orphaned, words=COMMANDS))


def _progress(log: Path, size: int) -> tuple[Progress | None, float]:
    """The newest progress line in the last `size` bytes of a run's log, and when it was written."""
    try:
        chunk = Splitter().feed(FileTail(log).read(size, most_behind=size).data)
        return chunk.current or next(iter(chunk.progress[-1:]), None), log.stat().st_mtime
    except OSError:
        return None, 0.0


# ── for a terminal ──────────────────────────────────────────────────────────────────────────────────────────────


def as_lines(standing: Standing) -> list[str]:
    """At most eleven lines of at most 80 columns."""
    found, view = standing.outline, standing.view
    answers = status(view, WIDTH)
    head = f": {standing.condition}"
    name = f"{clean_line(standing.tag)} in {clean_line(str(standing.root))}"
    lines = [_cut_front(name, WIDTH - cells(head)) + head]
    lines += [f"{part.glyph or ' '} {part.text}" for part in (answers.now, answers.next, answers.wait) if part.text]
    facts = {"best": _best(found), "frontier": _frontier(found), "counts": _counts(found)}
    facts |= (
        {"holdout": looks.in_short(found)} if found.holdout is not None else {"looks": looks.in_words(_wear(found))}
    )
    facts |= {"devices": _devices(view), "cost": _cost(standing), "engine": _engine(standing)}
    return [cut(line, WIDTH) for line in (*lines, *(f"{key:<10}{text}" for key, text in facts.items() if text))]


def _cut_front(text: str, room: int) -> str:
    """Cuts the front, because the end of a path is more telling."""
    while cells(text) > room:
        text = "…" + text[2:]
    return text


def _best(found: Outline) -> str:
    best, first = found.best, found.baseline
    if best is None or best.value is None or found.session is None:
        return "nothing is kept yet"
    text = f"#{best.number}  {clean_line(found.session.metric)} {best.value:.6f}"
    if (gain := _wear(found).gain) is not None and found.session.evaluator == FRESH and best.number:
        before = best.value + gain if found.goal is Goal.MINIMIZE else best.value - gain
        text += f"  {delta(best.value, before, found.goal, 6)[0]} since the baseline, each keep on its own draw"
    elif first is not None and first.value is not None and best.number and found.session.evaluator != FRESH:
        text += f"  {delta(best.value, first.value, found.goal, 6)[0]} since the baseline"
    return f"{text}  {clean_line(best.description)}"


def _wear(found: Outline) -> looks.Wear:
    assert found.wear is not None
    return found.wear


def _frontier(found: Outline) -> str:
    """Where the search continues, if not from the best."""
    frontier = found.frontier
    if frontier is None or at_best(found):
        return ""
    value = "" if frontier.value is None else f"  {frontier.value:.6f}"
    return f"#{frontier.number}{value}  {clean_line(frontier.description)}"


def _counts(found: Outline) -> str:
    ended = [f"{found.counts[name]} {name}" for name in _ENDED if found.counts.get(name)]
    return ": ".join(filter(None, [str(found.experiments), ", ".join(ended)]))


def _evaluation(found: Outline) -> dict[str, Any]:
    wear, opened, asked = _wear(found), found.holdout, found.holdout_asked
    return {
        "evaluator": found.session.evaluator if found.session else None,
        "looks": {
            "spent": wear.spent,
            "left": wear.left,
            "noise": wear.noise,
            "luck": wear.luck,
            "gain": wear.gain,
            "deflated_gain": wear.deflated,
        },
        "holdout": None
        if opened is None or asked is None
        else {
            "opened_at": found.holdout_at,
            "after_looks": asked.looks,
            "best": {"number": asked.best, "value": opened.value},
            "baseline": {"number": asked.baseline, "value": opened.baseline},
            "stderr": opened.stderr,
            "problem": opened.problem or None,
        },
    }


def _devices(view: View) -> str:
    """What several devices do, and the first that is not used."""
    found = view.devices
    if not found:
        return ""
    unused = [f"{row.name or row.node}: {row.why or row.fault}" for row in found if row.why or row.fault]
    words = filter(None, (devices_now.summary(found), devices_now.unreachable(view.beside.cluster), *unused[:1]))
    return clean_line("; ".join(words))


def _cost(standing: Standing) -> str:
    found = standing.outline
    spent = _spent(standing)
    words = [f"${spent:.2f}" + (f" of ${found.cost.max_usd:g}" if found.cost.max_usd else "")] if spent else []
    words += [f"{count(found.tokens)} tokens"] if found.tokens else []
    words += [f"${found.cost.per_keep:.2f} for each keep"] if found.cost.per_keep else []
    words += [f"about ${found.cost.projected:.2f} at the end"] if found.cost.projected is not None else []
    if found.limit is not None and found.engine is not None:
        words.append(f"ends {limits.local(found.limit.at)}")
    return " · ".join(words)


def _spent(standing: Standing) -> float:
    """The cost until now; without an engine, until it died."""
    return standing.outline.cost.usd if standing.view.orphaned else standing.outline.spent(standing.view.now)


def _engine(standing: Standing) -> str:
    found = standing.outline
    since = ago(standing.view.now - timestamps.seconds(found.time))
    if found.engine is None or standing.view.orphaned:
        return f"none · last record {since} ago"
    engine = found.engine
    where = "" if engine.host == os.uname().nodename else f" on {engine.host}"
    kind = "headless" if engine.headless else "cockpit"
    words = f"{kind}, process {engine.pid}{where} · {engine.researcher} · review {engine.review}"
    return f"{clean_line(words)} · last record {since} ago"


# ── for a status bar ────────────────────────────────────────────────────────────────────────────────────────────


def as_line(standing: Standing) -> str:
    """One short line, without any text of a researcher, which a status bar could take for markup."""
    found = standing.outline
    words = [f"{standing.tag} {standing.condition}"]
    if not standing.view.orphaned:
        many = len(found.in_flight) > FEW
        runs = [_run(standing.view, each) for each in found.in_flight]
        words += [devices_now.summary(standing.view.devices)] if many else runs
    if found.best is not None and found.best.value is not None:
        words.append(f"best {found.best.value:.6f} (#{found.best.number})")
    alive = found.engine is not None and not standing.view.orphaned
    reviews = [f"#{e.number}" for e in found.waiting if e.stage is Stage.REVIEW and alive]
    words += [f"{', '.join(reviews)} {'waits' if len(reviews) == 1 else 'wait'} for you"] if reviews else []
    spent = _spent(standing)
    return clean_line(" · ".join([*words, f"${spent:.2f}"] if spent else words))


def _run(view: View, experiment: Experiment) -> str:
    if experiment.stage is not Stage.RUNNING:
        return f"#{experiment.number} scoring"
    what, seconds = time_left(view, experiment)
    return f"#{experiment.number} {clock(seconds)} left" if what == "left" else f"#{experiment.number} {what}"


# ── for a script ────────────────────────────────────────────────────────────────────────────────────────────────


def as_object(standing: Standing) -> dict[str, Any]:
    """Everything, as JSON values. Texts are in full."""
    found, view = standing.outline, standing.view
    answers = status(view, 10_000)
    state, reason = condition(view)
    cost, engine = found.cost, found.engine
    return {
        "lab": str(standing.root),
        "tag": standing.tag,
        "state": state,
        "reason": reason,
        "now": answers.now.text,
        "next": answers.next.text,
        "wait": answers.wait.text,
        "running": [_object(e) | _progress_of(view, e) for e in found.in_flight],
        "devices": [_device(view, row) for row in view.devices],
        "cluster": _cluster(view),
        "waiting": [_object(e) | _gate_of(e) for e in found.waiting],
        "best": _scored(found.best),
        "frontier": _scored(found.frontier),
        "baseline": _scored(found.baseline),
        "metric": found.session.metric if found.session else None,
        "goal": found.goal,
        "counts": {"experiments": found.experiments, **{name: found.counts.get(name, 0) for name in _ENDED}},
        "cost": {
            "usd": round(_spent(standing), 6),
            "researcher_usd": cost.researcher_usd,
            "critic_usd": cost.critic_usd,
            "accelerator_usd": round(_spent(standing) - cost.researcher_usd, 6),
            "tokens": cost.tokens,
            "usd_per_keep": cost.per_keep,
            "projected_usd": cost.projected,
            "max_usd": cost.max_usd or None,
        },
        "evaluation": _evaluation(found),
        "paused": found.paused is not None,
        "stopping": found.stopping or None,
        "ends_at": found.limit.at if found.limit else None,
        "engine": None
        if engine is None or view.orphaned
        else {
            "pid": engine.pid,
            "host": engine.host,
            "headless": engine.headless,
            "researcher": engine.researcher,
            "review": engine.review,
        },
        "records": found.seq,
        "last_record": found.time,
    }


def _object(experiment: Experiment) -> dict[str, Any]:
    names = ("number", "commit", "description", "stage", "proposed_at")
    return {name: getattr(experiment, name) for name in names} | {"author": experiment.proposal.author}


def _progress_of(view: View, experiment: Experiment) -> dict[str, Any]:
    left = None
    if experiment.stage is Stage.RUNNING and not view.orphaned:
        what, seconds = time_left(view, experiment)
        left = round(seconds, 1) if what == "left" else None
    return {
        "device": experiment.device,
        "attempt": experiment.attempt,
        "started_at": experiment.started_at,
        "seconds_left": left,
    }


def _device(view: View, row: devices_now.Row) -> dict[str, Any]:
    """One of several devices, or a node without a device in use."""
    load, run = row.load, row.experiment
    names = ("busy", "memory_used", "memory_total", "temperature", "power")
    return {
        "name": row.name or None,
        "node": row.node or None,
        "model": row.model or None,
        "state": row.doing,
        "running": None if run is None else run.number,
        "seconds_left": None if run is None else _progress_of(view, run)["seconds_left"],
        **{name: None if load is None else getattr(load, name) for name in names},
        "fault": row.fault or None,
        "reason": row.why or None,
        "remedy": row.remedy or None,
    }


def _cluster(view: View) -> dict[str, Any] | None:
    cluster = view.beside.cluster
    if cluster is None:
        return None
    return {
        "address": cluster.address,
        "as_of": cluster.time,
        "problem": cluster.problem or None,
        "unreachable_since": cluster.since if cluster.problem else None,
    }


def _gate_of(experiment: Experiment) -> dict[str, Any]:
    return {
        "policy": experiment.review.policy if experiment.review else "",
        "deadline": experiment.deadline or None,
        "approved_by": experiment.approved_by or None,
        "risks": experiment.proposal.flags,
        "critic": None
        if (critic := experiment.critic) is None
        else {"opinion": critic.opinion, "reasons": critic.reasons, "sent_back": critic.goes_back},
    }


def _scored(experiment: Experiment | None) -> dict[str, Any] | None:
    if experiment is None:
        return None
    return {name: getattr(experiment, name) for name in ("number", "value", "commit", "description")}
