"""An experiment from its launch to its verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import scoring
from autoresearch_tui.engine.clock import since
from autoresearch_tui.engine.noise import Row
from autoresearch_tui.engine.review import BASELINE
from autoresearch_tui.engine.running import clock_check, compiled, refereeing, runner
from autoresearch_tui.engine.running.launch import LaunchRefused, tidy
from autoresearch_tui.engine.running.surroundings import Surroundings
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.state import Experiment, Stage

# A run that takes its machine down or fills the disk itself does so again, and is judged then.
LOST_AGAIN = 1
BASELINE_LOST = "the baseline's run, or its referee, was killed twice"
# A score that is not wanted any more is soon given up.
_LAST_SECONDS = 1.0
_MACHINE = frozenset({"lost", "disk full"})


class ScoringFailed(OSError):
    """What kept experiment `number` from being scored; it is tried again."""

    def __init__(self, number: int, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error), error.filename)
        self.number = number


class Runs:
    """Launches, follows and judges; one step at a time, in the engine's thread. Raises OSError, GitError.

    As many runs at once as the lab has devices; their verdicts are given one after the other, each against the
    frontier of its moment.
    """

    def __init__(self, session: Session, deliver: Callable[[ev.RunScored | ScoringFailed], None]) -> None:
        """`deliver` takes a score, or why there is none yet, from the scoring thread to the engine's."""
        self._session = session
        self._deliver = deliver
        self._scoring: dict[int, threading.Thread] = {}
        self._closed = threading.Event()
        self._untidy: list[Experiment] = []
        self._surroundings = Surroundings(session.files.folder)

    def free_device(self) -> str | None:
        """A device on which nothing runs; None where there is none. The only one of most labs is called ""."""
        used = {e.device for e in self._session.state.in_flight}
        return next((name for name in self._session.lab.settings.run.devices or ("",) if name not in used), None)

    def launch(self, experiment: Experiment, device: str) -> None:
        """Start an approved experiment on a free device. Where its bytes are not the approved ones, the loop pauses.

        Raises TroubleError where the machine is not fit for a run now.
        """
        self._surroundings.check(device)
        try:
            self._start(experiment, device)
        except LaunchRefused as refused:
            self._session.append(ev.PauseAsked("engine", str(refused)))

    def stop(self, number: int | None = None) -> None:
        """Ask the present runs, or only that of `number`, to end; what follows is decided when they have."""
        for running in self._session.state.in_flight:
            if running.stage is Stage.RUNNING and number in (None, running.number):
                runner.stop(self._session.files.run(running.number).folder)

    def spoil(self, why: str) -> None:
        """The present runs were not timed as the others are: they are stopped, put back and run again."""
        for running in self._session.state.in_flight:
            if running.stage is Stage.RUNNING:
                self._session.append(ev.RunSpoiled(running.number, why))
        self.stop()

    def step(self) -> bool:
        """Bring an experiment in flight forward; False where there is nothing to do now."""
        return any(self._advance(running) for running in self._session.state.in_flight)

    def _advance(self, running: Experiment) -> bool:
        if running.stage is Stage.RUNNING:
            return self._look(running)
        if running.stage is Stage.ENDED:
            return self._after_end(running)
        self._judge(running)
        return True

    def take_score(self, scored: ev.RunScored | ScoringFailed) -> None:
        """What a scoring thread delivered. Raises what it met: it is tried again."""
        self._scoring.pop(scored.number, None)
        if isinstance(scored, ScoringFailed):
            raise scored
        self._session.append(scored)

    def close(self) -> None:
        """No score is wanted any more here; the runs themselves go on. What is being written is written."""
        self._closed.set()
        for thread in self._scoring.values():
            thread.join(_LAST_SECONDS)

    def tidy(self) -> None:
        """Remove working copies of judged runs; after the next launch, for they may be large."""
        while self._untidy:
            tidy(self._session.files.run(self._untidy.pop().number))

    def _start(self, experiment: Experiment, device: str) -> None:
        files = self._session.files.run(experiment.number)
        self._session.launcher.prepare(experiment, files)
        compiled.give(self._session.files.compiled, files.scratch)
        self._session.append(ev.RunStarted(experiment.number, experiment.commit, experiment.attempt + 1, device))
        self._session.launcher.start(self._session.state.experiments[experiment.number], files)

    def _look(self, running: Experiment) -> bool:
        files = self._session.files.run(running.number)
        status = runner.look(files.folder)
        if status.state is runner.RunState.NOT_STARTED:
            # The engine died between its intent and the launch.
            self._session.launcher.start(running, files)
            return False
        if status.state is runner.RunState.RUNNING:
            if self._unwanted(running):
                # Asked for already, perhaps by an engine that died before it could do it.
                runner.stop(files.folder)
            return False
        ended = status.exit
        if ended is None:
            self._session.append(ev.RunEnded(running.number, "lost", None, since(running.started_at)))
            return True
        cause: tuple[str, ...] = ()
        if ended.reason != "finished":
            cause = runner.last_lines(files.folder)
            cause = (*cause, ended.note) if ended.note and ended.note not in cause else cause
        self._session.append(
            ev.RunEnded(
                running.number,
                ended.reason,
                ended.exit_code,
                ended.seconds,
                cause,
                ended.asked_seconds,
                memory_mb=_mib(ended.memory_bytes),
                device_memory_mb=_mib(ended.device_memory_bytes),
                refused=refereeing.refusal(ended, files) if ended.reason != "finished" else "",
                referee_killed=ended.referee_killed,
            )
        )
        return True

    def _after_end(self, ended: Experiment) -> bool:
        assert ended.run is not None
        unwanted = (ended.run.reason == "killed" or ended.spoiled) and self._unwanted(ended)
        if unwanted or (ended.spared < LOST_AGAIN and self._machine_failed(ended)):
            self._session.append(ev.ProposalPutBack(ended.number))
        elif ended.run.reason == "finished":
            self._score(ended)
            return False
        else:
            self._judge(ended)
        return True

    def _machine_failed(self, experiment: Experiment) -> bool:
        """Whether a run ended for what is no fault of its proposal; the next launch waits until that is mended."""
        assert experiment.run is not None
        if experiment.run.referee_killed:
            return True
        if experiment.run.reason == "crashed":
            return self._surroundings.lost(experiment.device)
        return experiment.run.reason in _MACHINE

    def _unwanted(self, experiment: Experiment) -> bool:
        """Whether this try of a run is not to count: stopped with a pause or for good, or not timed as the others."""
        state = self._session.state
        stopped = (state.paused is not None and state.paused.stop_run) or state.stopping == "now"
        return stopped or bool(experiment.spoiled)

    def _score(self, ended: Experiment) -> None:
        """In a thread of its own: a referee may take minutes, and the human is not to wait for it."""
        if ended.number in self._scoring:
            return
        session, launcher = self._session.state.session, self._session.launcher
        files = self._session.files.run(ended.number)
        assert session is not None and ended.run is not None
        end = ended.run

        def work() -> None:
            try:
                cwd, env = launcher.cwd(files), launcher.environment(files, ended.seed, ended.device)
                settings = self._session.lab.settings
                self._deliver(scoring.score(end, files, cwd, settings, session.locked, env, self._closed))
            except OSError as error:
                self._deliver(ScoringFailed(ended.number, error))

        thread = threading.Thread(target=work, name=f"scoring {ended.number}", daemon=True)
        self._scoring[ended.number] = thread
        thread.start()

    def _judge(self, experiment: Experiment) -> None:
        if experiment.author == BASELINE:
            compiled.keep(self._session.files.run(experiment.number).scratch, self._session.files.compiled)
        state = self._session.state
        late = clock_check.over_budget(experiment, state, self._session.lab.settings.run)
        verdict = scoring.verdict(experiment, state, *self._rows(experiment), late=late)
        self._session.append(verdict)
        self._untidy.append(experiment)
        first = experiment.author == BASELINE and self._session.state.best is None
        alone = not any(e.author == BASELINE for e in self._session.state.in_flight)
        if first and alone and verdict.verdict not in ("keep", "discard"):
            self._session.append(ev.PauseAsked("engine", _no_baseline(experiment, verdict.reason)))

    def _rows(self, experiment: Experiment) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The scored rows of this run and of the frontier's, where both are of the same data."""
        best = self._session.state.best
        if best is None or experiment.score is None or experiment.score.value is None:
            return (), ()
        (mine, rows), (theirs, others) = (
            scoring.scored_rows(self._session.files.run(number).score) for number in (experiment.number, best.number)
        )
        return (rows, others) if mine == theirs else ((), ())


def _no_baseline(experiment: Experiment, why: str) -> str:
    """What stands in the way of a session whose baseline has no score, and the remedy."""
    run, score = experiment.run, experiment.score
    killed = score is not None and score.problem.startswith(refereeing.KILLED)
    if killed or (run is not None and (run.reason == "lost" or run.referee_killed)):
        return f"{BASELINE_LOST}; see what ended it (out of memory? the machine?), then resume, or start again"
    return f"the baseline gave no score ({why}); mend the lab, commit, and start with --new"


def _mib(count: int | None) -> float | None:
    return None if count is None else round(count / 2**20, 1)
