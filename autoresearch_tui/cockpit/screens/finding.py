"""The search line: find text in the focused pane, or go to an experiment, kind or session."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.message import Message
from textual.widget import Widget

from autoresearch_tui.cockpit import actions, destinations
from autoresearch_tui.cockpit.screens.session_screen import SessionScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets.bars import KeyBar
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.experiments import ExperimentList
from autoresearch_tui.cockpit.widgets.log import RunLog
from autoresearch_tui.cockpit.widgets.stream import ResearcherStream

if TYPE_CHECKING:
    from textual.widgets import Input

Searchable = RunLog | DiffPane | ResearcherStream
_TEXTS = (RunLog, DiffPane, ResearcherStream)


class FindingScreen(SessionScreen):
    """A list is narrowed while words are typed; a text is searched on Enter."""

    FIND_LINE: ClassVar[str] = "find"

    class SessionAsked(Message):
        """Asks to show another session of the lab."""

        def __init__(self, tag: str) -> None:
            self.tag = tag
            super().__init__()

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge)
        # The line while it is open, and the pane that it searches; None if it asks for a destination from `_from`.
        self._line: Input | None = None
        self._pane_of_line: Searchable | ExperimentList | None = None
        self._from: Widget | None = None
        self._sessions: list[str] = []
        self._searched: Searchable | None = None

    @property
    @abstractmethod
    def keys_row(self) -> KeyBar:
        """The key bar, which explains the keys of the open line."""

    @abstractmethod
    def text_to_search(self) -> Searchable:
        """Brings to the screen, and returns, the text to search if the focused pane has none."""

    def list_to_go_to(self) -> ExperimentList | None:
        """Brings to the screen, and returns, the list whose cursor moves if no list has the focus."""
        return None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Letters typed into the open line are text, not keys."""
        if self._line is None or action == "leave":
            return True
        call = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
        return not any(call in {a.call, a.id} for a in actions.ACTIONS)

    def action_find(self) -> None:
        focused = self.focused
        if isinstance(focused, ExperimentList):
            self._open_line(focused, focused.words, "rows that contain all these words", "Enter: keep these · Esc: all")
        else:
            pane = focused if isinstance(focused, _TEXTS) else self.text_to_search()
            self._open_line(pane, "", f"search {pane.called}", "Enter: search · Esc: back")

    def action_go_to(self, words: str = "") -> None:
        """Opens the line for an experiment, a kind or a session, with the possible answers below it."""
        self._sessions = self.bridge.lab.tags()
        preview = destinations.preview(words, self.bridge.state, self._sessions)
        self._open_line(None, words, "number, kind or session · Tab: complete · Enter: go · Esc: back", preview)

    def action_go_to_number(self) -> None:
        self.action_go_to("#")

    def _open_line(self, pane: Searchable | ExperimentList | None, words: str, hint: str, keys: str) -> None:
        from autoresearch_tui.cockpit.widgets.line import Line

        if self._line is not None:
            return
        self._pane_of_line, self._from = pane, self.focused
        self._line = Line(words, placeholder=hint, id=self.FIND_LINE)
        self.mount(self._line, before=self.keys_row)
        self.keys_row.tell(keys)
        self._line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._line is None:
            return
        if isinstance(self._pane_of_line, ExperimentList):
            self._pane_of_line.narrow(event.value)
        elif self._pane_of_line is None:
            self.keys_row.tell(destinations.preview(event.value, self.bridge.state, self._sessions))

    def on_key(self, event: events.Key) -> None:
        """Tab completes the destination."""
        if event.key == "tab" and self._line is not None and self._pane_of_line is None:
            event.stop()
            found = destinations.completions(self._line.value, self.bridge.state, self._sessions)
            self._line.value = found[0] if found else self._line.value
            self._line.cursor_position = len(self._line.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._line is None:
            return
        pane = self._pane_of_line
        self.close_find()
        if pane is None:
            if event.value.strip(" #"):
                self._go(destinations.destination(event.value, self.bridge.state, self._sessions))
        elif not isinstance(pane, ExperimentList):
            self._searched = pane
            found = pane.find(event.value)
            if event.value:
                others = "s · > and < move between them" if found > 1 else ""
                self.say(f"{found} line{others}" if found else f"not found{pane.left_out}")

    def _go(self, to: destinations.Destination) -> None:
        if to.missing:
            self.say(to.missing, warn=True)
        elif to.session == self.bridge.tag:
            self.say(f"{to.session} is this session")
        elif to.session:
            self.post_message(self.SessionAsked(to.session))
        elif (pane := self._from if isinstance(self._from, ExperimentList) else self.list_to_go_to()) is not None:
            before = pane.selected
            number = pane.next_of(to.kind) if to.number is None else pane.inside(to.number)
            if number is not None and pane.move_to(number) and to.kind and number == before:
                self.say(f"{pane.name_of(number)} is the only experiment that is `{to.kind}`")

    def close_find(self) -> None:
        """Closes the line and returns the focus."""
        if self._line is not None:
            self._line.remove()
            self._line = None
            self.keys_row.tell("")
        back = self._pane_of_line or self._from
        if back is not None:
            back.focus()

    def leave_search(self) -> bool:
        """Closes the line and clears its filter, else clears the filter, else the search; returns whether it did."""
        pane, focused = self._pane_of_line, self.focused
        if self._line is not None:
            self.close_find()
            if isinstance(pane, ExperimentList):
                pane.narrow("")
            return True
        if isinstance(focused, ExperimentList) and focused.words:
            focused.narrow("")
            return True
        if self._searched is not None and self._searched.query_text:
            self._searched.find("")
            return True
        return False

    def action_find_next(self) -> None:
        self._step(1)

    def action_find_previous(self) -> None:
        self._step(-1)

    def _step(self, step: int) -> None:
        pane = self.focused if isinstance(self.focused, _TEXTS) else self._searched
        if pane is not None and pane.query_text and not pane.find_step(step):
            self.say("no more matches that way")
