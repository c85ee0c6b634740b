"""Two texts of `program.md` compared: an earlier version with the current one, or both sides of a conflict."""

from __future__ import annotations

import difflib
from typing import ClassVar, Literal

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

Choice = Literal["merge", "theirs", "mine", "both"]


def _diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "a/program.md", "b/program.md", lineterm="")
    return "\n".join(lines)


class VersionScreen(Screen[bool]):
    """Shows the changes since a version, or its whole text; returns whether to restore it."""

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
        """`now` is the editor's text."""
        super().__init__()
        self._version, self._text, self._now = version, text, now

    def compose(self) -> ComposeResult:
        yield Static(Content(f"program.md {self._version[:7]}: - that version, + now"))
        yield DiffPane()
        yield TextEditor(self._text, markdown)
        yield KeyBar(id="version-keys")

    def on_mount(self) -> None:
        self.query_one(TextEditor).read_only = True
        self.query_one(DiffPane).show(_diff(self._text, self._now))
        self.query_one(KeyBar).show(actions.bar(Situation(State()), ("version",)))

    def action_whole(self) -> None:
        diff, whole = self.query_one(DiffPane), self.query_one(TextEditor)
        diff.display, whole.display = not diff.display, diff.display
        (diff if diff.display else whole).focus()

    def action_restore(self) -> None:
        self.dismiss(True)


class ConflictScreen(Screen[Choice | None]):
    """Shows what differs from the file on disk to the editor's text; returns the choice, or None to write nothing."""

    DEFAULT_CSS = """
    ConflictScreen {
        & > Static { height: auto; padding: 0 1; background: $warning-banner; color: $on-warning-banner; }
        & > DiffPane { height: 1fr; }
        & > #conflict-keys { height: 1; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("conflict")]

    AUTO_FOCUS = "DiffPane"

    def __init__(self, mine: str, theirs: str, merges: bool) -> None:
        super().__init__()
        self._mine = mine
        self._theirs = theirs
        self._merges = merges

    def compose(self) -> ComposeResult:
        how = "the changes do not overlap" if self._merges else "both changed the same lines"
        yield Static(Content(f"program.md was changed on disk while you edited; {how}. - on disk, + yours"))
        yield DiffPane()
        yield KeyBar(id="conflict-keys")

    def on_mount(self) -> None:
        self.query_one(DiffPane).show(_diff(self._theirs, self._mine))
        bar = actions.bar(Situation(State()), ("conflict",))
        self.query_one(KeyBar).show([a for a in bar if self._merges or a.id != "conflict.merge"])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A merge is offered only if the changes do not overlap."""
        if action == "choose" and parameters == ("merge",) and not self._merges:
            return False
        return super().check_action(action, parameters)

    def action_choose(self, choice: Choice) -> None:
        self.dismiss(choice)
