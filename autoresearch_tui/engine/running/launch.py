"""A run's folder and environment: a fresh copy of the commit, and nothing of the user's."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui import devices
from autoresearch_tui.engine.cages import cage, home, sandbox
from autoresearch_tui.engine.cages.environment import environment, training_command
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.running import refereeing, runner
from autoresearch_tui.engine.state import Experiment
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab, RunFiles

# A run that leaves less than this on the disk is ended, so that its end can still be recorded.
MIN_FREE_BYTES = 256 << 20


class LaunchRefused(Exception):
    """The bytes to be trained are not the bytes that were approved."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """Prepares and starts runs of one lab."""

    lab: Lab
    ledger: Ledger

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """A clean run folder with the commit's tree in `work`. Safe to repeat; a run that left traces is kept aside.

        Raises LaunchRefused where the exported bytes differ from the approved commit's.
        """
        self._compare(experiment)
        _set_aside(files.folder)
        tidy(files)  # a run that is repeated finds nothing of its first try
        self.ledger.export(experiment.commit, files.work)
        home.furnish(files.folder / "scratch" / "home", home.things())
        for path in (*self.lab.settings.lab.editable, *self.lab.settings.lab.locked):
            # Byte for byte what the commit has: a checkout may convert line ends or run filters.
            approved = self.ledger.read(experiment.commit, path)
            file = self.cwd(files) / path
            if not file.is_file() or file.is_symlink() or file.read_bytes() != approved:
                raise LaunchRefused(
                    f"{path} as exported is not {path} of commit {experiment.commit[:7]}; "
                    "a filter or a line-end setting in .gitattributes changes it: remove that for the lab's files"
                )
        refereeing.export(self.lab, self.ledger, experiment.commit, files)

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """Start the prepared run under its supervisor. Does nothing where it is running or has ended."""
        settings = self.lab.settings.run
        cwd, env = self.cwd(files), self.environment(files, experiment.seed, experiment.device)
        try:
            held = cage.of_run(self.cage(), self.lab, files, cwd)
            command = sandbox.wrap(training_command(self.lab), held, cage.mechanism())
        except (ValueError, UserError) as error:
            raise OSError(errno.EPERM, f"the run in {files.folder} cannot be confined: {error}") from None
        runner.start(
            files.folder,
            runner.RunSpec(
                command=tuple(command),
                cwd=str(cwd.relative_to(files.folder)),
                env=env,
                cpus=devices.cpus(experiment.device),
                timeout_seconds=settings.timeout_seconds,
                min_free_bytes=MIN_FREE_BYTES,
                memory_limit_bytes=int(settings.memory_gb * 2**30),
                referee=refereeing.spec(self.lab.settings, files, env),
            ),
        )

    def cage(self) -> sandbox.Cage:
        """What every run of the lab may see. Raises UserError where that cannot be."""
        return cage.of_lab(self.lab, self.ledger, environment(self.lab, self.lab.state_folder))

    def cwd(self, files: RunFiles) -> Path:
        """Where the training command runs: the lab's place in the exported tree."""
        return files.work / self.ledger.prefix

    def environment(self, files: RunFiles, seed: int = 0, device: str = "") -> dict[str, str]:
        """The whole environment of a run."""
        return {**environment(self.lab, files.scratch, seed), **devices.environment(device)}

    def _compare(self, experiment: Experiment) -> None:
        """The commit differs from its base in editable files alone, and there in nothing but contents."""
        editable = {f"{self.ledger.prefix}{path}" for path in self.lab.settings.lab.editable}
        for path, (before, after) in self.ledger.modes(experiment.base, experiment.commit).items():
            if path not in editable:
                raise LaunchRefused(f"{path} is not editable, and commit {experiment.commit[:7]} changes it; veto it")
            if before != after:
                raise LaunchRefused(
                    f"commit {experiment.commit[:7]} changes {path} from mode {before} to {after} "
                    "(100644 is a plain file, 120000 a symbolic link, 000000 none); veto it"
                )


def tidy(files: RunFiles) -> None:
    """Remove the run's working copy; log, diff, score and the files as trained stay."""
    # `work` last: it says that there is something to remove.
    for folder in (files.scratch, files.referee, files.scoring, files.work):
        _remove(folder)


def _remove(folder: Path) -> None:
    """Also where the run has shut its own folders."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    for top, names, _ in os.walk(folder):
        for name in names:
            path = Path(top, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _set_aside(folder: Path) -> None:
    runner.put_aside(folder)
    if runner.look(folder).state is not runner.RunState.ENDED:
        return
    aside = folder / f"earlier-{1 + sum(1 for _ in folder.glob('earlier-*'))}"
    aside.mkdir()
    # exit.json last: until then the run has ended, and this can be repeated.
    for name in ("run.log", "referee.log", "started.json", "exit.json"):
        if (folder / name).exists():
            (folder / name).replace(aside / name)
