"""The one place where the screen meets the session: files in, by offset; commands out, through the host."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.cockpit.curve import Curve
from autoresearch_tui.cockpit.runfeed import RunFeed, curve_of
from autoresearch_tui.cockpit.status import Live, View
from autoresearch_tui.engine.commands import Attend, Command
from autoresearch_tui.engine.fold import fold
from autoresearch_tui.engine.hosting.host import Host
from autoresearch_tui.engine.journal import JournalTail
from autoresearch_tui.engine.state import Experiment, Stage, State
from autoresearch_tui.lab import Lab

READ_BYTES = 1 << 17
STREAM_CHARS = 200_000
SEEN_FILE = "seen"


class Bridge:
    """Polled by the screen's one timer. Nothing here waits for anything."""

    def __init__(
        self,
        lab: Lab,
        tag: str,
        host: Host | None,
        read_only_reason: str = "",
        takeable: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lab, self.tag, self.host = lab, tag, host
        self.files = lab.session(tag)
        self.takeable = takeable
        self.read_only = read_only_reason if host is None else ""
        if host is None and not read_only_reason:
            self.read_only = "this screen only watches"
        self.clock, self.monotonic = clock, monotonic
        self.state = State()
        self.problem = ""
        # Made once: a path costs more than the look at its file, several times a second.
        self._journal = self.files.journal
        self._stream = self.files.researcher_log
        self._tail = JournalTail(self.files.journal)
        self._asked, self._size = 0, self._journal_size()
        self._polled_size = -1
        self._begun = self._engine_seen = False
        self._seen_seq = self._seen_written = self._read_seen()
        self.left_at: State | None = None
        self.feed = RunFeed(Path())
        self._feed_key: tuple[object, ...] = ()
        self._chosen = -1
        self._behind: tuple[int | None, Curve] = (None, Curve())
        self._stream_offset = 0

    # -- facts in --------------------------------------------------------------------------------------------

    @property
    def reading(self) -> float | None:
        """How much of the journal that was there at the start has been read; None once all has been."""
        return None if self._asked >= self._size or self.problem else self._asked / self._size

    def poll(self) -> bool:
        """Fold what the journal has more; whether anything was new."""
        size = self._journal_size()
        if self.problem or size == self._polled_size:
            return False
        before = self.state
        try:
            for record in self._tail.read(READ_BYTES):
                self.state = fold(self.state, record)
                if record.seq == self._seen_seq:
                    self.left_at = self.state
        except ValueError as error:
            self.problem = f"{self.files.journal}: {error}; `autoresearch-tui doctor --mend` mends it"
        except OSError as error:
            self.problem = f"{self.files.journal}: cannot be read: {error.strerror}"
        self._asked += READ_BYTES
        self._engine_seen = self._engine_seen or self.state.engine is not None
        if self.state is before:
            # A reading ends with a whole record: only one that finds nothing has seen all that there is.
            self._polled_size = size
        return self.state is not before or bool(self.problem)

    def poll_log(self) -> bool:
        """Take in what the shown run's log has more; whether anything was new."""
        shown = self.shown_run()
        if shown is None:
            return False
        key = (shown.number, shown.attempt, shown.started_at)
        fresh = key != self._feed_key
        if fresh:
            self._feed_key = key
            self.feed = RunFeed(self.files.run(shown.number).log, shown.number, self.budget)
        return self.feed.poll(self.clock()) or fresh

    def read_stream(self) -> str:
        """What the researcher said since the last call."""
        try:
            if self._stream.stat().st_size == self._stream_offset:
                return ""
            with self._stream.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._stream_offset:
                    self._stream_offset = 0
                self._stream_offset = max(self._stream_offset, size - STREAM_CHARS)
                file.seek(self._stream_offset)
                data = file.read(STREAM_CHARS)
        except OSError:
            return ""
        # A character that is cut in two belongs to the next reading.
        whole = len(data) - _torn(data)
        self._stream_offset += whole
        return data[:whole].decode("utf-8", "replace")

    def _read_seen(self) -> int:
        try:
            return int(self.files.folder.joinpath(SEEN_FILE).read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def write_seen(self) -> None:
        """Keep up to which record the human who has the session has seen it."""
        if self.host is not None and self.state.seq != self._seen_written and self.reading is None:
            self._seen_written = self.state.seq
            # Worth no failure: without it the next screen says nothing about the time in between.
            with contextlib.suppress(OSError):
                _write_over(self.files.folder / SEEN_FILE, f"{self.state.seq:012}\n")

    def read_diff(self, number: int) -> str:
        """A proposal's diff; empty where there is none."""
        try:
            return self.files.run(number).diff.read_text("utf-8", "replace")
        except OSError:
            return ""

    def editable_files(self, number: int) -> dict[str, str] | None:
        """The proposal's editable files as they would be trained; None where they are not to be had."""
        folder = self.files.run(number).folder
        try:
            return {name: (folder / name).read_text("utf-8") for name in self.lab.settings.lab.editable}
        except (OSError, UnicodeDecodeError):
            return None

    # -- what is shown ---------------------------------------------------------------------------------------

    @property
    def budget(self) -> float | None:
        """Seconds of training that a run gets."""
        return self.state.session.budget_seconds if self.state.session else None

    def shown_run(self) -> Experiment | None:
        """The run in progress (of several the chosen one, or the newest), or the last one."""
        running = next((e for e in self.state.in_flight if e.number == self._chosen), self.state.running)
        if running is not None:
            return running
        started = [e for e in self.state.experiments[-64:] if e.started_at]
        return max(started, key=lambda e: e.started_at) if started else None

    def choose_next_run(self) -> None:
        """Another of the runs in progress is shown from here on."""
        numbers = [e.number for e in self.state.in_flight]
        shown = self.shown_run()
        if shown is not None and shown.number in numbers:
            self._chosen = numbers[(numbers.index(shown.number) + 1) % len(numbers)]

    def proposal(self) -> Experiment | None:
        """What waits for an answer; else what is next; else what is in training; else the last one."""
        waiting = self.state.waiting
        for experiment in waiting:
            if experiment.stage is Stage.REVIEW:
                return experiment
        if waiting:
            return waiting[0]
        return self.state.running or (self.state.experiments[-1] if self.state.experiments else None)

    def curve(self, number: int) -> Curve:
        """The curve of a run that has ended; the one asked for last is kept."""
        if self._behind[0] != number:
            self._behind = number, curve_of(self.files.run(number).log, self.budget)
        return self._behind[1]

    def curve_to_beat(self) -> tuple[Curve, str]:
        """The frontier's curve and its name; nothing while the frontier itself is shown."""
        best, shown = self.state.best, self.shown_run()
        if best is None or (shown is not None and shown.number == best.number):
            return Curve(), ""
        return self.curve(best.number), f"best so far, #{best.number}"

    def view(self) -> View:
        """Everything for the status line of this moment."""
        progress = self.feed.progress
        live = None
        if progress is not None:
            fraction = self.feed.fraction_done
            remaining = progress.remaining_seconds
            if remaining is None and fraction is not None and self.budget:
                remaining = (1 - fraction) * self.budget
            live = Live(self.feed.number, remaining, self.feed.seen)
        return View(
            state=self.state,
            now=self.clock(),
            live=live,
            failure=self.host.failure if self.host else "",
            blocked=self.host.blocked if self.host else "",
            problem=self.problem,
            read_only=self.read_only,
            takeable=self.takeable,
            reading=self.reading,
            starting=self._starting,
        )

    @property
    def _starting(self) -> bool:
        """Whether this screen's engine is on its way, and what the journal says of the last one is past."""
        return self.host is not None and not self._engine_seen and (self.host.alive or not self._begun)

    def begin(self) -> None:
        """Let this screen's engine start, where it has one."""
        if self.host is not None:
            self.host.start()
        self._begun = True

    def only_watch(self, why: str) -> None:
        """From here on this screen has no engine; the one that has took it over."""
        self.host, self.read_only, self.takeable = None, why, True

    # -- commands out ----------------------------------------------------------------------------------------

    def send(self, command: Command) -> bool:
        """Hand a command to the engine; False where this screen only watches."""
        if self.host is None:
            return False
        self.host.send(command)
        return True

    def attend(self, experiment: Experiment, *, over: bool = False) -> None:
        """Say that the human is at an answer about it, where anything would become of it without one."""
        if experiment.deadline or experiment.stage is Stage.APPROVED:
            self.send(Attend(experiment.number, experiment.commit, over))

    def _journal_size(self) -> int:
        try:
            return self._journal.stat().st_size
        except OSError:
            return 0


def _write_over(path: Path, text: str) -> None:
    """Write `text` over one of the same length, in one call: neither a kill nor a full disk leaves half of it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(file, text.encode("ascii"), 0)
    finally:
        os.close(file)


def _torn(data: bytes) -> int:
    """How many bytes at the end begin a character that is not all there yet."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        need = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if need > back else 0
    return 0
