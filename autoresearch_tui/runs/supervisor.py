"""The owner of one run: starts the trainer, holds the deadline, ends its whole tree, writes `exit.json`.

`runner.py` starts it in a separate interpreter without site-packages. It imports only the standard library and a few
small neighbours, so that it starts in milliseconds, stays small, and outlives whatever started it. It reads `run.json`
and writes, in the same folder, `started.json` (before the trainer's first instruction), `run.log` and `exit.json`. It
holds `run.lock` as long as it lives, so the kernel knows whether the run has an owner.

If the lab has a referee, the trainer and the referee's own process have the ends of a socket. Messages on it start and
stop the clock of the run's budget, which is kept here and nowhere else (`channel.py`).

The trainer writes into a pipe that is copied to `run.log` here, so it can neither rewrite its output nor exceed the
limit. (RLIMIT_FSIZE would also stop checkpoints, shared memory and memfds.)
"""

# ruff: noqa: PTH123
# (pathlib would cost more than all the rest of the start)
from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
import time

from autoresearch_tui.runs.limits import Guard, in_words
from autoresearch_tui.runs.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    children,
    descendants,
    harden,
    oom_kills,
    prctl,
    ran_out_of_memory,
    send,
    tell,
)
from autoresearch_tui.runs.referee_channel import POLL_SECONDS, TORN, Channel
from autoresearch_tui.runs.run_folder import (
    BALLAST,
    BALLAST_BYTES,
    LOG,
    SPEC,
    STARTED,
    STOP,
    Spec,
    boot_id,
    now_utc,
    record_exit,
    take_lock,
    write_file,
    write_json,
)
from autoresearch_tui.session.ends import RunEnd

SWEEP_SECONDS = 10.0
# How long a referee may compute after the run has ended.
REFEREE_SECONDS = 120.0
READ_BYTES = 64 * 1024


class Run:
    """The trainer and everything below it, from fork to the last process gone."""

    def __init__(self, spec: Spec, wakeup: int, stop_asked: list[int]) -> None:
        self.spec, self.wakeup, self.stop_asked = spec, wakeup, stop_asked
        self.status: int | None = None
        self.strays: set[int] = set()
        self.log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.log_bytes = os.fstat(self.log).st_size
        self.log_error, self.log_end = "", RunEnd.KILLED
        self.oom_kills = oom_kills()
        self.guard = Guard(
            memory_limit=spec.memory_limit,
            min_free=spec.min_free,
            folders=(".", spec.cwd),
            environ=None if spec.shared_accelerator else spec.env,
        )
        self.channel = Channel(spec.referee) if spec.referee else None
        self.referee_killed = False
        self.refused = ""
        self.output, output_end = os.pipe()
        gate, self.gate = os.pipe()
        self.problem, problem_end = os.pipe()
        self.trainer = os.fork()
        if self.trainer == 0:
            self._become_trainer(gate, output_end, problem_end)
        for descriptor in (gate, output_end, problem_end):
            os.close(descriptor)
        if self.channel:
            os.close(self.channel.trainers)
        os.set_blocking(self.output, False)
        self.open = True
        self.began = self.ended = time.monotonic()

    def _become_trainer(self, gate: int, output: int, problem: int) -> None:
        """In the child: wait until `started.json` is on disk, then exec the command. Never returns."""
        code = 126
        try:
            os.close(self.gate)
            os.setsid()
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if not os.read(gate, 1):
                os._exit(1)
            harden(self.spec.niceness)
            if self.spec.cpus and sys.platform == "linux":
                os.sched_setaffinity(0, self.spec.cpus)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self.spec.cwd)
            code = 127
            env = self.spec.env
            if self.channel:
                os.set_inheritable(self.channel.trainers, True)
                env = {**env, **self.channel.variables}
            os.execvpe(self.spec.command[0], self.spec.command, env)
        except (OSError, ValueError) as error:
            if code == 127 and isinstance(error, FileNotFoundError | NotADirectoryError):
                text = f"command not found: {self.spec.command[0]}"
            else:
                text = f"cannot run {self.spec.command[0]} in {self.spec.cwd}: {error}"
                code = 126
            os.write(2, f"{text}\n".encode())
            os.write(problem, text.encode())
        finally:
            os._exit(code)

    def release(self) -> str:
        """Let the trainer start. Returns what kept the command from starting, or an empty string."""
        self.began = self.ended = time.monotonic()
        try:
            os.write(self.gate, b"1")
        except BrokenPipeError:  # it was killed while it waited
            pass
        os.close(self.gate)
        if self.channel:
            self.channel.begin()
        text = b""
        while part := os.read(self.problem, 4096):
            text += part
        os.close(self.problem)
        return " ".join(text.decode(errors="replace").split())

    def abandon(self) -> None:
        """End the trainer, which is still waiting for its release."""
        os.close(self.gate)
        os.waitpid(self.trainer, 0)

    def watch(self) -> tuple[RunEnd, str] | None:
        """Copy output until the trainer ends by itself (None) or must be ended (reason, note)."""
        while True:
            now = time.monotonic()
            if self.status is not None:
                return None
            if self.stop_asked:
                return self._why_stopped()
            if now >= self.began + self.spec.timeout:
                return RunEnd.TIMED_OUT, f"not done after {self.spec.timeout:g} s"
            if self.log_error:
                return self.log_end, self.log_error
            if now >= self.guard.due and (over := self.guard.look(now, self.channel.pid if self.channel else 0)):
                return over
            if self.channel and (lost := self._referee_lost(now - self.began)):
                return lost
            self._wait(min(self.guard.due, self.began + self.spec.timeout) - now)

    def _referee_lost(self, seconds: float) -> tuple[RunEnd, str] | None:
        """Why there can be no score any more, if so."""
        assert self.channel
        if self.channel.too_late(seconds):
            self.refused = TORN
            return RunEnd.KILLED, TORN
        if self.channel.abandoned:
            return RunEnd.CRASHED, "its referee has ended before it was asked; referee.log has its last words"
        return None

    def ended_with_us(self) -> tuple[RunEnd, str] | None:
        """The end of a trainer that got SIGTERM together with this process, as in a shutdown."""
        ended_by = os.waitstatus_to_exitcode(self.status) if self.status is not None else 0
        return self._why_stopped() if self.stop_asked and ended_by in (-signal.SIGTERM, 128 + signal.SIGTERM) else None

    def _why_stopped(self) -> tuple[RunEnd, str]:
        if STOP in self.stop_asked:
            return RunEnd.KILLED, "stopped on request"
        return RunEnd.LOST, "its supervisor was told to end (SIGTERM), as when the machine shuts down"

    def wait_for_referee(self) -> tuple[RunEnd, str] | None:
        """After the trainer's end, wait until its last request is answered. Returns what interrupted that, if
        anything."""
        deadline = time.monotonic() + REFEREE_SECONDS
        while self.channel and (self.channel.waiting or self.channel.at_work):
            if self.stop_asked:
                return self._why_stopped()
            if time.monotonic() > deadline:
                break
            if self.channel.waiting:  # all that it sent has arrived
                self.channel.hear(self.ended - self.began, last=True)
            else:
                self._wait(deadline - time.monotonic())
        return None

    def end_tree(self) -> str:
        """Send SIGTERM, and after a moment SIGKILL. Returns a note if a process could not be ended."""
        self._signal_tree(signal.SIGTERM)
        self._signal_tree(signal.SIGCONT)
        deadline = time.monotonic() + self.spec.grace
        while self.reap() and (rest := deadline - time.monotonic()) > 0:
            self._wait(rest)
        return self.sweep()

    def sweep(self) -> str:
        """Kill everything below this process, daemons too, until it has no children."""
        deadline = time.monotonic() + SWEEP_SECONDS
        if sys.platform != "linux":  # orphans do not become ours there: kill at least the trainer's group
            self._signal_tree(signal.SIGKILL)
        while self.reap():
            living = self._signal_tree(signal.SIGKILL)
            self.strays |= living - {self.trainer, self.channel.pid if self.channel else 0}
            if time.monotonic() > deadline:
                return f"{len(living)} processes could not be ended"
            self._chase()
            self._wait(0.02)
        return ""

    def _chase(self) -> None:
        """Kill processes that fork and exit faster than /proc can be read: as orphans they become our children."""
        for _ in range(200):
            if not self.reap():
                return
            for pid in children():
                send(pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Collect dead children. True while there is a living one, which on Linux includes every orphan below."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if self.channel and pid == self.channel.pid:
                self.channel.referee_ended(status)
                continue
            if sys.platform == "linux":  # after bubblewrap's end the first process of its namespace becomes our child
                self.guard.ended(used.ru_maxrss * 1024)
            if pid == self.trainer:
                self.status = status
                self.ended = time.monotonic()

    def close_log(self) -> None:
        """Copy the rest of the pipe, and sync the log, which `exit.json` depends on."""
        while self.open and self._copy():
            pass
        try:
            os.fsync(self.log)
        except OSError:
            pass

    def _signal_tree(self, number: int) -> set[int]:
        """Signal each process group once, which no fork can race. Returns the processes that were alive."""
        living = descendants(os.getpid())
        groups = set(living.values())
        if self.status is None or sys.platform != "linux":
            groups.add(self.trainer)
        for group in groups - {0, os.getpgrp()}:
            send(-group, number)
        return set(living)

    def _wait(self, seconds: float) -> None:
        """Wait for output or a signal, up to `seconds`."""
        sources = [self.wakeup, self.output] if self.open else [self.wakeup]
        if self.channel:
            sources += self.channel.sources()
            if self.channel.torn is not None:
                seconds = min(seconds, POLL_SECONDS)
        if self.spec.bound:
            sources.append(0)
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self.wakeup in ready:
            os.read(self.wakeup, 4096)
            self.reap()
        if 0 in ready:  # the owner has closed the pipe, or has ended
            self.spec.bound = False
            self.stop_asked.append(STOP)
        if self.output in ready:
            self._copy()
        if self.channel and (self.channel.torn is not None or not set(ready).isdisjoint(self.channel.sources())):
            self.channel.hear(time.monotonic() - self.began)

    def _copy(self) -> bool:
        """Copy one piece of output to the log, up to its limit. False if there is none at present."""
        try:
            data = os.read(self.output, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.open = False
            return False
        data = data[: max(0, self.spec.log_limit - self.log_bytes)]
        try:
            while data and not self.log_error:
                written = os.write(self.log, data)
                self.log_bytes += written
                data = data[written:]
        except OSError as error:
            self.log_error = f"the log cannot be written: {error.strerror}"
            self.log_end = RunEnd.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else RunEnd.KILLED
        if self.log_bytes >= self.spec.log_limit and not self.log_error:
            self.log_error = f"log limit reached ({in_words(self.spec.log_limit)})"
        return True


def outcome(run: Run, ended: tuple[RunEnd, str] | None, notes: list[str]) -> dict[str, object]:
    """The content of `exit.json`."""
    status = run.status if run.status is not None else 0
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if run.status is not None and number is None else None
    reason = RunEnd.FINISHED
    if ended:
        reason = ended[0]
        notes = [ended[1], *notes]
    elif run.log_error:
        reason = run.log_end
        notes = [run.log_error, *notes]
    elif code != 0:
        reason = RunEnd.OUT_OF_MEMORY if ran_out_of_memory(run.oom_kills, code, number) else RunEnd.CRASHED
        # A sandbox reports its command's signal like a shell.
        by = number or (code - 128 if code and 128 < code < 160 else 0)
        if by:
            notes = [f"ended by {signal.strsignal(by)} (signal {by})", *notes]
    channel = run.channel
    referee = os.waitstatus_to_exitcode(channel.status) if channel and channel.status is not None else None
    if channel and run.refused:
        channel.refuse(run.refused)
        referee = 1
    ready, asked = (channel.ready, channel.asked) if channel else (None, None)
    return {
        "reason": reason,
        "exit_code": code,
        "signal": number,
        "seconds": round(run.ended - run.began, 6),
        "log_bytes": run.log_bytes,
        "strays": len(run.strays),
        "note": "; ".join(note for note in notes if note),
        "ready_seconds": ready if ready is None else round(ready, 6),
        "asked_seconds": asked if asked is None else round(asked, 6),
        "referee_exit": referee,
        "memory_bytes": run.guard.memory or None,
        "device_memory_bytes": run.guard.driver.peak,
        "referee_killed": run.referee_killed,
        "time": now_utc(),
    }


def detach() -> None:
    """Start a new session without a parent that could wait for it or end it."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def supervise() -> None:
    """A supervisor's whole life, in the run's folder. Raises OSError if the run could not start."""
    wakeup, wakeup_end = os.pipe()
    os.set_blocking(wakeup_end, False)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    stop_asked: list[int] = []
    for number in (STOP, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stop_asked.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    with open(SPEC, encoding="utf-8") as file:
        spec = Spec(**json.load(file))
    write_file(BALLAST, b"\0" * BALLAST_BYTES, durable=False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    run = Run(spec, wakeup, stop_asked)
    owner = {"supervisor_pid": os.getpid(), "trainer_pid": run.trainer, "boot_id": boot_id()}
    try:
        write_json(STARTED, {**owner, "time": now_utc()})
    except OSError:
        run.abandon()
        raise
    tell("started")
    problem = run.release()
    ended = run.watch()
    if not ended:
        ended = run.wait_for_referee()
    run.referee_killed = run.channel is not None and run.channel.killed
    # A run that uses up the machine's memory is killed at once: it would continue during the grace time.
    stuck = run.end_tree() if ended and ended[0] != RunEnd.OUT_OF_MEMORY else run.sweep()
    run.close_log()
    ended = ended or run.ended_with_us()
    record_exit(outcome(run, ended, [problem, stuck]))


def main(folder: str) -> int:
    """Returns 0, also if another supervisor has the run; 1, with a line on stdout, if the run cannot start."""
    prctl(PR_SET_DUMPABLE, 0)  # the trainer, of the same user, neither reads nor writes this process
    detach()
    lock = None
    try:
        os.chdir(folder)
        if (lock := take_lock()) is not None:
            supervise()
    except (OSError, KeyError, TypeError, ValueError) as error:
        if lock is not None:
            os.close(lock)  # the reader of the line may start again at once
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        tell(f"{number} {error}")
        return 1
    return 0
