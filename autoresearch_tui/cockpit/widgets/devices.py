"""A row for each of a session's devices: its run, its load, its last fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from autoresearch_tui.cockpit.actions import bindings
from autoresearch_tui.cockpit.widgets.painted import Cells, Row, Scroller, clip, cut, fit, spread, wrap
from autoresearch_tui.lab import devices
from autoresearch_tui.session import devices_now
from autoresearch_tui.session.devices_now import BUSY, OF_NODES, Doing
from autoresearch_tui.session.format import ago, bar, clock, size
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.session.status import View, time_left, title
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.text import clean_line

MARKS: dict[Doing, tuple[str, str]] = {
    Doing.TRAINS: ("▶", "accent"),
    Doing.BASELINE: ("▷", "second"),
    Doing.SCORES: ("▶", "second"),
    Doing.WAITS: ("○", "warn"),
    Doing.IDLE: ("·", "dim"),
    Doing.ASIDE: ("⊘", "warn"),
    Doing.LEFT: ("✗", "bad"),
    Doing.PREPARES: ("…", "second"),
    Doing.REFUSED: ("!", "warn"),
}
FOLLOWED = "→"
_BAR = 8
# The least width of the column with the run.
_RUN = 22
_TITLES = {"bar": "progress", "left": "left", "busy": "busy", "heat": "heat", "memory": "memory", "model": "model"}
_WIDTHS = {"bar": _BAR, "left": 6, "busy": 4, "heat": 4, "memory": 9, "model": 9}
_RIGHT = ("left", "busy", "heat", "memory")
# A device between two runs counts as busy for this long, where busy ones come first.
_LATELY_SECONDS = 10.0
# A node that was silent for this long has old figures.
_SILENT_SECONDS = 60.0
# Above this, minutes are precise enough; each change costs bytes on a slow line for every device.
_PRECISE_SECONDS = 100.0


class DevicePanel(Scroller):
    """The cursor stays on its device. Rows are in the order in which devices joined, those of a node together; if
    not all fit, busy ones come first."""

    HEADER = 1
    places: ClassVar[tuple[str, ...]] = ("devices",)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "follow", "Follow", show=False), *bindings("devices")]

    class Followed(Message):
        """Asks to show this device's runs."""

        def __init__(self, row: devices_now.Row) -> None:
            self.row = row
            super().__init__()

    class Moved(Message):
        """The cursor moved to another device."""

    def __init__(self) -> None:
        super().__init__(id="devices", classes="pane")
        self._view: View | None = None
        self._all: Sequence[devices_now.Row] = ()
        self._rows: Sequence[devices_now.Row] = ()
        self._followed: str | None = None
        self._machine = ""
        self._at: str | None = None
        self._busy_at: dict[str, float] = {}
        self._columns: tuple[str, ...] = ()
        self._names = self._faults = self._flex = 0

    def show(self, view: View, followed: str | None, machine: str = "") -> None:
        """`machine` is the load of this machine as a whole, if it has the devices."""
        self._view, self._followed, self._machine = view, followed, machine
        self._all = view.devices
        for row in self._all:
            if row.doing in BUSY:
                self._busy_at[row.key] = view.now
        self.repaint()

    @property
    def selected(self) -> devices_now.Row | None:
        return self._rows[self.cursor] if self._rows else None

    @property
    def chosen(self) -> int | None:
        """The run under the cursor."""
        row = self.selected
        return row.experiment.number if row is not None and row.experiment is not None else None

    @property
    def cursor(self) -> int:
        return next((at for at, row in enumerate(self._rows) if row.key == self._at), 0)

    @property
    def count(self) -> int:
        return len(self._rows)

    @property
    def wanted_height(self) -> int:
        """Enough rows for all devices, the border and the details below."""
        return len(self._all) + 7

    @property
    def models(self) -> str:
        """`16 × H100`."""
        there = [row for row in self._all if row.doing not in OF_NODES and row.doing is not Doing.LEFT]
        models = {devices_now.short_model(row.model) for row in there}
        name = clean_line(models.pop()) if len(models) == 1 else ""
        return f"{len(there)} × {name}" if name else f"{len(there)} devices"

    # -- moving ----------------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        if self._rows:
            self._at = self._rows[max(0, min(self.count - 1, self.cursor + rows))].key
            self.top = max(min(self.top, self.cursor), self.cursor - self.page + 1)
            self.repaint()
            self.post_message(self.Moved())

    def action_follow(self) -> None:
        if self.selected is not None:
            self.post_message(self.Followed(self.selected))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; a double click follows the device."""
        place = event.get_content_offset(self)
        if place is None or not 0 <= place.y - self.HEADER < self.page:
            return
        row = self.top + place.y - self.HEADER
        if row < self.count:
            if row == self.cursor and event.chain == 2:
                self.action_follow()
            self.action_move(row - self.cursor)

    # -- painting --------------------------------------------------------------------------------------------

    def paint(self, size: Size) -> Sequence[Row]:
        self.HEADER = 2 if size.height >= 8 else 1
        self._rows = self._all
        if len(self._all) > size.height - self.HEADER and self._view is not None:
            lately = [key for key, at in self._busy_at.items() if self._view.now - at < _LATELY_SECONDS]
            self._rows = devices_now.busy_first(self._all, lately)
        self._names = self._width_of_names()
        self._columns, self._faults = self._fitting(size.width - 1)
        self._flex = self._width_of_runs(size.width - 1)
        if self.has_focus:
            self.top = max(min(self.top, self.cursor), self.cursor - self.page + 1)
        return super().paint(size)

    def _width_of_names(self) -> int:
        return min(18, max(6, *(cell_len(_name(row)) for row in self._all), 0))

    def _fitting(self, width: int) -> tuple[tuple[str, ...], int]:
        """The columns that fit, and the width of the faults column, 0 if there is none."""
        room = width - 5 - self._names - _RUN
        mixed = len({row.model for row in self._all if row.model}) > 1
        order = ["bar", "left", "busy", *(["model"] if mixed else []), "heat", "memory"]
        columns = []
        for name in order:
            if _WIDTHS[name] + 1 <= room:
                columns.append(name)
                room -= _WIDTHS[name] + 1
        longest = max((cell_len(clean_line(self._wrong(row))) + 2 for row in self._all if row.doing in BUSY), default=2)
        faults = min(longest, room - 1) if longest > 2 and room >= 12 else 0
        if not mixed and room - faults - 1 >= _WIDTHS["model"] + 12:
            columns.append("model")
        return tuple(columns), faults

    def header(self, width: int) -> Sequence[Row]:
        """A summary, and the names of the columns where there is room."""
        if self._view is None:
            return [[] for _ in range(self.HEADER)]
        summary, lost = devices_now.in_one_line(self._all, self._view.beside.cluster, width - 1)
        first: list[Cells] = [(f" {cut(summary, width - 1)}", "strong")]
        if lost:
            first.append((f"; {lost}", "warn-strong"))
        if self._machine and cell_len(summary) + cell_len(self._machine) + 4 < width:
            first = list(spread(first, [(f"{self._machine} ", "dim")], width))
        if self.HEADER == 1:
            return [first]
        head: list[Cells] = [(f"  {fit('device', self._names)}   {fit('run', self._flex)}", "faint")]
        for name in self._columns:
            wide = _WIDTHS[name]
            head.append((f" {_TITLES[name]:>{wide}}" if name in _RIGHT else f" {_TITLES[name]:<{wide}}", "faint"))
        if self._faults:
            head.append((" fault", "faint"))
        return [first, head]

    def _width_of_runs(self, width: int) -> int:
        taken = 5 + self._names + sum(_WIDTHS[name] + 1 for name in self._columns)
        return width - taken - (self._faults + 1 if self._faults else 0)

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        if not self.count or self._view is None:
            return [[(f" {line}", "dim")] for line in wrap("Devices appear here when they have joined.", width - 2)]
        cursor = self.cursor
        return [self._row(at, at == start, at == cursor, width, self._view) for at in range(start, end)]

    def _row(self, at: int, first: bool, here: bool, width: int, view: View) -> Row:
        row = self._rows[at]
        followed = self._followed is not None and row.name == self._followed
        same = not first and at > 0 and self._rows[at - 1].node == row.node and row.node and row.name
        mark, tone = MARKS[row.doing]
        wrong = self._wrong(row)
        if wrong and row.doing in BUSY and not self._faults:
            mark, tone = "!", "warn"
        cells: list[Cells] = [
            ("▌" if here and self.has_focus else "▏" if here else " ", "accent"),
            (FOLLOWED if followed else " ", "accent"),
            *self._name_cells(row, bool(same)),
            (f" {mark} ", tone),
        ]
        if row.experiment is None or row.doing not in BUSY:
            return clip([*cells, *_idle(row)], width)
        cells.append((fit(_run_name(row.experiment), self._flex), "text"))
        for name in self._columns:
            cells.append((" ", ""))
            cells += self._cell(name, row, row.experiment, view)
        if self._faults and wrong:
            cells.append((f" ! {cut(clean_line(wrong), self._faults - 2)}", "warn"))
        return cells

    def _name_cells(self, row: devices_now.Row, same: bool) -> list[Cells]:
        """The node's name is shown once for consecutive devices of it."""
        name, wide = _name(row), self._names
        node = clean_line(row.node)
        if row.name and node and name.startswith(f"{node}:"):
            head = " " * len(node) if same else node
            return [(fit(head + name[len(node) :], wide), "dim" if same else "text")]
        return [(fit(name, wide), "text")]

    def _cell(self, name: str, row: devices_now.Row, run: Experiment, view: View) -> list[Cells]:
        load, wide = row.load, _WIDTHS[name]
        if name in ("bar", "left"):
            share, words, tone = progress(view, run)
            if name == "left":
                return [(f"{words:>{wide}}", tone)]
            full, empty = bar(share, wide)
            return [(full, "accent" if tone == "strong" else "second-dim"), (empty.replace(" ", "░"), "faint")]
        if name == "model":
            return [(fit(devices_now.short_model(row.model), wide), "dim")]
        text = {"busy": _busy, "heat": _heat, "memory": _memory}[name](row)
        old = load is not None and view.now - load.heard > _SILENT_SECONDS
        return [(f"{text:>{wide}}", "faint" if old else "dim")]

    def _wrong(self, row: devices_now.Row) -> str:
        """The last fault of the device, or that its node has been silent for long."""
        if row.why and row.doing in BUSY:
            return f"set aside: {row.why}"
        view, load = self._view, row.load
        cluster = view.beside.cluster if view is not None else None
        if view is not None and load is not None and load.heard and cluster is not None and not cluster.problem:
            silent = view.now - load.heard
            if silent > _SILENT_SECONDS:
                return f"not heard of for {ago(silent)}"
        return row.fault

    def below(self, width: int) -> Sequence[Row]:
        """Everything about the device under the cursor, its fault first, while the pane has the focus."""
        row, view, height = self.selected, self._view, self.content_size.height - self.HEADER
        limit = height // 2 if height >= 14 else height // 3
        if row is None or view is None or not self.has_focus or limit < 2:
            return ()
        busy = row.doing in BUSY
        wrong = self._wrong(row) if busy else " — ".join(filter(None, (row.why or row.fault, row.remedy)))
        lead = "" if busy else f"{row.doing}: "
        lines: list[tuple[str, str]] = []
        if wrong:
            fault = f"{_name(row)} {'!' if busy else MARKS[row.doing][0]} {lead}{clean_line(wrong)}"
            lines = [(line, "warn") for line in wrap(fault, width - 2)]
        lines += [(line, "text") for line in wrap(_whole(row, view), width - 2)]
        return [[("─" * width, "faint")], *([(f" {cut(text, width - 2)}", tone)] for text, tone in lines[: limit - 1])]


def _name(row: devices_now.Row) -> str:
    return clean_line(devices.short(row.name) if not row.node else row.name or row.node) or "this machine"


def _run_name(run: Experiment) -> str:
    return f"#{run.number} baseline" if not run.number else title(run)


def _idle(row: devices_now.Row) -> list[Cells]:
    """Why the device has no run, and the progress of its preparation."""
    tone = "bad" if row.doing is Doing.LEFT else "dim" if row.doing in (Doing.IDLE, Doing.PREPARES) else "warn"
    cells: list[Cells] = [(str(row.doing), tone)]
    if row.share is not None:
        full, empty = bar(row.share, _BAR)
        cells += [(" ", ""), (full, "second-dim"), (empty.replace(" ", "░"), "faint"), (f" {row.share:.0%}", "dim")]
    if row.experiment is not None:
        cells.append((f" with #{row.experiment.number}", tone))
    if words := clean_line(row.why or row.fault):
        cells.append((f" {words}" if row.share is not None else f": {words}", "dim" if row.why else "warn"))
    return cells


def progress(view: View, run: Experiment) -> tuple[float, str, str]:
    """The share of the budget that a run has used, its time in at most six columns, and the tone of that."""
    budget = view.state.session.budget_seconds if view.state.session is not None else 0.0
    if run.stage is not Stage.RUNNING:
        return 1.0, "scores" if run.stage is Stage.ENDED else "judged", "dim"
    what, seconds = time_left(view, run)
    if what == "left":
        return 1 - seconds / budget if budget else 0.0, _roughly(seconds), "strong"
    if what == "evaluating":
        cluster = view.beside.cluster
        return 1.0, "?" if cluster is not None and cluster.problem else "eval", "dim"
    elapsed = view.now - timestamps.seconds(run.started_at)
    return min(1.0, elapsed / budget) if budget else 0.0, f"+{_roughly(elapsed)}", "dim"


def _roughly(seconds: float) -> str:
    if seconds < _PRECISE_SECONDS:
        return clock(seconds)
    return f"{seconds / 60:.0f}m" if seconds < 5940 else f"{seconds / 3600:.1f}h"


def _busy(row: devices_now.Row) -> str:
    return "" if row.load is None or row.load.busy is None else f"{row.load.busy:.0%}"


def _heat(row: devices_now.Row) -> str:
    return "" if row.load is None or row.load.temperature is None else f"{row.load.temperature}°"


def _memory(row: devices_now.Row) -> str:
    load = row.load
    if load is None or load.memory_used is None or not load.memory_total:
        return ""
    return f"{load.memory_used / 2**30:.0f}/{load.memory_total / 2**30:.0f} GiB"


def _whole(row: devices_now.Row, view: View) -> str:
    """Everything known about a device, as one line to be wrapped."""
    words = [_name(row)]
    words += [clean_line(row.model)] if row.model else []
    if row.experiment is not None:
        words.append(_run_name(row.experiment))
        words.append(f"for {clock(view.now - timestamps.seconds(row.experiment.started_at))}")
    load = row.load
    if load is not None:
        words += [f"{load.busy:.0%} busy"] if load.busy is not None else []
        if load.memory_used is not None and load.memory_total:
            words.append(f"{size(load.memory_used)} of {size(load.memory_total)}")
        words += [f"{load.temperature} °C"] if load.temperature is not None else []
        words += [f"{load.power:.0f} W"] if load.power is not None else []
    return " · ".join(words)
