"""From a run that ended to a score, and from a score to a verdict. The decision is pure."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_tui.engine import bounds, codec, noise
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.bounds import finite
from autoresearch_tui.engine.noise import Row
from autoresearch_tui.engine.reading import logtext, plausible, runlog
from autoresearch_tui.engine.results import write
from autoresearch_tui.engine.running import refereeing
from autoresearch_tui.engine.state import Experiment, State, better
from autoresearch_tui.lab import RunFiles
from autoresearch_tui.settings import MetricSettings, Settings

SELF_REPORTED = "self-reported"
REFEREE = "referee"
# Of what a referee says: [nats, bytes] of each row, for comparing runs pair by pair, and of which data.
DETAILS = ("rows", "data", "probes")
_TAIL = 1 << 20


def hashes(folder: Path, paths: tuple[str, ...]) -> dict[str, str]:
    """The sha256 of each file's bytes; empty for a file that is not there or not a plain one."""
    found: dict[str, str] = {}
    for path in paths:
        file = folder / path
        plain = file.is_file() and not file.is_symlink()
        found[path] = hashlib.sha256(file.read_bytes()).hexdigest() if plain else ""
    return found


def score(
    ended: ev.RunEnded,
    files: RunFiles,
    cwd: Path,
    settings: Settings,
    locked: Mapping[str, str],
    env: Mapping[str, str],
    cancelled: threading.Event,
) -> ev.RunScored:
    """The score of a run that finished, written to score.json as well. Slow where the lab has a referee.

    `cwd` is the folder that the training command ran in, whose locked files must still be the session's. Raises
    OSError, also where it was cancelled.
    """
    doubts: tuple[str, ...] = ()
    said = refereeing.Said(None, "", {})
    text = logtext.tail(files.log, _TAIL)
    summary = dict(runlog.parse_summary(text))
    touched = [path for path, digest in hashes(cwd, tuple(locked)).items() if digest != locked[path]]
    if touched:
        source = SELF_REPORTED
        said = refereeing.Said(None, f"{', '.join(touched)} was changed during the run", {})
    elif settings.metric.referee:
        source, said = REFEREE, refereeing.listen(settings, files, cwd, env, cancelled)
    else:
        source, said = SELF_REPORTED, refereeing.Said(*_printed(text, settings.metric, summary), {})
        doubts = plausible.doubts(
            plausible.read_trace(files.log),
            summary,
            metric=settings.metric.name,
            value=said.value,
            wall_seconds=ended.seconds,
            budget_seconds=0 if settings.run.budget_tokens else settings.run.budget_seconds,
        )
    if bounds.understated(summary, ended):
        held = f"{ended.device_memory_mb or 0:.0f} MB"
        doubts += (f"memory: peak_vram_mb is {summary['peak_vram_mb'][:40]}, the accelerator held {held} for the run",)
    beyond = bounds.beyond(settings.metric, summary, ended)
    scored = ev.RunScored(
        ended.number,
        said.value,
        _memory_gb(summary),
        source,
        said.problem,
        summary,
        sealed=said.sealed,
        doubts=doubts,
        beyond=beyond,
        late_seconds=said.late_seconds,
    )
    details = {name: said.details[name] for name in DETAILS if name in said.details}
    write(files.score, json.dumps({"metric": settings.metric.name, **codec.to_fields(scored), **details}) + "\n")
    return scored


def verdict(
    experiment: Experiment, state: State, rows: Sequence[Row] = (), best: Sequence[Row] = (), late: str = ""
) -> ev.VerdictGiven:
    """Keep, discard, crash or invalid, with the reason in words. Pure.

    `rows` and `best` are the rows as scored of this run and of the frontier's, where a referee kept them. `late`
    says why the run took more time than it had.
    """
    run, scored = experiment.run, experiment.score
    assert run is not None
    number = experiment.number
    if run.reason != "finished" and (refused := _locked_refused(run, state)):
        return ev.VerdictGiven(number, "invalid", None, 0.0, f"tried to change {refused}, which is locked")
    if run.reason != "finished" and run.refused:
        return ev.VerdictGiven(number, "invalid", None, 0.0, f"the referee refused: {run.refused}")
    if run.reason != "finished":
        return ev.VerdictGiven(number, "crash", None, 0.0, _why_crashed(run))
    assert scored is not None
    if scored.value is None:
        # It ended well: whatever its log looks like, it did not crash.
        return ev.VerdictGiven(number, "invalid", None, scored.memory_gb, scored.problem)
    if late:
        return ev.VerdictGiven(number, "invalid", None, scored.memory_gb, late)
    if state.best is None or state.best.value is None:
        reason = f"the baseline, though {'; '.join(scored.beyond)}" if scored.beyond else "the baseline"
        return ev.VerdictGiven(number, "keep", scored.value, scored.memory_gb, reason)
    return _compared(experiment, scored.value, state.best.value, state, noise.paired_error(rows, best))


def _compared(experiment: Experiment, value: float, best: float, state: State, stderr: float | None) -> ev.VerdictGiven:
    assert experiment.score is not None
    assert state.best is not None
    spread = noise.spread(state)
    reason, kind = f"{value:.6f} against {best:.6f} (#{state.best.number})", "discard"
    if experiment.repeat_of is None and experiment.commit == state.best.commit:
        reason = f"a repeat: {reason}"
    elif experiment.repeat_of is not None:
        first = state.experiments[experiment.repeat_of].value
        before = f"{first:.6f} (#{experiment.repeat_of})" if first is not None else f"#{experiment.repeat_of}"
        reason = f"a repeat under seed {experiment.seed}: {value:.6f} against {before}"
    elif experiment.score.beyond:
        reason = f"{'; '.join(experiment.score.beyond)} ({reason})"
    elif better(state, value):
        kind = "keep"
    inside_noise = noise.inside(value - best, stderr, spread)
    memory = experiment.score.memory_gb
    return ev.VerdictGiven(experiment.number, kind, value, memory, reason, stderr, spread, inside_noise)


def scored_rows(path: Path) -> tuple[str, tuple[Row, ...]]:
    """What the rows of a score.json are of, and each row's nats and bytes; nothing where no referee kept them."""
    try:
        written = json.loads(path.read_text("utf-8"))
        return str(written.get("data", "")), tuple((float(nats), float(size)) for nats, size in written.get("rows", ()))
    except (OSError, ValueError, TypeError, AttributeError):
        return "", ()


def _locked_refused(run: ev.RunEnded, state: State) -> str:
    """The locked file on which the run died, for the cage has it read-only."""
    locked = state.session.locked if state.session else {}
    refusals = [line for line in run.cause if "Read-only file" in line or "resource busy" in line]
    return next((path for path in locked for line in refusals if line.endswith(f"{path}'")), "")


def _why_crashed(run: ev.RunEnded) -> str:
    last = run.cause[-1] if run.cause else ""
    return f"{run.reason}: {last}" if last else run.reason


def _printed(text: str, metric: MetricSettings, summary: Mapping[str, str]) -> tuple[float | None, str]:
    """The score that a run printed itself, or why there is none."""
    if metric.pattern == MetricSettings().pattern:
        value = runlog.find_metric(text, metric.pattern, metric.name)
    else:
        value = runlog.last_match(text, metric.pattern)
    if value is not None:
        return value, ""
    if metric.name in summary:
        return None, f"the log's {metric.name} is {summary[metric.name][:40]}, which is no finite number"
    return None, f"the log has no {metric.name} that `metric.pattern` finds"


def _memory_gb(summary: Mapping[str, str]) -> float:
    return max(0.0, (finite(summary.get("peak_vram_mb", "")) or 0.0) / 1024)
