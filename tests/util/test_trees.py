"""Folders are removed whole, however strangers have left them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autoresearch_tui.util import trees


def nest(folder: Path, depth: int) -> None:
    """Folders in folders beyond the longest path, with a file in each."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def test_what_is_nested_three_thousand_deep_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    nest(top, 3_000)
    assert trees.remove(top)
    assert [*tmp_path.iterdir()] == []


def test_what_is_linked_to_stays(tmp_path: Path) -> None:
    other, top = tmp_path / "other", tmp_path / "top"
    other.mkdir()
    (other / "file").write_text("x")
    (top / "a" / "b").mkdir(parents=True)
    for place in (top / "link", top / "a" / "link", top / "a" / "b" / "link"):
        place.symlink_to(other)
    assert trees.remove(top) and not top.exists()
    assert (other / "file").read_text() == "x"
    top.symlink_to(other)
    assert trees.remove(top) and (other / "file").exists()


@pytest.mark.parametrize("mode", [0, 0o400, 0o500])
def test_folders_that_may_not_be_written_are_removed(tmp_path: Path, mode: int) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_text("x")
    os.mkfifo(top / "a" / "pipe")
    for folder in (top / "a" / "b", top / "a", top):
        folder.chmod(mode)
    assert trees.remove(top) and not top.exists()


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    assert trees.remove(tmp_path / "none")


def test_folders_are_found_by_name_as_deep_as_they_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a" / "__pycache__" / "__pycache__").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "__pycache__").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    nest(tmp_path, 3_000)
    found = {str(path.relative_to(tmp_path)) for path in trees.named("__pycache__", tmp_path)}
    assert trees.remove(tmp_path / "d")  # pytest would not
    assert found == {"a/__pycache__", "b/__pycache__"}
