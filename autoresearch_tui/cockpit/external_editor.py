"""The user's `$EDITOR`, on temporary copies or on program.md."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from textual.app import App, SuspendNotSupported

# Edits the files in place; returns the problem, or an empty text.
Editor = Callable[[Sequence[Path]], str]


def command() -> list[str]:
    """The command in `$VISUAL` or `$EDITOR`; vi if neither is set."""
    return shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "") or ["vi"]


def suspended(app: App[object]) -> Editor:
    """An editor that suspends the cockpit and runs in its terminal."""

    def edit(paths: Sequence[Path]) -> str:
        problem = _run(app, command, paths, "editor")
        return f"{problem}; nothing was changed" if "exit code" in problem else problem

    return edit


def pager(app: App[object]) -> Editor:
    """The same with `$PAGER`, or less."""
    return lambda paths: _run(app, _pager_command, paths, "pager")


def _pager_command() -> list[str]:
    return shlex.split(os.environ.get("PAGER") or "") or ["less"]


def _run(app: App[object], words: Callable[[], Sequence[str]], paths: Sequence[Path], name: str) -> str:
    try:
        program = words()
        with app.suspend():
            code = subprocess.run([*program, *map(str, paths)], check=False).returncode
    except SuspendNotSupported:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name} cannot run in this terminal"
    except (OSError, ValueError) as error:
        return f"the {name} did not start: {error}; set ${name.upper()}"
    return "" if code == 0 else f"{program[0]} ended with exit code {code}"


def edit_texts(files: Mapping[str, str], edit: Editor) -> tuple[dict[str, str], str]:
    """Edits copies of the files; returns their new texts and the problem, or the old texts if there was one."""
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
