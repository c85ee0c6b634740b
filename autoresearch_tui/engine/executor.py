"""Where runs are executed: on this machine, or on the nodes of a cluster. The loop knows neither."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from autoresearch_tui.engine import kept
from autoresearch_tui.engine.judging import rescoring, transferring
from autoresearch_tui.engine.judging.assessment import Assessment, assess
from autoresearch_tui.engine.launching import Launcher, tidy
from autoresearch_tui.engine.preconditions import Preconditions
from autoresearch_tui.lab.session_files import RunFiles, SessionFiles
from autoresearch_tui.runs import compile_cache, run_folder, runner
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.session.fleet import Roster
from autoresearch_tui.session.state import Experiment


class Executor(Protocol):
    """Executes runs, one on each of its devices. Nothing here waits for a network or a run, but :meth:`assess`.

    A run's folder on this machine is the truth about it, whatever executes it: `run.log` grows there, and when
    `exit.json` is there, everything else that the run left and the engine reads is there too.
    """

    @property
    def devices(self) -> Sequence[str]:
        """The devices that may be given a run now, the busy ones included, in the order in which they are used."""

    def roster(self) -> Roster | None:
        """The devices of a cluster as they are now; None if they cannot come and go, or are not known now."""

    def check(self, device: str) -> None:
        """Raises TroubleError if a run cannot be started on the device now."""

    def lost(self, device: str) -> bool:
        """Whether the device was there and is gone."""

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """Make everything ready that the start needs, `files.work` among it. Safe to repeat.

        Raises LaunchRefused if the bytes are not the approved ones, OSError and GitError.
        """

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """Start the prepared run on its device; nothing happens if it runs or has ended. Raises OSError."""

    def look(self, files: RunFiles) -> runner.RunStatus:
        """Where a run stands, by its folder."""

    def began(self, files: RunFiles) -> bool:
        """Whether a run that is lost was ever started. If not, nothing of it speaks against its proposal."""

    def stop(self, files: RunFiles, word: signal.Signals = run_folder.STOP) -> None:
        """Ask for a run's end; `word` as in :func:`runner.stop`. Returns at once; harmless twice."""

    def assess(
        self,
        experiment: Experiment,
        files: RunFiles,
        locked: Mapping[str, str],
        env: Mapping[str, str],
        cancelled: threading.Event,
    ) -> Assessment:
        """Look at a run that has finished, where it ran; in a thread of its own. `env` is added to the run's own.

        Raises OSError, also if it was cancelled.
        """

    def keep_compiled(self, files: RunFiles) -> None:
        """Save what the run's compiler has made: the next runs differ little, and need not compile it again."""

    def keep_files(self, files: RunFiles, *, lend: bool) -> str:
        """Save the files of `run.keep` before the working copy goes; `lend`: leave them there as well.

        Returns why a file was not kept, in words for the human; empty if all were.
        """

    def tidy(self, files: RunFiles, *, work: bool = True) -> bool:
        """Remove a run's working copy, or without `work` only what is around it. False if the disk kept something."""

    def release(self) -> None:
        """The session has ended: give back the devices on which nothing runs."""

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
        """As the lab names them. The only one of most labs is called ""."""
        return self._launcher.lab.settings.run.devices or ("",)

    def roster(self) -> Roster | None:
        """None: its devices neither come nor go."""
        return None

    def check(self, device: str) -> None:
        """Disk space, and an accelerator that is free. Raises TroubleError."""
        self._preconditions.check(device)

    def lost(self, device: str) -> bool:
        """Whether the accelerator was there and is gone."""
        return self._preconditions.lost(device)

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """The working copy, and what the compiler made for the frontier."""
        self._of(experiment).prepare(experiment, files)
        compile_cache.restore(self._files.compiled, files.scratch)

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """Under a supervisor of its own."""
        self._of(experiment).start(experiment, files)

    def look(self, files: RunFiles) -> runner.RunStatus:
        """By its files and its lock."""
        return runner.look(files.folder)

    def began(self, files: RunFiles) -> bool:  # noqa: ARG002
        """True: what cannot be started here is no run."""
        return True

    def stop(self, files: RunFiles, word: signal.Signals = run_folder.STOP) -> None:
        """A signal to its supervisor."""
        runner.stop(files.folder, word)

    def assess(
        self,
        experiment: Experiment,
        files: RunFiles,
        locked: Mapping[str, str],
        env: Mapping[str, str],
        cancelled: threading.Event,
    ) -> Assessment:
        """In its working copy."""
        launcher = self._of(experiment)
        whole = {**launcher.environment(files, experiment.proposal.seed, experiment.device), **env}
        return assess(files, launcher.cwd(files), launcher.lab.settings, locked, whole, cancelled)

    def keep_compiled(self, files: RunFiles) -> None:
        """Beside the session's journal."""
        if not self._launcher.lab.settings.metric.referee:
            compile_cache.save(files.scratch, self._files.compiled)
            return
        with contextlib.suppress(OSError):  # they compile anew
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
        """Of this machine's disk."""
        return tidy(files, work=work)

    def release(self) -> None:
        """Nothing: they are held by runs alone."""

    def close(self) -> None:
        """Nothing: each run has its supervisor."""

    def _of(self, experiment: Experiment) -> Launcher:
        """At the scale that the run is to have."""
        return replace(self._launcher, lab=transferring.lab_of(self._launcher.lab, experiment))
