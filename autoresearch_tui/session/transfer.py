"""Pure: whether a gain holds at a larger scale, such as twice the budget.

A commit's run at another scale is an experiment of its own, with the outcome `scaled`: it has a score but no value, so
charts, tables, the noise and the best score ignore it. It is only compared with the baseline's run at that scale.
"""

from __future__ import annotations

from msgspec.structs import replace

from autoresearch_tui.session import limits, statistics
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.fleet_baselines import BASELINE
from autoresearch_tui.session.questions import AUTHOR, COMMIT, SCALE
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.frozen import Frozen

SHARE = 0.5
"""A gain holds if at least this share of it remains at the larger scale."""


class Scale(Frozen):
    """`factor` times the budget, and further variables (`NAME=value`) in the run's environment."""

    factor: float
    env: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`2×`, `1× with DEPTH=12`."""
        return f"{self.factor:g}×" + (f" with {', '.join(self.env)}" if self.env else "")


def scale_of(experiment: Experiment) -> Scale | None:
    """None for a run at the ordinary scale."""
    made = experiment.proposal
    return Scale(made.scale, made.scale_env) if made.scale else None


def score(experiment: Experiment) -> float | None:
    """The score of a run at another scale, if it has one."""
    return experiment.score.value if experiment.outcome == Outcome.SCALED and experiment.score is not None else None


def baseline(state: State) -> Experiment | None:
    """The first baseline with a score."""
    return next((e for e in state.experiments.having(AUTHOR, BASELINE) if e.value is not None), None)


def run_of(state: State, commit: str, scale: Scale, after: int = -1) -> Experiment | None:
    """The commit's run at this scale: one with a score, else an open one, else the last without a score.

    `after`: one without a score counts only if its number is larger than this.
    """
    runs = [e for e in state.experiments.having(COMMIT, commit) if scale_of(e) == scale]
    scored = [e for e in runs if score(e) is not None]
    started = [e for e in runs if e.stage is not Stage.DONE]
    others = [e for e in runs if e.number > after]
    return next((each[-1] for each in (scored, started, others) if each), None)


class Transfer(Frozen):
    """An experiment's gain over the baseline `before` and `after` the change of scale; positive is better.

    `after` is None if a run at that scale failed, and `why` says how. `chance`: the gain is within the noise.
    """

    scale: Scale
    before: float
    after: float | None
    chance: bool = False
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether at least half of the gain remains."""
        return self.after is not None and self.after > 0 and self.after >= SHARE * self.before

    @property
    def words(self) -> str:
        """`holds at 2×: +0.012000 → +0.015000`."""
        if self.after is None:
            return f"not known at {self.scale.name}: {self.why}"
        verb = "holds" if self.holds else "does not hold"
        noise = ", within the noise" if self.chance else ""
        return f"{verb} at {self.scale.name}: {self.before:+.6f} → {self.after:+.6f}{noise}"


def transfer(state: State, experiment: Experiment) -> Transfer | None:
    """The result of its commit's newest run at another scale; None until that run and the baseline's are over."""
    start = baseline(state)
    if start is None or start.value is None or experiment.value is None or experiment.commit == start.commit:
        return None
    runs = state.experiments.newest(COMMIT, experiment.commit)
    run = next((e for e in runs if e.outcome == Outcome.SCALED), None)
    scale = scale_of(run) if run is not None else None
    if run is None or scale is None:
        return None
    before = state.goal.gain(start.value, experiment.value)
    mine, other = score(run), run_of(state, start.commit, scale, after=run.number)
    if mine is None:
        return Transfer(scale, before, None, why=f"#{run.number} {run.reason}")
    if other is None or other.stage is not Stage.DONE:
        return None
    if (reference := score(other)) is None:
        why = other.reason if other.outcome == Outcome.SCALED else f"was {other.outcome}"
        return Transfer(scale, before, None, why=f"the baseline's #{other.number} {why}")
    after = state.goal.gain(reference, mine)
    return Transfer(scale, before, after, statistics.inside(after, None, statistics.spread(state)))


def missing(state: State, experiment: Experiment, scale: Scale) -> tuple[Experiment, ...]:
    """What must still run at this scale to see whether an experiment's gain holds, the experiment itself first."""
    start = baseline(state)
    found = [each for each in (experiment, start) if each is not None and run_of(state, each.commit, scale) is None]
    return tuple({each.commit: each for each in found}.values())


def _at(state: State, scale: Scale) -> list[Experiment]:
    """All runs at this scale, oldest first."""
    return [e for e in state.experiments.having(SCALE, scale.factor) if scale_of(e) == scale]


def lacks_baseline(state: State, scale: Scale) -> Experiment | None:
    """The baseline, if another commit has a score at this scale and the baseline has not run there since."""
    start = baseline(state)
    if start is None:
        return None
    others = (e for e in _at(state, scale) if e.commit != start.commit)
    wanted = [e for e in others if score(e) is not None]
    return start if wanted and run_of(state, start.commit, scale, after=wanted[-1].number) is None else None


def after_keeps(state: State, scale: Scale, every: int) -> Experiment | None:
    """The best, if it has not run at this scale and `every` keeps have come since the last one that has."""
    best, start = state.best, baseline(state)
    if not every or best is None or start is None or best.commit == start.commit:
        return None
    tried = [e for e in _at(state, scale) if e.commit != start.commit]
    if any(e.commit == best.commit for e in tried):
        return None
    keeps = (e for e in state.kept if e.author != BASELINE)
    return best if sum(1 for e in keeps if not tried or e.ended_at > tried[-1].proposed_at) >= every else None


def in_rest(state: State, scale: Scale, now: float) -> Experiment | None:
    """The best, at the last moment when its run and the baseline's at this scale can end in time (`--until`)."""
    best, limit = state.best, limits.end(state, now)
    if best is None or limit is None or limit.kind != "until" or after_keeps(state, scale, 1) is None:
        return None
    needed = sum(limits.needed_seconds(state, at(each, scale)) for each in missing(state, best, scale))
    another = limits.needed_seconds(state)
    return best if now + needed <= limit.at < now + another + needed else None


def at(experiment: Experiment, scale: Scale) -> Experiment:
    """A future run of it at this scale, for estimating the time."""
    return Experiment(replace(experiment.proposal, scale=scale.factor, scale_env=scale.env))
