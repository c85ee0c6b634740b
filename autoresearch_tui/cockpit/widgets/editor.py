"""A text area that colours Python and Markdown without an installed grammar."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.widgets import TextArea

from autoresearch_tui.cockpit.widgets.python_tokens import Token, tokens

Colours = Callable[[str], tuple[Token, ...]]

_MARKDOWN = re.compile(
    r"""
    (?P<defined>^\#{1,6}\s.*)
  | (?P<comment>^\s*>.*|<!--.*?(?:-->|$))
  | (?P<keyword>^\s*(?:[-*+]|\d{1,3}[.)])(?=\s))
  | (?P<string>`[^`]+`|^\s*```.*)
  | (?P<builtin>\*\*[^*]+\*\*|__[^_]+__)
  | (?P<number>\[[^\]]*\]\([^)]*\)|https?://\S+)
    """,
    re.VERBOSE,
)


def plain(line: str) -> tuple[Token, ...]:  # noqa: ARG001
    return ()


def python(line: str) -> tuple[Token, ...]:
    return tokens(line)


@lru_cache(maxsize=2048)
def markdown(line: str) -> tuple[Token, ...]:
    """Headings, lists, code, emphasis, quotes and links."""
    return tuple((match.start(), match.end(), str(match.lastgroup)) for match in _MARKDOWN.finditer(line))


class TextEditor(TextArea):
    """TextArea with the colours of this product and none of its borders."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"editor--{name}" for name in ("keyword", "string", "number", "comment", "defined", "builtin", "decorator")
    }
    DEFAULT_CSS = """
    TextEditor {
        padding: 0; scrollbar-size: 1 1;
        &, &:focus { border: none; }
        & > .editor--keyword { color: $text-secondary; }
        & > .editor--string { color: $text-success; }
        & > .editor--number { color: $text-warning; }
        & > .editor--comment { color: $text-muted; text-style: italic; }
        & > .editor--defined { color: $text-primary; text-style: bold; }
        & > .editor--builtin { color: $text-primary; }
        & > .editor--decorator { color: $text-accent; }
    }
    """

    def __init__(self, text: str, colours: Colours, *, soft_wrap: bool = True) -> None:
        super().__init__(text, soft_wrap=soft_wrap, show_line_numbers=not soft_wrap, tab_behavior="indent")
        self._colours = colours
        # A blinking cursor costs bytes over SSH.
        self.cursor_blink = False

    def get_line(self, line_index: int) -> Text:
        """Textual asks only for lines on the screen."""
        line = super().get_line(line_index)
        for start, end, kind in self._colours(line.plain):
            style = self.get_component_rich_style(f"editor--{kind}")
            line.stylize(Style(color=style.color, bold=style.bold, italic=style.italic), start, end)
        return line
