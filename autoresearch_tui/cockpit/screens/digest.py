"""The digest of the session: what was learnt, what the researcher believes, what it would do next."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from autoresearch_tui.cockpit import actions
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.situation import Situation
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.session.commands import WriteDigest
from autoresearch_tui.session.state import State
from autoresearch_tui.util.text import clean_text

_MOST = 24_000


class DigestScreen(Screen[None]):
    """The last digest, and a key that requests a new one."""

    DEFAULT_CSS = """
    DigestScreen {
        & > #digest-about { height: auto; padding: 0 1; background: $panel; }
        & > VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
        & > #digest-keys { height: 1; background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*actions.bindings("digest")]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, view: Bridge) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        yield Static("", id="digest-about")
        with VerticalScroll():
            yield Static("", id="digest-page")
        yield KeyBar(id="digest-keys")

    def on_mount(self) -> None:
        self.query_one(KeyBar).show(actions.bar(Situation(self._view.state), ("digest",)))
        self._draw(self._view.state)

    def refresh_state(self, state: State) -> None:
        if self.is_mounted:
            self._draw(state)

    def _draw(self, state: State) -> None:
        self.query_one("#digest-about", Static).update(Content(about(state)))
        self.query_one("#digest-page", Static).update(Content(self._page()))

    def _page(self) -> str:
        try:
            return clean_text(self._view.files.digest.read_bytes().decode("utf-8", "replace"))[:_MOST]
        except OSError:
            return ""

    def action_write(self) -> None:
        if self._view.read_only:
            self.query_one("#digest-about", Static).update(Content(f"read only: {self._view.read_only}"))
        else:
            self._view.send(WriteDigest())


def about(state: State) -> str:
    """How old the digest is, and how many of its numbers the journal confirms."""
    if state.digest_asked is not None:
        return "a new page is being written …"
    page = state.digest
    if page is None:
        return "no page yet: one is written when the session ends by itself; w writes one now"
    later = state.verdicts - page.verdicts
    age = f"{later} verdicts ago; w writes a new one" if later else "up to date"
    return f"{age} · {page.numbers} numbers checked, {page.missing} not in the journal (marked ?)"
