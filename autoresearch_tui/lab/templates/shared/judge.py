"""Fixed: judges the speed of a function against a plain one that does the same. Nobody changes this file.

`task.py` beside it says which function in which file, has the plain one, makes the questions and tells a right answer
from a wrong one. `python -I judge.py` runs both in processes of their own. They get questions as bytes and have to send
answers back as bytes, so nothing but the answer's bytes counts. Both answer every question, in turn, timed by the
judge's clock, and both answers are compared. It prints the ratio of the two times: METRIC:ratio=0.5 takes half the
plain one's time. No question is sent twice, and the timed ones are drawn anew for every run: nothing can be known or
remembered of them.
"""

import contextlib
import ctypes
import linecache
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

TIME_BUDGET = float(os.environ.get("AUTORESEARCH_TIME_BUDGET") or 10)
# Fresh processes for each sitting: where the system happens to put one can cost it a fifth of its speed.
SITTINGS = max(2, min(8, round(TIME_BUDGET)))
ANSWER_SECONDS = 5.0  # for one question, of which the plain function answers some hundreds a second
ANSWER_BYTES = 2**20
TASK = Path(__file__).resolve().with_name("task.py")


class Refused(Exception):
    """The judged function did not answer, its answer is wrong, or it does not play fair."""


def module(name: str, code: str) -> ModuleType:
    """The code as a module that nothing can import; its lines are in tracebacks. Raises whatever the code raises."""
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    made = ModuleType(Path(name).stem)
    made.__file__ = name
    exec(compile(code, name, "exec"), made.__dict__)
    return made


task = module(TASK.name, TASK.read_text("utf-8"))


# ── a function in a process of its own ──────────────────────────────────────────────────────────────────────────────


class Worker:
    """A process that answers questions, stopped except while it is asked. Use it as a context."""

    def __init__(self, name: str, code: str, function: str, folder: Path) -> None:
        self.name = name
        work = Path(tempfile.mkdtemp(dir=folder))
        self._said = work / "said"
        # Isolated and without site-packages: what the code can import is the standard library.
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(Path(__file__).resolve()), "--worker", name, function],
                cwd=work,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._pipes = (self._process.stdin.fileno(), self._process.stdout.fileno())
        try:
            self.answer("its start", code.encode())
        except Refused:
            self.end()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        """Kill it, and what it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def answer(self, kind: str, question: bytes) -> tuple[bytes, float]:
        """The answer, and seconds from sending the question to having it. Raises Refused if there is none."""
        self._signal(signal.SIGCONT)
        signal.setitimer(signal.ITIMER_REAL, ANSWER_SECONDS)
        started = time.perf_counter()
        try:
            send(self._pipes[0], question)
            answer = receive(self._pipes[1], ANSWER_BYTES)
            return answer, time.perf_counter() - started
        except TimeoutError:
            raise Refused(f"{kind}: no answer within {ANSWER_SECONDS:g} s") from None
        except (EOFError, ValueError, OSError) as error:
            self.end()
            raise Refused(f"{kind}: {self._last_words() or error}") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._signal(signal.SIGSTOP)

    def _signal(self, number: signal.Signals) -> None:
        # The whole group: what the code started must not work, or disturb, during the other one's turn.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _last_words(self) -> str:
        lines = self._said.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
        for line in lines[-8:]:
            print(f"{self.name}: " + "".join(c if c.isprintable() else "·" for c in line[:300]))
        return lines[-1][:200] if lines else ""


def send(pipe: int, data: bytes) -> None:
    """One message: its length in eight bytes, and its bytes."""
    message = memoryview(len(data).to_bytes(8, "little") + data)
    while message:
        message = message[os.write(pipe, message) :]


def receive(pipe: int, longest: int) -> bytes:
    """The next message. Raises EOFError, and ValueError for one that is longer than it may be."""
    size = int.from_bytes(_read(pipe, 8), "little")
    if size > longest:
        raise ValueError(f"an answer of {size} bytes where at most {longest} belong")
    return _read(pipe, size)


def _read(pipe: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(pipe, size - len(data))
        if not piece:
            raise EOFError("it ended without an answer")
        data += piece
    return bytes(data)


def serve(name: str, function: str) -> int:
    """The worker's side: code first, then questions, until the judge has gone."""
    hide()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    questions, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what the code prints must not be taken for an answer
    code = receive(questions, 2**24).decode()
    answer = getattr(module(name, code), function, None)
    if not callable(answer):
        raise TypeError(f"{name} has no function {function}({task.ARGUMENT})")
    send(answers, b"")
    while True:
        try:
            question = receive(questions, 2**24)
        except EOFError:
            return 0
        # A lazy answer does its work where it is packed, on the clock.
        send(answers, task.pack_answer(answer(task.unpack(question))))


def hide() -> None:
    """Other processes of the same user can write neither to this one's memory nor to its pipes from here on."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)


# ── the judgement ───────────────────────────────────────────────────────────────────────────────────────────────────


def adopt() -> None:
    """Whatever a worker starts and leaves is this process's child from here on, and can be found."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def check_fair(own: Worker, plain: Worker) -> None:
    """Raises Refused if the judged code keeps a process that could work, or disturb, during the other's turn, or has
    held the plain one back."""
    children = {pid for parent in (os.getpid(), own.pid) for pid in _children(parent)}
    for stray in (strays := children - {own.pid, plain.pid}):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(stray, signal.SIGKILL)
    if strays:
        raise Refused(f"{own.name} has started a process, which could work while it is not asked")
    if _held_back(plain.pid) != _held_back(os.getpid()):
        raise Refused(f"{own.name} has changed how the plain one is scheduled")


def _children(parent: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # elsewhere than on Linux
        for thread in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def _held_back(pid: int) -> tuple[object, ...]:
    priority = os.getpriority(os.PRIO_PROCESS, pid)
    if sys.platform != "linux":
        return (priority,)
    return priority, os.sched_getscheduler(pid), os.sched_getaffinity(pid)


def compare(own: Worker, plain: Worker, kind: str, question: bytes) -> tuple[float, float]:
    """Both answer, the judged one first. Returns their seconds. Raises Refused if it is not fair, or the answers are
    not the same."""
    answer, seconds = own.answer(kind, question)
    check_fair(own, plain)
    expected, plain_seconds = plain.answer(kind, question)
    if not task.same(answer, expected):
        raise Refused(f"{kind}: {task.WRONG}")
    return seconds, plain_seconds


def ratio(times: dict[str, list[tuple[float, float]]]) -> float:
    """The geometric mean over the kinds of the best time of the judged function over the best time of the plain one.

    The best of many interleaved turns is what the machine's other work disturbs least.
    """
    logs = [math.log(min(own for own, _ in pairs) / min(plain for _, plain in pairs)) for pairs in times.values()]
    return math.exp(sum(logs) / len(logs))


def show(rounds: int, done: float, value: float, seconds: float) -> None:
    """One progress line, in place of the last."""
    each = seconds / rounds
    left = max(0.0, TIME_BUDGET - seconds)
    print(
        f"\rstep {rounds:05d} ({100 * min(done, 1):.1f}%) | loss: {value:.6f} | lrm: 1.00 | dt: {1000 * each:.0f}ms "
        f"| tok/sec: {len(task.KINDS) * task.SIZE / each:,.0f} | mfu: 0.0% | epoch: 1 | remaining: {left:.0f}s    ",
        end="",
        flush=True,
    )


def judge(folder: Path) -> tuple[float, int, float]:
    """The ratio, the rounds it took and the seconds. Raises Refused."""
    judged = (task.FILE, Path(task.FILE).read_text("utf-8"), task.FUNCTION, folder)
    reference = (TASK.name, TASK.read_text("utf-8"), "reference", folder)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in task.KINDS}
    with Worker(*judged) as own, Worker(*reference) as plain:
        for kind, question in task.checked():
            compare(own, plain, kind, task.pack(question))
    rng = random.Random(os.urandom(16))
    rounds, started, seconds = 0, time.perf_counter(), 0.0
    for sitting in range(1, SITTINGS + 1):
        with Worker(*judged) as own, Worker(*reference) as plain:
            while rounds < sitting or seconds < TIME_BUDGET * sitting / SITTINGS:
                for kind, make in task.KINDS.items():
                    times[kind].append(compare(own, plain, kind, task.pack(make(rng, task.SIZE))))
                rounds += 1
                seconds = time.perf_counter() - started
                show(rounds, seconds / TIME_BUDGET, ratio(times), seconds)
    return ratio(times), rounds, seconds


def main() -> int:
    hide()
    adopt()

    def too_late(_number: int, _frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        try:
            value, rounds, seconds = judge(Path(folder))
        except Refused as refusal:
            print(f"\nFAIL {refusal}")
            return 1
    print("\n---")
    print(f"METRIC:ratio={value:.6f}")
    print(f"training_seconds: {seconds:.1f}")
    print(f"num_steps:        {rounds}")
    return 0


if __name__ == "__main__":
    sys.exit(serve(*sys.argv[2:]) if sys.argv[1:2] == ["--worker"] else main())
