"""Two editors changed program.md: shows both versions and asks what to do."""

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
from autoresearch_tui.session.state import State

Choice = Literal["merge", "theirs", "mine", "both"]


class ConflictScreen(Screen[Choice | None]):
    """Returns the choice, or None if nothing was written."""

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
        """What differs, from the file on disk to the text in the editor."""
        how = "the changes do not overlap" if self._merges else "both changed the same lines"
        yield Static(Content(f"program.md was changed on disk while you edited; {how}. - on disk, + yours"))
        yield DiffPane()
        yield KeyBar(id="conflict-keys")

    def on_mount(self) -> None:
        """The diff has the keys."""
        lines = difflib.unified_diff(
            self._theirs.splitlines(), self._mine.splitlines(), "a/program.md", "b/program.md", lineterm=""
        )
        pane = self.query_one(DiffPane)
        pane.show("\n".join(lines))
        bar = actions.bar(Situation(State()), ("conflict",))
        self.query_one(KeyBar).show([a for a in bar if self._merges or a.id != "conflict.merge"])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A merge is offered only if the changes do not overlap."""
        if action == "choose" and parameters == ("merge",) and not self._merges:
            return False
        return super().check_action(action, parameters)

    def action_choose(self, choice: Choice) -> None:
        """Ends with the choice."""
        self.dismiss(choice)
