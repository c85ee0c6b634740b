"""SIGCONT: after `kill -STOP`, or for no reason at all."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from textual.app import App


def mind(app: App[int]) -> None:
    """Let a SIGCONT paint the screen again, and no more, unless Textual itself had suspended the application.

    Textual's own handler starts its driver once more in any case: two of each thread, of which one takes the keys and
    nobody waits for it, and a terminal that is left raw.
    """
    theirs = signal.getsignal(signal.SIGCONT)
    if threading.current_thread() is not threading.main_thread() or not callable(theirs):
        return

    def continued(number: int, frame: FrameType | None) -> None:
        driver = app._driver
        if getattr(driver, "_must_signal_resume", True) or not getattr(driver, "_auto_restart", True):
            theirs(number, frame)
        else:
            app.call_later(app.refresh, layout=True)

    signal.signal(signal.SIGCONT, continued)
