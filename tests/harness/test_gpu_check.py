"""The check that a GPU gets first of all, run on the CPU: that it itself is sound."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests import warm
from tests.conftest import THOROUGH
from tests.waiting import wait_for

from .conftest import HARNESS

SCRIPT = HARNESS.parent / "benchmarks" / "gpu_check.py"


@pytest.fixture
def checker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_check", module)
    spec.loader.exec_module(module)
    return module


# On a CPU there is nothing that a second run could find again; the others are looked at where torch is at hand: below,
# and in test_attention.py.
NOT_STARTED = ("warm run", "attention", "profile", "divergence")


def test_the_dry_run_passes_and_ends_with_its_table(tmp_path: Path, checker: ModuleType) -> None:
    steps = [name for name in checker.STEPS if THOROUGH or name not in NOT_STARTED]
    command = [sys.executable, str(SCRIPT), "--dry", "--out", str(tmp_path), "--only", *steps]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert table in done.stdout
    rows = dict(re.findall(r"^\| ([\w ]+) \| (pass|FAIL|skipped) \|", table, re.MULTILINE))
    assert list(rows) == steps
    expected = {name: "skipped" if name == "little memory" else "pass" for name in rows}
    if "no sandbox works here" in table:
        expected["sandboxes"] = "FAIL"
    assert rows == expected, table
    assert done.returncode == int("FAIL" in rows.values())
    assert "0 graph breaks" in table
    assert "exit code 0" in (tmp_path / "cold-run.log").read_text(encoding="utf-8")


def test_a_step_is_profiled_and_divergence_is_seen(tmp_path: Path, checker: ModuleType, cache: Path) -> None:
    class Warm(checker.Place):  # type: ignore[misc,name-defined]
        def run(self, command: list[str], cwd: Path = HARNESS, **more: str) -> subprocess.CompletedProcess[str]:
            env = {**self.environment(**more), "AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_DATA": ""}
            done = warm.python(command[1:], cwd=cwd, env=env).result()
            return subprocess.CompletedProcess(command, done.returncode, done.stderr + done.stdout)

    place = Warm(tmp_path, dry=True)
    found = checker.profile(place)
    assert found.passed, found
    assert "matrix products" in found.found
    found = checker.divergence(place)
    assert found == (True, "exit code 1, FAIL")


def left_over(place: Path) -> list[str]:
    """Processes whose environment names a folder."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if str(place).encode() in environ.read_bytes():
                found.append(environ.parent.name)
    return found


def test_a_step_ends_at_its_limit_with_all_that_it_started(
    tmp_path: Path, checker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`profile` starts a run, which takes seconds to import torch alone."""
    monkeypatch.setitem(checker.STEPS, "profile", (checker.profile, 1.0))
    assert checker.check(checker.Place(tmp_path, dry=True), tmp_path, ["profile"]) == 1
    assert "not done within 1 s |" in (tmp_path / "table.md").read_text(encoding="utf-8")
    wait_for(lambda: not left_over(tmp_path))


def test_what_goes_wrong_in_a_step_is_in_its_row_and_the_others_run(tmp_path: Path, checker: ModuleType) -> None:
    place = checker.Place(tmp_path, dry=True)
    (tmp_path / "text").mkdir()  # in the way
    assert checker.check(place, tmp_path, ["data", "little memory"]) == 1
    data, memory = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()[2:]
    assert data.startswith("| data | FAIL |") and "FileExistsError" in data
    assert memory.startswith("| little memory | skipped |")


def test_steps_are_not_begun_when_the_time_is_over(
    tmp_path: Path, checker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "MINUTES", 0)
    assert checker.check(checker.Place(tmp_path, dry=True), tmp_path, list(checker.STEPS)) == len(checker.STEPS)
    assert (tmp_path / "table.md").read_text(encoding="utf-8").count("not begun") == len(checker.STEPS)
    monkeypatch.undo()
    assert checker.MINUTES <= 7


def test_the_sandboxes_modules_need_no_package() -> None:
    """The check runs with the Python that trains, which need not have ours."""
    imports = re.findall(r"^ +from (autoresearch_tui\S*) import (.*)$", SCRIPT.read_text("utf-8"), re.MULTILINE)
    assert imports
    lines = "\n".join(f"from {module} import {names}" for module, names in imports)
    code = f"import sys; sys.path.insert(0, {str(SCRIPT.parents[1])!r})\n{lines}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
