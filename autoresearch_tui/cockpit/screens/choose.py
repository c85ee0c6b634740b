"""A question with a few answers, each a key. There is no answer by default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class ChooseScreen(ModalScreen[str | None]):
    """Ends with the chosen key; None where it was left by Escape."""

    DEFAULT_CSS = """
    ChooseScreen {
        align: center middle;
        & > Vertical {
            width: 64; max-width: 100%; height: auto; padding: 1 2;
            background: $surface; border: round $warning;
        }
        & .hint { color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, title: str, text: str, answers: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._heading, self._text = title, text
        self._answers = dict(answers)

    def compose(self) -> ComposeResult:
        """The question, the answers."""
        with Vertical() as box:
            box.border_title = Content(self._heading)
            yield Static(Content(self._text))
            yield Static(Content(""))
            for key, answer in self._answers.items():
                yield Static(Content.assemble((f" {key} ", "bold $primary"), f" {answer}"))
            yield Static(Content("Esc back"), classes="hint")

    def on_key(self, event: events.Key) -> None:
        """An answer's key."""
        if event.character in self._answers:
            event.stop()
            self.dismiss(event.character)
