"""A file that grows, is cut, replaced and written anew, followed by its offset."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.logs.tail import FileTail, Piece


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


def test_a_file_is_read_in_pieces_and_each_byte_once(path: Path) -> None:
    tail = FileTail(path)
    assert not tail.grown
    assert tail.read(4) == Piece()

    path.write_bytes(b"step 1\n")
    assert tail.grown
    assert tail.read(4) == Piece(b"step", behind=True)
    assert tail.read(4) == Piece(b" 1\n")
    assert not tail.grown
    with path.open("ab") as file:
        file.write(b"step 2\n")
    assert tail.read(100) == Piece(b"step 2\n")
    assert tail.offset == 14


def test_what_is_looked_at_and_not_taken_comes_again(path: Path) -> None:
    path.write_bytes(b"one\ntw")
    tail = FileTail(path)
    tail.take(tail.look(100).data[:4])
    path.write_bytes(b"one\ntwo\n")
    assert tail.look(100) == Piece(b"two\n")


@pytest.mark.parametrize("text", [b"new", b"a new beginning", b"a new beginning that is longer than the old text was"])
@pytest.mark.parametrize("replaces", [False, True], ids=["written anew", "another file"])
def test_a_file_that_begins_again_is_read_from_its_beginning(path: Path, text: bytes, replaces: bool) -> None:
    path.write_bytes(b"the old text it is")
    tail = FileTail(path)
    tail.read(100)

    other = path.with_name("other")
    (other if replaces else path).write_bytes(text)
    if replaces:
        other.replace(path)
    assert tail.replaced or not replaces
    assert tail.read(100) == Piece(text, restarted=True)
    assert not tail.replaced
    assert tail.read(100) == Piece()


def test_a_reader_that_wants_the_newest_skips_what_is_before(path: Path) -> None:
    path.write_bytes(b"a" * 1000 + b"the end")
    tail = FileTail(path)
    assert tail.look(7, most_behind=2000) == Piece(b"a" * 7, behind=True)
    assert tail.read(7, most_behind=7) == Piece(b"the end", skipped=1000)
    with path.open("ab") as file:
        file.write(b"!")
    assert tail.read(7, most_behind=7) == Piece(b"!")


def test_a_file_that_goes_is_an_empty_one_and_another_in_its_place_begins_again(path: Path) -> None:
    path.write_bytes(b"old")
    tail = FileTail(path)
    tail.read(100)
    path.unlink()
    assert tail.read(100) == Piece()
    assert not tail.grown
    path.write_bytes(b"old and new")
    assert tail.read(100).data in (b"old and new", b" and new")  # a file system may give the same inode again
