"""A proposal's files in an editor, to run another version of them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static, TabbedContent, TabPane

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.screens.dialogs import Dialog
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.diff_model import Kind, parse
from autoresearch_tui.cockpit.widgets.editor import TextEditor, plain, python
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.text import clean_line


class EditScreen(Screen[dict[str, str] | None]):
    """Returns the edited text of every file, or None if nothing is to run."""

    DEFAULT_CSS = """
    EditScreen {
        & > Static { height: auto; background: $panel; padding: 0 1; }
        & > .trouble { background: $error-banner; color: $on-error-banner; display: none; }
        & > TextEditor, & > TabbedContent { height: 1fr; }
        & TabPane { padding: 0; }
        & > #edit-keys { height: 1; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("edit")]

    AUTO_FOCUS = "TextEditor"

    def __init__(
        self, view: Bridge, proposal: Experiment, files: Mapping[str, str], lines: Mapping[str, int] | None = None
    ) -> None:
        """`lines`: the cursor's first line in each file. Unsent edits are kept in `view` for the next time."""
        super().__init__()
        self._edits, self._key = view.edits, (proposal.number, proposal.commit)
        self._editable = view.lab.editable
        self._before = dict(files)
        self._draft = {**files, **self._edits.get(self._key, {})}
        self._lines = lines or {}
        # The texts that each warning was about, so that repeating the key confirms that warning only.
        self._warned_syntax: dict[str, str] = {}
        self._warned_unsent: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """One file fills the screen; several have tabs."""
        names = f" {next(iter(self._before))}" if self._alone else ""
        draft = " · your earlier edit; ctrl+z: as proposed" if self._draft != self._before else ""
        free = " · ctrl+n: a new file; one left empty is removed" if self._editable.patterns else ""
        yield Static(Content(f"#{self._key[0]}{clean_line(names)} · ctrl+s runs exactly this{free}{draft}"))
        yield Static("", classes="trouble")
        self._areas = {path: self._area(path, self._before.get(path, "")) for path in self._draft}
        if self._alone:
            yield from self._areas.values()
        else:
            with TabbedContent():
                for path, area in self._areas.items():
                    with TabPane(Content(clean_line(path))):
                        yield area
        yield KeyBar(id="edit-keys")

    @property
    def _alone(self) -> bool:
        """Whether there is one file and no other can be added."""
        return len(self._draft) == 1 and not self._editable.patterns

    def on_mount(self) -> None:
        """Puts the cursor at the first change of each file."""
        self.query_one(KeyBar).show(actions.bar(Situation(State()), ("edit",)), ("edit.save",))
        for path, area in self._areas.items():
            if self._draft[path] != area.text:
                # As an edit, so that undo restores the proposal.
                area.replace(self._draft[path], (0, 0), area.document.end)
                area.move_cursor((0, 0))
            if path in self._lines:
                area.move_cursor((self._lines[path], 0))
                # The height is known later; the cursor is set now, for keys typed ahead.
                self.call_after_refresh(area.scroll_cursor_visible, center=True)

    def action_save(self) -> None:
        """Submits the files; a syntax error is shown first, and a second save of the same text submits it anyway."""
        files = self._texts()
        if files == self._before:
            self._show_message("nothing changed; Esc goes back")
            return
        problem = syntax_problem(files)
        if problem and files != self._warned_syntax:
            self._warned_syntax = files
            self._show_message(f"{problem}; ctrl+s again runs it as it is")
            return
        self.dismiss(files)

    def action_add(self) -> None:
        if not self._editable.patterns:
            self._show_message("this lab takes no new files: `lab.editable` names each one")
            return
        hint = f"its path, within {', '.join(self._editable.patterns)}"
        self.app.push_screen(Dialog("A new file", line=hint, enter="begin it"), self._add_file)

    async def _add_file(self, path: str | None) -> None:
        if path is None or not (path := path.strip()):
            return
        if problem := self._editable.refusal([path], self._areas):
            self._show_message(problem)
            return
        area = self._areas[path] = self._area(path, "")
        tabs = self.query_one(TabbedContent)
        pane = TabPane(Content(path), area)
        await tabs.add_pane(pane)
        tabs.active = pane.id or ""
        area.focus()

    def action_leave(self) -> None:
        """Goes back and keeps unsent changes, after warning about them once."""
        files = self._texts()
        if files not in (self._before, self._warned_unsent):
            self._warned_unsent = files
            self._show_message("not sent yet: ctrl+s runs it; Esc again leaves and keeps it for the next e")
            return
        if files == self._before:
            self._edits.pop(self._key, None)
        else:
            self._edits[self._key] = files
        self.dismiss(None)

    def _texts(self) -> dict[str, str]:
        """The texts, without new files that are empty."""
        texts = {path: area.text for path, area in self._areas.items()}
        return {path: text for path, text in texts.items() if path in self._before or text.strip()}

    def _show_message(self, text: str) -> None:
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
    """The first Python file that does not parse, and where; empty if all parse."""
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
