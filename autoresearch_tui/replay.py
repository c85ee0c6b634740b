"""A recorded session, played again: its journal and its files grow in a folder of their own, as they once did."""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab, RunFiles
from autoresearch_tui.recorded import recorded
from autoresearch_tui.report_time import seconds_between

# Nothing to see for longer than this, and the player goes on.
LONGEST_GAP = 3.0
# A log grows this often, so that a curve moves as it did.
_TICK = 0.1
_SLICE = 1 << 20


class Replay:
    """Plays records with their spacing divided by `speed`; long gaps between runs are cut short.

    Times are those of the playing, so that what counts seconds on the screen counts what is seen. The recorded
    session is only ever read.
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
        self._records = recorded(self._source.journal)
        self._speed = speed
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._folder = Path(tempfile.mkdtemp(prefix="autoresearch-replay-"))
        # It bears the lab's name, which is on the screen.
        self.lab = Lab(self._folder / lab.root.name, lab.settings)
        self._target = self.lab.session(tag)
        self._target.folder.mkdir(parents=True)
        _copy(lab.program, self.lab.program)
        self._played = 0
        self._growing: Growth | None = None
        self._began = datetime.now(UTC)
        self._clock_began = monotonic()
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)
        self.finished = threading.Event()

    def start(self) -> None:
        """The first record is there when this returns; the others come by themselves."""
        self._clock_began = self._monotonic()
        self._began = datetime.now(UTC)
        self._append(self._records[0])
        self._thread.start()

    def stop(self) -> None:
        """Ends the playing and removes its folder."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _play(self) -> None:
        try:
            for before, record in zip(self._records, self._records[1:], strict=False):
                if self._stopping.is_set() or not self._pass(before, record):
                    return
                self._bring(record.event)
                self._append(record)
            # A recording that ends within a run has the log that there was.
            self._end_log()
        except OSError:
            # Its folder is gone, or the disk is full: the picture stands still, and nothing of the session is hurt.
            return
        finally:
            self.finished.set()

    def _pass(self, before: ev.Record, record: ev.Record) -> bool:
        """Lets the time between two records go by, with the log growing through it. False: told to stop."""
        seconds = seconds_between(before.time, record.time) / self._speed
        if self._growing is None:
            seconds = min(seconds, LONGEST_GAP)
        end = self._monotonic() + seconds
        while (left := end - self._monotonic()) > 0:
            if self._wait(min(left, _TICK) if self._growing else left):
                return False
            if self._growing is not None:
                self._growing.to(1 - max(end - self._monotonic(), 0) / seconds)
        return True

    def _bring(self, event: ev.Event) -> None:
        """The files that a record speaks of are there before the record is."""
        match event:
            case ev.ProposalMade(number=number) | ev.ProposalRebased(number=number):
                self._bring_proposal(number)
            case ev.RunStarted(number=number):
                source, target = self._run(number)
                target.log.parent.mkdir(parents=True, exist_ok=True)
                target.log.unlink(missing_ok=True)
                self._growing = Growth(source.log, target.log)
            case ev.RunEnded(number=number):
                self._end_log()
                source, target = self._run(number)
                _copy(source.exit, target.exit)
            case ev.RunScored(number=number):
                source, target = self._run(number)
                _copy(source.score, target.score)
            case ev.ProposalPutBack():
                self._end_log()

    def _bring_proposal(self, number: int) -> None:
        source, target = self._run(number)
        _copy(source.diff, target.diff)
        for path in self.lab.settings.lab.editable:
            _copy(source.folder / path, target.folder / path)

    def _end_log(self) -> None:
        if self._growing is not None:
            self._growing.to(1)
            self._growing = None

    def _run(self, number: int) -> tuple[RunFiles, RunFiles]:
        return self._source.run(number), self._target.run(number)

    def _append(self, record: ev.Record) -> None:
        moment = self._began + timedelta(seconds=self._monotonic() - self._clock_began)
        event = record.event
        if isinstance(event, ev.ReviewOpened) and event.deadline:
            ahead = seconds_between(record.time, event.deadline) / self._speed
            event = dataclasses.replace(event, deadline=_stamp(moment + timedelta(seconds=ahead)))
        with self._target.journal.open("ab") as file:
            file.write(journal.encode(ev.Record(record.seq, _stamp(moment), event)))
        self._played += 1
        # The researcher's words have no times of their own: they come in proportion.
        grown = Growth(self._source.researcher_log, self._target.researcher_log)
        grown.to(self._played / len(self._records))


class Growth:
    """A copy that grows towards its source."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._size = source.stat().st_size if source.is_file() else 0

    def to(self, share: float) -> None:
        """Goes on until the copy has this share of the source's bytes."""
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


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
