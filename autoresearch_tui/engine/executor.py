"""Where runs are executed: on this machine, or on the nodes of a cluster. The loop does not know which."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from autoresearch_tui.engine import kept
from autoresearch_tui.engine.judging import rescoring, transferring
from autoresearch_tui.engine.judging.assessment import Assessment, FinishedRun, assess
from autoresearch_tui.engine.launching import Launcher, tidy
from autoresearch_tui.engine.preconditions import Preconditions
from autoresearch_tui.lab.session_files import RunFiles, SessionFiles
from autoresearch_tui.runs import compile_cache, run_folder, runner
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.session.fleet import Roster
from autoresearch_tui.session.state import Experiment


class Executor(Protocol):
    """Executes runs, one on each of its devices. Only :meth:`assess` waits for a network or a run.

    A run's folder on this machine is the truth, whatever executes the run: `run.log` grows there, and once `exit.json`
    is there, so is everything else that the engine reads.
    """

    @property
    def devices(self) -> Sequence[str]:
        """The devices that may get runs, including busy ones, in the order of use."""

    def roster(self) -> Roster | None:
        """The present devices of a cluster; None if they are fixed, or unknown at the moment."""

    def check(self, device: str) -> None:
        """Raises TroubleError if no run can start on the device now."""

    def lost(self, device: str) -> bool:
        """Whether the device was present and is gone."""

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """Prepare what the start needs, including `files.work`. Safe to repeat.

        Raises LaunchRefused if the bytes are not the approved ones, OSError, GitError.
        """

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """Start the prepared run on its device, unless it runs or has ended. Raises OSError."""

    def look(self, files: RunFiles) -> runner.RunStatus:
        """The status of a run, by its folder."""

    def began(self, files: RunFiles) -> bool:
        """Whether a lost run was ever started. If not, the loss does not count against its proposal."""

    def stop(self, files: RunFiles, word: signal.Signals = run_folder.STOP) -> None:
        """Ask a run to end; `word` as in :func:`runner.stop`. Returns at once; may be repeated."""

    def assess(self, run: FinishedRun) -> Assessment:
        """Assess a run where it ran; called in a thread of its own. Raises OSError, also if cancelled."""

    def keep_compiled(self, files: RunFiles) -> None:
        """Save the run's compile cache for the next runs, which differ little."""

    def keep_files(self, files: RunFiles, *, lend: bool) -> str:
        """Save the files of `run.keep` from the working copy; `lend`: leave them there as well.

        Returns for the human why a file was not kept; empty if all were.
        """

    def tidy(self, files: RunFiles, *, work: bool = True) -> bool:
        """Remove a run's working copy, or without `work` only what is around it. False if something is left."""

    def release(self) -> None:
        """The session has ended: give back idle devices."""

    def close(self) -> None:
        """The engine ends; the runs continue."""


class ThisMachine:
    """Runs under supervisors of this machine, on the devices that the lab names."""

    def __init__(self, launcher: Launcher, files: SessionFiles) -> None:
        self._launcher = launcher
        self._files = files
        lab, folder = launcher.lab, files.folder
        self._preconditions = Preconditions(folder, environment(lab, folder), shared=lab.settings.run.share_accelerator)

    @property
    def devices(self) -> Sequence[str]:
        """As named by the lab. Most labs have one, named ""."""
        return self._launcher.lab.settings.run.devices or ("",)

    def roster(self) -> Roster | None:
        """None: its devices are fixed."""
        return None

    def check(self, device: str) -> None:
        """Disk space, and an accelerator that is free. Raises TroubleError."""
        self._preconditions.check(device)

    def lost(self, device: str) -> bool:
        """Whether the accelerator was present and is gone."""
        return self._preconditions.lost(device)

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """The working copy, and the compile cache of the frontier."""
        self._of(experiment).prepare(experiment, files)
        compile_cache.restore(self._files.compiled, files.scratch)

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        self._of(experiment).start(experiment, files)

    def look(self, files: RunFiles) -> runner.RunStatus:
        """By its files and its lock."""
        return runner.look(files.folder)

    def began(self, files: RunFiles) -> bool:  # noqa: ARG002
        """True: here a run that cannot start is never recorded as one."""
        return True

    def stop(self, files: RunFiles, word: signal.Signals = run_folder.STOP) -> None:
        runner.stop(files.folder, word)

    def assess(self, run: FinishedRun) -> Assessment:
        """In its working copy."""
        launcher = self._of(run.experiment)
        env = launcher.environment(run.files, run.experiment.proposal.seed, run.experiment.device)
        return assess(run, launcher.cwd(run.files), launcher.lab.settings, {**env, **run.env})

    def keep_compiled(self, files: RunFiles) -> None:
        """Beside the session's journal."""
        if not self._launcher.lab.settings.metric.referee:
            compile_cache.save(files.scratch, self._files.compiled)
            return
        with contextlib.suppress(OSError):  # without it runs compile again
            compile_cache.keep(files.compiled, self._files.compiled)

    def keep_files(self, files: RunFiles, *, lend: bool) -> str:
        """In the run's folder."""
        run = self._launcher.lab.settings.run
        if not run.keep or not files.work.exists():
            return ""
        cwd = self._launcher.cwd(files)
        problem = kept.save(files, cwd, run.keep, run.keep_max_gb * 2**30)
        if lend:
            rescoring.lend(files, cwd)
        return problem

    def tidy(self, files: RunFiles, *, work: bool = True) -> bool:
        return tidy(files, work=work)

    def release(self) -> None:
        """Nothing to do: only runs hold devices."""

    def close(self) -> None:
        """Nothing to do: each run has its supervisor."""

    def _of(self, experiment: Experiment) -> Launcher:
        """The launcher for the run's scale."""
        return replace(self._launcher, lab=transferring.lab_of(self._launcher.lab, experiment))
