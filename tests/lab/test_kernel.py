"""The `kernel` lab, and the judge of running time that it shares with `sort`: cheats, and their honest neighbours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_tui.lab.creation import init
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.session.ends import Outcome
from tests import warm
from tests.history import problems, state_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the judge asks /proc")

BITS = """
def distances(words):
    word = words[0]
    return [distance(word, other) for other in words[1:]]


def distance(a, b):
    if not a:
        return len(b)
    masks = {}
    for i, letter in enumerate(a):
        masks[letter] = masks.get(letter, 0) | 1 << i
    full, last = (1 << len(a)) - 1, 1 << len(a) - 1
    more, less, found = full, 0, len(a)
    for letter in b:
        same = masks.get(letter, 0)
        down = same | less
        across = ((same & more) + more ^ more) | same
        up, off = less | ~(across | more) & full, more & across
        found += 1 if up & last else -1 if off & last else 0
        up, off = (up << 1 | 1) & full, off << 1 & full
        more, less = off | ~(down | up) & full, up & down
    return found
"""
PLAIN = """
def distance(a, b):
    above = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != other)))
        above = row
    return above[-1]
"""
HONEST = PLAIN + "\n\ndef distances(words):\n    return [distance(words[0], other) for other in words[1:]]\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init(tmp_path_factory.mktemp("kernel") / "lab", "kernel")


def judged(lab: Path, code: str) -> subprocess.CompletedProcess[str]:
    """The judge's short judgement on a kernel.py."""
    (lab / "kernel.py").write_text(code)
    env = {**os.environ, "AUTORESEARCH_TIME_BUDGET": "0.05"}
    words = [sys.executable, *open_lab(lab).settings.run.command[1:]]
    return subprocess.run(words, cwd=lab, env=env, capture_output=True, text=True, check=False, timeout=120)


def ratio(done: subprocess.CompletedProcess[str]) -> float:
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    (found,) = re.findall(r"^METRIC:ratio=(\S+)$", done.stdout, re.MULTILINE)
    return float(found)


# ── a night ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_night_of_the_offline_search(tmp_path: Path) -> None:
    lab = init(tmp_path / "lab", "kernel")
    words = ["--headless", "--review", "auto", "--budget", "0.1"]

    def command(*more: str) -> None:
        done = warm.run(more, cwd=lab)
        assert done.returncode == 0, done.stderr

    command("prepare", ".")
    command(".", *words, "--experiments", "3")
    (tag,) = open_lab(lab).tags()
    outcomes = [experiment.outcome for experiment in state_of(lab, tag).table]
    assert outcomes[0] == Outcome.KEEP
    assert len(outcomes) == 3
    assert set(outcomes) <= {Outcome.KEEP, Outcome.DISCARD}  # which: the clock's affair
    assert problems(lab, tag) == []
    command("report", ".")
    assert "ratio" in (lab / ".autoresearch" / tag / "report" / "report.md").read_text("utf-8")


# ── right and wrong ─────────────────────────────────────────────────────────────────────────────────────────────


def test_another_algorithm_is_faster_and_right(lab: Path) -> None:
    assert ratio(judged(lab, BITS)) < 0.5


WRONG = {
    "knows a bound": (
        HONEST + "\nright = distances\n\n\ndef distances(words):\n    return [min(d, 40) for d in right(words)]\n",
        "the answer is not the edit distances",
    ),
    "wrong at a word's length": (
        BITS.replace("full, last = (1 << len(a)) - 1", "full, last = (1 << min(len(a), 64)) - 1"),
        "letters: ",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_and_named(lab: Path, name: str) -> None:
    code, why = WRONG[name]
    done = judged(lab, code)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("FAIL ")
    assert why in done.stdout.splitlines()[-1]
    assert "METRIC" not in done.stdout


# ── cheats: refused, or no faster for it ────────────────────────────────────────────────────────────────────────

EQUALS_ALL = """
class Anything(list):
    def __eq__(self, other):
        return True

    __hash__ = None


def distances(words):
    return Anything([0] * (len(words) - 1))
"""
FAKE_BYTES = """
import array


class Anything(bytes):
    def __eq__(self, other):
        return True


class Fake:
    def __init__(self, *_):
        pass

    def tobytes(self):
        return Anything(b"")


array.array = Fake
import __main__
__main__.task.array = Fake
__main__.task.same = lambda *_: True
__main__.compare = lambda *_: (0.0, 1.0)


def distances(words):
    return []
"""
REFUSED = {
    "equals everything": (EQUALS_ALL, "the answer is not the edit distances"),
    "patches the packing": (FAKE_BYTES, "the answer is not the edit distances"),
    "guesses ahead": (
        # The answer is in the pipe before the question is.
        "import os, struct\n\n\ndef distances(words):\n    os.write(4, struct.pack('<qq', 8, 0))\n    return [0]\n",
        "FAIL",
    ),
    "keeps a process": (
        HONEST
        + "\n\nimport os, signal\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        signal.pause()\n"
        "    os._exit(0)\nos.wait()\n",
        "kernel.py has started a process",
    ),
    "keeps a process for one turn": (
        HONEST + "\n\nimport os, signal\nright, others = distances, []\n\n\ndef distances(words):\n"
        "    for pid in others:\n        os.kill(pid, signal.SIGKILL)\n        os.waitpid(pid, 0)\n    others.clear()\n"
        "    if len(words[0]) == 32:\n        pid = os.fork()\n        if not pid:\n            os.setsid()\n"
        "            signal.pause()\n        others.append(pid)\n    return right(words)\n",
        "kernel.py has started a process",
    ),
    "holds the plain one back": (
        HONEST + "\n\nimport os, pathlib\nright = distances\n\n\ndef distances(words):\n"
        "    others = (pathlib.Path(f'/proc/{os.getppid()}/task/{os.getppid()}/children')).read_text().split()\n"
        "    for pid in map(int, others):\n        if pid != os.getpid():\n"
        "            os.setpriority(os.PRIO_PROCESS, pid, 19)\n    return right(words)\n",
        "kernel.py has changed how the plain one is scheduled",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_cheat_is_refused(lab: Path, name: str) -> None:
    code, why = REFUSED[name]
    done = judged(lab, code)
    assert done.returncode == 1, done.stdout
    assert why in done.stdout.splitlines()[-1]
    assert "METRIC" not in done.stdout


LAZY = """
class Lazy:
    def __init__(self, words):
        self.words = words

    def __iter__(self):
        return (distance(self.words[0], other) for other in self.words[1:])


def distances(words):
    return Lazy(words)
"""
CLOCK = """
import atexit
import time

time.perf_counter = time.monotonic = time.time = lambda: 0.0
print("METRIC:ratio=0.000001", flush=True)
atexit.register(print, "METRIC:ratio=0.000001")
"""
THREADS = """
import threading


def distances(words):
    answer = [0] * (len(words) - 1)

    def work(at):
        answer[at] = distance(words[0], words[at + 1])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(answer))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answer
"""
REFERENCE = """
import __main__

__main__.task.reference = lambda words: __import__("time").sleep(1)
"""
MEMORY = (
    PLAIN
    + """
known = {}


def distances(words):
    key = tuple(words)
    if len(words[0]) == 32 and key in known:
        raise RuntimeError("asked twice")
    known[key] = [distance(words[0], other) for other in words[1:]]
    return known[key]
"""
)
NO_FASTER = {
    "does the work later": PLAIN + LAZY,
    "patches the clock": CLOCK + HONEST,
    "uses threads": PLAIN + THREADS,
    "patches the reference": HONEST + REFERENCE,
    "remembers answers": MEMORY,
}


@pytest.mark.parametrize("name", NO_FASTER)
def test_a_cheat_does_not_help(lab: Path, name: str) -> None:
    """The plain program line by line takes about 0.7 of its time; a cheat that worked would take next to nothing."""
    assert ratio(judged(lab, NO_FASTER[name])) > 0.2


# ── a task of one's own ─────────────────────────────────────────────────────────────────────────────────────────

OWN_TASK = """
import json, math

FILE, FUNCTION, ARGUMENT = "kernel.py", "roots", "numbers"
WRONG = "the roots are not close enough"
SIZE = 50

def reference(numbers):
    return [math.sqrt(n) for n in numbers]

def pack(numbers):
    return json.dumps(numbers).encode()

unpack, pack_answer = json.loads, pack

def same(answer, expected):
    a, b = json.loads(answer), json.loads(expected)
    return len(a) == len(b) and all(abs(x - y) <= 1e-9 for x, y in zip(a, b))

KINDS = {"any": lambda rng, size: [rng.random() for _ in range(size)]}

def checked():
    yield "nought", [0.0]
"""


@pytest.mark.parametrize(
    ("formula", "passes"),
    [("n ** 0.5 + 1e-12", True), ("n ** 0.5 + 1e-6", False), ("float('nan')", False)],
)
def test_the_judge_takes_any_task(tmp_path: Path, lab: Path, formula: str, passes: bool) -> None:
    (tmp_path / "judge.py").write_bytes((lab / "judge.py").read_bytes())
    (tmp_path / "task.py").write_text(OWN_TASK)
    (tmp_path / "kernel.py").write_text(f"def roots(numbers):\n    return [{formula} for n in numbers]\n")
    env = {**os.environ, "AUTORESEARCH_TIME_BUDGET": "0.05"}
    words = [sys.executable, "-I", "judge.py"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) == passes, done.stdout
    assert ("the roots are not close enough" in done.stdout) != passes
