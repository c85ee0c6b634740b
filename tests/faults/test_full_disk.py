"""ENOSPC at every write of a session, one after the other: nothing is lost, and it continues by itself."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SETTINGS, THOROUGH, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED, words
from tests.history import problems, state_of

ROWS = 2
# How many of the writes are tried where not all are asked for: others each time, from everywhere in the session.
SAMPLE = 40 if THOROUGH else 9


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("a disk that fails at will needs Linux and a C compiler")
    made = tmp_path_factory.mktemp("full") / "full_disk.so"
    source = Path(__file__).with_name("full_disk.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.fixture(scope="module")
def engines(library: Path) -> Iterator[Engines]:
    with Engines({"LD_PRELOAD": str(library)}) as started:
        yield started


class Disk:
    """One whose calls are counted, and of which some fail."""

    def __init__(self, folder: Path) -> None:
        self.lab = folder / "lab"
        self._counter = folder / "counter"

    def fail(self, first: int, count: int) -> None:
        """From the `first` call on, `count` of them; 0: none."""
        self._counter.write_bytes(struct.pack("3i", 0, first, first + count))

    @property
    def env(self) -> dict[str, str]:
        return {**UNSANDBOXED, "FULL_FOLDER": str(self.lab), "FULL_COUNTER": str(self._counter)}

    @property
    def calls(self) -> int:
        return int(struct.unpack("3i", self._counter.read_bytes())[0])

    @property
    def failed(self) -> str:
        log = Path(f"{self._counter}.log")
        return log.read_text() if log.exists() else ""


def session(engines: Engines, folder: Path, first: int, count: int) -> Disk:
    """A whole session on a disk of which `count` calls fail, begun again where it could not begin."""
    disk = Disk(folder)
    make_lab(disk.lab, SETTINGS)
    disk.fail(first, count)
    errors = folder / "errors"
    for _ in range(count + 1):
        code = engines.run(words(disk.lab, ROWS), errors, orders="disk", env=disk.env)
        said = Path(f"{errors}-0").read_text()
        assert "Traceback" not in said, f"{disk.failed}\n{said}"
        if code == 0:
            break
        # It could not begin, and said why in one line.
        assert (code, len(said.splitlines())) == (2, 1), f"{disk.failed}\n{said}"
        assert "No space left on device" in said
        assert not (disk.lab / ".autoresearch/t/journal.jsonl").exists(), disk.failed
    assert code == 0, disk.failed
    assert problems(disk.lab, "t") == [], disk.failed
    assert len(state_of(disk.lab, "t").table) == ROWS
    return disk


@pytest.mark.timeout(3600)
def test_every_write_fails_once(engines: Engines, in_memory: Path) -> None:
    """`AUTORESEARCH_TEST_WRITES=all` for all of them; otherwise some, others each time."""
    seed = int(os.environ.get("AUTORESEARCH_TEST_SEED") or time.time_ns() % 1_000_000)
    calls = session(engines, in_memory / "none", 0, 0).calls
    every = range(1, calls + 1)
    if os.environ.get("AUTORESEARCH_TEST_WRITES") == "all":
        chosen = list(every)
    else:
        dice, count = random.Random(seed), min(SAMPLE, calls)
        chosen = [1 + int((n + dice.random()) * calls / count) for n in range(count)]
    print(f"AUTORESEARCH_TEST_SEED={seed}, {len(chosen)} of {calls} writes")
    for first, count in zip(chosen, itertools.cycle((1, 1, 8)), strict=False):
        place = in_memory / f"{first}"
        session(engines, place, first, count)
        shutil.rmtree(place)
