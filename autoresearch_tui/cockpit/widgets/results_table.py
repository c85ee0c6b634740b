"""Every experiment as a row: what was tried, what came of it, how far from the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from autoresearch_tui.cockpit.actions import bindings
from autoresearch_tui.cockpit.marks import Marking, marking
from autoresearch_tui.cockpit.widgets.canvas import Cells, Row, fit, wrap
from autoresearch_tui.cockpit.widgets.scroller import Scroller
from autoresearch_tui.cockpit.words import MARKS, at_best, clock, delta, tsv_row
from autoresearch_tui.engine.reading.foreign import Earlier
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.findings import gaps
from autoresearch_tui.text import clean_line

ORDERS: tuple[tuple[str, Callable[[Experiment], Any]], ...] = (
    ("newest first", lambda e: -e.number),
    ("oldest first", lambda e: e.number),
    ("best first", lambda e: (e.value is None, e.value or 0.0, e.number)),
    ("by outcome", lambda e: (e.outcome or e.stage, -e.number)),
)
# Columns that a pane of this width has room for.
_WIDE, _SEALED = 64, 84
FILTERS = ("all", "keep", "discard", "crash", "invalid", "vetoed", "withdrawn")


class ResultsTable(Scroller):
    """Sorted and filtered here; the facts stay the session's."""

    HEADER = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Details", show=False),
        *bindings("results"),
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
        self._sealed = False
        self._mark_width = 0
        self._marked: list[int] = []
        self._marking = Marking()
        self.words = ""

    @property
    def count(self) -> int:
        """How many rows there are: the experiments that pass the filter, and what was there before the session."""
        return len(self._rows) + len(self._before)

    @property
    def _before(self) -> Sequence[Earlier | None]:
        """Earlier results under their heading (None), the newest first; not where a filter or words look for others."""
        if not self._state.earlier or self._filter or self.words:
            return ()
        return (None, *reversed(self._state.earlier))

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
        words = f" · «{self.words}» {len(self._rows)} of {len(self._state.experiments)}" if self.words else ""
        marked = f" · {len(self._marked)} marked: c compares" if self._marked else ""
        return f"{ORDERS[self._order][0]}{kept}{words}{marked}"

    def show(self, state: State) -> None:
        """Another state; the cursor stays on its experiment, or on the newest until it was moved."""
        same = state.experiments is self._state.experiments and state.frontier == self._state.frontier
        if same and state.session is self._state.session and state.earlier is self._state.earlier:
            return
        old = self.cursor
        self._state = state
        self._marking = marking(state)
        self._sealed = bool(gaps(state))
        self._mark_width = min(2, max((len(self._marking.of(e)) for e in state.experiments), default=0))
        self._arrange()
        if self.cursor != old and self.top:
            self.top += self.cursor - old
        self.repaint()

    def _arrange(self) -> None:
        wanted = FILTERS[self._filter]
        words = self.words.lower().split()
        rows = [e for e in self._state.experiments if wanted == "all" or e.outcome == wanted]
        if words:
            rows = [e for e in rows if all(word in _said(e) for word in words)]
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
        if rows > 0 and self.cursor == len(self._rows) - 1 and self._before:
            self.scroll_rows(rows)
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

    def narrow(self, words: str) -> None:
        """Only the rows that have all these words, in whatever is known of them."""
        self.words = clean_line(words).strip()
        self._arrange()
        self.top = 0
        self._into_sight(self.cursor)
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
        digits = _digits(width)
        cells = f"   #   {fit(name, digits + 4)} {'to best':>{digits + 5}}"
        cells += "    GiB    time" if width >= _WIDE else ""
        cells += f" {'sealed':>{digits + 4}}" if self._sealed and width >= _SEALED else ""
        return [[(fit(f"{cells}  {'':{self._mark_width}}change", width), "dim")]]

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        """Experiments, from the top."""
        if not self._rows and not self._before:
            words = "Every experiment gets a row here; the unmodified baseline is the first."
            if self.words or self._filter:
                words = (
                    "No row has all these words: / changes them."
                    if self.words
                    else "None of this kind: t shows others."
                )
            return [[(f" {line}", "dim")] for line in wrap(words, width - 2)]
        cursor = self.cursor
        own = [self._row(experiment, width, start + y == cursor) for y, experiment in enumerate(self._rows[start:end])]
        first = len(self._rows)
        return own + [
            self._earlier_row(each, width) for each in self._before[max(0, start - first) : max(0, end - first)]
        ]

    def _earlier_row(self, one: Earlier | None, width: int) -> Row:
        if one is None:
            words = f"── before this session: {len(self._state.earlier)} results, as they were found "
            return [(fit(words + "─" * max(0, width - len(words)), width), "dim")]
        digits = _digits(width)
        score = f"{one.value:{digits + 4}.{digits}f}" if one.value is not None else f"{one.status:<{digits + 4}}"
        glyph = MARKS[one.status][0] if one.status in MARKS else "·"
        flag = "!" if one.flags else " "
        return [(clean_line(f"{one.name[:7]:>7} {glyph} {score} {flag} {one.description}"), "dim")]

    def _row(self, experiment: Experiment, width: int, here: bool) -> Row:
        glyph, tone = MARKS[experiment.outcome or experiment.stage.value]
        if experiment.number == self._state.frontier:
            glyph, tone = "★", "good-strong"
        cells: list[Cells] = [
            ("▌" if here and self.has_focus else "▏" if here else " ", "accent"),
            ("◆" if experiment.number in self._marked else " ", "accent"),
            (f"{experiment.number:>3} ", "dim"),
            (f"{glyph} ", tone),
            *self._figures(experiment, width, tone),
        ]
        marks = self._marking.of(experiment)[:2]
        cells.append((f" {marks:<{self._mark_width}} ", "warn"))
        quiet = experiment.outcome in {"discard", "withdrawn"}
        cells.append((clean_line(experiment.description), "dim" if quiet else "text"))
        beyond = experiment.score is not None and bool(experiment.score.beyond)
        told = beyond or experiment.overruled or experiment.outcome in {"vetoed", "crash", "invalid", "withdrawn"}
        if experiment.reason and told:
            cells.append((f" — {clean_line(experiment.reason)}", "dim"))
        return cells

    def _figures(self, experiment: Experiment, width: int, tone: str) -> list[Cells]:
        """Score, distance to the frontier, memory, time, the score on the sealed split."""
        state, digits = self._state, _digits(width)
        cells: list[Cells] = []
        if experiment.value is not None:
            goal = state.session.goal if state.session else "minimize"
            away, away_tone = delta(experiment.value, state.best.value if state.best else None, goal, digits)
            if experiment.number == state.frontier:
                away, away_tone = "best" if at_best(state) else "from here", "good"
            score = f"{experiment.value:{digits + 4}.{digits}f} "
            cells.append((score, "strong" if experiment.outcome == "keep" else "text"))
            cells.append((f"{away:>{digits + 5}}", away_tone))
        else:
            cells.append((f"{experiment.outcome or experiment.stage.value:<{2 * digits + 10}}", tone))
        if width >= _WIDE:
            memory = f"{experiment.memory_gb:7.1f}" if experiment.memory_gb else " " * 7
            seconds = clock(experiment.run.seconds) if experiment.run else ""
            cells.append((f"{memory}{seconds:>8}", "dim"))
        if self._sealed and width >= _SEALED:
            sealed = experiment.score.sealed if experiment.score else None
            text = "" if sealed is None else f"{sealed:.{digits}f}"
            cells.append((f" {text:>{digits + 4}}", "warn" if experiment.number in self._marking.apart else "second"))
        return cells


def _digits(width: int) -> int:
    """How many digits a score has behind its point: small gains are seen where there is room for them."""
    return 6 if width >= _SEALED else 4


def _said(experiment: Experiment) -> str:
    """What the words of a filter are looked for in."""
    known = (
        f"#{experiment.number}",
        experiment.outcome or experiment.stage.value,
        experiment.description,
        experiment.hypothesis,
        experiment.reason,
        experiment.author,
        experiment.commit[:7],
        *experiment.flags,
    )
    return " ".join(known).lower()
