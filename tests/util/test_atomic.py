"""A folder that is written whole or not at all, wherever its writer dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.util.atomic import whole_folder


def write(path: Path, text: str) -> None:
    with whole_folder(path) as half:
        (half / "within").mkdir()
        (half / "within" / "file").write_text(text)


def test_the_new_folder_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a" / "out"
    for text in ("one", "two"):
        write(path, text)
        assert (path / "within" / "file").read_text() == text
    assert [each.name for each in path.parent.iterdir()] == ["out"]


def test_after_an_error_the_old_one_is_still_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, "one")
    with pytest.raises(OSError, match="full"), whole_folder(path) as half:
        (half / "file").write_text("half")
        raise OSError("full")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert (path / "within" / "file").read_text() == "one"


def test_what_a_killed_writer_left_is_put_right_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, "one")
    # Killed between the two renames: the old one is aside, the new one is whole and not there yet.
    path.rename(tmp_path / ".out.old")
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "file").write_text("two")
    with pytest.raises(OSError, match="full"), whole_folder(path):
        raise OSError("full")
    assert (path / "within" / "file").read_text() == "one"
    write(path, "three")
    assert (path / "within" / "file").read_text() == "three"
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
