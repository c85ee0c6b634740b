"""What a lab is: a folder in a git repository, its settings, and where its files are."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from autoresearch_tui import checkout
from autoresearch_tui import settings as settings_module
from autoresearch_tui.errors import UserError
from autoresearch_tui.frozen import Frozen
from autoresearch_tui.settings import Settings

STATE_FOLDER = ".autoresearch"
# Of the program and of each editable file: every request carries them whole.
LARGEST_BYTES = 1 << 20
# The harness's own interface; a prepare.py without it (the reference's, a fork's) is left alone.
INTERFACE = "AUTORESEARCH_PROFILE"


class Lab(Frozen):
    """A git repository with editable files, a fixed evaluation, a budget and a program."""

    root: Path
    settings: Settings

    @property
    def program(self) -> Path:
        """The human's standing instructions."""
        return self.root / self.settings.lab.program

    @property
    def results(self) -> Path:
        """The table of the session opened last."""
        return self.root / "results.tsv"

    @property
    def state_folder(self) -> Path:
        """Everything of ours that is not git's; ignored through `.git/info/exclude`."""
        return self.root / STATE_FOLDER

    @property
    def venv(self) -> Path | None:
        """The lab's own Python environment: `.venv` in its folder, or above it as far as its repository goes."""
        for folder in (self.root, *self.root.parents):
            if (folder / ".venv" / "bin" / "python").exists():
                return folder / ".venv"
            if (folder / ".git").exists():
                break
        return None

    @property
    def lock(self) -> Path:
        """Held by the one engine of this lab."""
        return self.state_folder / "engine.lock"

    def session(self, tag: str) -> SessionFiles:
        """The files of one session."""
        return SessionFiles(self.state_folder / tag)

    def tags(self) -> list[str]:
        """Sessions that exist here, the one written to last at the end."""
        journals = self.state_folder.glob("*/journal.jsonl")
        return [path.parent.name for path in sorted(journals, key=lambda path: path.stat().st_mtime_ns)]


class SessionFiles(Frozen):
    """Where a session keeps its facts."""

    folder: Path

    @property
    def journal(self) -> Path:
        """The truth: one record a line."""
        return self.folder / "journal.jsonl"

    @property
    def results(self) -> Path:
        """The session's own copy of the table."""
        return self.folder / "results.tsv"

    @property
    def researcher_log(self) -> Path:
        """What the researcher says while it works; for watching only."""
        return self.folder / "researcher.log"

    @property
    def lessons(self) -> Path:
        """What each experiment taught; the human may edit it."""
        return self.folder / "lessons.md"

    @property
    def compiled(self) -> Path:
        """What the compiler made for the baseline; every later run gets a copy."""
        return self.folder / "compiled"

    def run(self, number: int) -> RunFiles:
        """The files of experiment `number`."""
        return RunFiles(self.folder / "runs" / f"{number:04d}")


class RunFiles(Frozen):
    """One experiment's folder; `work` inside it is what the training command sees."""

    folder: Path

    @property
    def diff(self) -> Path:
        """The proposal against its base, as a unified diff."""
        return self.folder / "diff.patch"

    @property
    def log(self) -> Path:
        """Standard output and error of the training command. Untrusted."""
        return self.folder / "run.log"

    @property
    def exit(self) -> Path:
        """How the run ended, written by its supervisor."""
        return self.folder / "exit.json"

    @property
    def score(self) -> Path:
        """What the referee, or the log, said."""
        return self.folder / "score.json"

    @property
    def referee(self) -> Path:
        """The locked files as they were committed, for the referee; no run sees them."""
        return self.folder / "referee"

    @property
    def referee_log(self) -> Path:
        """What the referee said."""
        return self.folder / "referee.log"

    @property
    def scoring(self) -> Path:
        """Where a referee is looked after that is started when the run has ended; removed with `work`."""
        return self.folder / "scoring"

    @property
    def work(self) -> Path:
        """The run's own copy of the lab's tree; removed after the verdict."""
        return self.folder / "work"

    @property
    def scratch(self) -> Path:
        """The only other place that the training command may write to; removed with it."""
        return self.folder / "scratch"


def find(start: Path) -> Lab:
    """The nearest lab, from `start` upward. Raises UserError where there is none."""
    if not start.exists():
        raise UserError(f"{start}: no such folder; `autoresearch-tui init {start}` makes a new lab there")
    folder = start.resolve()
    if folder.is_file():
        raise UserError(f"{start}: a file; name the lab's folder")
    for candidate in (folder, *folder.parents):
        if _looks_like_lab(candidate):
            return open_lab(candidate)
        if (candidate / ".git").exists():
            # The repository's top: what is missing here is missing for good.
            return open_lab(candidate)
    raise UserError(
        f"{folder}: not in a git repository; `autoresearch-tui init DIR` makes a new lab, "
        "or run `git init` and commit your files here"
    )


def open_lab(root: Path) -> Lab:
    """The lab at `root`, checked: git, its files, its settings. Raises UserError with what to mend."""
    lab = Lab(root, settings_module.written(root) or checkout.settings(root))
    _check(lab)
    return lab


def preparer(lab: Lab) -> Path | None:
    """The lab's `prepare.py`, where it is the harness's and can be asked for progress."""
    for name in lab.settings.lab.locked:
        path = lab.root / name
        if path.name == "prepare.py" and INTERFACE in path.read_text("utf-8", "replace"):
            return path
    return None


def read_program(lab: Lab) -> str:
    """The program's text. Raises UserError where it is not UTF-8."""
    return read_text(lab.program, "save it as UTF-8")


def read_text(path: Path, remedy: str) -> str:
    """A text file of the lab's. Raises UserError naming the file and the remedy."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _looks_like_lab(folder: Path) -> bool:
    if (folder / settings_module.FILE_NAME).is_file():
        return True
    return checkout.files(folder) is not None


def _check(lab: Lab) -> None:
    if not str(lab.root).isascii() and sys.getfilesystemencoding() != "utf-8":
        raise UserError(f"{lab.root}: the locale cannot name it; set LANG=C.UTF-8, or PYTHONUTF8=1")
    if any(ord(character) < ord(" ") for character in str(lab.root)):
        raise UserError(f"{str(lab.root)!r}: the path has a line break or the like in it; rename that folder")
    if not any((folder / ".git").exists() for folder in (lab.root, *lab.root.parents)):
        raise UserError(f"{lab.root}: not in a git repository; run `git init` and commit your files there")
    lists: Sequence[tuple[str, Sequence[str]]] = (
        ("program", (lab.settings.lab.program,)),
        ("editable", lab.settings.lab.editable),
        ("locked", lab.settings.lab.locked),
    )
    for key, names in lists:
        for name in names:
            path = lab.root / name
            if not path.exists():
                raise UserError(
                    f"{lab.root}: no {name}, which a lab needs (`lab.{key}` in {settings_module.FILE_NAME}); "
                    "restore it, or make a new lab with `autoresearch-tui init DIR`"
                )
            if path.is_symlink() or not path.is_file():
                raise UserError(f"{path}: not a plain file; `lab.{key}` takes plain files only")
            if key != "locked" and path.stat().st_size > LARGEST_BYTES:
                raise UserError(f"{path}: larger than {LARGEST_BYTES >> 20} MiB; a researcher reads the whole of it")
            read_text(path, "a lab's files are UTF-8 text")
