"""Two steps on the CPU before a proposal may cost time on the accelerator, for labs that offer them.

A lab offers them by reading AUTORESEARCH_PREFLIGHT in its files: set to 1, its training command builds the model,
takes two small steps on the CPU and exits. It runs in the same sandbox as a run, without the accelerator, with
the lowest priority; where nothing could confine it, and where the CPU is what trains, there is none.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs import child_job, runner
from autoresearch_tui.runs.environment import training_command
from autoresearch_tui.sandbox import for_runs, policy
from autoresearch_tui.sandbox.policy import Kind
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util import trees
from autoresearch_tui.util.errors import UserError

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


@dataclass(frozen=True, slots=True)
class SmokeTest:
    """Tries proposals of one lab in `folder`, one at a time."""

    launcher: Launcher
    folder: Path
    seconds: float = SECONDS

    def why_not(self, texts: Mapping[str, str]) -> str:
        """Why these files are not tried here; empty if they are."""
        if not any(VARIABLE in text for text in texts.values()):
            return f"the lab offers no smoke test: nothing in it reads {VARIABLE}"
        if not accelerator():
            return "the CPU is what trains here; a smoke test would take its time"
        if for_runs.mechanism().kind is Kind.NONE:
            return "nothing here can confine a smoke test"
        return ""

    def run(self, base: str, files: Mapping[str, str], cancelled: threading.Event) -> str | None:
        """What went wrong, in the last lines of the log; None if nothing did, or it took too long to tell.

        Raises OSError, GitError.
        """
        here = RunFiles(self.folder)
        child_job.clear(here.folder, cancelled)
        self._prepare(here, base, files)
        try:
            ended = child_job.run(here.folder, self._spec(here), cancelled)
            if ended is None or ended.reason not in (RunEnd.CRASHED, RunEnd.OUT_OF_MEMORY):
                return None
            cause = "\n".join(runner.last_lines(here.folder)) or ended.note
            return f"two small steps on the CPU failed ({ended.reason}):\n{cause}"
        finally:
            # One that is still ending keeps its folder; the next one clears it away.
            trees.remove(here.work)

    def _prepare(self, here: RunFiles, base: str, files: Mapping[str, str]) -> None:
        self.launcher.export(base, here)
        for path, text in files.items():
            (self.launcher.cwd(here) / path).write_bytes(text.encode("utf-8", "surrogatepass"))

    def _spec(self, here: RunFiles) -> runner.RunSpec:
        cwd = self.launcher.cwd(here)
        try:
            held = for_runs.of_run(self.launcher.sandbox_policy(), self.launcher.lab, here, cwd)
            command = policy.wrap(training_command(self.launcher.lab), replace(held, devices=()), for_runs.mechanism())
        except (ValueError, UserError) as error:
            raise OSError(f"a smoke test cannot be confined: {error}") from None
        return runner.RunSpec(
            command=tuple(command),
            cwd=str(cwd.relative_to(here.folder)),
            env={**self.launcher.environment(here), **_NO_ACCELERATOR},
            timeout_seconds=self.seconds,
            niceness=_NICENESS,
        )


def accelerator() -> bool:
    """Whether something else than the CPU trains here, as far as device nodes tell."""
    return any(path.name.startswith("nvidia") or path.name == "kfd" for path in policy.accelerator_devices())
