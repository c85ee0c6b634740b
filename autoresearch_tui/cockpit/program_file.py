"""`program.md` on disk: read with its version, replaced atomically, watched for changes by other editors."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui.util.frozen import Frozen

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver


class Loaded(Frozen):
    """A text, and the sha256 of its bytes."""

    text: str
    digest: str

    @property
    def version(self) -> str:
        """The first 12 digits of the hash, as in ProgramRead."""
        return self.digest[:12]


class Changed(Exception):
    """The file is not the one that was loaded."""


def load(path: Path) -> Loaded:
    """Raises OSError, and ValueError with one line if the file is not UTF-8."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    return Loaded(text, hashlib.sha256(data).hexdigest())


def digest_of(path: Path) -> str:
    """The hash of the file; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def save(path: Path, text: str, expected: str) -> Loaded:
    """Replaces the file, if it still has the hash `expected`; its mode stays. Raises Changed, OSError."""
    data = text.encode("utf-8", "replace")
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o644)
        # Right before the rename, so that the gap is as small as a file system allows.
        if digest_of(path) != expected:
            raise Changed
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Loaded(data.decode("utf-8"), hashlib.sha256(data).hexdigest())


def both(mine: str, theirs: str) -> str:
    """Both texts, with conflict markers around the differences."""
    old, new = mine.splitlines(keepends=True), theirs.splitlines(keepends=True)
    lines: list[str] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            lines += old[a:b]
        else:
            lines += [
                "<<<<<<< yours\n",
                *map(_ended, old[a:b]),
                "=======\n",
                *map(_ended, new[c:d]),
                ">>>>>>> on disk\n",
            ]
    return "".join(lines)


def conflict_marks(text: str) -> str:
    """The numbers of the lines that are conflict markers, ours or git's; empty if there are none.

    A row of `=` alone underlines a heading in Markdown, so it counts only beside one of the others.
    """
    lines = list(enumerate(text.splitlines(), 1))
    marks = [n for n, line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))]
    return ", ".join(str(n) for n, line in lines if n in marks or (marks and line == "======="))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n"


class Unsaved(Frozen):
    """An unsaved edit, and the file that it was made from."""

    base: Loaded
    text: str


class Draft:
    """An edit in progress, on disk, so that it survives the end of the cockpit. Its errors are ignored."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, base: str, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps({"base": base, "text": text}), "utf-8")
            beside.replace(self._path)

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def take(self) -> Unsaved | None:
        """The draft on disk, or None."""
        try:
            found = json.loads(self._path.read_text("utf-8"))
            base, text = str(found["base"]), str(found["text"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Unsaved(Loaded(base, hashlib.sha256(base.encode("utf-8", "replace")).hexdigest()), text)


class Watch:
    """Calls `changed`, in another thread, when the file may have changed."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._observer: BaseObserver | None = None

    def start(self) -> bool:
        """Returns False if the system has no watches left, or none at all; then the caller has to poll."""
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        names = {str(self._path), str(self._path.resolve())}
        changed = self._changed

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                # Opening and reading the file is no change.
                if event.event_type in ("modified", "created", "moved", "deleted", "closed") and (
                    {os.fsdecode(event.src_path), os.fsdecode(event.dest_path)} & names
                ):
                    changed()

        observer = Observer()
        try:
            observer.schedule(Handler(), str(self._path.parent), recursive=False)
            observer.start()
        except (OSError, RuntimeError):
            return False
        self._observer = observer
        return True

    def stop(self) -> None:
        """Ends the watching thread without waiting for it, so that quitting is not delayed."""
        if self._observer is not None:
            self._observer.stop()
            self._observer = None
