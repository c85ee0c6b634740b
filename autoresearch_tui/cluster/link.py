"""The engine's end of a bridge: its process, its messages, and the time since the last one. Nothing here blocks."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from autoresearch_tui.cluster import security
from autoresearch_tui.cluster.protocol import BridgeSpec, line

LOG_BYTES = 1 << 20
_LAST_WORDS_SECONDS = 1.0


class Link:
    """A bridge, from its start to its end. `on_message` is called with each message, in a thread."""

    def __init__(self, spec: BridgeSpec, log: Path, on_message: Callable[[Mapping[str, Any]], None]) -> None:
        """Raises OSError."""
        self._on_message = on_message
        self._sent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_message = time.monotonic()
        self.answers = False
        """Whether it has sent any message yet."""
        mode = "wb" if log.exists() and log.stat().st_size > LOG_BYTES else "ab"
        with log.open(mode) as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "autoresearch_tui.cluster.bridge", msgspec.json.encode(spec).decode()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**security.environment(os.environ), "PYTHONSAFEPATH": "1"},
                start_new_session=True,  # ^C in the terminal is for the engine alone
                bufsize=0,
            )
        self._listener = threading.Thread(target=self._listen, name="bridge", daemon=True)
        self._listener.start()
        threading.Thread(target=self._write, name="to the bridge", daemon=True).start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Thread-safe. A command to a bridge that dies is lost with it."""
        self._sent.put(line(command))

    @property
    def silent_seconds(self) -> float:
        """Seconds since its last message, or its start."""
        return time.monotonic() - self._last_message

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone; its last messages have been handled then."""
        if self._process.poll() is None:
            return False
        self._listener.join(_LAST_WORDS_SECONDS)
        return True

    def close(self, seconds: float = 0.0) -> None:
        """Tells it to end, and waits for at most so long."""
        self._sent.put(None)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def kill(self) -> None:
        """Kills it because it does not answer."""
        self._process.kill()
        self._sent.put(None)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with open(self._process.stdout.fileno(), "rb", closefd=False) as messages, self._process.stdout:
            for text in messages:
                self._last_message, self.answers = time.monotonic(), True
                with suppress(ValueError, KeyError, TypeError):
                    self._on_message(json.loads(text))

    def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as pipe:
            while (data := self._sent.get()) is not None:
                while data:
                    data = data[os.write(pipe.fileno(), data) :]
