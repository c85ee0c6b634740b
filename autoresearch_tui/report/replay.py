"""Replays a recorded session: its journal and its files grow in a separate folder, as they once did."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime
from itertools import accumulate, pairwise
from pathlib import Path

from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.fold import recorded
from autoresearch_tui.util import atomic, timestamps
from autoresearch_tui.util.errors import UserError

# A gap without anything to see lasts at most this long.
LONGEST_GAP = 3.0
SLOWEST, FASTEST = 1 / 1024, float(1 << 20)
# Logs grow this often, so that curves move as they did.
_TICK = 0.1
_SLICE = 1 << 20
# The events that end a run's log.
_ENDS = (ev.RunStarted, ev.RunEnded, ev.RunRequeued)


class Replay:
    """Plays records with their spacing divided by `speed`; long gaps between runs are shortened.

    Records keep their times; :meth:`clock` is the recorded time, for the screen. The recorded session is only read.
    Methods for keys may be called from any thread; the player's own thread does the work.
    """

    def __init__(
        self,
        lab: Lab,
        tag: str,
        speed: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        if not (speed > 0 and math.isfinite(speed)):
            raise UserError(f"--speed must be more than 0, not {speed:g}")
        self._source = lab.session(tag)
        self._records, _ = recorded(self._source.journal)
        # When each record is due, in seconds since the first; a clock that was set back is ignored.
        gaps = (timestamps.between(a.time, b.time) for a, b in pairwise(self._records))
        self._due = list(accumulate(gaps, initial=0.0))
        self.speed = speed
        self.paused = False
        self.finished = threading.Event()
        """Set while there is nothing more to play."""
        self._failure = ""
        self._monotonic = monotonic
        self._stopping = threading.Event()
        # Ends a wait: set by keys, and at the end.
        self._asked = threading.Event()
        self._wait = wait or self._asked.wait
        self._folder = Path(tempfile.mkdtemp(prefix="autoresearch-replay-"))
        # The screen shows the lab's name.
        self.lab = Lab(self._folder / lab.root.name, lab.settings)
        self._target = self.lab.session(tag)
        self._target.folder.mkdir(parents=True)
        _copy(lab.program, self.lab.program)
        # The number of records played, and the recorded seconds so far.
        self._now = (0, 0.0)
        self._goal: tuple[int, float] | None = None
        self._goal_lock = threading.Lock()
        self._growing: dict[int, Growth] = {}
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)

    def start(self) -> None:
        """Plays the first record before it returns; the others follow."""
        self._append(1)
        self._now = (1, 0.0)
        self._thread.start()

    def stop(self) -> None:
        """Ends the replay and removes its folder."""
        self._stopping.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- for the screen --------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The recorded time, in seconds since 1970."""
        played, seconds = self._now
        last = max(played - 1, 0)
        return timestamps.seconds(self._records[last].time) + seconds - self._due[last]

    def standing(self) -> str:
        """`replay, Fri 03:12:45, 60×, paused`."""
        when = f"{datetime.fromtimestamp(self.clock()).astimezone():%a %H:%M:%S}"
        if self._failure:
            return f"the replay cannot go on: {self._failure}"
        if self.finished.is_set():
            return f"the replay has ended, {when}"
        return f"replay, {when}, {self.speed:g}×{', paused' if self.paused else ''}"

    # -- for keys --------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Pauses or continues."""
        self.paused = not self.paused
        self._asked.set()

    def faster(self, times: float) -> None:
        """Multiplies the speed, within bounds."""
        self.speed = min(max(self.speed * times, SLOWEST), FASTEST)
        self._asked.set()

    def step(self) -> bool:
        """Goes to the next verdict and pauses there. Returns False if there is none."""
        with self._goal_lock:
            played = self._goal[0] if self._goal else self._now[0]
            ahead = range(played, len(self._records))
            place = next((n for n in ahead if isinstance(self._records[n].event, ev.VerdictGiven)), None)
            if place is not None:
                self._goal = (place + 1, self._due[place])
                self.paused = True
        self._asked.set()
        return place is not None

    def seek(self, where: str) -> str:
        """Goes to an experiment (`#12`), a share of the night (`50%`) or a time (`03:30`). Returns the problem, if
        any."""
        try:
            seconds = self._moment(where.strip())
        except (ValueError, OverflowError):
            return f"{where.strip()} is neither an experiment, such as #12, nor 50% or 03:30"
        if seconds is None:
            return f"the replay has no experiment {where.strip()}"
        if not 0 <= seconds <= self._due[-1]:
            return f"{where.strip()} is not within the recorded session"
        with self._goal_lock:
            self._goal = (bisect_right(self._due, seconds), seconds)
        self._asked.set()
        return ""

    def _moment(self, where: str) -> float | None:
        """Seconds since the first record; None for an unknown experiment."""
        if where.endswith("%"):
            return float(where[:-1]) / 100 * self._due[-1]
        if ":" in where:
            began = timestamps.parse(self._records[0].time)
            return (timestamps.upcoming(where, began) - began).total_seconds()
        number = int(where.removeprefix("#"))
        # Where its run starts, or where it was proposed if it never ran.
        for kind in (ev.RunStarted, ev.ProposalMade):
            for due, record in zip(self._due, self._records, strict=True):
                if isinstance(record.event, kind) and record.event.number == number:
                    return due
        return None

    # -- the player's thread ---------------------------------------------------------------------------------

    def _play(self) -> None:
        try:
            while not self._stopping.is_set():
                self._asked.clear()
                if self._goal is not None:
                    self._go(self._goal)
                elif self._now[0] == len(self._records):
                    self._end()
                    self._asked.wait()
                elif self.paused:
                    self._asked.wait()
                else:
                    self._advance()
        except OSError as error:
            # Its folder is gone, or the disk is full: the replay stands still, and the session is unharmed.
            self._failure = error.strerror or str(error)
        finally:
            self.finished.set()

    def _end(self) -> None:
        # A recording may end within a run: its log is completed.
        for number in list(self._growing):
            self._end_log(number)
        self.finished.set()

    def _advance(self) -> None:
        """Lets a moment pass, in which logs grow; then plays the next record if it is due."""
        played, seconds = self._now
        due = self._due[played]
        if due > seconds:
            whole = (due - self._due[played - 1]) / LONGEST_GAP
            rate = self.speed if self._growing else max(self.speed, whole)
            wanted, began = (due - seconds) / rate, self._monotonic()
            woken = self._wait(min(wanted, _TICK))
            arrived = wanted <= _TICK and not woken
            seconds = due if arrived else min(due, seconds + (self._monotonic() - began) * rate)
            self._grow(seconds)
        if seconds < due:
            self._now = (played, seconds)
            return
        self._bring(played)
        self._append(played + 1)
        self._now = (played + 1, due)

    def _grow(self, seconds: float) -> None:
        for growth in self._growing.values():
            growth.at(seconds)

    def _go(self, goal: tuple[int, float]) -> None:
        """Goes to the goal that a key has set, at once."""
        played, seconds = goal
        if played < self._now[0]:
            self._rewind(played)
        for place in range(self._now[0], played):
            if self._stopping.is_set():
                return
            self._bring(place)
        self._grow(seconds)
        self._append(played)
        self._now = goal
        with self._goal_lock:
            if self._goal is goal:
                self._goal = None

    def _rewind(self, played: int) -> None:
        """Goes back to `played` records: readers find a shorter journal, and read it anew."""
        running: dict[int, int] = {}
        for place, record in enumerate(self._records[:played]):
            if isinstance(record.event, ev.RunStarted):
                running[record.event.number] = place
            elif isinstance(record.event, _ENDS):
                running.pop(record.event.number, None)
        self._growing.clear()
        for number, place in running.items():
            _, target = self._run(number)
            target.exit.unlink(missing_ok=True)
            target.score.unlink(missing_ok=True)
            self._bring(place)
        self.finished.clear()
        for log in self._target.streams:
            log.unlink(missing_ok=True)
        atomic.write(self._target.journal, b"".join(map(journal.encode, self._records[:played])))
        self._now = (played, self._due[played - 1])

    def _bring(self, place: int) -> None:
        """Copies the files that a record refers to, before the record is played."""
        match self._records[place].event:
            case ev.ProposalMade(number=number) | ev.ProposalRebased(number=number):
                self._bring_proposal(number)
            case ev.RunStarted(number=number):
                source, target = self._run(number)
                target.log.parent.mkdir(parents=True, exist_ok=True)
                target.log.unlink(missing_ok=True)
                self._growing[number] = Growth(source.log, target.log, *self._span(place, number))
            case ev.RunEnded(number=number):
                self._end_log(number)
                source, target = self._run(number)
                _copy(source.exit, target.exit)
            case ev.RunScored(number=number):
                source, target = self._run(number)
                _copy(source.score, target.score)
            case ev.RunRequeued(number=number):
                self._end_log(number)

    def _span(self, place: int, number: int) -> tuple[float, float]:
        """When the run that starts at `place` began and ended, in recorded seconds since the first record.

        Records of other experiments and devices come in between. A recording may end within a run.
        """
        later = range(place + 1, len(self._records))
        ends = (n for n in later if isinstance(e := self._records[n].event, _ENDS) and e.number == number)
        return self._due[place], self._due[next(ends, -1)]

    def _bring_proposal(self, number: int) -> None:
        source, target = self._run(number)
        _copy(source.diff, target.diff)
        for file in source.as_trained(self.lab.editable.plain).values():
            _copy(file, target.folder / file.relative_to(source.folder))

    def _end_log(self, number: int) -> None:
        if (growth := self._growing.pop(number, None)) is not None:
            growth.to(1)

    def _run(self, number: int) -> tuple[RunFiles, RunFiles]:
        return self._source.run(number), self._target.run(number)

    def _append(self, played: int) -> None:
        """Plays the journal up to `played` records. The researcher's logs have no times, so they grow in proportion."""
        lines = b"".join(journal.encode(record) for record in self._records[self._now[0] : played])
        with self._target.journal.open("ab") as file:
            file.write(lines)
        for log in self._source.streams:
            Growth(log, self._target.folder / log.name).to(played / len(self._records))


class Growth:
    """A copy that grows towards its source, evenly from `start` to `end`, in seconds."""

    def __init__(self, source: Path, target: Path, start: float = 0.0, end: float = 1.0) -> None:
        self._source = source
        self._target = target
        self._start, self._end = start, end
        self._size = source.stat().st_size if source.is_file() else 0

    def at(self, moment: float) -> None:
        """Copies up to the source's size at that moment."""
        if self._end > self._start:
            self.to((moment - self._start) / (self._end - self._start))

    def to(self, share: float) -> None:
        """Copies until this share of the source's bytes."""
        wanted = int(self._size * min(max(share, 0.0), 1.0))
        done = self._target.stat().st_size if self._target.exists() else 0
        if wanted <= done:
            return
        with self._source.open("rb") as source, self._target.open("ab") as target:
            source.seek(done)
            while done < wanted:
                data = source.read(min(_SLICE, wanted - done))
                if not data:
                    return
                target.write(data)
                done += len(data)


def _copy(source: Path, target: Path) -> None:
    if not source.is_file() or source.is_symlink():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
