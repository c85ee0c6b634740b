"""How much memory there is: made-up systems, in containers and out of them, and the one that this runs on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.util import memory

GIB = 1 << 30
MEMINFO = (
    "MemTotal:       67108864 kB\nMemFree:         1000 kB\nMemAvailable:   50331648 kB\nHugePages_Total:       0\n"
)


def system(folder: Path, groups: str, files: Mapping[str, str]) -> str:
    """A machine of 64 GiB with 48 available, in these control groups. `files` lie below /sys/fs/cgroup."""
    for name, text in {"proc/meminfo": MEMINFO, "proc/self/cgroup": groups}.items():
        _write(folder / name, text)
    for name, text in files.items():
        _write(folder / "sys/fs/cgroup" / name, text)
    return str(folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def v2(folder: str, limit: object, used: int = 0, cached: int = 0) -> dict[str, str]:
    stat = f"anon 1\nfile {cached}\nactive_file {cached // 2}\ninactive_file {cached - cached // 2}\n"
    return {f"{folder}memory.max": f"{limit}\n", f"{folder}memory.current": f"{used}\n", f"{folder}memory.stat": stat}


def v1(folder: str, limit: int, used: int = 0, cached: int = 0) -> dict[str, str]:
    """A group's own pages are not those below it, which its limit is for as well."""
    here = f"memory/{folder}"
    stat = f"inactive_file 0\nactive_file 0\ntotal_active_file 0\ntotal_inactive_file {cached}\n"
    values = {"memory.limit_in_bytes": f"{limit}\n", "memory.usage_in_bytes": f"{used}\n", "memory.stat": stat}
    return {f"{here}{name}": text for name, text in values.items()}


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {}, (64, 48)),
        ("0::/\n", v2("", "max", 60 * GIB), (64, 48)),
        ("", v2("", 16 * GIB), (64, 48)),  # it is in none
        ("0::/\n", v2("", 16 * GIB, 10 * GIB), (16, 6)),
        ("0::/\n", v2("", 16 * GIB, 15 * GIB, cached=14 * GIB), (16, 15)),
        ("0::/\n", v2("", 16 * GIB, 17 * GIB), (16, 0)),
        ("0::/\n", v2("", 60 * GIB, GIB), (60, 48)),  # others hold the machine's
        ("0::/a/b\n", v2("a/b/", "max") | v2("a/", 8 * GIB, 3 * GIB), (8, 5)),
        ("0::/a/b\n", v2("a/b/", 9 * GIB, GIB) | v2("a/", 10 * GIB, 8 * GIB), (9, 2)),
        ("0::/docker/1234\n", v2("", 8 * GIB, 3 * GIB), (8, 5)),  # the host's name for what is the top here
        ("0::/../../other\n", v2("", 8 * GIB, 3 * GIB), (8, 5)),
        ("5:cpu,cpuacct:/x\n4:memory:/docker/1234\n0::/\n", v1("", 8 * GIB, 3 * GIB, GIB), (8, 6)),
        ("4:cpu:/\n3:hugetlb,memory:/a\n", v1("", 2**63 - 4096) | v1("a/", 8 * GIB, 3 * GIB), (8, 5)),
        ("1:cpu:/\n0::/\n", v1("", 8 * GIB), (64, 48)),
        ("0::/\n", {"memory.max": f"{16 * GIB}\n"}, (16, 16)),  # a kernel that says no more than that
        ("nothing of the kind\n::\n0::/\n", {"memory.max": "lots"}, (64, 48)),
    ],
)
def test_the_least_of_machine_and_groups(
    tmp_path: Path, groups: str, files: Mapping[str, str], expected: tuple[int, int]
) -> None:
    total, available = memory.room(system(tmp_path, groups, files))
    assert (total / GIB, available / GIB) == expected
    assert memory.of_machine(str(tmp_path)) == (64 * GIB, 48 * GIB)


def test_a_system_that_does_not_say(tmp_path: Path) -> None:
    assert memory.room(str(tmp_path)) == (0, 0)


sizes = st.integers(0, 128 * GIB)


@given(levels=st.lists(st.tuples(st.one_of(st.just("max"), sizes), sizes, sizes), max_size=5), depth=st.integers(0, 5))
def test_no_group_above_is_overlooked(levels: list[tuple[object, int, int]], depth: int) -> None:
    """Whatever each says, and however many of them can be seen from here."""
    files: dict[str, str] = {}
    left = [48 * GIB]
    limits = [64 * GIB]
    for place, (limit, used, cached) in enumerate(levels):
        files |= v2("".join(f"{n}/" for n in range(place)), limit, used, cached)
        if place <= depth and isinstance(limit, int) and limit > 0:
            limits.append(limit)
            left.append(limit - max(0, used - cached))
    path = "".join(f"/{n}" for n in range(depth)) or "/"
    with tempfile.TemporaryDirectory() as folder:
        total, available = memory.room(system(Path(folder), f"0::{path}\n", files))
    assert total == min(limits)
    assert available == max(0, min(left))
    assert 0 <= available <= total


@given(texts=st.lists(st.text(max_size=40), min_size=5, max_size=5))
def test_no_content_is_an_error(texts: list[str]) -> None:
    groups, limit, used, cached, info = texts
    with tempfile.TemporaryDirectory() as folder:
        files = {"memory.max": limit, "memory.current": used, "memory.stat": cached}
        root = system(Path(folder), f"{groups}\n0::/{groups}\n", files)
        total, available = memory.room(root)
        assert 0 <= available <= total <= 64 * GIB
        _write(Path(folder, "proc/meminfo"), info)
        assert memory.room(root) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc")
def test_this_machine() -> None:
    total, available = memory.room()
    assert 0 < available < total <= memory.of_machine()[0]
