"""A one-line text field."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Input


class Line(Input):
    """An Input that pastes several lines as one, and warns if it leaves something out.

    `limit` is in characters; 0: none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        # As in a shell. Textual deletes to the right with it.
        Binding("alt+backspace", "delete_left_word", show=False),
    ]

    def __init__(self, value: str = "", *, placeholder: str = "", limit: int = 0, id: str | None = None) -> None:  # noqa: A002
        # Selecting the text on focus would let the next key replace what was typed ahead.
        super().__init__(value, placeholder=placeholder, id=id, compact=True, select_on_focus=False)
        self._limit = limit
        self._full = False

    def _on_paste(self, event: events.Paste) -> None:
        """Textual would take the first line only."""
        event.stop()
        event.prevent_default()
        self.replace(event.text, *self.selection)

    def replace(self, text: str, start: int, end: int) -> None:
        """All input ends here: typing, both kinds of paste, deleting."""
        text = " ".join(text.strip("\r\n").splitlines())
        room = self._limit - len(self.value) + abs(end - start)
        if not self._limit or len(text) <= room:
            self._full = False
            super().replace(text, start, end)
            return
        if len(text) > 1 or not self._full:
            left_out = f": the last {len(text) - room:,} of what you pasted are left out" if len(text) > 1 else ""
            self.notify(f"this line takes {self._limit:,} characters{left_out}", severity="warning", markup=False)
        self._full = True
        self.restricted()
        super().replace(text[:room], start, end)
