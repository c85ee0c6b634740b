"""The human's own editor, on files that are nobody else's."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from textual.app import App, SuspendNotSupported

# Edits the files in place; returns what went wrong, or nothing.
Editor = Callable[[Sequence[Path]], str]


def command() -> list[str]:
    """What `$VISUAL` or `$EDITOR` names; vi where neither does."""
    return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "") or ["vi"]


def suspended(app: App[object]) -> Editor:
    """Runs the editor on the terminal, with the cockpit out of the way until it ends."""

    def edit(paths: Sequence[Path]) -> str:
        try:
            words = command()
            with app.suspend():
                code = subprocess.run([*words, *map(str, paths)], check=False).returncode
        except SuspendNotSupported:
            return "this terminal cannot be lent to an editor"
        except (OSError, ValueError) as error:
            return f"the editor did not start: {error}; set $EDITOR"
        return "" if code == 0 else f"{words[0]} ended with exit code {code}; nothing was taken over"

    return edit


def edit_texts(files: Mapping[str, str], edit: Editor) -> tuple[dict[str, str], str]:
    """The files' texts after the editor, and what went wrong. The files that it sees are temporary ones."""
    with tempfile.TemporaryDirectory(prefix="autoresearch-edit-") as name:
        folder = Path(name)
        paths = {}
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8", newline="")
            paths[path] = target
        problem = edit(list(paths.values()))
        if problem:
            return dict(files), problem
        try:
            return {path: target.read_bytes().decode("utf-8") for path, target in paths.items()}, ""
        except (OSError, UnicodeDecodeError) as error:
            return dict(files), f"the edited text cannot be read: {error}"
