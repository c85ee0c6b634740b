"""Prepares and starts runs: a fresh copy of the commit in the sandbox, with nothing of the user's."""

from __future__ import annotations

import errno
from pathlib import Path

from autoresearch_tui.engine.judging import referee
from autoresearch_tui.lab import devices
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs import runner
from autoresearch_tui.runs.environment import environment, training_command
from autoresearch_tui.sandbox import for_runs, policy, shared
from autoresearch_tui.session.state import Experiment
from autoresearch_tui.util import trees
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen

# A run is ended when less than this is free on the disk, so that its end can still be recorded.
MIN_FREE_BYTES = 256 << 20


class LaunchRefused(Exception):
    """The bytes to be trained are not the bytes that were approved."""


class Launcher(Frozen):
    """Prepares and starts runs of one lab."""

    lab: Lab
    repo: GitRepo

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """A clean run folder with the commit's tree in `work`. Safe to repeat; an earlier attempt is put aside.

        Raises LaunchRefused if the exported bytes differ from the approved commit's.
        """
        self.require_approved(experiment)
        set_aside(files.folder)
        tidy(files)  # a repeated run finds nothing of its first attempt
        self.export(experiment.commit, files)
        editable = self.repo.editable_texts(experiment.commit, self.lab.editable)
        for path in (*editable, *self.lab.settings.lab.visible):
            approved = self.repo.read(experiment.commit, path)
            file = self.cwd(files) / path
            if not file.is_file() or file.is_symlink() or file.read_bytes() != approved:
                raise LaunchRefused(
                    f"{path} as exported is not a plain file as in commit {experiment.commit[:7]}; "
                    "if it is a link, commit the file itself"
                )
        referee.export(self.lab, self.repo, experiment.commit, files)

    def export(self, commit: str, files: RunFiles) -> None:
        """Export the commit's tree to `work`, with shared files beside it and a home. Raises GitError, OSError."""
        editable = self.repo.editable_texts(commit, self.lab.editable)
        self.repo.export(commit, files.work, exact=(*editable, *self.lab.settings.lab.locked))
        for name in self.lab.settings.lab.private:
            trees.remove(files.work / self.repo.prefix / name)
        shared.find(self.lab, self.repo).lay_out(files.work, files.scratch / "home")

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """Start the prepared run under its supervisor, unless it is running or has ended."""
        settings = self.lab.settings.run
        cwd, env = self.cwd(files), self.environment(files, experiment.proposal.seed, experiment.device)
        try:
            held = for_runs.of_run(self.sandbox_policy(), self.lab, files, cwd)
            command = policy.wrap(training_command(self.lab), held, for_runs.mechanism())
        except (ValueError, UserError) as error:
            raise OSError(errno.EPERM, f"the run in {files.folder} cannot be confined: {error}") from None
        runner.start(
            files.folder,
            runner.RunSpec(
                command=tuple(command),
                cwd=str(cwd.relative_to(files.folder)),
                env=env,
                cpus=devices.cpus(experiment.device),
                shared_accelerator=settings.share_accelerator,
                timeout_seconds=settings.timeout_seconds,
                min_free_bytes=MIN_FREE_BYTES,
                memory_limit_bytes=int(settings.memory_gb * 2**30),
                referee=referee.spec(self.lab, files, env),
            ),
        )

    def sandbox_policy(self) -> policy.Policy:
        """What every run of the lab may access. Raises UserError if that is impossible."""
        return for_runs.of_lab(self.lab, self.repo, environment(self.lab, self.lab.state_folder))

    def cwd(self, files: RunFiles) -> Path:
        """Where the training command runs: the lab's place in the exported tree."""
        return files.work / self.repo.prefix

    def environment(self, files: RunFiles, seed: int = 0, device: str = "") -> dict[str, str]:
        """The whole environment of a run."""
        # Without /dev/shm Inductor's compiler pool dies at once, and its owner waits for it forever.
        alone = for_runs.mechanism().kind is policy.Kind.LANDLOCK
        threads = {"TORCHINDUCTOR_COMPILE_THREADS": "1"} if alone else {}
        return {**threads, **environment(self.lab, files.scratch, seed), **devices.environment(device)}

    def require_approved(self, experiment: Experiment) -> None:
        """Raises LaunchRefused unless the commit only changes contents of editable files, and adds or removes plain
        files within patterns and folders."""
        editable, prefix = self.lab.editable, self.repo.prefix
        for path, (before, after) in self.repo.modes(experiment.proposal.base, experiment.commit).items():
            name = path.removeprefix(prefix)
            free = path.startswith(prefix) and editable.covers(name)
            if not free and not (path.startswith(prefix) and name in editable.plain):
                raise LaunchRefused(f"{path} is not editable, and commit {experiment.commit[:7]} changes it; veto it")
            comes_or_goes = free and (before, after) in (("000000", "100644"), ("100644", "000000"))
            if before != after and not comes_or_goes:
                raise LaunchRefused(
                    f"commit {experiment.commit[:7]} changes {path} from mode {before} to {after} "
                    "(100644 is a plain file, 120000 a symbolic link, 000000 none); veto it"
                )


def tidy(files: RunFiles, *, work: bool = True) -> bool:
    """Remove the run's working copy, whatever is in it; log, diff, score and the files as trained stay.

    Without `work` only what is around the copy goes. False if something is left.
    """
    # `work` last: while it exists, there is something to remove.
    folders = (files.scratch, files.compiled, files.referee, files.scoring, files.again.folder, files.work)
    left = [folder for folder in (folders if work else folders[:-1]) if not trees.remove(folder)]
    return not left


def set_aside(folder: Path) -> None:
    """Put aside what an earlier attempt at a run left in its folder."""
    runner.put_aside(folder)
    if runner.look(folder).state is not runner.RunState.ENDED:
        return
    aside = folder / f"earlier-{1 + sum(1 for _ in folder.glob('earlier-*'))}"
    aside.mkdir()
    # exit.json last: until then the run has ended, and this can be repeated.
    for name in ("run.log", "referee.log", "score.json", "started.json", "exit.json"):
        if (folder / name).exists():
            (folder / name).replace(aside / name)
