"""The current run: its progress and its output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from rich.cells import cell_len
from textual.geometry import Size

from autoresearch_tui.cockpit.log_follower import KEPT_LINES, RunFeed, kind_of
from autoresearch_tui.cockpit.widgets.painted import Canvas, Cells, Row, Scroller, length, marked, wrap
from autoresearch_tui.logs.lines import Progress
from autoresearch_tui.session.format import clock, count

_TONES = {"": "text", "error": "bad", "warn": "warn", "skip": "dim"}
_PROGRESS_ONLY = "Only progress lines so far; the newest is in the top row."
_NO_LOG = "Output of the training command appears here when a run starts."


class ProgressRow(Canvas):
    """The progress line: a bar, the time left, and figures."""

    def __init__(self) -> None:
        super().__init__(id="progress")
        self._shown: tuple[Progress | None, float | None, int | None, bool] = (None, None, None, False)

    def show(self, progress: Progress | None, fraction: float | None, left: float | None, live: bool) -> None:
        """`left` is in seconds of training; `live` while the run is in progress."""
        shown = (progress, fraction, None if left is None else int(left), live)
        if shown != self._shown:
            self._shown = shown
            self.repaint()

    def paint(self, size: Size) -> Sequence[Row]:
        width = size.width
        progress, fraction, left, live = self._shown
        if progress is None:
            text = "starting up: no progress line yet" if live else ""
            return [[(f" {text}", "dim")]]
        figures = _figures(progress)
        fraction = fraction or 0.0
        end: list[Cells] = [(f" {fraction:4.0%}", "strong")]
        if left is not None and live:
            end.append((f" {clock(left)} left", "text"))
        while figures and length(figures) + length(end) + 12 > width:
            figures.pop()
        bar_width = max(4, min(30, width - length(figures) - length(end) - 2))
        full = min(bar_width, round(fraction * bar_width))
        bar: list[Cells] = [(" " + "━" * full, "accent"), ("─" * (bar_width - full), "faint")]
        return [[*bar, *end, *figures]]


def _figures(progress: Progress) -> list[Cells]:
    """The most telling first; the last ones are left out of a narrow row."""
    cells: list[Cells] = []
    if not math.isnan(progress.loss):
        cells.append((f"  loss {progress.loss:.4f}", "strong"))
    else:
        cells.append(("  loss nan", "bad-strong"))
    if progress.tokens_per_second is not None:
        cells.append((f"  {count(progress.tokens_per_second)} tok/s", "text"))
    if progress.mfu_percent is not None:
        cells.append((f"  mfu {progress.mfu_percent:.1f}%", "text"))
    cells.append((f"  step {progress.step}", "dim"))
    if progress.dt_ms is not None:
        cells.append((f"  {progress.dt_ms:.0f} ms", "dim"))
    return cells


class RunLog(Scroller):
    """Follows the end of the log until the reader scrolls up; then counts the new lines.

    A log that is being read stays when another run starts; the new one is offered.
    """

    called = "the log"
    left_out = f" (the log keeps its last {KEPT_LINES:,} lines)"

    def __init__(self) -> None:
        super().__init__(id="log")
        self._feed = RunFeed(Path())
        self._next: RunFeed | None = None
        self.following = True
        self._seen_total = 0
        self._first = 0
        self.query_text = ""
        self._match: int | None = None

    @property
    def count(self) -> int:
        """The kept lines, and the unfinished one unless it is the progress line."""
        return len(self._feed.lines) + bool(self._tail())

    @property
    def feed(self) -> RunFeed:
        return self._feed

    def show(self, feed: RunFeed) -> None:
        """Shows the feed's current lines, or another run."""
        if feed is not self._feed and not self.following and self._feed.number not in {-1, feed.number}:
            self._next = feed
            self._feed.poll(0.0)  # the last lines of the ended run
            feed = self._feed
        elif feed is self._feed:
            self._next = None
        if feed is not self._feed:
            self._next = None
            self._feed = feed
            self.top, self.left, self._first, self._match = 0, 0, feed.first, None
            self.following = True
        elif feed.first < self._first:
            self._first = feed.first
            self.following = True
        if self.following:
            self.top = self.last_top
            self._seen_total = feed.total
        else:
            # Dropping lines at the beginning must not move the text that is being read.
            self.top = max(0, self.top - (feed.first - self._first))
        self._first = feed.first
        self.repaint()

    def moved(self) -> None:
        """Follows again at the end."""
        self.following = self.top >= self.last_top
        if self.following:
            self._seen_total = self._feed.total

    def toggle_follow(self) -> bool:
        """Follows, or stops following, from the beginning of the lines; returns whether it follows."""
        if self._next is not None:
            newest = self._next
            self.release()
            self.show(newest)
            return True
        self.following = not self.following
        self.left = 0
        self._seen_total = self._feed.total
        self.show(self._feed)
        return self.following

    def release(self) -> None:
        """Lets the next run replace the log."""
        self.following, self._next = True, None

    def _tail(self) -> str:
        feed = self._feed
        return "" if not feed.frame or feed.progress is not None else feed.frame

    def rows(self, start: int, end: int, width: int) -> Sequence[Row]:
        lines = list(islice(self._feed.lines, start, end))
        tail = self._tail()
        if tail and end > len(self._feed.lines):
            lines.append(tail)
        if not lines:
            text = _NO_LOG if self._feed.progress is None else _PROGRESS_ONLY
            return [[(f" {line}", "dim")] for line in wrap(text, width - 2)]
        return [self._row(line, self._feed.first + start + y) for y, line in enumerate(lines)]

    def _row(self, line: str, number: int) -> Row:
        kind = kind_of(line)
        tone = _TONES[kind]
        mark = "✗" if kind == "error" else "!" if kind == "warn" else "‹" if self.left else " "
        if number == self._match:
            mark = "▶"
        text = line[self.left : self.left + 500]
        head: Cells = (mark, tone if number != self._match else "accent")
        return [head, *marked(text, tone, self.query_text)]

    def footer(self, width: int) -> Row | None:
        """The number of lines since the reader stopped following."""
        if self.following:
            return None
        if self._next is not None:
            text = f" #{self._next.number} has started · f to follow it "
            return [(" " * max(0, width - cell_len(text)), ""), (text, "accent-block")]
        fresh = self._feed.total - self._seen_total
        text = f" ▼ {fresh} new lines · f to follow " if fresh else " not following · f to follow "
        return [(" " * max(0, width - len(text)), ""), (text, "accent-block")]

    # -- finding ---------------------------------------------------------------------------------------------

    def find(self, text: str) -> int:
        """Marks `text` and goes to its last occurrence; returns the number of lines with it."""
        self.query_text = text
        self._match, self.left = None, 0
        found = self._matches()
        if found:
            self._go(found[-1], text)
        else:
            self.repaint()
        return len(found)

    def find_step(self, step: int) -> bool:
        """Goes to the next or the previous occurrence; returns whether there is one."""
        found = self._matches()
        here = self._match if self._match is not None else self._feed.total
        beyond = [n for n in found if (n > here if step > 0 else n < here)]
        if beyond:
            self._go(beyond[0] if step > 0 else beyond[-1], self.query_text)
        return bool(beyond)

    def first_error(self) -> bool:
        """Goes to the first line that looks like an error; returns whether there is one."""
        for number, line in enumerate(self._feed.lines, self._feed.first):
            if kind_of(line) == "error":
                self._go(number, "")
                return True
        return False

    def _matches(self) -> list[int]:
        if not self.query_text:
            return []
        query, first = self.query_text.lower(), self._feed.first
        return [first + at for at, line in enumerate(self._feed.lines) if query in line.lower()]

    def _go(self, number: int, wanted: str) -> None:
        self._match = number
        self.following = False
        self._seen_total = self._feed.total
        self.top = max(0, min(self.last_top, number - self._feed.first - self.page // 2))
        self._show_place(self._feed.lines[number - self._feed.first], wanted)
        self.repaint()

    def _show_place(self, line: str, wanted: str) -> None:
        """Scrolls sideways to show `wanted` in `line`, with the line's beginning if both fit."""
        start = max(0, line.lower().find(wanted.lower()))
        end, width = start + len(wanted), max(1, self.content_size.width - 2)
        if start < self.left or cell_len(line[self.left : end]) > width:
            self.left = 0 if cell_len(line[:end]) <= width else max(0, start - width // 3)

    def action_sideways(self, side: int) -> None:
        """Stops at the end of the longest line in sight."""
        seen = islice(self._feed.lines, self.top, self.top + self.page)
        if side < 0 or any(cell_len(line[self.left :]) > self.content_size.width - 2 for line in seen):
            super().action_sideways(side)

    def action_edge(self, side: int) -> None:
        """Goes to the beginning of the first line, or of the last."""
        self.left = 0
        super().action_edge(side)
