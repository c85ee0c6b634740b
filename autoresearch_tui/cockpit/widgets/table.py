"""Pure: the table of results: its columns, their values, the order of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from rich.cells import cell_len

from autoresearch_tui.cockpit.widgets.painted import Cells, Row, cut, fit
from autoresearch_tui.session import draws
from autoresearch_tui.session.badges import Marking, marking, widest
from autoresearch_tui.session.columns import columns as columns_of
from autoresearch_tui.session.confirmation import progress
from autoresearch_tui.session.ends import TO_EXPLAIN, Outcome
from autoresearch_tui.session.format import FRONTIER, MARKS, clock, count, delta
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.questions import ORIGIN
from autoresearch_tui.session.sequence import Chunk
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.statistics import TYPICAL_SPREAD, spread
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

Value = float | str | None


class Column(Frozen):
    """`write` formats a value with so many digits. `usual`: shown until the reader chooses others."""

    id: str
    title: str
    of: str
    """The attribute of an experiment that it shows."""
    write: Callable[[Any, int], str]
    usual: bool = False
    own: str = ""
    """The name of the lab's own column."""
    zero: bool = True
    """Whether 0 is a value."""

    def value(self, experiment: Experiment) -> Value:
        known = getattr(experiment, self.of)
        found: Value = known.get(self.own) if self.own else known
        return found or None if not self.zero else found


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def _plainly(value: float, _digits: int) -> str:
    return f"{value:.6g}"


def _word(value: str, _digits: int) -> str:
    return clean_line(value)


# In a narrow pane the last ones are left out first.
COLUMNS = (
    Column("score", "score", "value", _fixed, True),
    Column("best", "vs best", "value", _fixed, True),
    Column("sealed", "sealed", "sealed", _fixed, True),
    Column("time", "time", "seconds", lambda v, _: clock(v), True),
    Column("memory", "GiB", "memory_gb", lambda v, _: f"{v:.1f}", True, zero=False),
    Column("cost", "$", "usd", lambda v, _: f"{v:.2f}"),
    Column("tokens", "tokens", "tokens", lambda v, _: count(v), zero=False),
    Column("ended", "UTC", "ended_at", lambda v, _: v[11:16]),
    Column("commit", "commit", "commit", lambda v, _: v[:7]),
    Column("author", "author", "author", _word),
)
"""The columns between an experiment's number and its change."""
USUAL = tuple(column.id for column in COLUMNS if column.usual)
OF_LAB = "column:"
"""The prefix of the ids of the lab's own columns."""
_PRIOR_NAME = 10
# For sorting only; they have no column of their own.
_NUMBER = Column("number", "number", "number", _fixed)
_OUTCOME = Column("outcome", "outcome", "status", _word)
_CHANGE = Column("change", "change", "description", _word)
SORTABLE = (_NUMBER, _OUTCOME, *(column for column in COLUMNS if column.id != "best"), _CHANGE)
# The orders that a key steps through: column, and whether in reverse.
QUICK = (("number", True), ("number", False), ("score", False), ("outcome", False))
_ORDER_NAMES = {
    ("number", True): "newest first",
    ("number", False): "oldest first",
    ("score", False): "best first",
    ("score", True): "worst first",
    ("outcome", False): "by outcome",
}
# The width of cursor, mark and glyph with their blanks.
_HEAD = 5
# The change gets at least this share of a row.
_CHANGE_SHARE = 0.4
_FEWEST_CHANGE = 20


def of_lab(state: State) -> tuple[Column, ...]:
    """The lab's own columns, all of them usual."""
    axes = columns_of(state)
    return tuple(
        Column(OF_LAB + axis.name, clean_line(axis.name), "columns", _plainly, True, own=axis.name) for axis in axes
    )


def shown(state: State) -> tuple[Column, ...]:
    """The columns that this session's results can show; the lab's own come after the scores."""
    return (*COLUMNS[:3], *of_lab(state), *COLUMNS[3:])


def sortable(state: State) -> tuple[Column, ...]:
    """The columns that this session's results can be sorted by."""
    return (*SORTABLE[:4], *of_lab(state), *SORTABLE[4:])


class Order(Frozen):
    """The column that rows are sorted by, and whether in reverse."""

    column: str = "number"
    turned: bool = True

    @property
    def name(self) -> str:
        arrow = "↓" if self.turned else "↑"
        title = self.column.removeprefix(OF_LAB)
        title = next((column.title for column in SORTABLE if column.id == self.column), clean_line(title))
        return _ORDER_NAMES.get((self.column, self.turned), f"by {title} {arrow}")

    def then(self) -> Order:
        """The next of the quick orders."""
        here = (self.column, self.turned)
        return Order(*QUICK[(QUICK.index(here) + 1) % len(QUICK) if here in QUICK else 0])

    def by(self, column: str) -> Order:
        """The order by `column`, reversed if it is the order already."""
        return Order(column, not self.turned) if column == self.column else Order(column, column == "number")

    def sort(self, experiments: Sequence[Experiment], state: State) -> Sequence[int]:
        """The numbers of `experiments`, which are given in order; those without a value come last, equal ones newest
        first."""
        if self.column == "number":
            if experiments is state.experiments:
                return range(len(experiments) - 1, -1, -1) if self.turned else range(len(experiments))
            return [e.number for e in (reversed(experiments) if self.turned else experiments)]
        column = next((column for column in sortable(state) if column.id == self.column), _NUMBER)
        value = column.value
        rows = [(value(e), e.number) for e in reversed(experiments)]
        have: list[tuple[Any, int]] = [row for row in rows if row[0] not in (None, "")]
        none = [number for known, number in rows if known in (None, "")]
        if self.column in {"score", "sealed"}:
            have.sort(key=lambda row: state.goal.sort_key(float(row[0])), reverse=self.turned)
        else:
            have.sort(key=lambda row: row[0], reverse=self.turned)
        return [number for _, number in have] + none


def digits(state: State) -> int:
    """The number of decimals that tell two scores apart: one more than equal runs differ in."""
    chance = spread(state) or TYPICAL_SPREAD * state.experiments.known(_smallest, _least)
    return max(0, min(9, 1 - math.floor(math.log10(chance)))) if chance > 0 else 6


def _smallest(chunk: Chunk) -> float:
    return min(map(abs, filter(None, chunk.column("value"))), default=math.inf)


def _least(parts: Sequence[float]) -> float:
    least = min(parts, default=math.inf)
    return least if least < math.inf else 1.0


class Table:
    """A session's rows. `columns` are the ids that the reader chose."""

    def __init__(self, state: State, columns: Sequence[str]) -> None:
        self.state, self.wanted = state, tuple(columns)
        self.marking: Marking = marking(state)
        self._digits = digits(state)
        self._mark_width = min(2, widest(state, self.marking))
        self._number_width = max(3, len(str(len(state.experiments) - 1)))
        every = self.wanted == USUAL
        asked = (column for column in shown(state) if column.id in columns or (every and column.usual))
        chosen = [(column, self._width(column)) for column in asked]
        self._columns = [(column, width) for column, width in chosen if width]

    def _width(self, column: Column) -> int:
        """The width of a column in cells; 0 if it would be empty."""
        found = self.state.experiments.known(_extreme_values, _extremes_of_all, column.of, column.own, column.zero)
        if not found:
            return 0
        name = self._title(column)
        wide = max(cell_len(column.write(value, self._digits)) for value in found)
        if column.id == "best":
            wide = max(len("from here"), wide + len("▼ "))
        return max(cell_len(name), wide)

    def _title(self, column: Column) -> str:
        if column.id == "score" and self.state.session is not None:
            return fit(clean_line(self.state.session.metric), 12).rstrip()
        return cut(column.title, 12)

    def columns(self, width: int) -> list[tuple[Column, int]]:
        """The columns that fit into a row of this width, with their widths."""
        room = width - _HEAD - self._number_width - self._mark_width - 2
        room -= max(_FEWEST_CHANGE, int(width * _CHANGE_SHARE))
        shown: list[tuple[Column, int]] = []
        for column, wide in self._columns:
            if wide + 1 <= room or not shown:
                shown.append((column, wide))
                room -= wide + 1
        return shown

    def header(self, width: int, order: Order) -> Row:
        """The columns' names, with an arrow at the one that rows are sorted by."""
        cells: list[Cells] = [(f"  {'#':>{self._number_width}}", "dim"), (self._arrow("number", order), "accent")]
        cells.append(("  ", ""))
        for column, wide in self.columns(width):
            name, arrow = self._title(column), self._arrow(column.id, order).strip()
            gap = wide + 1 - cell_len(name) - len(arrow)
            cells += [(" " * gap, ""), (arrow, "accent"), (name, "dim")]
        return [*cells, (f"  {'':{self._mark_width}}change", "dim"), (self._arrow("change", order), "accent")]

    @staticmethod
    def _arrow(column: str, order: Order) -> str:
        return ("↓" if order.turned else "↑") if column == order.column else " "

    def column_at(self, x: int, width: int) -> str:
        """The id of the column whose header is at cell `x`; empty if there is none."""
        end = _HEAD + self._number_width
        if x < end:
            return "number"
        for column, wide in self.columns(width):
            end += wide + 1
            if x < end:
                return "score" if column.id == "best" else column.id
        return "change"

    def row(self, experiment: Experiment, width: int, head: Row) -> Row:
        """`head` is what the list puts before a row."""
        glyph, tone = look(experiment, self.state)
        cells: list[Cells] = [
            *head,
            (f"{experiment.number:>{self._number_width}} ", "dim"),
            (f"{glyph} ", tone),
            *self._figures(experiment, self.columns(width), tone),
        ]
        cells.append((f" {self.marking.of(experiment)[:2]:<{self._mark_width}} ", "warn"))
        quiet = experiment.outcome in (Outcome.DISCARD, Outcome.WITHDRAWN, Outcome.SCALED)
        cells.append((clean_line(experiment.description), "dim" if quiet else "text"))
        beyond = experiment.score is not None and bool(experiment.score.beyond)
        explain = beyond or experiment.overruled or experiment.status in TO_EXPLAIN
        if waits := progress(experiment, self.state):
            cells.append((f" — {waits}", "accent"))
        if experiment.reason and explain:
            cells.append((f" — {clean_line(experiment.reason)}", "dim"))
        return cells

    def _figures(self, experiment: Experiment, columns: list[tuple[Column, int]], tone: str) -> list[Cells]:
        cells: list[Cells] = []
        # Without a score, the status takes the columns of the score and of the distance to the best.
        scoreless = sum(wide + 1 for column, wide in columns if column.id in {"score", "best"})
        for column, wide in columns:
            value = column.value(experiment)
            if column.id in {"score", "best"} and value is None:
                if scoreless:
                    cells.append((fit(f" {experiment.status}", scoreless), tone))
                    scoreless = 0
                continue
            text, its = self._cell(column, experiment, value)
            cells.append((f" {fit(text, wide) if isinstance(value, str) else text.rjust(wide)}", its))
        return cells

    def _cell(self, column: Column, experiment: Experiment, value: Value) -> tuple[str, str]:
        state = self.state
        if column.id == "best":
            if experiment.number == state.best_number:
                return "best", "good"
            if experiment.number == state.frontier_number:
                return "from here", "good"
            return delta(experiment.value, draws.beside(experiment, state.best), state.goal, self._digits)
        text = "" if value in (None, "") else column.write(value, self._digits)
        if column.id == "score":
            return text, "strong" if experiment.outcome == Outcome.KEEP else "text"
        if column.id == "sealed":
            return text, "warn" if experiment.number in self.marking.gap else "second"
        return text, "dim"

    @cached_property
    def below(self) -> tuple[str | PriorResult, ...]:
        """The rows under the session's own: results of other labs, then of earlier sessions, newest first, with
        headings."""
        state = self.state
        shared = _heading("from other labs, unverified: the best", state.shared, state.shared_left_out)
        prior = _heading("before this session: the newest", state.prior, state.prior_left_out)
        return (*shared, *state.shared, *prior, *reversed(state.prior))

    def under(self, row: int, width: int) -> Row:
        """A row of :attr:`below`."""
        one = self.below[row]
        if isinstance(one, str):
            return [(fit(one + "─" * max(0, width - len(one)), width), "dim")]
        return self.prior(one, width)

    def prior(self, one: PriorResult, width: int) -> Row:
        """A result from outside the session, in the columns of the scores."""
        columns = self.columns(width)
        wide = max(len("withdrawn"), columns[0][1] if columns and columns[0][0].id == "score" else 4 + self._digits)
        score = f"{one.value:>{wide}.{self._digits}f}" if one.value is not None else fit(one.status, wide)
        glyph = MARKS[one.status][0] if one.status in MARKS else "·"
        flag = "!" if one.flags else " "
        name = f"{one.origin}#{one.number}" if one.origin else one.name
        head = f"{_prior_name(clean_line(name)):>{_PRIOR_NAME}} {glyph} {score} {flag} "
        row: list[Cells] = [(f"{head}{clean_line(one.description)}", "dim")]
        if one.origin and one.flags:
            row.append((f" — {clean_line('; '.join(one.flags))}", "dim"))
        if here := self._verified.get(one.name):
            row.append((f" — #{here.number} here: {here.status}", "accent"))
        return row

    @cached_property
    def _verified(self) -> dict[str, Experiment]:
        """The experiments that tried results of other labs, by the names of those."""
        names = self.state.experiments.values(ORIGIN) - {""}
        return {e.origin: e for name in names for e in self.state.experiments.having(ORIGIN, name)}


def _heading(what: str, results: Sequence[PriorResult], left_out: int) -> tuple[str, ...]:
    """Empty without results; says how many are shown only if some are left out."""
    if not results:
        return ()
    if left_out:
        return (f"── {what} {len(results)} of {len(results) + left_out:,} ",)
    return (f"── {what.partition(':')[0]}: {len(results)} results, as they were found ",)


def _prior_name(name: str) -> str:
    """`nov29#15` with its full number, or a short hash."""
    tag, mark, number = name.rpartition("#")
    if not mark:
        return name[:7]
    return name if len(name) <= _PRIOR_NAME else f"{cut(tag, _PRIOR_NAME - 1 - len(number))}#{number}"


def _extreme_values(chunk: Chunk, of: str, own: str, zero: bool) -> list[Any]:
    known = (each.get(own) for each in chunk.column(of)) if own else chunk.column(of)
    different = set(known) - ({None, ""} if zero else {None, "", 0})
    return _extremes(list(different))


def _extremes_of_all(parts: Sequence[list[Any]]) -> list[Any]:
    return _extremes(list(chain.from_iterable(parts)))


def _extremes(values: Sequence[Any]) -> list[Any]:
    """A few values, the widest of all among them."""
    if not values:
        return []
    if isinstance(values[0], str):
        return [max(values, key=cell_len)]
    return [max(values), min(values), max(values, key=abs)]


def look(experiment: Experiment, state: State) -> tuple[str, str]:
    """The glyph and tone of an experiment's outcome; the best and the frontier have their own."""
    if experiment.number == state.best_number:
        return "★", "good-strong"
    if experiment.number == state.frontier_number:
        return FRONTIER, "good-strong"
    return MARKS[experiment.status]
