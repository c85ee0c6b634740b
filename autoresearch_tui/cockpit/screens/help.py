"""Every key and what it does, from the table of actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from autoresearch_tui.cockpit.actions import ACTIONS, REPLAY, Action, key_name
from autoresearch_tui.cockpit.widgets.bars import KeyLine
from autoresearch_tui.cockpit.widgets.painted import wrap
from autoresearch_tui.session import stream_marks
from autoresearch_tui.session.badges import NAMES as MARK_NAMES
from autoresearch_tui.session.badges import WORDS
from autoresearch_tui.session.format import FRONTIER, MARKS
from autoresearch_tui.session.state import Stage
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

_WIDTH, _COLUMNS = 110, 84


class Entry(Frozen):
    """A key, its title, and what it does; a heading has only `words`. Enter runs `action`."""

    key: str = ""
    title: str = ""
    words: str = ""
    action: str = ""


class HelpScreen(ModalScreen[str | None]):
    """Every key. Typing filters; Enter returns the id of the selected action, Escape None."""

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
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__()
        self._entries = tuple(entries)
        self._filter = ""
        self._at = 0

    def compose(self) -> ComposeResult:
        with Vertical(), VerticalScroll():
            yield Static("", id="help-keys")
        yield KeyLine("")

    def on_mount(self) -> None:
        self._draw()

    def on_key(self, event: events.Key) -> None:
        """Letters filter; while a filter is set, the arrows select among the actions that can run."""
        character = event.character or ""
        if event.key == "escape" or (character == "?" and not self._filter):
            self._type("") if self._filter else self.dismiss(None)
        elif event.key == "backspace":
            self._type(self._filter[:-1])
        elif event.key == "enter":
            runs = self._runs()
            self.dismiss(runs[self._at].action if runs and self._filter else None)
        elif self._filter and event.key in ("up", "down"):
            self._at = max(0, min(len(self._runs()) - 1, self._at + (1 if event.key == "down" else -1)))
            self._draw()
        elif len(character) == 1 and character.isprintable() and (character != " " or self._filter):
            self._type(self._filter + character.lower())
        else:
            return
        event.stop()

    def _type(self, words: str) -> None:
        self._filter, self._at = words, 0
        self._draw()
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def _found(self) -> list[Entry]:
        """The entries with every word of the filter, below their headings."""
        wanted, found = self._filter.split(), list[Entry]()
        heading = None
        for entry in self._entries:
            if not entry.title:
                heading = entry
            elif all(word in f"{entry.key} {entry.title} {entry.words}".lower() for word in wanted):
                found += [entry] if heading is None else [heading, entry]
                heading = None
        return found

    def _runs(self) -> list[Entry]:
        return [entry for entry in self._found() if entry.action]

    def _draw(self) -> None:
        box = self.query_one(Vertical)
        box.border_title = Content(f"Keys · {self._filter}▏" if self._filter else "Keys")
        self.query_one("#help-keys", Static).update(self._text())
        keys = "Enter: run · ↑ ↓: choose · Esc: all keys" if self._filter else "type to filter · Esc: back"
        self.query_one(KeyLine).tell(keys)

    def _text(self) -> Content:
        """In columns where there is room, else with each description below its title."""
        width = min(_WIDTH, self.app.size.width) - 5
        keys = 1 + max((cell_len(entry.key) for entry in self._entries), default=0)
        names = max((cell_len(entry.title) for entry in self._entries), default=0)
        before = keys + 2 + (names + 2 if width >= _COLUMNS else 2)
        runs = self._runs() if self._filter else []
        lines: list[Content] = []
        for entry in self._found():
            if not entry.title:
                lines += [*([Content("")] if lines else []), Content.styled(clean_line(entry.words), "$primary bold")]
                continue
            here = bool(runs) and entry is runs[self._at]
            key = clean_line(entry.key).rjust(keys - 1 - cell_len(entry.key) + len(entry.key))
            mark = ("▸", "bold $primary") if here else " "
            head = Content.assemble(mark, (f"{key}  ", "bold"), clean_line(entry.title))
            rest = wrap(clean_line(entry.words), width - before) if entry.words else []
            if width >= _COLUMNS and rest:
                gap = " " * (before - head.cell_length)
                head = Content.assemble(head, gap, (rest.pop(0), "$quiet"))
            lines += [head, *(Content.styled(" " * before + line, "$quiet") for line in rest)]
        return Content("\n").join(lines or [Content("no key is about this")])


# Keys that every pane and list understands, and Textual's own.
_MOVING = (
    Entry("↑ ↓", "Up and down", "Also k and j."),
    Entry("PgUp", "Page up", "Also ctrl+b."),
    Entry("PgDn", "Page down", "Also ctrl+f and Space."),
    Entry("Home", "First", "Also g."),
    Entry("End", "Last", "Also G."),
    Entry("← →", "Sideways", "Moves long lines."),
    Entry("Tab", "Next pane", "Shift+Tab: the one before."),
    Entry("ctrl+p", "Command palette", "Every action by its name, with its key, and themes."),
)


def help_entries(keys: Mapping[str, str], place: str = "", *, replay: bool = False) -> list[Entry]:
    """Every action below its group's heading, then the keys for moving and the marks.

    The groups of the screen that help was opened from come first; in a `replay`, those of the replay before them.
    """
    entries: list[Entry] = []
    rows = [a for a in ACTIONS if a not in REPLAY]
    here = list(REPLAY) if replay else []
    here += sorted((a for a in ACTIONS if place and place in a.places), key=lambda a: a.place != place)
    for group in dict.fromkeys(action.group for action in (*here, *rows)):
        entries.append(Entry(words=group))
        entries += [Entry(key_name(a, keys), a.title, _words(a), a.id) for a in ACTIONS if a.group == group]
    entries += [Entry(words="Moving"), *_MOVING, Entry(words="Marks")]
    entries += [Entry(glyph, name) for name, (glyph, _) in MARKS.items() if name not in {Stage.ENDED, Stage.SCORED}]
    best = "the best score kept; the next proposals start from it, or from ▸ if there is one"
    entries += [Entry("★", "best", best), Entry(FRONTIER, "frontier", "where a human continued the search from")]
    entries += [Entry(glyph, name, WORDS[glyph]) for glyph, name in MARK_NAMES.items()]
    entries += [Entry(glyph, words) for glyph, words in stream_marks.WORDS.items()]
    return entries


def _words(action: Action) -> str:
    """The action's description, and its other keys."""
    return f"{action.help} Also {action.more.replace(',', ', ')}." if action.more else action.help
