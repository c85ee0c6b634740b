"""Copies of the scored text: found by content under any name, and nothing that only looks alike."""

from __future__ import annotations

import gzip
import json
import os
import py_compile
import shutil
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.doctor import machine
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.sandbox import copies, for_runs, policy, scored_data
from tests.sandbox.test_for_runs import REFEREED, prepared, whole

LIBRARY = Path(sysconfig.get_path("stdlib"))
MAILBOX = LIBRARY / "mailbox.py"


def compiled(path: Path) -> None:
    py_compile.compile(str(MAILBOX), cfile=str(path), doraise=True)


def older(path: Path) -> None:
    """Another version: a line in three is another."""
    lines = MAILBOX.read_text().split("\n")
    path.write_text("\n".join(f"{line}  # as it was" if at % 3 == 0 else line for at, line in enumerate(lines)))


def half(path: Path) -> None:
    path.write_text("something else\n" * 100 + MAILBOX.read_text()[: MAILBOX.stat().st_size // 2 + 4000])


def archived(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(MAILBOX, "lib/mailbox.py")


COPIES: dict[str, Callable[[Path], object]] = {
    "mailbox.py": lambda path: shutil.copy(MAILBOX, path),
    "notes.txt": lambda path: shutil.copy(MAILBOX, path),
    "README": lambda path: shutil.copy(MAILBOX, path),
    "windows.dat": lambda path: path.write_bytes(MAILBOX.read_bytes().replace(b"\n", b"\r\n")),
    "indented.rst": lambda path: path.write_text("\n".join(f"\t{line}" for line in MAILBOX.read_text().split("\n"))),
    "more/mailbox.py": older,
    "half.md": half,
    "mailbox.cpython-39.pyc": compiled,
    "mailbox.py.gz": lambda path: path.write_bytes(gzip.compress(MAILBOX.read_bytes())),
    "python39.zip": archived,
}
ELSE: dict[str, Callable[[Path], object]] = {
    "queue.py": lambda path: shutil.copy(LIBRARY / "queue.py", path),
    "other/mailbox.py": lambda path: shutil.copy(LIBRARY / "email" / "message.py", path),
    "message.py": lambda path: shutil.copy(LIBRARY / "email" / "message.py", path),
    "blob": lambda path: path.write_bytes(bytes(range(256)) * 100),
    "damaged.zip": lambda path: path.write_bytes(b"PK\3\4" + b"x" * 1000),
    "words.txt": lambda path: path.write_text(
        '    """Remove the keyed message; raise KeyError if it doesn\'t exist."""\n' * 99
    ),
}


def made(folder: Path, files: dict[str, Callable[[Path], object]]) -> None:
    for name, make in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make(folder / name)


@pytest.fixture
def known() -> copies.Marks:
    return copies.marks([MAILBOX, LIBRARY / "wsgiref" / "headers.py"])


def test_copies_are_found_by_content_and_nothing_else(tmp_path: Path, known: copies.Marks) -> None:
    tree = tmp_path / "tree"
    made(tree, {**COPIES, **ELSE})
    (tree / "link").symlink_to(MAILBOX)
    (tree / "round").symlink_to(tree)
    found = copies.find(known, [tree], tmp_path / "memory")
    assert {str(path.relative_to(tree)) for path in found} == set(COPIES)


def test_what_was_found_is_remembered_until_a_folder_changes(
    tmp_path: Path, known: copies.Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, memory = tmp_path / "tree", tmp_path / "memory"
    made(tree, {"a/notes.txt": COPIES["notes.txt"], "b/queue.py": ELSE["queue.py"]})
    looked = []
    honest = copies._look
    monkeypatch.setattr(copies, "_look", lambda folder, marks: looked.append(folder) or honest(folder, marks))
    monkeypatch.setattr(copies, "_found", {})
    first = copies.find(known, [tree], memory)
    assert len(looked) == 3
    copies._found.clear()  # another process
    assert copies.find(known, [tree], memory) == first == (tree / "a" / "notes.txt",)
    assert len(looked) == 3
    made(tree, {"b/new.txt": COPIES["notes.txt"]})
    assert set(copies.find(known, [tree], memory)) == {*first, tree / "b" / "new.txt"}
    assert looked[3:] == [str(tree / "b")]
    (file,) = memory.iterdir()
    file.write_text("torn")
    copies._found.clear()
    assert len(copies.find(known, [tree], memory)) == 2
    other = copies.marks([LIBRARY / "turtle.py"])
    assert copies.find(other, [tree], memory) == ()  # of other text nothing is remembered


@pytest.mark.usefixtures("machine_left_out")
def test_another_python_in_what_runs_see_is_taken_out_whole(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a tool that brings its own Python: the library goes, and what lies beside it stays."""
    bundled = tmp_path / "sdk" / "platform" / "python" / "lib" / "python3.9"
    made(bundled, {"mailbox.py": older, "os.py": lambda path: path.touch(), "abc.py": lambda path: path.touch()})
    made(tmp_path / "sdk", {"doc/notes.txt": COPIES["notes.txt"], "doc/queue.py": ELSE["queue.py"]})
    settings = REFEREED.replace("[researcher]", f'env = {{ SDK = "{tmp_path}/sdk" }}\n\n[researcher]')
    folder, cache = prepared(tmp_path, new_lab, settings)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    found = whole(folder)
    inside = {path for path in found.masked if path.is_relative_to(tmp_path)}
    assert inside == {bundled, tmp_path / "sdk" / "doc" / "notes.txt"}
    said = machine.sandbox(labs.find(folder))[1]
    assert (said.name, said.status) == ("scored text", "ok")
    assert str(bundled) in said.found


@pytest.mark.usefixtures("machine_left_out")
def test_text_of_the_users_own_is_looked_for_too(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(f"the line number {at} of a book that nobody else has" for at in range(500))
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "mine.txt").write_text(text)
    made(tmp_path / "models", {"corpus.txt": lambda path: path.write_text(text), "queue.py": ELSE["queue.py"]})
    settings = REFEREED.replace("[researcher]", f'env = {{ MODELS = "{tmp_path}/models" }}\n\n[researcher]')
    folder, cache = prepared(tmp_path, new_lab, settings)
    hidden = {"modules": [], "paths": [str(tmp_path / "books")]}
    (cache / "private" / "x" / "hidden.json").write_text(json.dumps(hidden))
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    assert {path for path in whole(folder).masked if path.is_relative_to(tmp_path)} == {
        tmp_path / "models" / "corpus.txt"
    }


def test_the_demos_validation_text_is_in_no_file_that_a_run_can_read(
    cache: Path, new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Everything that runs see is looked through once more, from inside, for long lines of the scored text."""
    settings = REFEREED.replace("[researcher]", 'env = { AUTORESEARCH_PROFILE = "demo" }\n\n[researcher]')
    folder = new_lab(settings=settings)
    (folder / "prepare.py").write_text("# AUTORESEARCH_PROFILE\n")
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(cache))
    lab = labs.find(folder)
    found = for_runs.of_lab(lab, GitRepo(lab.root), environment(lab, lab.state_folder))
    lines = {line for line in MAILBOX.read_bytes().split(b"\n") if len(line) > 50}
    shown = policy.outermost(map(Path.resolve, (*policy.system_paths(), *policy.own_paths(), *found.readable)))
    masked = {path.resolve() for path in found.masked}
    left = []
    for top in shown:
        for folder, folders, names in os.walk(top if top != Path("/sys") else "/nowhere"):
            folders[:] = [name for name in folders if Path(folder, name) not in masked]
            seen = (Path(folder, name) for name in names if name.startswith("mailbox"))
            left += [path for path in seen if path not in masked and len(lines & _lines(path)) > len(lines) // 4]
    assert left == []
    assert scored_data.in_words(found.masked)


def _lines(path: Path) -> set[bytes]:
    return set(path.read_bytes().split(b"\n")) if path.is_file() else set()
