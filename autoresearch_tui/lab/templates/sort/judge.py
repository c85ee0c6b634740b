"""Fixed: judges `sort.py`. Nobody changes this file.

`python -I judge.py` runs sort.py in a process of its own, which gets numbers as bytes and has to send them back in
order. The judge compares every answer with its own. Then it times both sort.py and a plain merge sort, list by list in
turn, with its own clock, and prints the ratio of the two: METRIC:ratio=0.5 takes half the plain merge sort's time.
No list is sent twice, and the timed ones are drawn anew for every run: nothing can be known or remembered of them.
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
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

TIME_BUDGET = float(os.environ.get("AUTORESEARCH_TIME_BUDGET") or 10)
SIZE = 1000  # numbers in a timed list; short turns dodge most of what else the machine does
# Fresh processes for each sitting: where the system happens to put one can cost it a fifth of its speed.
SITTINGS = max(2, min(8, round(TIME_BUDGET)))
ANSWER_SECONDS = 5.0  # for one list, of which the plain merge sort sorts some hundreds a second
SEED = 20240607  # of the lists that are only checked

Numbers = list[int]


class Refused(Exception):
    """sort.py did not answer, or its answer is wrong."""


# ── the inputs ──────────────────────────────────────────────────────────────────────────────────────────────────


def _random(rng: random.Random, size: int) -> Numbers:
    return [rng.getrandbits(41) - 2**40 for _ in range(size)]


def _few_values(rng: random.Random, size: int) -> Numbers:
    values = _random(rng, 12)
    return [rng.choice(values) for _ in range(size)]


def _nearly_sorted(rng: random.Random, size: int) -> Numbers:
    numbers = sorted(_random(rng, size))
    for _ in range(size // 50):
        i, j = rng.randrange(size), rng.randrange(size)
        numbers[i], numbers[j] = numbers[j], numbers[i]
    return numbers


def _reversed(rng: random.Random, size: int) -> Numbers:
    return sorted(_random(rng, size), reverse=True)


def _sawtooth(rng: random.Random, size: int) -> Numbers:
    start, period = rng.randrange(2**30), rng.randrange(40, 60)
    return [start + i % period * 1000 + i for i in range(size)]


def _organ_pipe(rng: random.Random, size: int) -> Numbers:
    half = sorted(_random(rng, size // 2))
    return half + half[::-1]


def _against_middle_pivots(rng: random.Random, size: int) -> Numbers:
    """Evens and odds interleaved so that the median of the first, middle and last number splits off next to nothing."""
    start, half = rng.randrange(2**30), size // 2
    front = [start + i + (half if i % 2 else 0) for i in range(half)]
    return front + [start + 2 * i for i in range(half)]


KINDS: dict[str, Callable[[random.Random, int], Numbers]] = {
    "random": _random,
    "few values": _few_values,
    "nearly sorted": _nearly_sorted,
    "reversed": _reversed,
    "sawtooth": _sawtooth,
    "organ pipe": _organ_pipe,
    "against middle pivots": _against_middle_pivots,
}


def lists(rng: random.Random, size: int) -> Iterator[tuple[str, Numbers]]:
    """One list of each kind."""
    yield from ((name, make(rng, size)) for name, make in KINDS.items())


def checked() -> Iterator[tuple[str, Numbers]]:
    """Lists that are only checked: the small, the empty and the extreme."""
    rng = random.Random(SEED)
    limits = [-(2**63), 2**63 - 1]
    yield from (("empty", []), ("one number", [7]), ("all equal", [5] * 300), ("limits", [*limits, 0, *limits]))
    for size in (2, 3, 31, 33, 63, 65, 127, 129, 1000):
        yield from ((f"{name}, {size} numbers", numbers) for name, numbers in lists(rng, size))


# ── a sorter in a process of its own ────────────────────────────────────────────────────────────────────────────


class Sorter:
    """A process that sorts, stopped except while it is asked. Use it as a context."""

    def __init__(self, code: str, folder: Path) -> None:
        work = Path(tempfile.mkdtemp(dir=folder))
        self._said = work / "said"
        # Isolated and without site-packages: what the code can import is the standard library.
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(Path(__file__).resolve()), "--sorter"],
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
            self._exchange(code.encode(), "its start")
        except Refused:
            self.end()
            raise

    def __enter__(self) -> "Sorter":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill it, and whatever it started."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def sort(self, kind: str, numbers: Numbers) -> float:
        """Seconds from sending the numbers to having them back in order. Raises Refused where they are not."""
        question = array("q", numbers).tobytes()
        answer, seconds = self._exchange(question, kind)
        if answer != array("q", sorted(numbers)).tobytes():
            raise Refused(f"{kind}: the answer is not the same numbers in order")
        return seconds

    def _exchange(self, question: bytes, kind: str) -> tuple[bytes, float]:
        self._signal(signal.SIGCONT)
        signal.setitimer(signal.ITIMER_REAL, ANSWER_SECONDS)
        started = time.perf_counter()
        try:
            send(self._pipes[0], question)
            answer = receive(self._pipes[1], len(question))
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
        # The whole group: what the code started must not work, or disturb, during the other sorter's turn.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _last_words(self) -> str:
        lines = self._said.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
        for line in lines[-8:]:
            print("sort.py: " + "".join(c if c.isprintable() else "·" for c in line[:300]))
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


def serve() -> int:
    """The sorter's side: code first, then lists, until the judge has gone."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    questions, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what the code prints must not be taken for an answer
    code = receive(questions, 2**24).decode()
    linecache.cache["sort.py"] = (len(code), None, code.splitlines(keepends=True), "sort.py")
    names: dict[str, object] = {"__name__": "sort", "__file__": "sort.py"}
    exec(compile(code, "sort.py", "exec"), names)
    sort = names.get("sort")
    if not callable(sort):
        raise TypeError("sort.py has no function sort(numbers)")
    send(answers, b"")
    while True:
        numbers = array("q")
        try:
            numbers.frombytes(receive(questions, 2**24))
        except EOFError:
            return 0
        send(answers, array("q", sort(numbers.tolist())).tobytes())


# ── the judgement ───────────────────────────────────────────────────────────────────────────────────────────────

PLAIN = """
def sort(numbers):
    if len(numbers) < 2:
        return numbers
    middle = len(numbers) // 2
    left, right = sort(numbers[:middle]), sort(numbers[middle:])
    merged = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] <= right[j]:
            merged.append(left[i])
            i += 1
        else:
            merged.append(right[j])
            j += 1
    return merged + left[i:] + right[j:]
"""


def ratio(times: dict[str, list[tuple[float, float]]]) -> float:
    """The geometric mean over the kinds of the best time of sort.py over the best time of the plain merge sort.

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
        f"| tok/sec: {len(KINDS) * SIZE / each:,.0f} | mfu: 0.0% | epoch: 1 | remaining: {left:.0f}s    ",
        end="",
        flush=True,
    )


def judge(folder: Path) -> tuple[float, int, float]:
    """The ratio, the rounds it took and the seconds. Raises Refused."""
    code = Path("sort.py").read_text("utf-8")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    with Sorter(code, folder) as own:
        for kind, numbers in checked():
            own.sort(kind, numbers)
    rng = random.Random(os.urandom(16))
    rounds, started, seconds = 0, time.perf_counter(), 0.0
    for sitting in range(1, SITTINGS + 1):
        with Sorter(code, folder) as own, Sorter(PLAIN, folder) as plain:
            while rounds < sitting or seconds < TIME_BUDGET * sitting / SITTINGS:
                for kind, numbers in lists(rng, SIZE):
                    times[kind].append((own.sort(kind, numbers), plain.sort(kind, numbers)))
                rounds += 1
                seconds = time.perf_counter() - started
                show(rounds, seconds / TIME_BUDGET, ratio(times), seconds)
    return ratio(times), rounds, seconds


def main() -> int:
    # Without this, other processes of the same user could write to this one's memory and files.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)

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
    sys.exit(serve() if sys.argv[1:] == ["--sorter"] else main())
