"""The embargoed holdout: opened once for a session, to compare the best with the baseline on data that decided nothing.

The intent, with both experiments, is journalled before anything is scored. If the engine dies in between, the next one
scores; none opens the holdout twice. Two kinds of lab have one: either the referee scores it on request
(AUTORESEARCH_SPLIT), or it scores a sealed split with each run, which `metric.sealed = "embargoed"` keeps in the run's
folder until then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from autoresearch_tui.engine.judging import rescoring, score_file, scoring
from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.lab import evaluator
from autoresearch_tui.lab.evaluator import EMBARGOED, HOLDOUT, SPLIT
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import looks, statistics
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import Row
from autoresearch_tui.util.text import clean_line

_Scored = tuple[float | None, str, Sequence[Row]]


def ask(state: State, by: str, cannot: str = "") -> ev.Event:
    """Pure: the event of a request to open it, an intent or a refusal. `cannot`: why it cannot be scored here."""
    opened = state.holdout
    if state.session is None or not state.session.holdout:
        if any(e.score is not None and e.score.sealed is not None for e in state.experiments):
            why = 'the sealed split is shown with every score; `metric.sealed = "embargoed"` keeps it for the end'
            return ev.CommandRefused("holdout", why)
        return ev.CommandRefused("holdout", f"this session has no holdout: no locked file reads {SPLIT}")
    if opened is not None and opened.seen:
        return ev.CommandRefused("holdout", looks.once(state))
    if state.holdout_asked is not None and opened is None:
        return ev.CommandRedundant("holdout", "it is being opened")
    if cannot:
        return ev.CommandRefused("holdout", cannot)
    first, best = looks.baseline(state), state.best
    if first is None or best is None:
        return ev.CommandRefused("holdout", "nothing is kept yet, so there is nothing to score on it")
    return ev.HoldoutAsked(by, best.number, first.number, looks.spent(state))


def due(state: State) -> bool:
    """Whether it was requested and is not open yet."""
    return state.holdout_asked is not None and state.holdout is None


def score(launcher: Launcher, files: SessionFiles, state: State, cancelled: threading.Event) -> ev.HoldoutOpened:
    """Score the best and the baseline on the holdout. Slow. Raises OSError, also if cancelled, and GitError."""
    asked = state.holdout_asked
    assert asked is not None

    def of(number: int) -> _Scored:
        experiment = state.experiments[number]
        if launcher.lab.settings.metric.sealed == EMBARGOED and not evaluator.reads(launcher.lab, SPLIT):
            return _embargoed(files, experiment)
        result = rescoring.again(
            launcher, files, state, experiment, {SPLIT: HOLDOUT}, files.run(experiment.number), cancelled
        )
        return result.value, result.problem, score_file.rows_of(result.details)[1]

    baseline = of(asked.baseline)
    best = of(asked.best) if asked.best != asked.baseline else baseline
    numbered = {asked.baseline: baseline[1], asked.best: best[1]}
    problems = [f"#{number}: {problem}" for number, problem in numbered.items() if problem]
    stderr = statistics.paired_error(best[2], baseline[2])
    return ev.HoldoutOpened(best[0], baseline[0], stderr, clean_line("; ".join(problems)))


def _embargoed(files: SessionFiles, experiment: Experiment) -> _Scored:
    written = score_file.read(files.run(experiment.number).score)
    value = written.get(EMBARGOED)
    if not isinstance(value, int | float):
        return None, "its run has left no score of the sealed split", ()
    return float(value), "", score_file.rows_of(written, "sealed_rows")[1]


class Opening:
    """Opens the holdout in a thread; used from the engine's thread."""

    def __init__(self, deliver: Callable[[ev.HoldoutOpened | OpeningFailed], None]) -> None:
        """`deliver` hands the result to the engine's thread."""
        self._deliver = deliver
        self._thread: threading.Thread | None = None
        self._cancelled = threading.Event()

    def step(self, launcher: Launcher, files: SessionFiles, state: State) -> bool:
        """Begin if it is due. Always False: the engine need not wait."""
        if self._thread is None and due(state):
            self._thread = threading.Thread(target=self._work, args=(launcher, files, state), name=HOLDOUT, daemon=True)
            self._thread.start()
        return False

    @property
    def at_work(self) -> bool:
        return self._thread is not None

    def over(self) -> None:
        """The result was taken."""
        self._thread = None

    def cancel(self) -> None:
        """Stop scoring; the next start opens it."""
        self._cancelled.set()

    def _work(self, launcher: Launcher, files: SessionFiles, state: State) -> None:
        try:
            self._deliver(score(launcher, files, state, self._cancelled))
        except (OSError, MemoryError, GitError) as error:
            self._deliver(OpeningFailed(error))
        except Exception as error:  # a bug, which a retry would meet again
            problem = scoring.unscorable(0, error).problem
            self._deliver(ev.HoldoutOpened(None, None, None, problem))


class OpeningFailed(scoring.ScoringTrouble):
    """Scoring the holdout failed; it is tried again."""
