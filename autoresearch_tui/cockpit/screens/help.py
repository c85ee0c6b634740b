"""Every key and what it does, from the same table that the keys come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from autoresearch_tui import parts
from autoresearch_tui.cockpit.actions import ACTIONS, JUDGE, key_name
from autoresearch_tui.cockpit.marks import NAMES as MARK_NAMES
from autoresearch_tui.cockpit.marks import WORDS
from autoresearch_tui.cockpit.widgets.canvas import wrap
from autoresearch_tui.cockpit.words import MARKS
from autoresearch_tui.text import clean_line

_WIDTH, _COLUMNS = 110, 84


class HelpScreen(ModalScreen[None]):
    """Rows of key, title and help; any of Escape, q and ? closes it."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > Vertical {
            width: 110; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
            background: $surface; border: round $primary;
        }
        & VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark", "dismiss(None)", "Close"),
    ]

    def __init__(self, rows: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        self._table = tuple(rows)

    def compose(self) -> ComposeResult:
        """One grid in a pane that scrolls."""
        with Vertical() as box:
            box.border_title = Content("keys")
            box.border_subtitle = Content("Esc: back · all of it is in the command palette too")
            with VerticalScroll():
                yield Static(self._text())

    def _text(self) -> Content:
        """In columns where there is room, else what a key does below its name."""
        width = min(_WIDTH, self.app.size.width) - 5
        keys = max((len(key) for key, _, _ in self._table), default=0)
        names = max((len(name) for _, name, _ in self._table), default=0)
        before = keys + 2 + (names + 2 if width >= _COLUMNS else 2)
        lines: list[Content] = []
        for key, name, words in self._table:
            if not name:
                lines += [*([Content("")] if lines else []), Content.styled(clean_line(words), "$primary bold")]
                continue
            head = Content.assemble((f"{clean_line(key):>{keys}}  ", "bold"), clean_line(name))
            rest = wrap(clean_line(words), width - before) if words else []
            if width >= _COLUMNS and rest:
                gap = " " * (before - head.cell_length)
                head = Content.assemble(head, gap, (rest.pop(0), "$quiet"))
            lines += [head, *(Content.styled(" " * before + line, "$quiet") for line in rest)]
        return Content("\n").join(lines)


def help_rows(keys: Mapping[str, str], place: str = "") -> list[tuple[str, str, str]]:
    """Rows of key, title and help, with a row that has only the last before each group; then the marks.

    The groups of the screen from which help was asked for come first.
    """
    rows: list[tuple[str, str, str]] = []
    here = [a for a in ACTIONS if place and (a.place == place or (place == "details" and a.id in JUDGE))]
    for group in dict.fromkeys(action.group for action in (*here, *ACTIONS)):
        rows.append(("", "", group))
        rows += [(key_name(a, keys), a.title, a.help) for a in ACTIONS if a.group == group]
    rows.append(("", "", "Marks"))
    rows += [(glyph, name, "") for name, (glyph, _) in MARKS.items() if name not in {"ended", "scored"}]
    rows += [("★", "frontier", "the next proposals start from it")]
    rows += [(glyph, name, WORDS[glyph]) for glyph, name in MARK_NAMES.items()]
    rows += [(glyph, words, "") for glyph, words in parts.WORDS.items()]
    return rows
