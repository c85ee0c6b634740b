"""Every experiment as a row: what was tried, what came of it, how far from the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from autoresearch_tui.cockpit.widgets.canvas import Cells, Row, fit, wrap
from autoresearch_tui.cockpit.widgets.scroller import Scroller
from autoresearch_tui.cockpit.words import MARKS, clock, delta, tsv_row
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.findings import near_noise
from autoresearch_tui.text import clean_line

ORDERS: tuple[tuple[str, Callable[[Experiment], Any]], ...] = (
    ("newest first", lambda e: -e.number),
    ("oldest first", lambda e: e.number),
    ("best first", lambda e: (e.value is None, e.value or 0.0, e.number)),
    ("by outcome", lambda e: (e.outcome or e.stage, -e.number)),
)
FILTERS = ("all", "keep", "discard", "crash", "invalid", "vetoed", "withdrawn")


class ResultsTable(Scroller):
    """Sorted and filtered here; the facts stay the session's."""

    HEADER = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Details", show=False),
        Binding("o", "order", "Sort", show=False, id="results.order"),
        Binding("t", "filter", "Filter", show=False, id="results.filter"),
        Binding("x", "mark", "Mark", show=False, id="results.mark"),
        Binding("c", "compare", "Compare the marked", show=False, id="results.compare"),
        Binding("y", "copy", "Copy the row", show=False, id="results.copy"),
    ]

    class Opened(Message):
        """An experiment was chosen."""

        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__()

    class Arranged(Message):
        """Sorted, filtered or marked in another way."""

    class Compared(Message):
        """These are to be shown beside each other."""

        def __init__(self, numbers: tuple[int, ...]) -> None:
            self.numbers = numbers
            super().__init__()

    def __init__(self) -> None:
        super().__init__(id="results", classes="pane")
        self._state = State()
        self._rows: list[Experiment] = []
        self._order = 0
        self._filter = 0
        self._number: int | None = None
        self._marked: list[int] = []
        self._doubtful: frozenset[int] = frozenset()

    @property
    def count(self) -> int:
        """How many experiments pass the filter."""
        return len(self._rows)

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """What passes the filter, as sorted."""
        return tuple(self._rows)

    @property
    def selected(self) -> int | None:
        """The experiment under the cursor."""
        if self._number is None and self._rows:
            return self._rows[0].number
        return self._number

    @property
    def arrangement(self) -> str:
        """How it is sorted and filtered, for the pane's title."""
        kept = "" if not self._filter else f" · {FILTERS[self._filter]} only"
        marked = f" · {len(self._marked)} marked: c compares" if self._marked else ""
        return f"{ORDERS[self._order][0]}{kept}{marked}"

    def show(self, state: State) -> None:
        """Another state; the cursor stays on its experiment, or on the newest until it was moved."""
        same = state.experiments is self._state.experiments and state.frontier == self._state.frontier
        if same and state.session is self._state.session:
            return
        old = self.cursor
        self._state = state
        self._doubtful = frozenset(e.number for e in near_noise(state))
        self._arrange()
        if self.cursor != old and self.top:
            self.top += self.cursor - old
        self.repaint()

    def _arrange(self) -> None:
        wanted = FILTERS[self._filter]
        rows = [e for e in self._state.experiments if wanted == "all" or e.outcome == wanted]
        key = ORDERS[self._order][1]
        goal = self._state.session.goal if self._state.session else "minimize"
        if goal == "maximize" and ORDERS[self._order][0] == "best first":
            self._rows = sorted(rows, key=lambda e: (e.value is None, -(e.value or 0.0), e.number))
        else:
            self._rows = sorted(rows, key=key)

    @property
    def cursor(self) -> int:
        """The row of the cursor."""
        for row, experiment in enumerate(self._rows):
            if experiment.number == self._number:
                return row
        return 0

    def action_move(self, rows: int) -> None:
        """The cursor moves, and what is in sight follows it."""
        if not self._rows:
            return
        row = max(0, min(len(self._rows) - 1, self.cursor + rows))
        self._number = self._rows[row].number
        self._into_sight(row)
        self.repaint()

    def move_to(self, number: int) -> None:
        """The cursor on experiment `number`."""
        self._number = number
        self._into_sight(self.cursor)
        self.repaint()

    def _into_sight(self, row: int) -> None:
        self.top = max(min(self.top, row), row - self.page + 1)

    def action_open(self) -> None:
        """Enter: details of the experiment under the cursor."""
        if self.selected is not None:
            self.post_message(self.Opened(self.selected))

    def action_mark(self) -> None:
        """Mark the experiment under the cursor for a comparison, or take the mark back; the cursor goes on."""
        if self.selected is None:
            return
        if self.selected in self._marked:
            self._marked.remove(self.selected)
        else:
            self._marked.append(self.selected)
        self.action_move(1)
        self.post_message(self.Arranged())

    def action_compare(self) -> None:
        """The marked ones beside each other; one alone is compared with the best."""
        numbers = list(self._marked)
        if not numbers and self.selected is not None:
            numbers = [self.selected]
        if len(numbers) == 1 and self._state.frontier not in {None, *numbers}:
            numbers.append(self._state.frontier or 0)
        if len(numbers) > 1:
            self.post_message(self.Compared(tuple(numbers)))

    def action_copy(self) -> None:
        """The row under the cursor, as results.tsv has it, to the clipboard of the terminal."""
        if self.selected is not None:
            self.app.copy_to_clipboard(tsv_row(self._state.experiments[self.selected]))
            self.notify("the row is in the clipboard", markup=False)

    def action_order(self) -> None:
        """The next way to sort."""
        self._order = (self._order + 1) % len(ORDERS)
        self._arrange()
        self._into_sight(self.cursor)
        self.repaint()
        self.post_message(self.Arranged())

    def action_filter(self) -> None:
        """The next outcome to look at alone."""
        self._filter = (self._filter + 1) % len(FILTERS)
        self._arrange()
        self.top = 0
        self.repaint()
        self.post_message(self.Arranged())

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there; on the cursor's row it opens the details."""
        row = self.top + event.y - self.HEADER - 1
        if not 0 <= row < len(self._rows):
            return
        if self._rows[row].number == self.selected and self.has_focus and event.chain == 2:
            self.action_open()
        self._number = self._rows[row].number
        self.repaint()

    # -- painting --------------------------------------------------------------------------------------------

    def header(self, width: int) -> Sequence[Row]:
        """The columns' names."""
        name = clean_line(self._state.session.metric) if self._state.session else "score"
        wide = width >= 64
        memory = "    GiB" if wide else ""
        time = "    time" if wide else ""
        cells = f"   #   {fit(name, 8)} {'to best':>9}{memory}{time}  "
        return [[(fit(cells + "change", width), "dim")]]

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        """Experiments, from the top."""
        if not self._rows:
            what = "Every experiment gets a row here; the unmodified baseline is the first."
            words = what if not self._filter else "None of this kind."
            return [[(f" {line}", "dim")] for line in wrap(words, width - 2)]
        cursor = self.cursor
        return [self._row(experiment, width, start + y == cursor) for y, experiment in enumerate(self._rows[start:end])]

    def _row(self, experiment: Experiment, width: int, here: bool) -> Row:
        state = self._state
        glyph, tone = MARKS[experiment.outcome or experiment.stage.value]
        best = experiment.number == state.frontier
        if best:
            glyph, tone = "★", "good-strong"
        cells: list[Cells] = [
            ("▌" if here and self.has_focus else "▏" if here else " ", "accent"),
            ("◆" if experiment.number in self._marked else " ", "accent"),
            (f"{experiment.number:>3} ", "dim"),
            (f"{glyph} ", tone),
        ]
        quiet = experiment.outcome in {"discard", "withdrawn"}
        if experiment.value is not None:
            against = state.best.value if state.best else None
            away, away_tone = delta(experiment.value, against, state.session.goal if state.session else "minimize")
            cells.append((f"{experiment.value:8.4f} ", "strong" if experiment.outcome == "keep" else "text"))
            cells.append((f"{'best' if best else away:>9}", "good" if best else away_tone))
        else:
            cells.append((f"{experiment.outcome or experiment.stage.value:<18}", tone))
        if width >= 64:
            memory = f"{experiment.memory_gb:7.1f}" if experiment.memory_gb else " " * 7
            seconds = clock(experiment.run.seconds) if experiment.run else ""
            cells.append((f"{memory}{seconds:>8}", "dim"))
        text = clean_line(experiment.description)
        noise = experiment.number in self._doubtful
        doubted = experiment.score is not None and bool(experiment.score.doubts)
        cells.append((" ?" if doubted else " ≈" if noise else "  ", "warn"))
        cells.append((text, "dim" if quiet else "text"))
        beyond = experiment.score is not None and bool(experiment.score.beyond)
        if experiment.reason and (beyond or experiment.outcome in {"vetoed", "crash", "invalid", "withdrawn"}):
            cells.append((f" — {clean_line(experiment.reason)}", "dim"))
        return cells
