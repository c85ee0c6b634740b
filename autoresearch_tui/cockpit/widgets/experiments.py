"""Every experiment as a row, in one of two arrangements: a table of results, or the branch as a tree."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain, islice
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from autoresearch_tui.cockpit.actions import bindings
from autoresearch_tui.cockpit.all_sessions import Others, Together, together
from autoresearch_tui.cockpit.widgets import tree
from autoresearch_tui.cockpit.widgets.painted import Cells, Row, Scroller, cut, length, wrap
from autoresearch_tui.cockpit.widgets.table import USUAL, Order, Table, digits
from autoresearch_tui.engine import results_table
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.questions import STATUS
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.text import clean_line

FILTERS = (None, *Outcome)
# The text of the selected row may take half of the pane.
_TEXT_SHARE = 2


class ExperimentList(Scroller):
    """The cursor stays on its experiment; until the reader moves it, it stays on the first row."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Details", show=False),
        *bindings("results"),
    ]

    places: ClassVar[tuple[str, ...]] = ("results",)
    """The places of its keys in the table of actions."""

    class Opened(Message):
        """Asks for the details of an experiment."""

        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__()

    class Moved(Message):
        """The cursor moved to another experiment."""

    class Arranged(Message):
        """The order, the filter, the folding or the marks changed."""

    class Pinned(Message):
        """Asks to draw this experiment's curve behind that of the run."""

        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__()

    class Compared(Message):
        """Asks to show these beside each other."""

        def __init__(self, numbers: tuple[int, ...]) -> None:
            self.numbers = numbers
            super().__init__()

    def __init__(self, *, id: str, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._state = State()
        self._number: int | None = None
        self._filter = 0
        self._marked: list[int] = []
        self.words = ""

    # -- the arrangement -------------------------------------------------------------------------------------

    @abstractmethod
    def put_in_rows(self, state: State, found: Sequence[Experiment]) -> None:
        """Arranges the filtered experiments in rows."""

    @property
    @abstractmethod
    def numbers(self) -> Sequence[int]:
        """The experiments from the top; rows without a cursor come after them."""

    @property
    @abstractmethod
    def order_name(self) -> str:
        """The arrangement, for the pane's title."""

    @abstractmethod
    def paint_row(self, row: int, width: int, head: Row) -> Row:
        """The row of an experiment, or one that comes after them."""

    def inside(self, number: int) -> int:
        """The row number of this session's experiment `number`."""
        return number

    def own(self, number: int) -> int | None:
        """The inverse of `inside`; None for a row of another session."""
        return number

    def foreign(self, number: int) -> None:
        """Reports that the row belongs to another session."""

    def name_of(self, number: int) -> str:
        return f"#{number}"

    # -- state -----------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> int | None:
        """This session's experiment under the cursor."""
        return None if self.selected is None else self.own(self.selected)

    @property
    def narrowed(self) -> bool:
        return bool(self._filter or self.words)

    @property
    def selected(self) -> int | None:
        """The row number under the cursor."""
        numbers = self.numbers
        return numbers[self.cursor] if numbers else None

    @property
    def cursor(self) -> int:
        try:
            return self.numbers.index(self._number) if self._number is not None else 0
        except ValueError:
            return 0

    @property
    def arrangement(self) -> str:
        """The order and the filter, for the pane's title."""
        wanted = FILTERS[self._filter]
        kept = f" · {wanted.participle} only" if wanted else ""
        words = f' · "{self.words}" {len(self._found())} of {len(self._state.experiments)}' if self.words else ""
        marked = f" · {len(self._marked)} marked: c compares" if self._marked else ""
        return f"{self.order_name}{kept}{words}{marked}".removeprefix(" · ")

    def show(self, state: State) -> None:
        """Shows another state; the rows in sight stay while new ones come in above them."""
        same = state.experiments is self._state.experiments and state.frontier_number == self._state.frontier_number
        found = state.session is self._state.session and state.prior is self._state.prior
        if same and found and state.shared is self._state.shared:
            return
        old = self.cursor
        self._state = state
        self.put_in_rows(state, self._found())
        if self.cursor != old and self.top:
            self.top += self.cursor - old
        self.repaint()

    def _found(self) -> Sequence[Experiment]:
        """The experiments that pass the filter, in order."""
        wanted, words = FILTERS[self._filter], self.words.lower().split()
        experiments = self._state.experiments
        if words:
            texts = chain.from_iterable(chunk.known(_search_texts) for chunk in experiments.chunks)
            has = (e for e, text in zip(experiments, texts, strict=True) if all(word in text for word in words))
            return [e for e in has if wanted is None or e.status == wanted]
        return experiments if wanted is None else [*experiments.having(STATUS, wanted)]

    def rearrange(self) -> None:
        """Arranges the rows again and keeps the cursor in sight."""
        self.put_in_rows(self._state, self._found())
        self._into_sight()
        self.repaint()
        self.post_message(self.Arranged())

    # -- moving ----------------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        numbers = self.numbers
        if not numbers:
            return
        if rows > 0 and self.cursor == len(numbers) - 1 and self.count > len(numbers):
            self.scroll_rows(rows)
            return
        self.move_to(numbers[max(0, min(len(numbers) - 1, self.cursor + rows))])

    def action_edge(self, side: int) -> None:
        """Goes to the first row, and stays on it as rows come in, or to the last."""
        super().action_edge(side)
        if side < 0:
            self._number = None

    def move_to(self, number: int) -> bool:
        """Puts the cursor on experiment `number` and lifts a filter that hides it; False if there is none."""
        if not 0 <= number < len(self._state.experiments):
            return False
        if number not in self.numbers:
            self._reveal(number)
        before = self.selected
        self._number = number
        self._into_sight()
        self.repaint()
        if self.selected != before:
            self.post_message(self.Moved())
        return True

    def next_of(self, kind: str) -> int | None:
        """The next experiment with this status below the cursor, then from the top, else one that a filter hides."""
        found = [e.number for e in self._state.experiments if e.status == kind]
        after, wanted = self.cursor + 1, set(found)
        rows = (*self.numbers[after:], *self.numbers[:after])
        return next((number for number in rows if number in wanted), found[-1] if found else None)

    def _reveal(self, number: int) -> None:  # noqa: ARG002
        self._filter, self.words = 0, ""
        self.rearrange()

    def _into_sight(self) -> None:
        self.top = max(min(self.top, self.cursor), self.cursor - self.page + 1)

    def action_open(self) -> None:
        if (number := self.chosen) is not None:
            self.post_message(self.Opened(number))
        elif self.selected is not None:
            self.foreign(self.selected)

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; a double click opens the details."""
        place = event.get_content_offset(self)
        if place is None:
            return
        row = self.top + place.y - self.HEADER
        if place.y < self.HEADER:
            self.click_header(place.x)
        elif place.y - self.HEADER < self.page and row < len(self.numbers):
            if self.numbers[row] == self.selected and self.has_focus and event.chain == 2:
                self.action_open()
            self.move_to(self.numbers[row])

    def click_header(self, x: int) -> None:
        """A click above the rows, at cell `x`."""

    # -- choosing --------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Marks the experiment under the cursor for a comparison, or unmarks it, and moves on."""
        if self.selected is None:
            return
        if self.selected in self._marked:
            self._marked.remove(self.selected)
        else:
            self._marked.append(self.selected)
        self.action_move(1)
        self.repaint()
        self.post_message(self.Arranged())

    def action_compare(self) -> None:
        """Compares the marked experiments; a single one is compared with the best."""
        numbers = list(self._marked)
        if not numbers and self.selected is not None:
            numbers = [self.selected]
        best = self._state.best
        if len(numbers) == 1 and best is not None and best.number not in numbers:
            numbers.append(best.number)
        owned = tuple(own for number in numbers if (own := self.own(number)) is not None)
        if len(owned) < len(numbers):
            self.foreign(next(number for number in numbers if self.own(number) is None))
        elif len(owned) > 1:
            self.post_message(self.Compared(owned))

    def action_pin(self) -> None:
        if (number := self.chosen) is not None:
            self.post_message(self.Pinned(number))
        elif self.selected is not None:
            self.foreign(self.selected)

    def action_copy(self) -> None:
        if self.selected is not None:
            self.app.copy_to_clipboard(results_table.row(self._state.experiments[self.selected]))
            self.notify("row copied", markup=False)

    def action_filter(self) -> None:
        """Shows the next outcome alone."""
        self._filter = (self._filter + 1) % len(FILTERS)
        self.top = 0
        self.rearrange()

    def narrow(self, words: str) -> None:
        """Shows only experiments whose text has all these words."""
        self.words = clean_line(words).strip()
        self.top = 0
        self.rearrange()

    # -- painting --------------------------------------------------------------------------------------------

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        if not self.count:
            words = "Every experiment gets a row here; the unmodified baseline is the first."
            if self.words:
                words = "No row contains all these words; / changes them."
            elif self._filter:
                words = "None of this kind; t shows others."
            return [[(f" {line}", "dim")] for line in wrap(words, width - 2)]
        cursor, numbers = self.cursor, self.numbers
        made = []
        for row in range(start, end):
            own = row < len(numbers)
            here = own and row == cursor
            head: list[Cells] = [
                ("▌" if here and self.has_focus else "▏" if here else " ", "accent"),
                ("◆" if own and numbers[row] in self._marked else " ", "accent"),
            ]
            made.append(self.paint_row(row, width, head))
        return made

    def below(self, width: int) -> Sequence[Row]:
        """The full text and reason of the selected row, if the row itself has no room for them."""
        number = self.selected
        if number is None or not self.has_focus:
            return ()
        experiment = self._state.experiments[number]
        row = self.paint_row(self.cursor, width, [("", ""), ("  ", "")])
        text = clean_line(experiment.description)
        if experiment.reason:
            text += f" — {clean_line(experiment.reason)}"
        whole = length(row) <= width and text in "".join(cell for cell, _ in row)
        limit = (self.content_size.height - self.HEADER) // _TEXT_SHARE
        if whole or limit < 2:
            return ()
        lines = wrap(f"{self.name_of(number)} {text}", width - 2)
        if len(lines) >= limit:
            lines = [*islice(lines, limit - 2), cut(" ".join(lines[limit - 2 :]), width - 2)]
        return [[("─" * width, "faint")], *([(f" {line}", "text")] for line in lines)]


def _search_texts(chunk: Chunk) -> tuple[str, ...]:
    return tuple(_search_text(experiment.whole) for experiment in chunk)


def _search_text(experiment: Experiment) -> str:
    """The text that a filter's words are searched in."""
    known = (
        f"#{experiment.number}",
        experiment.status,
        experiment.description,
        experiment.proposal.hypothesis,
        experiment.reason,
        experiment.proposal.author,
        experiment.commit[:7],
        *experiment.proposal.flags,
    )
    return " ".join(known).lower()


class Results(ExperimentList):
    """The table, sorted by any column, with the columns that the reader chose."""

    HEADER = 1

    places = ("results", "table")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("table")]

    class ColumnsAsked(Message):
        """Asks for the dialog with columns and order."""

    def __init__(self) -> None:
        super().__init__(id="results", classes="pane")
        self.order = Order()
        self.columns: tuple[str, ...] = USUAL
        self._table = Table(State(), self.columns)
        self._numbers: Sequence[int] = ()

    def prefer(self, columns: Sequence[str], sort: str) -> None:
        """Sets the reader's usual columns and order, before anything is shown."""
        self.columns = tuple(columns) or USUAL
        self.order = self.order.by(sort) if sort else self.order

    def put_in_rows(self, state: State, found: Sequence[Experiment]) -> None:
        """Sorts the rows; results from before the session are below, unless a filter is set."""
        if self._table.state is not state or self._table.wanted != self.columns:
            self._table = Table(state, self.columns)
        self._numbers = self.order.sort(found, state)

    @property
    def numbers(self) -> Sequence[int]:
        return self._numbers

    @property
    def order_name(self) -> str:
        return self.order.name

    @property
    def state(self) -> State:
        return self._state

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments that pass the filter, in the order of the rows."""
        return tuple(self._state.experiments[number] for number in self._numbers)

    @property
    def count(self) -> int:
        """Includes the rows below, with their headings."""
        return len(self._numbers) + (0 if self.narrowed else len(self._table.below))

    def paint_row(self, row: int, width: int, head: Row) -> Row:
        if row < len(self._numbers):
            return self._table.row(self._state.experiments[self._numbers[row]], width, head)
        return self._table.under(row - len(self._numbers), width)

    def header(self, width: int) -> Sequence[Row]:
        return [self._table.header(width, self.order)]

    def click_header(self, x: int) -> None:
        self.sort_by(self._table.column_at(x, self.content_size.width - 1))

    def sort_by(self, column: str) -> None:
        """Sorts by `column`; in the other direction if it was sorted by it already."""
        self.order = self.order.by(column)
        self.rearrange()

    def choose_columns(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.rearrange()

    def action_order(self) -> None:
        self.order = self.order.then()
        self.rearrange()

    def action_columns(self) -> None:
        self.post_message(self.ColumnsAsked())


class BranchTree(ExperimentList):
    """The tree: newest at the top, the session's base at the bottom. A keep's discards can be folded."""

    places = ("results", "tree")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings("tree")]

    def __init__(self) -> None:
        super().__init__(id="tree", classes="pane")
        self._tree: Sequence[tree.Node] = ()
        self._rows: tree.Rows | None = None
        self._numbers: Sequence[int] = ()
        self._folded: set[int | None] = set()
        self._digits = 6
        self._own = State()
        self._others: Others | None = None
        self._whole: Together | None = None

    def show_all(self, others: Others | None) -> None:
        """Shows all sessions; None: this one alone."""
        number = self.chosen
        self._others, self._marked, self._folded = others, [], set()
        self._join()
        self._number = None if number is None or not self._number else self.inside(number)
        self.rearrange()

    def show(self, state: State) -> None:
        changed = state.experiments is not self._own.experiments or state.frontier_number != self._own.frontier_number
        self._own = state
        if self._others is None:
            super().show(state)
        elif changed:
            chosen = self.chosen
            self._join()
            if chosen is not None and self._number is not None:
                self._number = self.inside(chosen)
            self.rearrange()

    def _join(self) -> None:
        whole = None if self._others is None else together(self._others, self._tag(), self._own)
        self._whole, self._state = whole, self._own if whole is None else whole.state

    def _tag(self) -> str:
        return self._own.session.tag if self._own.session is not None else ""

    def inside(self, number: int) -> int:
        return number if self._whole is None else self._whole.inside(number)

    def own(self, number: int) -> int | None:
        return number if self._whole is None else self._whole.own_number(number)

    def foreign(self, number: int) -> None:
        assert self._whole is not None
        tag = self._whole.part_of(number).tag
        text = f"{self.name_of(number)} is of session {tag}; `:{tag}` shows that session"
        self.notify(text, markup=False)

    def name_of(self, number: int) -> str:
        """Its number in its own session."""
        return f"#{number - (0 if self._whole is None else self._whole.part_of(number).first)}"

    def put_in_rows(self, state: State, found: Sequence[Experiment]) -> None:
        shown = {e.number for e in found} if self.narrowed else None
        self._rows = tree.build(state, shown=shown, folded=self._folded if shown is None else (), before=self._rows)
        self._tree = self._rows if self._whole is None else tree.named(self._rows, self._whole)
        self._digits = digits(state)
        self._numbers = self._rows.numbers

    @property
    def numbers(self) -> Sequence[int]:
        return self._numbers

    @property
    def order_name(self) -> str:
        folded = 0 if self._rows is None else self._rows.folded
        summary = "" if self._whole is None else self._whole.summary
        return " · ".join(filter(None, (summary, f"{folded} folded" if folded else "")))

    @property
    def count(self) -> int:
        """Includes the root below all experiments."""
        return len(self._tree) if self._numbers or not self.narrowed else 0

    def paint_row(self, row: int, width: int, head: Row) -> Row:
        return tree.row(self._tree[row], width, head, self._digits)

    def _reveal(self, number: int) -> None:
        self._folded.discard(tree.parents(self._state.experiments)[number])
        super()._reveal(number)

    def action_fold(self) -> None:
        """Folds or unfolds the finished leaves of the keep under the cursor, or of the one it was based on."""
        number = self.selected
        if number is None:
            return
        up = tree.parents(self._state.experiments)
        keep: int | None = number if number in up or number in self._folded else up[number]
        if keep in self._folded:
            self._folded.discard(keep)
        else:
            self._folded.add(keep)
            if not tree.build(self._state, folded=(keep,)).folded:
                self._folded.discard(keep)
                self.notify("nothing to fold here", markup=False)
                return
            if keep is not None:
                self._number = keep
        self.rearrange()

    def action_fold_all(self) -> None:
        """Unfolds everything if anything is folded, else folds everything."""
        if self._folded:
            self._folded.clear()
        else:
            parents = tree.parents(self._state.experiments)
            self._folded.update(parents)
            if (number := self.selected) is not None:
                kept = self._state.experiments[number].outcome == Outcome.KEEP
                self._number = number if kept else parents[number]
        self.rearrange()
