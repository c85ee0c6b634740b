"""The owner of one run: starts the trainer, holds the deadline, ends its whole tree, writes `exit.json`.

`runner.py` starts it in an interpreter of its own without site-packages. It imports the standard library and a few
small neighbours only, so that it is up in milliseconds, stays small, and outlives whatever started it. It reads
`run.json` and writes, in the same folder, `started.json` (before the trainer's first instruction), `run.log`
and `exit.json`. It holds `run.lock` as long as it lives: the kernel itself says whether the run has an owner.

Where the lab has a referee, the trainer is born with one end of a socket. Its first word there is the request to
be scored: from then on the clock of the budget stands, and the referee, in a process of its own, has the other end.

The trainer writes into a pipe that is copied to `run.log` here: it can neither rewrite what it has said nor
exceed the limit. (RLIMIT_FSIZE would also stop checkpoints, shared memory and memfds.)
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

from autoresearch_tui.engine.running.channel import REFEREE_FD, Channel
from autoresearch_tui.engine.running.guard import Guard, in_words
from autoresearch_tui.engine.running.processes import (
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
from autoresearch_tui.engine.running.run_folder import (
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

SWEEP_SECONDS = 10.0
# A referee that still computes when the run has ended.
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
        self.log_error, self.log_end = "", "killed"
        self.oom_kills = oom_kills()
        self.guard = Guard(
            memory_limit=spec.memory_limit,
            min_free=spec.min_free,
            folders=(".", spec.cwd),
            devices=spec.env.get("CUDA_VISIBLE_DEVICES"),
        )
        self.channel = Channel(spec.referee) if spec.referee else None
        self.referee_killed = False
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
        """In the child: waits until `started.json` is on disk, then turns into the command. Never returns."""
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
                env = {**env, REFEREE_FD: str(self.channel.trainers)}
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
        """Lets the trainer go. Returns what kept the command from starting, or an empty string."""
        self.began = self.ended = time.monotonic()
        os.write(self.gate, b"1")
        os.close(self.gate)
        text = b""
        while part := os.read(self.problem, 4096):
            text += part
        os.close(self.problem)
        return " ".join(text.decode(errors="replace").split())

    def abandon(self) -> None:
        """Lets the trainer, which waits for its release, go without it."""
        os.close(self.gate)
        os.waitpid(self.trainer, 0)

    def watch(self) -> tuple[str, str] | None:
        """Copies output until the trainer ends by itself (None) or has to be ended (reason, note)."""
        while True:
            now = time.monotonic()
            if self.status is not None:
                return None
            if self.stop_asked:
                return self._told()
            if now >= self.began + self.spec.timeout:
                return "timed out", f"not done after {self.spec.timeout:g} s"
            if self.log_error:
                return self.log_end, self.log_error
            if now >= self.guard.due and (over := self.guard.look(now, self.channel.pid if self.channel else 0)):
                return over
            self._wait(min(self.guard.due, self.began + self.spec.timeout) - now)

    def told_as_well(self) -> tuple[str, str] | None:
        """Of a trainer that has ended: whether that is because somebody told all of us to, as a shutdown does."""
        ended_by = os.waitstatus_to_exitcode(self.status) if self.status is not None else 0
        return self._told() if self.stop_asked and ended_by in (-signal.SIGTERM, 128 + signal.SIGTERM) else None

    def _told(self) -> tuple[str, str]:
        if STOP in self.stop_asked:
            return "killed", "stopped on request"
        return "lost", "its supervisor was told to end (SIGTERM), as when the machine shuts down"

    def hear_the_referee_out(self) -> tuple[str, str] | None:
        """The trainer has ended; what it has asked for before is computed to the end, or as long as that may take.

        Returns what has cut that short, if something has.
        """
        deadline = time.monotonic() + REFEREE_SECONDS
        while self.channel and (self.channel.waiting or self.channel.at_work):
            if self.stop_asked:
                return self._told()
            if time.monotonic() > deadline:
                break
            if self.channel.waiting:  # everything that it has said is there to be read
                self.channel.hear(self.ended - self.began)
            else:
                self._wait(deadline - time.monotonic())
        return None

    def end_tree(self) -> str:
        """SIGTERM, a moment, SIGKILL. Returns a note where somebody could not be ended."""
        self._signal_tree(signal.SIGTERM)
        self._signal_tree(signal.SIGCONT)
        deadline = time.monotonic() + self.spec.grace
        while self.reap() and (rest := deadline - time.monotonic()) > 0:
            self._wait(rest)
        return self.sweep()

    def sweep(self) -> str:
        """SIGKILL to everything below this process, daemons too, until the kernel knows no child of it."""
        deadline = time.monotonic() + SWEEP_SECONDS
        if sys.platform != "linux":  # orphans are not ours there: at least the trainer's group
            self._signal_tree(signal.SIGKILL)
        while self.reap():
            living = self._signal_tree(signal.SIGKILL)
            self.strays |= living - {self.trainer}
            if time.monotonic() > deadline:
                return f"{len(living)} processes could not be ended"
            self._chase()
            self._wait(0.02)
        return ""

    def _chase(self) -> None:
        """Ends those that fork and exit faster than /proc can be read: orphaned, they are children of ours."""
        for _ in range(200):
            if not self.reap():
                return
            for pid in children():
                send(pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Collects the dead. True while there is a child left, which on Linux includes every orphan below."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.trainer:
                self.status = status
                self.ended = time.monotonic()
                if sys.platform == "linux":
                    self.guard.ended(used.ru_maxrss * 1024)
            elif self.channel and pid == self.channel.pid:
                self.channel.status = status

    def close_log(self) -> None:
        """What is left in the pipe, and the whole log on disk: `exit.json` depends on it."""
        while self.open and self._copy():
            pass
        try:
            os.fsync(self.log)
        except OSError:
            pass

    def _signal_tree(self, number: int) -> set[int]:
        """By process group, which no fork can race, and once each. Returns the processes that were alive."""
        living = descendants(os.getpid())
        groups = set(living.values())
        if self.status is None or sys.platform != "linux":
            groups.add(self.trainer)
        for group in groups - {0, os.getpgrp()}:
            send(-group, number)
        return set(living)

    def _wait(self, seconds: float) -> None:
        """Until output, a signal, or `seconds` have passed."""
        sources = [self.wakeup, self.output] if self.open else [self.wakeup]
        if self.channel and self.channel.waiting:
            sources.append(self.channel.referees)
        if self.spec.bound:
            sources.append(0)
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self.wakeup in ready:
            os.read(self.wakeup, 4096)
            self.reap()
        if 0 in ready:  # whoever it was for has let go of it, or is no more
            self.spec.bound = False
            self.stop_asked.append(STOP)
        if self.output in ready:
            self._copy()
        if self.channel and self.channel.waiting and self.channel.referees in ready:
            self.channel.hear(time.monotonic() - self.began)

    def _copy(self) -> bool:
        """One piece of output to the log, up to its limit. False when there is no more at present."""
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
            self.log_end = "disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "killed"
        if self.log_bytes >= self.spec.log_limit and not self.log_error:
            self.log_error = f"log limit reached ({in_words(self.spec.log_limit)})"
        return True


def outcome(run: Run, ended: tuple[str, str] | None, notes: list[str]) -> dict[str, object]:
    """The content of `exit.json`."""
    status = run.status if run.status is not None else 0
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = os.WEXITSTATUS(status) if run.status is not None and number is None else None
    reason = "finished"
    if ended:
        reason = ended[0]
        notes = [ended[1], *notes]
    elif run.log_error:
        reason = run.log_end
        notes = [run.log_error, *notes]
    elif code != 0:
        reason = "out of memory" if ran_out_of_memory(run.oom_kills, code, number) else "crashed"
        # A cage reports its command's signal as a shell does.
        by = number or (code - 128 if code and 128 < code < 160 else 0)
        if by:
            notes = [f"ended by {signal.strsignal(by)} (signal {by})", *notes]
    channel = run.channel
    referee = os.waitstatus_to_exitcode(channel.status) if channel and channel.status is not None else None
    asked = channel.asked if channel else None
    return {
        "reason": reason,
        "exit_code": code,
        "signal": number,
        "seconds": round(run.ended - run.began, 6),
        "log_bytes": run.log_bytes,
        "strays": len(run.strays),
        "note": "; ".join(note for note in notes if note),
        "asked_seconds": asked if asked is None else round(asked, 6),
        "referee_exit": referee,
        "memory_bytes": run.guard.memory or None,
        "device_memory_bytes": run.guard.driver.peak,
        "referee_killed": run.referee_killed,
        "time": now_utc(),
    }


def detach() -> None:
    """A session of its own, and no parent to wait for it or to be killed with."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def supervise() -> None:
    """A supervisor's whole life, in the run's folder. Raises OSError where the run could not be begun."""
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
        ended = run.hear_the_referee_out()
        run.referee_killed = run.channel is not None and run.channel.killed
    # What takes the machine's memory is not asked to end: it would go on meanwhile.
    stuck = run.end_tree() if ended and ended[0] != "out of memory" else run.sweep()
    run.close_log()
    ended = ended or run.told_as_well()
    record_exit(outcome(run, ended, [problem, stuck]))


def main(folder: str) -> int:
    """0, also where another supervisor has the run; 1 with a line on stdout where it could not be begun."""
    prctl(PR_SET_DUMPABLE, 0)  # the trainer, of the same user, neither reads nor writes this process
    detach()
    lock = None
    try:
        os.chdir(folder)
        if (lock := take_lock()) is not None:
            supervise()
    except (OSError, KeyError, TypeError, ValueError) as error:
        if lock is not None:
            os.close(lock)  # whoever reads the line may start again at once
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        tell(f"{number} {error}")
        return 1
    return 0
