"""Tests of a proposal before it may cost a run: the lab's own check, and two training steps on the CPU.

The check is the command in `lab.check`, run on the proposal's files; if it fails, the last line that it prints goes
back to the researcher.

A lab offers the steps by reading AUTORESEARCH_PREFLIGHT in its files: set to 1, its training command builds the model,
takes two small steps on the CPU and exits. Both run in the sandbox of a run, without the accelerator, with the lowest
priority. Without a sandbox neither is run, nor are the steps if the CPU is what trains.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.lab.editable import Change
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs import child_job, runner
from autoresearch_tui.runs.environment import check_command, interpreter, lab_command, training_command
from autoresearch_tui.sandbox import for_runs, policy
from autoresearch_tui.sandbox.policy import Kind
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util import trees
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import describe

VARIABLE = "AUTORESEARCH_PREFLIGHT"
SECONDS = 60.0
_NICENESS = 19
_NO_ACCELERATOR = {
    VARIABLE: "1",
    "AUTORESEARCH_DEVICE": "cpu",
    "AUTORESEARCH_TIME_BUDGET": "1",
    "AUTORESEARCH_TOKEN_BUDGET": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
}


class SmokeTest(Frozen):
    """Tests proposals of one lab in `folder`, one at a time."""

    launcher: Launcher
    folder: Path
    seconds: float = SECONDS

    def why_not(self, texts: Mapping[str, str]) -> str:
        """Why the steps are not run for these files; empty if they are."""
        if not any(VARIABLE in text for text in texts.values()):
            return f"the lab offers no smoke test: nothing in it reads {VARIABLE}"
        if not accelerator():
            return "the CPU is what trains here; a smoke test would take its time"
        if for_runs.mechanism().kind is Kind.NONE:
            return "nothing here can confine a smoke test"
        if self.launcher.lab.settings.cluster.address and not _trains_here(self.launcher.lab):
            return "what trains is on the nodes of the cluster, and not on this machine"
        return ""

    def run(self, base: str, change: Change, cancelled: threading.Event) -> str | None:
        """Run the steps. The last lines of the log if they failed; None if not, or if they took too long.

        Raises OSError, GitError.
        """
        ended, lines = self._ran(base, change, training_command(self.launcher.lab), cancelled)
        if ended is None or ended.reason not in (RunEnd.CRASHED, RunEnd.OUT_OF_MEMORY):
            return None
        cause = "\n".join(lines) or ended.note
        return f"two small steps on the CPU failed ({ended.reason}):\n{cause}"

    def why_no_check(self) -> str:
        """Why the lab's own check is not run; empty if it is."""
        if not self.launcher.lab.settings.lab.check:
            return "the lab has no check"
        if for_runs.mechanism().kind is Kind.NONE:
            return "nothing here can confine the lab's check"
        return ""

    def check(self, base: str, change: Change, cancelled: threading.Event) -> str | None:
        """Run the lab's check. Its last line if it failed; None if not, or if it could not run.

        Raises OSError, GitError, UserError.
        """
        lab = self.launcher.lab
        ended, lines = self._ran(base, change, lab_command(lab, lab.settings.lab.check), cancelled)
        if ended is None or ended.reason == RunEnd.FINISHED:
            return None
        if ended.reason == RunEnd.TIMED_OUT:
            return f"the lab's check did not end within {self.seconds:g} s; make what it reads simpler"
        last = next((line for line in reversed(lines) if line.strip()), "") or ended.note
        return f"the lab's check says: {describe(last)}"

    def _ran(
        self, base: str, change: Change, command: Sequence[str], cancelled: threading.Event
    ) -> tuple[runner.Exit | None, Sequence[str]]:
        """How a command ended with the change, and the last lines that it printed."""
        here = RunFiles(self.folder)
        child_job.clear(here.folder, cancelled)
        self._prepare(here, base, change)
        try:
            ended = child_job.run(here.folder, self._spec(here, command), cancelled)
            return ended, runner.last_lines(here.folder) if ended is not None else ()
        finally:
            # A job that is still ending keeps its folder, which the next one clears.
            trees.remove(here.work)

    def _prepare(self, here: RunFiles, base: str, change: Change) -> None:
        self.launcher.export(base, here)
        for path, text in change.items():
            file = self.launcher.cwd(here) / path
            if text is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(text.encode("utf-8", "surrogatepass"))

    def _spec(self, here: RunFiles, words: Sequence[str]) -> runner.RunSpec:
        cwd = self.launcher.cwd(here)
        try:
            held = for_runs.of_run(self.launcher.sandbox_policy(), self.launcher.lab, here, cwd)
            command = policy.wrap(words, dataclasses.replace(held, devices=()), for_runs.mechanism())
        except (ValueError, UserError) as error:
            raise OSError(f"it cannot be confined: {error}") from None
        return runner.RunSpec(
            command=tuple(command),
            cwd=str(cwd.relative_to(here.folder)),
            env={**self.launcher.environment(here), **_NO_ACCELERATOR},
            timeout_seconds=self.seconds,
            niceness=_NICENESS,
        )


def _trains_here(lab: Lab) -> bool:
    try:
        check_command(lab)
    except UserError:
        return False
    return interpreter(lab) is not None


def accelerator() -> bool:
    """Whether there is an accelerator, by the device nodes."""
    return any(path.name.startswith("nvidia") or path.name == "kfd" for path in policy.accelerator_devices())
