"""A lab: a folder in a git repository, its settings, and its files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from autoresearch_tui.lab import discovery, session_files
from autoresearch_tui.lab.editable import LARGEST_BYTES, Editable, is_pattern, too_much
from autoresearch_tui.lab.session_files import STATE_FOLDER, SessionFiles
from autoresearch_tui.lab.settings import FILE_NAME, LabSettings, Settings
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen

INTERFACE = discovery.INTERFACE


class Lab(Frozen):
    """A git repository with editable files, a fixed evaluation, a budget and a program."""

    root: Path
    settings: Settings
    doubts: tuple[discovery.Doubt, ...] = ()  # questions that its files leave open
    locked_folders: tuple[str, ...] = ()  # the folders and patterns of `lab.locked`; `settings` has their files

    @property
    def editable(self) -> Editable:
        """The files that a proposal may change, add and remove."""
        files = self.settings.lab
        return Editable(files.editable, (*_not_for_patterns(files), *self.locked_folders))

    @property
    def editable_files(self) -> tuple[str, ...]:
        """The editable files in the checkout, without those that git ignores."""
        return (*self.editable.plain, *_of_patterns(self.root, self.editable))

    @property
    def program(self) -> Path:
        return self.root / self.settings.lab.program

    @property
    def results(self) -> Path:
        """The table of the session opened last."""
        return self.root / "results.tsv"

    @property
    def state_folder(self) -> Path:
        """All our files outside of git; ignored through `.git/info/exclude`."""
        return self.root / STATE_FOLDER

    @property
    def venv(self) -> Path | None:
        """The lab's own Python environment: `.venv` in its folder, or in a parent within its repository."""
        for folder in (self.root, *self.root.parents):
            if (folder / ".venv" / "bin" / "python").exists():
                return folder / ".venv"
            if (folder / ".git").exists():
                break
        return None

    @property
    def lock(self) -> Path:
        """Held by the one engine of this lab."""
        return session_files.lock(self.root)

    def session(self, tag: str) -> SessionFiles:
        return session_files.of(self.root, tag)

    def tags(self) -> list[str]:
        """The sessions of this lab, in the order of their last writes."""
        return session_files.tags(self.root)


def find(start: Path) -> Lab:
    """The nearest lab, from `start` upward. Raises UserError if there is none."""
    if not start.exists():
        raise UserError(f"{start}: no such folder", f"`autoresearch-tui init {start}` makes a new lab there")
    folder = start.resolve()
    if folder.is_file():
        raise UserError(f"{start}: a file", "name the lab's folder")
    for candidate in (folder, *folder.parents):
        if is_lab(candidate):
            return open_lab(candidate)
        if (candidate / ".git").exists():
            # The repository's top: raises for what is missing.
            return open_lab(candidate)
    raise UserError(
        f"{folder}: not in a git repository",
        "`autoresearch-tui init DIR` makes a new lab, or run `git init` and commit your files here",
    )


def open_lab(root: Path) -> Lab:
    """The lab at `root`, after checking git, its files and its settings. Raises UserError with what to fix."""
    settings, reading = discovery.read(root)
    files = settings.lab
    # A folder may be written with or without its slash.
    editable = (f"{name}/" if not name.endswith("/") and _is_folder(root / name) else name for name in files.editable)
    locked = tuple(name.removesuffix("/") for name in files.locked)
    private = tuple(name.removesuffix("/") for name in files.private)
    files = replace(files, editable=tuple(editable), locked=locked, private=private)
    whole = tuple(name for name in locked if is_pattern(name) or _is_folder(root / name))
    files = replace(files, locked=_locked_files(root, files, whole))
    lab = Lab(root, replace(settings, lab=files), reading.doubts, whole)
    _check(lab)
    return lab


def preparer(lab: Lab) -> Path | None:
    """The lab's `prepare.py`, if it is the harness's and can report progress."""
    for name in lab.settings.lab.locked:
        path = lab.root / name
        if path.name == "prepare.py" and INTERFACE in path.read_text("utf-8", "replace"):
            return path
    return None


def read_program(lab: Lab) -> str:
    """The program's text. Raises UserError if it is not UTF-8."""
    return read_text(lab.program, "save it as UTF-8")


def read_text(path: Path, remedy: str) -> str:
    """A text file of the lab. Raises UserError with the file and the remedy."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}", remedy) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def is_lab(folder: Path) -> bool:
    """Whether a folder has a lab's files or settings."""
    if (folder / FILE_NAME).is_file():
        return True
    return discovery.files(folder) is not None


def _locked_files(root: Path, files: LabSettings, whole: Sequence[str]) -> tuple[str, ...]:
    """The locked files, with folders and patterns (`whole`) replaced by their tracked files that are not editable."""
    editable = Editable(files.editable, _not_for_patterns(files))
    locked: list[str] = []
    for name in files.locked:
        inside = [name]
        if is_pattern(name):
            inside = [path for path in _known_to_git(root, "") if Editable((name,)).covers(path)]
        elif name in whole:
            inside = _known_to_git(root, name)
        if not inside:
            raise UserError(f"{root / name}: `lab.locked` has it, and git knows no file there", "commit its files")
        locked += [path for path in inside if path not in editable.plain and not editable.covers(path)]
    return tuple(dict.fromkeys(locked))


def _not_for_patterns(files: LabSettings) -> tuple[str, ...]:
    """Files that no pattern covers: locked ones, and the human's own."""
    return (*files.locked, files.program, FILE_NAME, "pyproject.toml", "results.tsv")


def _of_patterns(root: Path, editable: Editable) -> tuple[str, ...]:
    """The plain files in the checkout that patterns and folders cover, without those that git ignores."""
    if not editable.patterns:
        return ()
    known = _known_to_git(root, "", "--cached", "--others", "--exclude-standard")
    found = dict.fromkeys(path for path in sorted(known) if editable.covers(path))
    return tuple(path for path in found if (root / path).is_file() and not (root / path).is_symlink())


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _known_to_git(root: Path, folder: str, *options: str) -> list[str]:
    """The tracked files in a folder of the lab ("": the whole lab), or others by `options` of `git ls-files`."""
    command = ("git", "-C", str(root), "ls-files", "-z", *options, "--", f":(literal){folder}" if folder else ".")
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except FileNotFoundError:
        raise UserError("git: not found", "install it (Debian: apt install git)") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{root / folder}: git cannot list it: {error}") from None
    return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]


def _check(lab: Lab) -> None:
    if not str(lab.root).isascii() and sys.getfilesystemencoding() != "utf-8":
        raise UserError(f"{lab.root}: the locale cannot name it", "set LANG=C.UTF-8, or PYTHONUTF8=1")
    try:
        str(lab.root).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{os.fsencode(lab.root)!r}: the path is not UTF-8", "rename that folder") from None
    if any(ord(character) < ord(" ") for character in str(lab.root)):
        raise UserError(f"{str(lab.root)!r}: the path has a line break or the like in it", "rename that folder")
    if not any((folder / ".git").exists() for folder in (lab.root, *lab.root.parents)):
        raise UserError(f"{lab.root}: not in a git repository", "run `git init` and commit your files there")
    settings = lab.settings.lab
    known = {each for name in settings.locked for each in (name, *map(str, PurePosixPath(name).parents))}
    if loose := [name for name in settings.private if name not in known]:
        raise UserError(
            f"{lab.root}: `lab.private` has {loose[0]!r}, which is not locked", "add it to `lab.locked` as well"
        )
    lists: Sequence[tuple[str, Sequence[str]]] = (
        ("program", (lab.settings.lab.program,)),
        ("editable", lab.editable_files),
        ("locked", lab.settings.lab.locked),
    )
    for key, names in lists:
        for name in names:
            path = lab.root / name
            if not path.exists():
                raise UserError(
                    f"{lab.root}: no {name}, which a lab needs (`lab.{key}` in {FILE_NAME})",
                    _way_out(lab.root, key, name),
                )
            if path.is_symlink() or not path.is_file():
                raise UserError(f"{path}: not a plain file", f"`lab.{key}` takes plain files only")
            if key != "locked" and path.stat().st_size > LARGEST_BYTES:
                raise UserError(f"{path}: larger than {LARGEST_BYTES >> 20} MiB", "a researcher reads the whole of it")
            read_text(path, "a lab's files are UTF-8 text")
    if problem := too_much({name: (lab.root / name).stat().st_size for name in lab.editable_files}):
        raise UserError(f"{lab.root}: {problem}", f"`lab.editable` in {FILE_NAME} says which they are")


def _way_out(root: Path, key: str, name: str) -> str:
    """The remedy for a missing file: restore it from git, or name the lab's own files."""
    there = ("git", "-C", str(root), "cat-file", "-e", f"HEAD:./{name}")
    try:
        if subprocess.run(there, capture_output=True, timeout=10, check=False).returncode == 0:
            return f"`git checkout HEAD -- {name}` restores it"
    except (OSError, subprocess.SubprocessError):
        pass
    files = FILE_NAME
    if (root / files).exists():
        remedy = f"name the lab's own files in {files}"
        return f"write down there what to improve and how, or {remedy}" if key == "program" else remedy
    named = f"`{discovery.guess(root)}`"
    return f"name the lab's own in {files}, such as {named}, or make a new lab with `autoresearch-tui init DIR`"
