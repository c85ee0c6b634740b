"""A session's experiments as a researcher may see them, made on access and not kept.

There may be tens of thousands, of which a request shows some dozens. What it needs of all of them is in memory
(:mod:`~autoresearch_tui.session.pages`); the rest is read for those few.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

from autoresearch_tui.engine.gate import HUMAN
from autoresearch_tui.engine.proposing import duplicates
from autoresearch_tui.researchers.base import Attempt, RunFacts
from autoresearch_tui.session import draws
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.session.questions import SCALE
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.transfer import transfer
from autoresearch_tui.util.numbers import finite


class Attempts(Sequence[Attempt]):
    """Every experiment of a state, oldest first."""

    def __init__(self, state: State, but: int | None = None) -> None:
        """`but`: the number of one to leave out."""
        self._state = state
        self._but = len(state.experiments) if but is None else but
        scales = filter(None, state.experiments.values(SCALE))
        self._scaled = {e.commit for scale in scales for e in state.experiments.having(SCALE, scale)}

    def __len__(self) -> int:
        count = len(self._state.experiments)
        return count - (self._but < count)

    @overload
    def __getitem__(self, place: int) -> Attempt: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Attempt, ...]: ...
    def __getitem__(self, place: int | slice) -> Attempt | tuple[Attempt, ...]:
        if isinstance(place, slice):
            return tuple(self[each] for each in range(*place.indices(len(self))))
        place = range(len(self))[place]
        return self._of(self._state.experiments[place + (place >= self._but)])

    def __iter__(self) -> Iterator[Attempt]:
        return (self._of(each) for each in self._state.experiments if each.number != self._but)

    def __reversed__(self) -> Iterator[Attempt]:
        return (self._of(each) for each in reversed(self._state.experiments) if each.number != self._but)

    def perhaps_alike(self, description: str) -> Iterator[Attempt]:
        """Everything that :func:`duplicates.alike` may find alike, newest first."""
        wanted = duplicates.key(description)
        for chunk in reversed(self._state.experiments.chunks):
            keys = chunk.known(_keys)
            yield from (self._of(chunk[at]) for at in range(len(keys) - 1, -1, -1) if keys[at] == wanted)

    def _of(self, experiment: Experiment) -> Attempt:
        made = _Looked(**_BLANK, source=(self, experiment))
        for unset in _UNSET:  # so that `__getattr__` is asked
            unset(made)
        return made

    def base_there(self, experiment: Experiment) -> float | None:
        pair = draws.against_base(self._state, experiment) if experiment.drawn else None
        return pair.other if pair is not None else None

    def transfer(self, experiment: Experiment) -> str:
        its = transfer(self._state, experiment) if experiment.commit in self._scaled else None
        return its.words if its is not None else ""


class _Looked(Attempt, eq=False):
    """An attempt whose fields are computed on access."""

    source: tuple[Attempts, Experiment] | None = None

    def __getattr__(self, name: str) -> Any:
        if name not in _FIELDS or self.source is None:
            raise AttributeError(name)
        return _FIELDS[name](*self.source)


_BLANK: dict[str, Any] = dict.fromkeys(Attempt.__struct_fields__)
_UNSET = [getattr(_Looked, name).__delete__ for name in Attempt.__struct_fields__]


def _keys(chunk: Chunk) -> array[int]:
    return array("q", map(duplicates.key, chunk.column("description")))


def _outcome(experiment: Experiment) -> str:
    if experiment.outcome in SCORED and experiment.repeat_of is not None:
        return "repeat"
    if experiment.stage is Stage.CONFIRMING:
        return experiment.stage
    return experiment.status if experiment.outcome else "waiting"


def _reason(whole: Experiment) -> str:
    if whole.status == Outcome.CRASH and whole.run is not None and whole.run.cause:
        return "\n".join((whole.reason, *whole.run.cause))
    return whole.reason


def _objection(experiment: Experiment) -> str:
    critic = experiment.critic if experiment.objected else None
    return critic.reasons if critic is not None and critic.goes_back else ""


def _vetoed_by(whole: Experiment) -> str:
    if not isinstance(whole.dropped, ev.ProposalVetoed) or whole.dropped.by == HUMAN:
        return "the human"
    return "a critic" if whole.critic is not None and whole.critic.goes_back else "a policy"


def _run_facts(whole: Experiment) -> RunFacts | None:
    run, score = whole.run, whole.score
    if run is None or score is None:
        return None

    def summary(key: str) -> float | None:
        return finite(score.summary.get(key, ""))

    tokens, seconds = summary("total_tokens_M"), summary("training_seconds")
    return RunFacts(
        steps=summary("num_steps"),
        tokens_per_second=tokens * 1e6 / seconds if tokens and seconds else None,
        mfu_percent=summary("mfu_percent"),
        memory_gb=score.memory_gb or None,
        seconds_before=run.ready_seconds,
        seconds_after=run.seconds - run.asked_seconds if run.asked_seconds is not None else None,
        losses=score.losses,
        columns=score.columns,
    )


# Only fields that need the rest of an experiment read it `whole`.
_FIELDS: Mapping[str, Callable[[Attempts, Experiment], Any]] = {
    "number": lambda _, e: e.number,
    "commit": lambda _, e: e.commit,
    "base": lambda _, e: e.base,
    "description": lambda _, e: e.description,
    "hypothesis": lambda _, e: e.whole.proposal.hypothesis,
    "outcome": lambda _, e: _outcome(e),
    "value": lambda _, e: e.measured if e.stage is Stage.CONFIRMING else e.value,
    "reason": lambda _, e: _reason(e.whole),
    "edited": lambda _, e: e.edited,
    "session": lambda *_: "",
    "run": lambda _, e: _run_facts(e.whole),
    "front": lambda _, e: e.front,
    "leads": lambda _, e: e.leads,
    "objection": lambda _, e: _objection(e),
    "vetoed_by": lambda _, e: _vetoed_by(e.whole),
    "transfer": lambda attempts, e: attempts.transfer(e),
    "origin": lambda *_: "",
    "base_there": lambda attempts, e: attempts.base_there(e),
}
