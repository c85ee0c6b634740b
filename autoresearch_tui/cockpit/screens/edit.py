"""A proposal's files in an editor, to run another version of them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static, TabbedContent, TabPane, TextArea

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.actions import Situation
from autoresearch_tui.cockpit.widgets.diff_model import Kind, parse
from autoresearch_tui.cockpit.widgets.status_bar import KeyBar
from autoresearch_tui.cockpit.widgets.text_editor import TextEditor, plain, python
from autoresearch_tui.engine.state import State
from autoresearch_tui.text import clean_line


class EditScreen(Screen[dict[str, str] | None]):
    """Ends with the texts of all files as edited; None where nothing is to be sent."""

    DEFAULT_CSS = """
    EditScreen {
        & > Static { height: auto; background: $panel; padding: 0 1; }
        & > .trouble { background: $error 30%; display: none; }
        & > TextEditor, & > TabbedContent { height: 1fr; }
        & TabPane { padding: 0; }
        & > #edit-keys { height: 1; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("edit")]

    AUTO_FOCUS = "TextEditor"

    def __init__(
        self,
        files: Mapping[str, str],
        title: str,
        draft: Mapping[str, str] | None = None,
        lines: Mapping[str, int] | None = None,
    ) -> None:
        """`draft`: what the human made of the files before; `lines`: where to begin in each."""
        super().__init__()
        self._before = dict(files)
        self._draft = {**files, **(draft or {})}
        self._lines = lines or {}
        self._heading = title
        self._warned: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """One file fills the screen; several have tabs."""
        names = f" {next(iter(self._before))}" if len(self._before) == 1 else ""
        draft = " · your version of before" if self._draft != self._before else ""
        yield Static(Content(f"{clean_line(self._heading)}{clean_line(names)} · runs as you leave it{draft}"))
        yield Static("", classes="trouble")
        if len(self._before) == 1:
            yield from (self._area(path, text) for path, text in self._draft.items())
        else:
            with TabbedContent():
                for path, text in self._draft.items():
                    with TabPane(path):
                        yield self._area(path, text)
        yield KeyBar(id="edit-keys")

    def on_mount(self) -> None:
        """At the first change of each file."""
        self.query_one(KeyBar).show(actions.bar(Situation(State()), ("edit",)), ("edit.save",))
        for path, area in zip(self._before, self.query(TextEditor), strict=True):
            if path in self._lines:
                area.move_cursor((self._lines[path], 0))
                # Its height is known later; the cursor is where it belongs already, for what is typed ahead.
                self.call_after_refresh(area.scroll_cursor_visible, center=True)

    def action_save(self) -> None:
        """What was typed before this key may still be on its way into the text: it comes first."""
        self._typed().call_later(self._save)

    def action_leave(self) -> None:
        """As for saving."""
        self._typed().call_later(self._leave)

    def _save(self) -> None:
        """Checked first; a mistake in the syntax is shown, and a second save of the same text sends it anyway."""
        files = self._texts()
        if files == self._before:
            self._say("nothing was changed; Esc goes back")
            return
        problem = syntax_problem(files)
        if problem and files != self._warned:
            self._warned = files
            self._say(f"{problem}; ctrl+s again sends it as it is")
            return
        self.dismiss(files)

    def _leave(self) -> None:
        """Back; a second Esc throws edits away."""
        files = self._texts()
        if files == self._before or files == self._warned:
            self.dismiss(None)
            return
        self._warned = files
        self._say("not sent yet: ctrl+s sends it, Esc again throws the edit away")

    def _typed(self) -> TextEditor:
        """The text that has the keys."""
        return self.focused if isinstance(self.focused, TextEditor) else self.query(TextEditor).first()

    def _texts(self) -> dict[str, str]:
        areas = self.query(TextArea)
        return {path: area.text for path, area in zip(self._before, areas, strict=True)}

    def _say(self, text: str) -> None:
        line = self.query_one(".trouble", Static)
        line.update(Content(clean_line(text)))
        line.display = True

    @staticmethod
    def _area(path: str, text: str) -> TextEditor:
        return TextEditor(text, python if path.endswith(".py") else plain, soft_wrap=False)


def first_changes(diff: str) -> dict[str, int]:
    """Where a diff first changes each file, as an index of the new file's lines."""
    found: dict[str, int] = {}
    for file in parse(diff).files:
        here = 0
        for line in file.parts:
            if line.kind in (Kind.ADDED, Kind.REMOVED):
                found[file.path] = max(0, (line.number if line.kind is Kind.ADDED else here) - 1)
                break
            here = line.number + (line.kind is Kind.CONTEXT)
    return found


def syntax_problem(files: Mapping[str, str]) -> str:
    """The first Python file that does not parse, and where; empty where all do."""
    for path, text in files.items():
        if not path.endswith(".py"):
            continue
        try:
            ast.parse(text)
        except SyntaxError as error:
            return f"{path}:{error.lineno}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            return f"{path}: {error}"
    return ""
