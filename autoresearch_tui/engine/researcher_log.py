"""The researchers' streams on disk, including what the human told them. For watching only: nothing depends on it.

A single researcher shares the first stream with the critic; several at once have a stream each.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import State
from autoresearch_tui.session.stream_marks import CRITIC, HUMAN, part
from autoresearch_tui.util.text import clean_text, describe

_LOG_LIMIT = 4 << 20
_WORDS_LIMIT = 2000


class Voices:
    """Lets one speaker at a time write to a stream, so that a researcher and a critic stay readable. Thread-safe."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._speaker = ""
        self._waiting: dict[str, list[str]] = {}
        self._done: set[str] = set()

    def say(self, who: str, text: str) -> None:
        """Append a text, now or when the other speaker is done. Marks of human and critic in it are replaced."""
        self._put(who, clean_text(text).replace(HUMAN, ">").replace(CRITIC, "*"))

    def conclude(self, who: str, opinion: str) -> None:
        """Append a critic's opinion, on a line of its own."""
        self._put(who, f"\n{part(CRITIC, describe(opinion, _WORDS_LIMIT))}\n")

    def _put(self, who: str, text: str) -> None:
        with self._lock:
            self._done.discard(who)
            if self._speaker in ("", who):
                self._speaker = who
                _append(self._log, text)
            else:
                self._waiting.setdefault(who, []).append(text)

    def done(self, who: str) -> None:
        """Let the other speaker speak."""
        with self._lock:
            self._done.add(who)
            if self._speaker != who:
                return
            self._speaker = ""
            for other, texts in self._waiting.items():
                _append(self._log, "".join(texts))
                self._speaker = "" if other in self._done else other
            self._waiting.clear()


class Streams:
    """The voices of each stream of a session. Thread-safe."""

    def __init__(self, files: SessionFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._voices: dict[int, Voices] = {}

    def __getitem__(self, stream: int) -> Voices:
        with self._lock:
            return self._voices.setdefault(stream, Voices(self._files.stream(stream)))


def human_said(files: SessionFiles, event: ev.Event, before: State) -> None:
    """Append what `event` tells the researchers from the human, if anything, as a line of its own: to the first stream,
    and to each with an open request."""
    if words := _words(event, before):
        for stream in {0, *(ask.stream for ask in before.asks)}:
            _append(files.stream(stream), f"{part(HUMAN, describe(words, _WORDS_LIMIT))}\n", own_line=True)


def _append(log: Path, text: str, *, own_line: bool = False) -> None:
    # A full disk must not cost a proposal.
    with contextlib.suppress(OSError):
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".old.log"))
        with log.open("ab+") as file:
            if own_line and (end := file.seek(0, 2)):
                file.seek(end - 1)
                text = text if file.read(1) == b"\n" else f"\n{text}"
            file.write(text.encode("utf-8"))


def _words(event: ev.Event, before: State) -> str:
    match event:
        case ev.NoteGiven():
            return f"note: {event.text}"
        case ev.NoteWithdrawn():
            texts = [note.text for note in before.waiting_notes if note.seq == event.record]
            return f"note taken back: {' '.join(texts)}"
        case ev.ProposalVetoed(by="human"):
            return f"#{event.number} vetoed: {event.reason or 'no reason given'}"
        case ev.RunStopAsked(by="human"):
            return f"#{event.number} stopped: {event.reason or 'no reason given'}"
        case ev.VerdictOverruled():
            return f"#{event.number} is a {event.verdict}: {event.reason}"
        case ev.JudgementUndone():
            return f"decision on #{event.number} taken back"
    return ""
