"""The rows around the panes: title, status line, tabs, keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from textual import events
from textual.geometry import Size
from textual.message import Message

from autoresearch_tui.cockpit.actions import WAYS_OUT, Action, key_name
from autoresearch_tui.cockpit.preferences import keys_of
from autoresearch_tui.cockpit.widgets.painted import Canvas, Cells, Row, cut, length, spread, wrap
from autoresearch_tui.session import limits, looks
from autoresearch_tui.session.cost import cost, in_words
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.format import at_best, delta
from autoresearch_tui.session.state import State
from autoresearch_tui.session.statistics import gaps, overfitting
from autoresearch_tui.session.status import Part, Status
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

_SEPARATOR: Cells = (" │ ", "faint")


class TitleBar(Canvas):
    """The lab, the session, its best score, and how many experiments it took."""

    def __init__(self, lab: str, tag: str) -> None:
        super().__init__(id="title")
        self._lab, self._tag = clean_line(lab), clean_line(tag)
        self._state = State()
        self._warning = ""

    def show(self, state: State) -> None:
        self._state = state
        self._warning = overfitting(state)
        self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        width = size.width
        left: list[Cells] = [(" autoresearch ", "accent-block"), (f" {self._lab}", "text"), (f" · {self._tag}", "dim")]
        sandbox = self._state.sandbox
        if self._state.unsandboxed:
            left.append((" · ! runs are not fully sandboxed", "warn"))
        elif self._state.agent_unsandboxed:
            left.append((" · ! the agent is not fully sandboxed", "warn"))
        if self._state.cannot_train:
            left.append((" · ! runs cannot use the accelerator", "warn"))
        if self._warning:
            left.append((" · ! overfits its referee", "warn"))
        elif sandbox is not None and width >= 100:
            left.append((f" · {clean_line(sandbox.kind)}", "faint"))
        if (hour := limits.until(self._state)) is not None and self._state.engine is not None and width >= 100:
            left.append((f" · until {limits.local(hour)}", "dim"))
        return [spread(left, _score(self._state, width - length(left)), width)]


def _score(state: State, room: int) -> Row:
    if state.session is None:
        return []
    kept = state.ended[Outcome.KEEP]
    long: list[Cells] = [(f"{kept} kept of {state.rows}", "dim"), (" ", "")]
    full = long
    if (known := cost(state)).usd:
        full = [(in_words(known), "dim"), (" · ", "faint"), *long]
        long = [(in_words(known, ahead=False), "dim"), (" · ", "faint"), *long]
    best = state.best
    if best is None or best.value is None:
        return long if length(long) < room else []
    score: list[Cells] = [(f"{clean_line(state.session.metric)} ", "dim"), (f"{best.value:.4f}", "strong")]
    first = looks.beaten(state)
    if best.number and first is not None:
        text, tone = delta(best.value, first, state.goal)
        score += [(f" {text}", tone)]
    if not at_best(state) and state.frontier is not None:
        score.append((f" · from #{state.frontier.number} {state.frontier.value or 0:.4f}", "warn"))
    sealed = _sealed(state)
    dot: Cells = (" · ", "faint")
    rows = [*score, *sealed, dot, *full], [*score, *sealed, dot, *long], [*score, dot, *long], [*score, *sealed]
    for row in rows:
        if length(row) < room:
            return [*row, *([] if row[-1][0] == " " else [(" ", "")])]
    return [*score, (" ", "")]


def _sealed(state: State) -> list[Cells]:
    """The best score on the split that the loop never sees, and how the gap has grown since the baseline."""
    known = gaps(state)
    last = next((gap for gap in known if gap.number == state.best_number), None)
    if last is None:
        return []
    cells: list[Cells] = [(" · ", "faint"), ("sealed ", "dim"), (f"{last.sealed:.4f}", "second")]
    grown = last.gap - known[0].gap
    if last is not known[0]:
        cells.append((f" gap {last.gap:+.4f} {'↗' if grown > 0 else '↘'}", "dim"))
    return cells


class StatusBar(Canvas):
    """What is happening, what happens next, what waits for the user: on one, two or three rows."""

    def __init__(self) -> None:
        super().__init__(id="status")
        nothing = Part("", "dim", "")
        self._status = Status(nothing, nothing, nothing)

    def show(self, status: Status) -> None:
        self._status = status
        self.repaint()

    @property
    def answers(self) -> Status:
        return self._status

    def paint(self, size: Size) -> Sequence[Row]:
        """One, two or three rows, by the height; the answer about what waits is never cut."""
        width, height = size
        now, then, wait = self._status.now, self._status.next, self._status.wait
        if height >= 3:
            return [_answer(part, width) for part in (now, then, wait)]
        if height == 2:
            right = _answer(wait, width * 3 // 5)
            return [_answer(now, width), spread(_answer(then, width - length(right) - 2), [*right, (" ", "")], width)]
        right = _answer(wait, width // 2)
        room = width - length(right) - 8
        left = _answer(now, max(room // 2, room - length(_answer(then, width))))
        middle = _answer(then, room - length(left))
        return [spread([*left, _SEPARATOR, *middle], [_SEPARATOR, *right, (" ", "")], width)]


def _answer(part: Part, width: int) -> Row:
    if not part.text:
        return []
    tone = part.tone
    text = cut(part.text, width - 3)
    soft = tone in {"accent", "second"}
    return [(f" {part.glyph or ' '} ", tone), (text, "text" if soft else tone)]


class Tab(Frozen):
    """`mark` draws attention to the pane."""

    number: int
    name: str
    mark: bool = False


class TabBar(Canvas):
    """The tabs of the panes, where there is room for one only."""

    class Picked(Message):
        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__()

    def __init__(self) -> None:
        super().__init__(id="tabs")
        self._tabs: tuple[Tab, ...] = ()
        self._current = 1

    def show(self, tabs: tuple[Tab, ...], current: int) -> None:
        self._tabs, self._current = tabs, current
        self.repaint()

    def _cells(self, width: int) -> list[list[Cells]]:
        full = sum(len(tab.name) + 3 for tab in self._tabs) + 2 <= width
        made = []
        for tab in self._tabs:
            front = tab.number == self._current
            name = tab.name if full or front else tab.name[:4]
            mark = "●" if tab.mark else " " if front else ""
            tone = "accent-block" if front else "dim"
            made.append([(f" {tab.number} {name}", tone), (mark, tone if front else "warn")])
        return made

    def paint(self, size: Size) -> Sequence[Row]:
        width = size.width
        return [[cell for cells in self._cells(width) for cell in cells]]

    def on_click(self, event: events.Click) -> None:
        end = 0
        for tab, cells in zip(self._tabs, self._cells(self.content_size.width), strict=True):
            end += length(cells)
            if event.x < end:
                self.post_message(self.Picked(tab.number))
                return


class KeyBar(Canvas):
    """The keys that make sense now, the most urgent first."""

    def __init__(self, *, id: str = "keys") -> None:  # noqa: A002
        super().__init__(id=id)
        self._actions: Sequence[Action] = ()
        self._urgent: frozenset[str] = frozenset()
        self._labels: Mapping[str, str] = {}
        self._text = ""

    def tell(self, text: str) -> None:
        """Shows `text` instead of the keys, while letters are text; empty: shows the keys again."""
        self._text = text
        self.repaint()

    def show(
        self, actions: Sequence[Action], urgent: Collection[str] = (), labels: Mapping[str, str] | None = None
    ) -> None:
        """`urgent` are ids that stand out; `labels` replace those of the table."""
        shown = (actions, frozenset(urgent), labels or {})
        if shown != (self._actions, self._urgent, self._labels):
            self._actions, self._urgent, self._labels = shown
            self.repaint()

    def _cells(self, width: int) -> list[tuple[Action, list[Cells]]]:
        """The last actions always keep their place; the least urgent of the others are left out."""
        always = [(a, self._cell(a)) for a in self._actions if a.bar >= WAYS_OUT]
        room = width - sum(length(cells) for _, cells in always)
        made = []
        for action in self._actions:
            cells = self._cell(action)
            if action.bar < WAYS_OUT and length(cells) <= room:
                made.append((action, cells))
                room -= length(cells)
        return [*made, *always]

    def _cell(self, action: Action) -> list[Cells]:
        urgent = action.id in self._urgent
        key: Cells = (f" {key_name(action, keys_of(self.app))}", "warn-strong" if urgent else "key")
        word = self._labels.get(action.id, action.short)
        return [key, (f" {word} ", "text" if urgent else "dim")] if word else [key]

    def paint(self, size: Size) -> Sequence[Row]:
        if self._text:
            return [[(f" {cut(self._text, size.width - 1)}", "dim")]]
        return [[cell for _, cells in self._cells(size.width) for cell in cells]]

    def on_click(self, event: events.Click) -> None:
        """A click on a label is its key."""
        end = 0 if not self._text else self.size.width
        for action, cells in self._cells(self.content_size.width):
            end += length(cells)
            if event.x < end:
                self.app.simulate_key(keys_of(self.app).get(action.id, action.key).split(",")[0])
                return


class KeyLine(KeyBar):
    """The keys of a dialog, in words, over the key bar of the screen behind it, whose keys do nothing meanwhile."""

    DEFAULT_CSS = "KeyLine { dock: bottom; height: 1; background: $panel; }"

    def __init__(self, words: str) -> None:
        super().__init__(id="dialog-keys")
        self.tell(words)


class Hint(Canvas):
    """Text in place of a pane."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._words = ""

    def show(self, words: str) -> None:
        if words != self._words:
            self._words = words
            self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        return [[(f" {line}", "dim")] for line in wrap(self._words, size.width - 2)]
