"""The lab's referee: how it is started, and its result.

It is trusted, so it is never started from anything that a run can write: the locked files are exported again, where no
run sees them. The gpt harness's referee is asked by the run itself over a socket (`channel.py`), answers in
`referee.log` before the run has ended, and also hands over the training data. Any other is started here after the run.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.lab.evaluator import FRESH
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.logs import encoding, score_search
from autoresearch_tui.runs import child_job, run_folder, runner
from autoresearch_tui.sandbox import scored_data
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.util import secrets, trees
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

LOG_BYTES = 4 << 20
# Exit code of the gpt harness's referee; it is 2 if the run went away before it had answered every question.
REFUSED = 1
# EX_TEMPFAIL of sysexits.h: it cannot score now, perhaps later.
ASK_AGAIN = 75
TRIES = 2
KILLED = "the referee was killed twice"
_REASON = 300


class RefereeResult(Frozen):
    """A score, or why there is none. `details`: the last JSON object that the referee printed, if any."""

    value: float | None
    problem: str
    details: dict[str, Any]

    @property
    def sealed(self) -> float | None:
        """The score of the sealed split."""
        return self._number("sealed")

    @property
    def late_seconds(self) -> float:
        """The time of single answers beyond the usual."""
        return self._number("late_seconds") or 0.0

    @property
    def answer_seconds(self) -> float:
        """The time of all answers together."""
        return self._number("answer_seconds") or 0.0

    def _number(self, name: str) -> float | None:
        value = self.details.get(name)
        try:
            return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
        except OverflowError:  # an integer of hundreds of digits
            return None


def export(lab: Lab, repo: GitRepo, commit: str, files: RunFiles) -> None:
    """Export the locked files of `commit` for the referee. Raises OSError, GitError."""
    if not lab.settings.metric.referee:
        return
    for name in lab.settings.lab.locked:
        path = files.referee / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(repo.read(commit, name))


def spec(lab: Lab, files: RunFiles, env: Mapping[str, str]) -> runner.RefereeSpec | None:
    """The referee that the supervisor starts for the run, if any; `env` is the run's own environment."""
    settings = lab.settings
    if not settings.metric.referee or settings.metric.evaluator == FRESH:  # fresh data is drawn after the run
        return None
    return runner.RefereeSpec(
        _command(settings, files),
        _environment(env, files, files),
        str(files.referee),
        hands_over=scored_data.hands_over(lab),
    )


def read_or_run(
    settings: Settings, files: RunFiles, cwd: Path, env: Mapping[str, str], cancelled: threading.Event
) -> RefereeResult:
    """The referee's result for a finished run; it is started now unless the run has asked it.

    `cwd`: where the training command ran. Raises OSError, also if cancelled.
    """
    ended = runner.look(files.folder).exit
    if ended is None or ended.asked_seconds is None:
        return start(settings, files, files, cwd, env, cancelled)
    with files.referee_log.open("rb") as file:
        text = file.read(LOG_BYTES).decode("utf-8", "replace")
    if ended.referee_exit is None or ended.referee_exit < 0:
        return _result(settings, text, text, "it was ended before it had a score")
    return _result(settings, text, text, ended.referee_exit)


def refusal(ended: runner.Exit, files: RunFiles) -> str:
    """Why the referee refused a run that then failed; empty if it did not refuse."""
    if ended.referee_exit != REFUSED:
        return ""
    text = encoding.tail(files.referee_log, LOG_BYTES)
    return next((clean_line(line)[:_REASON] for line in reversed(text.splitlines()) if line.strip()), "")


def start(
    settings: Settings, files: RunFiles, run: RunFiles, cwd: Path, env: Mapping[str, str], cancelled: threading.Event
) -> RefereeResult:
    """Start the referee that was exported to `files`, and works there, for a finished `run`.

    It ends with the engine; if something else killed it, it is started once more. Raises OSError, also if cancelled,
    and if the referee requests a retry.
    """
    for cache in trees.named("__pycache__", cwd):
        trees.remove(cache)
    command = _command(settings, files)
    program = str(cwd / command[0]) if "/" in command[0] else command[0]
    if shutil.which(program, path=env.get("PATH")) is None:
        return RefereeResult(None, f"the referee's command is not there: {command[0]}", {})
    errors, log = files.scoring / "errors.log", files.scoring / run_folder.LOG
    spec = runner.RunSpec(
        # stdout and stderr are read separately.
        ("/bin/sh", "-c", 'exec "$@" 2>"$0"', str(errors), *command),
        _environment(env, files, run),
        str(cwd),
        timeout_seconds=settings.run.timeout_seconds,
        min_free_bytes=0,
        inherited=settings.metric.referee_env,
    )
    ended = None
    for _ in range(TRIES):
        child_job.clear(files.scoring, cancelled)
        ended = child_job.run(files.scoring, spec, cancelled)
        if cancelled.is_set():
            raise OSError(errno.ECANCELED, "the engine lets go")
        if ended is not None and not _killed(ended):
            break
    if ended is None or _killed(ended):
        return RefereeResult(None, f"{KILLED} ({ended.note if ended is not None else 'with its supervisor'})", {})
    if ended.reason == RunEnd.TIMED_OUT:
        return RefereeResult(None, f"the referee did not end within {settings.run.timeout_seconds:g} s", {})
    if ended.reason == RunEnd.DISK_FULL:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log))
    code = ended.exit_code if ended.exit_code is not None else ended.note
    redact = _redactor(settings.metric.referee_env)
    complaint = redact(encoding.tail(errors, LOG_BYTES))
    if code == ASK_AGAIN:
        why = clean_line("".join(complaint.strip().splitlines()[-1:]))[:_REASON]
        raise OSError(errno.EAGAIN, f"the referee cannot tell yet: {why or 'it gives no reason'}")
    result = _result(settings, encoding.tail(log, LOG_BYTES), complaint, code)
    # Its texts are journalled, or written beside the score; numbers stay as they are.
    details = {name: redact(each) if isinstance(each, str) else each for name, each in result.details.items()}
    return RefereeResult(result.value, redact(result.problem), details)


def _redactor(names: Iterable[str]) -> Callable[[str], str]:
    """Removes the values of these variables from a text: a failing program often quotes its key or address."""
    values = [os.environ.get(name, "").strip() for name in names]
    return secrets.redactor([*values, *(word for value in values for word in secrets.passwords(value))])


def _killed(ended: runner.Exit) -> bool:
    """Whether it was killed by a signal (also as reported by a shell), or by its supervisor."""
    code = ended.exit_code or 0
    by_signal = ended.signal is not None or 128 < code < 160
    return ended.reason in (RunEnd.KILLED, RunEnd.LOST) or (
        ended.reason in (RunEnd.CRASHED, RunEnd.OUT_OF_MEMORY) and by_signal
    )


def _result(settings: Settings, output: str, errors: str, ending: int | str) -> RefereeResult:
    details: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith("{"):
            try:
                details = json.loads(line)
            except (ValueError, RecursionError):
                continue
    if ending != 0:
        last = errors.strip().splitlines()[-1:]
        why = last[0] if last and isinstance(ending, int) else ending
        return RefereeResult(
            None, f"the referee refused: {why if isinstance(why, str) else f'exit code {why}'}", details
        )
    metric = settings.metric
    found = score_search.find_score(output, metric.pattern, metric.name, where="the referee's output")
    return RefereeResult(found.value, found.problem, details)


def _command(settings: Settings, files: RunFiles) -> tuple[str, ...]:
    """Its words, with the exported file in place of every locked file."""
    locked = set(settings.lab.locked)
    return tuple(str(files.referee / word) if word in locked else word for word in settings.metric.referee)


def _environment(env: Mapping[str, str], files: RunFiles, run: RunFiles) -> dict[str, str]:
    """The run's environment, without folders that the run can write."""
    own = {"HOME": str(files.referee), "TMPDIR": tempfile.gettempdir(), "PYTHONNOUSERSITE": "1"}
    return {**env, **own, "AUTORESEARCH_RUN": str(run.folder), "AUTORESEARCH_TOKEN_LOSSES": str(run.token_losses)}
