"""An experiment from its launch to its verdict."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace

from autoresearch_tui.engine import kept
from autoresearch_tui.engine.executor import Executor, ThisMachine
from autoresearch_tui.engine.gate import BASELINE
from autoresearch_tui.engine.judging import clock, referee, rescoring, score_file, scoring, transferring
from autoresearch_tui.engine.judging.assessment import FinishedRun
from autoresearch_tui.engine.judging.giving_up import CurveWatch
from autoresearch_tui.engine.launching import LaunchRefused
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.logs import encoding, lines
from autoresearch_tui.logs.score_search import number_keys
from autoresearch_tui.logs.trace import read_trace
from autoresearch_tui.runs import runner
from autoresearch_tui.sandbox import for_runs, shared
from autoresearch_tui.session import draws, fleet, fleet_baselines
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.clock import since
from autoresearch_tui.session.ends import SCORED, Outcome, RunEnd
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import NEEDS_COPY, Experiment, Stage, State
from autoresearch_tui.session.statistics import Row
from autoresearch_tui.util.sparing import Sparing

CONFIRMED = "confirmed"
"""The value of `metric.keep` with which a gain within the noise is run again."""
# A run that itself takes down its machine or fills the disk does so again, and is then judged.
LOST_AGAIN = 1
BASELINE_LOST = "the baseline's run, or its referee, was killed twice"
# How long a closing engine waits for scoring threads.
_LAST_SECONDS = 1.0
# While a score is due so soon, the engine's thread begins nothing but runs.
_SOON_SECONDS = 0.05
_MACHINE = frozenset({RunEnd.LOST, RunEnd.DISK_FULL})


class ScoringFailed(scoring.ScoringTrouble):
    """Scoring experiment `number` failed; it is tried again."""

    def __init__(self, number: int, error: OSError | MemoryError | GitError) -> None:
        super().__init__(error)
        self.number = number


Scored = ev.RunScored | ev.Rescored | ScoringFailed


class Runs:
    """Launches, follows and judges runs, one per device; one step at a time in the engine's thread.

    Verdicts are given one after the other, each against the frontier of its moment. Raises OSError, GitError.
    """

    def __init__(self, session: Session, deliver: Callable[[Scored], None], executor: Executor | None = None) -> None:
        """`deliver` hands a scoring thread's result to the engine's thread. `executor`: by default this machine."""
        self._session = session
        self._executor = executor or ThisMachine(session.launcher, session.files)
        self._deliver = deliver
        self._scoring: dict[int, threading.Thread] = {}
        self._scored_last = 0.0  # when the last thread began
        self._rescoring: int | None = None  # one at a time: they may work in the same copy
        self._closed = threading.Event()
        self._copies: set[int] = set()  # experiments with a working copy, as far as this engine knows
        self._lasting = set(draws.copies(session.state))  # working copies that outlive their verdicts
        self._tidied: State | None = None  # the state at the last tidying
        self._curves = CurveWatch(session)
        self._filter_failure = ""  # the last one reported
        self._looks = Sparing(0.1)

    @property
    def devices(self) -> Sequence[str]:
        """The devices that may get runs, including busy ones. Most labs have one, named ""."""
        known = self._session.state.fleet.devices
        return [name for name in self._executor.devices if name not in known or known[name].usable]

    @property
    def free_devices(self) -> Sequence[str]:
        """The devices on which nothing runs."""
        used = {e.device for e in self._session.state.in_flight}
        return [name for name in self.devices if name not in used]

    def launch(self, experiment: Experiment, device: str) -> None:
        """Start an approved experiment on a free device. If its bytes are not the approved ones, the loop pauses.

        Raises TroubleError if the machine is not fit for a run now.
        """
        self._executor.check(device)
        try:
            self._start(experiment, device)
        except LaunchRefused as refused:
            self._session.append(ev.PauseAsked("engine", str(refused)))
        if (failure := self._session.repo.filter_failure) and failure != self._filter_failure:
            self._filter_failure = failure
            self._session.append(ev.CommandRefused("git", failure))

    @property
    def expects_score(self) -> bool:
        """Whether a score is due any moment: most referees answer at once."""
        return bool(self._scoring) and time.monotonic() - self._scored_last < _SOON_SECONDS

    def stop(self, number: int | None = None) -> None:
        """Ask the present runs, or only that of `number`, to end."""
        for running in self._session.state.in_flight:
            if running.stage is Stage.RUNNING and number in (None, running.number):
                self._executor.stop(self._session.files.run(running.number))

    @property
    def busy(self) -> bool:
        """Whether a run is in progress or being scored right now, whatever the journal says."""
        if self._scoring:
            return True
        state, files = self._session.state, self._session.files
        looks = (self._executor.look(files.run(e.number)) for e in state.in_flight)
        return any(status.state is runner.RunState.RUNNING for status in looks)

    def interrupt(self) -> None:
        """End the present runs as a machine's shutdown would: they count as lost, and the next start repeats them.

        For a stop that cannot be journalled, so that no record says that a human ended them.
        """
        for running in self._session.state.in_flight:
            self._executor.stop(self._session.files.run(running.number), signal.SIGTERM)

    def invalidate(self, why: str) -> None:
        """Stop and requeue the present runs, which were not timed like the others."""
        for running in self._session.state.in_flight:
            if running.stage is Stage.RUNNING:
                self._session.append(ev.RunInvalidated(running.number, why))
        self.stop()

    def step(self) -> bool:
        """Advance an experiment in flight; False if there is nothing to do now."""
        if (roster := self._executor.roster()) is not None:
            for event in fleet.changes(self._session.state.fleet, roster):
                self._session.append(event)
            if (unfit := fleet_baselines.to_set_aside(self._session.state)) is not None:
                self._session.append(unfit)
        flying = self._session.state.in_flight
        over = (e for e in flying if e.stage is not Stage.RUNNING)
        return any(self._advance(e) for e in over) or self._look_around(flying)

    def _look_around(self, flying: Sequence[Experiment]) -> bool:
        """Look at all present runs, taking at most a tenth of the time."""
        if not self._looks.due:
            return False
        with self._looks.spending():
            found = [self._advance(e) for e in flying if e.stage is Stage.RUNNING]
        return any(found)

    def _advance(self, running: Experiment) -> bool:
        self._copies.add(running.number)  # an earlier engine may have launched it
        if running.stage is Stage.RUNNING:
            return self._look(running)
        if running.stage is Stage.ENDED:
            return self._after_end(running)
        return self.judge(running)

    def take_score(self, scored: Scored) -> None:
        """Take a scoring thread's result. Raises ScoringFailed, to try again."""
        self._scoring.pop(scored.number, None)
        if scored.number == self._rescoring:
            self._rescoring = None
        if isinstance(scored, ScoringFailed):
            raise scored
        self._session.append(scored)

    def release(self) -> None:
        """The session has ended: give back what was held for its runs."""
        self._executor.release()

    def close(self) -> None:
        """Stop scoring; the runs themselves continue. Waits a moment for what is being written."""
        self._closed.set()
        self._executor.close()
        deadline = time.monotonic() + _LAST_SECONDS
        for thread in self._scoring.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def tidy(self) -> None:
        """Remove working copies that are no longer needed. Called after the next launch, as they may be large.

        If the disk refuses, it is tried again after the next record.
        """
        state = self._session.state
        if state is self._tidied:
            return
        again = draws.copies(state)
        for number in sorted(n for n in self._copies if state.experiments[n].stage not in NEEDS_COPY):
            if self._executor.tidy(self._session.files.run(number), work=number not in again):
                self._copies.remove(number)
            self._lasting |= again & {number}
        if self._rescoring is None:  # it may be using one of them
            over = sorted(self._lasting - again)
            self._lasting -= {number for number in over if self._executor.tidy(self._session.files.run(number))}
        self._tidied = state

    def _start(self, experiment: Experiment, device: str) -> None:
        files = self._session.files.run(experiment.number)
        self._copies.add(experiment.number)
        self._executor.prepare(experiment, files)
        self._session.append(ev.RunStarted(experiment.number, experiment.commit, experiment.attempt + 1, device))
        self._executor.start(self._session.state.experiments[experiment.number], files)

    def _look(self, running: Experiment) -> bool:
        files = self._session.files.run(running.number)
        status = self._executor.look(files)
        if status.state is runner.RunState.NOT_STARTED:
            # The engine died between the intent and the launch.
            self._executor.start(running, files)
            return False
        if status.state is runner.RunState.RUNNING:
            if running.stop is not None or running.given_up is not None or self._unwanted(running):
                # Perhaps requested from an engine that died before it acted.
                self._executor.stop(files)
            elif given_up := self._curves.look(running):
                self._session.append(given_up)
                return True
            return False
        self._curves.forget(running.number)
        ended = status.exit
        if ended is None:
            self._session.append(ev.RunEnded(running.number, RunEnd.LOST, None, since(running.started_at)))
            return True
        cause: tuple[str, ...] = ()
        if ended.reason != RunEnd.FINISHED:
            cause = runner.last_lines(files.folder)
            cause = (*cause, ended.note) if ended.note and ended.note not in cause else cause
            cause += for_runs.explain(cause, self._session.state.sandbox)
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
                refused=referee.refusal(ended, files) if ended.reason != RunEnd.FINISHED else "",
                referee_killed=ended.referee_killed,
                ready_seconds=ended.ready_seconds,
            )
        )
        return True

    def _after_end(self, ended: Experiment) -> bool:
        assert ended.run is not None
        for_good = ended.stop is not None or ended.given_up is not None
        stopped = for_good and ended.run.reason != RunEnd.FINISHED
        unwanted = (ended.run.reason == RunEnd.KILLED or ended.invalidated) and self._unwanted(ended)
        lost = ended.run.reason == RunEnd.LOST
        if stopped:
            self.judge(ended)
        elif lost and not self._executor.began(self._session.files.run(ended.number)):
            self._session.append(ev.RunRequeued(ended.number, began=False))
        elif unwanted or (ended.infrastructure_retries < LOST_AGAIN and self._machine_failed(ended)):
            self._session.append(ev.RunRequeued(ended.number))
        elif ended.run.reason == RunEnd.FINISHED and (drawn := rescoring.new_draw(self._session.state, ended)):
            self._session.append(drawn)
        elif ended.run.reason == RunEnd.FINISHED:
            return self._score(ended)
        else:
            self.judge(ended)
        return True

    def _machine_failed(self, experiment: Experiment) -> bool:
        """Whether a run ended for a reason that is not its proposal's fault; the next launch waits for a fix."""
        assert experiment.run is not None
        if experiment.run.referee_killed:
            return True
        if experiment.run.reason == RunEnd.CRASHED:
            return self._executor.lost(experiment.device)
        return experiment.run.reason in _MACHINE

    def _unwanted(self, experiment: Experiment) -> bool:
        """Whether this attempt does not count: stopped by a pause or a stop, or not timed like the others."""
        state = self._session.state
        stopped = (state.paused is not None and state.paused.stop_run) or state.stopping == "now"
        return stopped or bool(experiment.invalidated)

    def _score(self, ended: Experiment) -> bool:
        """Score in a thread of its own: a referee may take minutes, and the human must not wait for it.

        A run without a working copy was judged before the journal lost its end: the score is in its folder.
        """
        if ended.number in self._scoring:
            return False
        state = self._session.state
        session = state.session
        if ended.proposal.scale:
            state = replace(state, experiments=Experiments())  # it is not compared with runs at the ordinary scale
        files, baseline = self._session.files.run(ended.number), self._session.files.run(0)
        drawn = ended.draw.seed if ended.draw is not None else None
        if not files.work.exists():
            self._session.append(scoring.recorded(ended.number, files, drawn) or ev.RunRequeued(ended.number))
            return True
        assert session is not None and ended.run is not None
        end = ended.run

        settings = transferring.lab_of(self._session.lab, ended).settings

        def score() -> ev.RunScored:
            env = rescoring.draw_environment(ended)
            assessed = self._executor.assess(FinishedRun(ended, files, session.locked, env, self._closed))
            return scoring.score(end, files, settings, assessed, state, baseline, drawn)

        self._in_thread(ended.number, score, partial(scoring.unscorable, ended.number))
        return False

    def _in_thread(self, number: int, work: Callable[[], Scored], failed: Callable[[Exception], Scored]) -> None:
        """`failed` makes the result after a bug of ours, which would only occur again at the next attempt."""

        def run() -> None:
            try:
                self._deliver(work())
            except (OSError, MemoryError, GitError) as error:
                self._deliver(ScoringFailed(number, error))
            except Exception as error:
                self._deliver(failed(error))

        thread = threading.Thread(target=run, name=f"scoring {number}", daemon=True)
        self._scoring[number], self._scored_last = thread, time.monotonic()
        thread.start()

    def _rescore(self, run: Experiment, other: Experiment) -> None:
        """Score `other` again, on the draw of `run`."""
        if self._rescoring is not None or run.number in self._scoring:
            return
        self._rescoring = run.number
        session = self._session
        work = partial(rescoring.on_draw, session.launcher, session.files, session.state, run, other, self._closed)
        self._in_thread(run.number, work, partial(rescoring.failed, run, other))

    def judge(self, experiment: Experiment) -> bool:
        """Give or defer the verdict on a finished run. False while a comparison is being scored on the same draw."""
        self._copies.add(experiment.number)
        state = self._session.state
        if wanted := draws.missing(state, experiment):
            self._rescore(*wanted)
            return False
        settings = self._session.lab.settings
        confirmed, ahead = settings.metric.keep == CONFIRMED, settings.search.several
        given = self._verdict(experiment, confirmed=confirmed or experiment.stage is Stage.CONFIRMING)
        if confirmed and (deferred := scoring.deferral(given, experiment, state, ahead=ahead)) is not None:
            self._session.append(deferred)
        else:
            self._conclude(experiment, given)
        return True

    def _verdict(self, experiment: Experiment, *, confirmed: bool) -> ev.VerdictGiven:
        state, settings = self._session.state, self._session.lab.settings
        if experiment.proposal.scale:
            return transferring.verdict(experiment)
        late = clock.over_budget(experiment, state, settings.run)
        if late:
            late += clock.explain(experiment, read_trace(self._session.files.run(experiment.number).log))
        rows, best = self._rows(experiment)
        ahead = settings.search.several
        return scoring.verdict(experiment, state, rows, best, late, confirmed=confirmed, ahead=ahead)

    def _conclude(self, experiment: Experiment, verdict: ev.VerdictGiven) -> None:
        if experiment.proposal.author == BASELINE or verdict.verdict == Outcome.KEEP:
            self._executor.keep_compiled(self._session.files.run(experiment.number))
        if verdict.verdict == Outcome.KEEP:
            self._keep_files(experiment)
        before = self._session.state
        self._session.append(verdict)
        self._prune_files()
        first = experiment.proposal.author == BASELINE and self._session.state.frontier is None
        alone = not any(e.proposal.author == BASELINE for e in self._session.state.in_flight)
        if first and alone and verdict.verdict not in SCORED:
            log = encoding.tail(self._session.files.run(experiment.number).log, lines.READ_BYTES)
            files = self._session.files.run(experiment.number)
            unseen = shared.hint(self._session.lab, log, files, self._session.launcher.cwd(files))
            self._session.append(ev.PauseAsked("engine", _no_baseline(experiment, verdict.reason, log, unseen)))
        elif (pause := rescoring.pause(before, experiment, verdict)) is not None:
            self._session.append(pause)

    def _keep_files(self, experiment: Experiment) -> None:
        """Save the files of `run.keep`; before the verdict is journalled, because a restart clears the folder."""
        files, lend = self._session.files.run(experiment.number), draws.keeps_copies(self._session.state)
        if problem := self._executor.keep_files(files, lend=lend):
            self._session.append(ev.CommandRefused("run.keep", f"#{experiment.number}: {problem}"))

    def _prune_files(self) -> None:
        run = self._session.lab.settings.run
        if run.keep:
            kept.prune(self._session.files, self._session.state, run.keep_frontiers, run.keep_max_gb * 2**30)

    def _rows(self, experiment: Experiment) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
        """The scored rows of this run and of the frontier's, if both are of the same data."""
        best = self._session.state.frontier
        if best is None or experiment.score is None or experiment.score.value is None:
            return (), ()
        files = self._session.files
        (data, rows), (other_data, others) = (
            score_file.scored_rows(files.run(number).score) for number in (experiment.number, best.number)
        )
        return (rows, others) if data == other_data else ((), ())


def _no_baseline(experiment: Experiment, why: str, log: str, unseen: str) -> str:
    """Why a session whose baseline has no score pauses, and the remedy."""
    run, score = experiment.run, experiment.score
    if experiment.stop is not None:
        return f"the baseline was stopped ({why}); resume to run it again"
    killed = score is not None and score.problem.startswith(referee.KILLED)
    if killed or (run is not None and (run.reason == RunEnd.LOST or run.referee_killed)):
        return f"{BASELINE_LOST}; see what ended it (out of memory? the machine?), then resume, or start again"
    remedy = "fix the lab, commit, and start with --new"
    if unseen:
        return f"the baseline gave no score ({why}); {unseen}, or {remedy}"
    finished = run is not None and run.reason == RunEnd.FINISHED and score is not None
    if finished and score is not None and score.source == scoring.SELF_REPORTED and (keys := number_keys(log)):
        setting = f'metric = {{ name = "{keys[0]}", goal = "minimize" }}'
        name_it = f"its log has {', '.join(keys)}: write which is the score into autoresearch.toml, as {setting}"
        remedy = f"{name_it}, or {remedy}"
    return f"the baseline gave no score ({why}); {remedy}"


def _mib(count: int | None) -> float | None:
    return None if count is None else round(count / 2**20, 1)
