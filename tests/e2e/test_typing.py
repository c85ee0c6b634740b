"""Typing on a slow line: what arrives in one packet does what it would have done key by key."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import TRAIN
from tests.e2e.terminal import COUNTS_SECONDS, Terminal
from tests.e2e.test_cockpit import ASK
from tests.e2e.test_terminal_trouble import stop_for_good

BACK, LEFT, PASTE = "\x7f", "\x1b[D", "\x1b[200~ of two\r\nlines\x1b[201~"
TYPED = f"xallo{BACK * 4}{BACK}Hello worl{LEFT * 4}big \x1b[Fd{PASTE}"
SHOWN = "Hello big world of two lines"


def test_one_write_in_every_field(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=ASK.replace("budget_seconds = 5", "budget_seconds = 20"), train=TRAIN)
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("a approves")
        counts = time.monotonic() + COUNTS_SECONDS  # what answers a proposal does not count in its first moment
        terminal.wait(lambda _: time.monotonic() > counts)
        terminal.press("3")
        for opening in ("n", "v\t", "1/"):
            terminal.press(opening + TYPED)
            terminal.wait(SHOWN)
            terminal.press("\x1b")
            terminal.wait(lambda shown: SHOWN not in shown)
        # On a new first line; and leaving asks, for the text was changed.
        terminal.press("e\r\x1b[A" + TYPED.replace(PASTE, ""))
        terminal.wait("Hello big world")
        terminal.press("\x1b")
        terminal.wait("d  discard")
        terminal.press("dn" + TYPED + "\r")
        terminal.wait(lambda _: SHOWN in (lab / ".autoresearch/t/journal.jsonl").read_text())
        stop_for_good(terminal)
