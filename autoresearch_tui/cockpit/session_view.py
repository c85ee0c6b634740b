"""The only link between screens and session: reads the session's files by offset, sends commands to the host."""

from __future__ import annotations

import codecs
import contextlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui.cockpit.log_follower import Curve, RunFeed, whole
from autoresearch_tui.cockpit.runs_in_flight import RunsInFlight
from autoresearch_tui.lab import engine_lock
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.logs.tail import FileTail, Piece
from autoresearch_tui.session import snapshots
from autoresearch_tui.session.commands import Attend, CancelStop, Command, Host, Stop
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.journal import JournalTail, Rewritten, Start
from autoresearch_tui.session.outline import outline
from autoresearch_tui.session.sequence import CHUNK
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.status import View, live

if TYPE_CHECKING:
    from autoresearch_tui.report.replay import Replay

READ_BYTES = 1 << 17
PROOF_BYTES = 1 << 22
STREAM_BYTES = 200_000
SEEN_FILE = "seen"


class Bridge:
    """Polled by the app's one timer. Nothing here blocks."""

    def __init__(
        self,
        lab: Lab,
        tag: str,
        host: Host | None,
        read_only_reason: str = "",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        player: Replay | None = None,
    ) -> None:
        """A `player` replays a recorded session, by the recorded clock."""
        self.lab, self.tag, self.host, self.player = lab, tag, host, player
        self.files = lab.session(tag)
        self._watches = host is None and player is None
        self._read_only = (read_only_reason or "this screen only watches") if self._watches else ""
        self._served, self._looked = True, float("-inf")
        self.clock, self.monotonic = clock if player is None else player.clock, monotonic
        self.state = self._outlined = State()
        self._outline = outline(self.state, for_screen=True)
        self.problem = ""
        self.stop_sent = False
        # Made once: making a path costs more than the stat of its file, several times a second.
        self._journal = self.files.journal
        self.stream = 0
        """The number of the researcher's stream that is read."""
        self._stream = FileTail(self.files.researcher_log)
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        found = snapshots.read(self.files, proven=False) if player is None else None
        start = found.start if found is not None else Start()
        self._proof: snapshots.Proof | None = None
        if found is not None:
            self.state, self._proof = found.state, snapshots.Proof(self._journal, start)
        self._tail = JournalTail(self.files.journal, start)
        self._size = self._journal_size()
        self._caught_up = self._tail.offset >= self._size
        self._looked_for_pages = len(self.state.experiments) // CHUNK
        self._polled_size = -1
        self._begun = self._engine_seen = False
        self._seen_seq = self._seen_written = self._read_seen()
        self._left_at: State | None = None
        self._begins_at = start.seq
        self.reviewed: tuple[int, str] | None = None
        """Number and commit of the proposal last read on the review screen."""
        self.feed = RunFeed(Path())
        self._feed_key: tuple[object, ...] = ()
        self.flight = RunsInFlight(self.files)
        self._behind = RunFeed(Path())
        self.pinned: int | None = None
        self.stream_anew = False
        """Whether the last text read is the beginning of a stream: of another one, or because a replay went back."""
        self._turned = False
        # The user's last edit of each proposal, by number and commit: `e` reopens it if it was refused.
        self.edits: dict[tuple[int, str], dict[str, str]] = {}

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def read_only(self) -> str:
        """Why this screen sends no commands; for a replay, its position."""
        return self._read_only if self.player is None else self.player.standing()

    @property
    def commands(self) -> bool:
        """Whether an engine receives commands; none does once ours has ended with the session."""
        return self.host is not None and not (self._begun and self.over and not self.host.alive)

    @property
    def reading(self) -> float | None:
        """The share of the journal read so far, of its size at the start; None once all of it is read."""
        return None if self._caught_up or self.problem else self._tail.offset / self._size

    def poll(self) -> bool:
        """Folds new records into the state. Returns whether anything was new."""
        size = self._journal_size()
        if self._disproved():
            self.state, self._tail, self._begins_at = State(), JournalTail(self._journal), 0
            self._size, self._caught_up, self._polled_size, self._feed_key = size, False, -1, ()
        if size == self._polled_size or (self.problem and not self._tail.rewritten):
            return False
        before = self.state
        self.problem = ""
        try:
            try:
                # A replay's jump is shown at once.
                self._read(READ_BYTES if self.player is None else max(size, 1))
            except Rewritten:
                self.state = State()
                self._feed_key = ()
                self._read(size)  # in one go, so that the screen does not show the beginning again
        except ValueError as error:
            self.problem = f"{self.files.journal}: {error}; run `autoresearch-tui doctor --repair`"
        except OSError as error:
            self.problem = f"{self.files.journal}: cannot be read: {error.strerror}"
        self._engine_seen = self._engine_seen or self.state.engine is not None
        # A read ends at a whole record: only one that finds nothing has seen everything.
        self._polled_size = size if self.state is before else -1
        self._caught_up = self._caught_up or self.state is before or self._tail.offset >= self._size
        changed = self.state is not before or bool(self.problem)
        self._save_memory()
        return changed

    def _disproved(self) -> bool:
        """Whether the snapshot that is shown belongs to another journal; a long journal is checked in pieces."""
        if self._proof is None:
            return False
        try:
            is_so = self._proof.go_on(PROOF_BYTES)
        except OSError:
            is_so = False
        self._proof = self._proof if is_so is None else None
        return is_so is False

    def _read(self, limit: int) -> None:
        for record in self._tail.read(limit):
            self.state = fold(self.state, record)
            if record.seq == self._seen_seq:
                self._left_at = self.state

    @property
    def left_at(self) -> State | None:
        """The session as the user last saw it; None if they never did, or if it is no longer known."""
        if self._left_at is None and 0 < self._seen_seq <= self._begins_at:
            self._left_at = (
                self.state if self._seen_seq == self.state.seq else snapshots.seen(self.files, self._seen_seq)
            )
        return self._left_at

    def _save_memory(self) -> None:
        """Drops from memory what the engine has put on disk; checked after every other page."""
        due = len(self.state.experiments) // CHUNK - self._looked_for_pages
        if due >= 2 and self._caught_up:
            self._looked_for_pages += due
            self.state = snapshots.adopted(self.state, self.files)

    def poll_log(self) -> bool:
        """Reads new data of the shown run's log. Returns whether there was any."""
        shown = self.shown_run()
        if shown is None:
            return False
        key = (shown.number, shown.attempt, shown.started_at)
        fresh = key != self._feed_key
        if fresh:
            self._feed_key = key
            self.feed = RunFeed(self.files.run(shown.number).log, shown.number, self.budget)
        return self.feed.poll(self.clock()) or fresh

    def change_stream(self, step: int) -> bool:
        """Switches to the next or the previous researcher's stream; False if there is only one."""
        numbers = sorted({*range(len(self.files.streams)), *(ask.stream for ask in self.state.asks), self.stream})
        chosen = numbers[(numbers.index(self.stream) + step) % len(numbers)]
        if chosen == self.stream:
            return False
        self.stream, self._turned = chosen, True
        self._stream = FileTail(self.files.stream(chosen))
        self._characters.reset()
        return True

    def read_stream(self) -> str:
        """The text added to the researcher's stream since the last call."""
        self.stream_anew, self._turned = self._turned, False
        try:
            piece = self._stream.read(STREAM_BYTES, most_behind=STREAM_BYTES) if self._stream.grown else Piece()
        except OSError:
            return ""
        self.stream_anew = self.stream_anew or piece.restarted
        if piece.restarted:
            self._characters.reset()
        # The decoder keeps half of a character for the next read.
        return self._characters.decode(piece.data)

    def _read_seen(self) -> int:
        try:
            return int(self.files.folder.joinpath(SEEN_FILE).read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def write_seen(self) -> None:
        """Records the last event that the user saw, for "Since you left"."""
        if self.host is not None and self.state.seq != self._seen_written and self.reading is None:
            self._seen_written = self.state.seq
            snapshots.keep_seen(self.files, self.state.seq)
            # Failing is harmless: the next cockpit only does not report the time in between.
            with contextlib.suppress(OSError):
                _write_over(self.files.folder / SEEN_FILE, f"{self.state.seq:012}\n")

    def read_diff(self, number: int) -> str:
        """A proposal's diff; empty if it has none."""
        try:
            return self.files.run(number).diff.read_text("utf-8", "replace")
        except OSError:
            return ""

    def editable_files(self, number: int) -> dict[str, str] | None:
        """The proposal's editable files as they would be trained; None if they cannot be read."""
        files = self.files.run(number).as_trained(self.lab.editable.plain)
        try:
            return {name: path.read_text("utf-8") for name, path in files.items()}
        except (OSError, UnicodeDecodeError):
            return None

    @property
    def other_sessions(self) -> list[str]:
        return [tag for tag in self.lab.tags() if tag != self.tag]

    # -- what is shown ---------------------------------------------------------------------------------------

    @property
    def budget(self) -> float | None:
        """Seconds of training that a run gets."""
        return self.state.session.budget_seconds if self.state.session else None

    def shown_run(self) -> Experiment | None:
        """The run in progress (of several, the followed device's or the newest), or the last one."""
        running = self.flight.shown(self.state)
        if running is not None:
            return running
        return self.state.started_last

    def proposal(self) -> Experiment | None:
        """The proposal in review, or the next one, or the one in training, or the last one."""
        waiting = self.state.waiting
        for experiment in waiting:
            if experiment.stage is Stage.REVIEW:
                return experiment
        if waiting:
            return waiting[0]
        return self.state.running or (self.state.experiments[-1] if self.state.experiments else None)

    def curve(self, number: int, key: str = "loss") -> Curve:
        """A curve of a finished run; the curves of the last one are cached."""
        if self._behind.number != number:
            self._behind = whole(self.files.run(number).log, number, self.budget)
        return self._behind.curve_of(key)

    def curve_to_beat(self, key: str = "loss") -> tuple[Curve, str]:
        """The pinned run's curve, or else the best one's, and its label; empty while that run itself is shown."""
        if self.pinned is not None:
            return self.curve(self.pinned, key), f"pinned, #{self.pinned}"
        best, shown = self.state.best, self.shown_run()
        if best is None or (shown is not None and shown.number == best.number):
            return Curve(), ""
        return self.curve(best.number, key), f"best so far, #{best.number}"

    def view(self) -> View:
        """Everything that the status line needs."""
        feed = self.feed
        # While a long journal is read, only the share that is read is shown.
        if self._outlined is not self.state and self.reading is None:
            self._outlined, self._outline = self.state, outline(self.state, for_screen=True)
        lives = self.flight.lives(self.budget)
        if feed.progress is not None:
            lives[feed.number] = live(feed.number, feed.progress, self.budget, feed.seen)
        return View(
            state=self._outline,
            now=self.clock(),
            lives=lives,
            beside=self.flight.beside,
            failure=self.host.failure if self.host else "",
            blocked=self.host.blocked if self.host else "",
            problem=self.problem,
            read_only=self.read_only,
            reading=self.reading,
            starting=self._starting,
            orphaned=self._orphaned,
        )

    @property
    def _starting(self) -> bool:
        """Whether this screen's engine is starting, and the journal describes an earlier one."""
        return self.host is not None and not self._engine_seen and (self.host.alive or not self._begun)

    @property
    def _orphaned(self) -> bool:
        """Whether the engine in a watched session's journal is dead; checked once a second."""
        if not self._watches or self.state.engine is None:
            return False
        if self.monotonic() >= self._looked + 1:
            self._looked = self.monotonic()
            with contextlib.suppress(OSError):
                self._served = engine_lock.serves(self.lab.lock, self.tag)
        return not self._served

    def begin(self) -> None:
        """Starts this cockpit's engine, if it has one."""
        if self.host is not None:
            self.host.start()
        self._begun = True

    @property
    def over(self) -> bool:
        """Whether the last engine ended the session."""
        return self.state.stopped is not None and self.state.stopped.why != "detached"

    # -- commands --------------------------------------------------------------------------------------------

    def send(self, command: Command) -> bool:
        """Sends a command to the engine. Returns False if this cockpit only watches."""
        if self.host is None:
            return False
        if isinstance(command, Stop | CancelStop):
            self.stop_sent = isinstance(command, Stop)
        self.host.send(command)
        return True

    def attend(self, experiment: Experiment, why: str = "answer", *, over: bool = False) -> None:
        """Tells the engine that the user reads or answers a proposal (with `over`: no longer), so that the policy
        waits."""
        # Under the policy "hold" nothing happens by itself; before the gate, the policy is not known yet.
        if experiment.deadline or experiment.stage in (Stage.PROPOSED, Stage.APPROVED):
            self.send(Attend(experiment.number, experiment.commit, over, why))

    def toggle_hold(self, experiment: Experiment) -> None:
        """Releases a proposal that is held; holds any other until it is released."""
        held = experiment.held_at(datetime.fromtimestamp(self.clock(), UTC))
        self.attend(experiment, held or "hold", over=bool(held))

    def _journal_size(self) -> int:
        try:
            return self._journal.stat().st_size
        except OSError:
            return 0


def _write_over(path: Path, text: str) -> None:
    """Writes `text` over one of the same length, in one call, so that a kill or a full disk leaves no half of it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.pwrite(file, text.encode("ascii"), 0)
    finally:
        os.close(file)
