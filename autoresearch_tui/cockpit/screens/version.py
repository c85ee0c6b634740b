"""An earlier version of program.md: what differs from now, its whole text, and the way back to it."""

from __future__ import annotations

import difflib
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.editor import TextEditor, markdown
from autoresearch_tui.session.state import State


class VersionScreen(Screen[bool]):
    """Returns whether the version is to be restored."""

    DEFAULT_CSS = """
    VersionScreen {
        & > Static { height: auto; padding: 0 1; background: $panel; }
        & > DiffPane { height: 1fr; }
        & > TextEditor { height: 1fr; display: none; }
        & > #version-keys { height: 1; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("version")]

    AUTO_FOCUS = "DiffPane"

    def __init__(self, version: str, text: str, now: str) -> None:
        """`now` is what the editor has."""
        super().__init__()
        self._version, self._text, self._now = version, text, now

    def compose(self) -> ComposeResult:
        """The difference, and the whole text in its place when asked for."""
        yield Static(Content(f"program.md {self._version[:7]}: - that version, + now"))
        yield DiffPane()
        yield TextEditor(self._text, markdown)
        yield KeyBar(id="version-keys")

    def on_mount(self) -> None:
        """The diff has the keys."""
        self.query_one(TextEditor).read_only = True
        old, new = self._text.splitlines(), self._now.splitlines()
        lines = difflib.unified_diff(old, new, "a/program.md", "b/program.md", lineterm="")
        self.query_one(DiffPane).show("\n".join(lines))
        self.query_one(KeyBar).show(actions.bar(Situation(State()), ("version",)))

    def action_whole(self) -> None:
        """The whole text, or the difference."""
        diff, whole = self.query_one(DiffPane), self.query_one(TextEditor)
        diff.display, whole.display = not diff.display, diff.display
        (diff if diff.display else whole).focus()

    def action_restore(self) -> None:
        """Ends with yes."""
        self.dismiss(True)
