"""An experiment's data for other programs: to the clipboard, the pager or the editor."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui.cockpit import external_editor
from autoresearch_tui.cockpit.screens.dialogs import Dialog
from autoresearch_tui.engine import results_table
from autoresearch_tui.session.state import Experiment

if TYPE_CHECKING:
    from autoresearch_tui.cockpit.screens.judge import JudgeScreen


def copy(screen: JudgeScreen, experiment: Experiment) -> None:
    """Asks what to copy to the clipboard."""
    score = "" if experiment.value is None else f"{experiment.value:.6f}"
    texts = {
        "r": ("the row, as in results.tsv", results_table.row(experiment)),
        "h": ("the commit's hash", experiment.commit),
        "d": ("the description", experiment.description),
        "s": ("the score", score),
        "p": ("the path of its folder", str(screen.bridge.files.run(experiment.number).folder)),
    }
    answers = [(key, words) for key, (words, text) in texts.items() if text]
    dialog = Dialog(f"Copy of #{experiment.number}", "Goes to your clipboard, over SSH too (OSC 52).", answers)

    def copied(key: str | None) -> None:
        if key in texts:
            words, text = texts[key]
            screen.app.copy_to_clipboard(text)
            screen.say(f"copied {words}")

    screen.app.push_screen(dialog, copied)


def view(screen: JudgeScreen, experiment: Experiment) -> None:
    """Asks which of the experiment's files to read, in the pager or, as a copy, in the editor."""
    files = screen.bridge.files.run(experiment.number)
    there = [("l", "the log", files.log), ("d", "the diff", files.diff)]
    trained = files.as_trained(screen.bridge.lab.editable.plain)
    there += [(str(number), name, path) for number, (name, path) in enumerate(trained.items(), 1)]
    paths = {key: (words, path) for key, words, path in there if path.is_file() and path.stat().st_size}
    if not paths:
        screen.say(f"#{experiment.number} has no files yet", warn=True)
        return
    answers = [(key, f"{words} in $PAGER") for key, (words, _) in paths.items()]
    answers += [(key.upper(), f"a copy of {words} in $EDITOR") for key, (words, _) in paths.items() if key.isalpha()]
    dialog = Dialog(f"Read #{experiment.number}", "", answers)
    screen.app.push_screen(dialog, partial(_read, screen, {key: path for key, (_, path) in paths.items()}))


def _read(screen: JudgeScreen, paths: dict[str, Path], key: str | None) -> None:
    if key is None:
        return
    path = paths.get(key) or paths[key.lower()]
    problem = ""
    if key in paths:
        problem = external_editor.pager(screen.app)([path])
    else:
        # Only a copy: the session's record must not change.
        text = path.read_bytes().decode("utf-8", "replace")
        _, problem = external_editor.edit_texts({path.name: text}, external_editor.suspended(screen.app))
    if problem:
        screen.say(problem, warn=True)
