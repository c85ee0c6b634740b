"""One night as its human lives it, on a real pseudo-terminal, with a real engine, git and runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.state import Experiment, Stage
from tests import warm
from tests.conftest import SETTINGS
from tests.e2e.terminal import Terminal
from tests.history import problems, state_of
from tests.waiting import wait_for

ASK = SETTINGS.replace('mode = "auto"', 'mode = "ask"')
CTRL_S, ESC = "\x13", "\x1b"


@pytest.fixture
def lab(new_lab: Callable[..., Path]) -> Iterator[Path]:
    """A lab that no engine survives, whatever becomes of the test."""
    made = new_lab(settings=ASK)
    yield made
    lock = made / ".autoresearch" / "engine.lock"

    def gone() -> bool:
        with contextlib.suppress(OSError, ValueError):
            os.kill(read_holder(lock).pid, signal.SIGINT) if held(lock) else None
        return not held(lock)

    wait_for(gone, what="the end of the last engine")


def test_a_night(lab: Path) -> None:
    lock = lab / ".autoresearch" / "engine.lock"

    def now() -> tuple[Experiment, ...]:
        return state_of(lab, "t").experiments

    def gate(terminal: Terminal, number: int) -> None:
        """Until it waits, on the frontier, and nothing runs that could move it: what is answered then stands."""

        def waits(_: str) -> bool:
            state = state_of(lab, "t")
            found = state.experiments[number] if number < len(state.experiments) else None
            settled = state.running is None and found is not None and found.proposal.base == state.frontier_commit
            return settled and found is not None and found.stage is Stage.REVIEW

        terminal.wait(waits)
        terminal.wait(f"#{number} waits for you")

    with Terminal(str(lab), "--tag", "t") as terminal:
        # Approve exactly what is on the screen.
        gate(terminal, 1)
        shown = now()[1].commit
        terminal.answer("a", lambda _: now()[1].approved_by == "human")
        terminal.wait(lambda _: now()[1].outcome in ("keep", "discard"))
        assert now()[1].commit == shown

        # Veto in own words; the next request has the reason.
        gate(terminal, 2)
        terminal.answer("v", "or in your own words")
        terminal.press("\ttoo small a step\r")
        terminal.wait(lambda _: now()[2].outcome == "vetoed")
        assert now()[2].reason == "too small a step"

        # Edit a diff by hand, and run what was written.
        gate(terminal, 3)
        proposed = now()[3].commit
        terminal.press_until("r", "another")
        terminal.answer("e", "ctrl+s runs exactly this")
        terminal.press("# by hand\r" + CTRL_S)
        terminal.wait("What does it change now?")
        terminal.press("\r")
        wait_for(lambda: now()[3].approved_by == "human, edited", what="the edited version's approval")
        wait_for(lambda: now()[3].outcome, what="the edited version's verdict")
        assert now()[3].commit != proposed
        ran = subprocess.run(
            ["git", "-C", str(lab), "show", f"{now()[3].commit}:train.py"], check=True, capture_output=True, text=True
        )
        assert "\n# by hand\n" in ran.stdout

        # Another program while the loop runs: the next proposal is made under it.
        gate(terminal, 4)
        before = state_of(lab, "t").program
        terminal.press("e")
        terminal.wait("✓ saved")
        terminal.press("Be bold.\r")
        terminal.wait("● not saved")
        terminal.press(CTRL_S)
        terminal.wait("✓ saved")
        assert lab.joinpath("program.md").read_text().startswith("Be bold.\n")
        terminal.press(ESC)
        terminal.wait("#4 waits for you")
        terminal.answer("v", "or in your own words")
        terminal.press("1")
        wait_for(lambda: len(now()) > 5, what="a proposal under the new program")
        assert now()[5].proposal.program not in ("", before)

        # Leave: the loop continues; come back: it is taken over.
        gate(terminal, 5)
        terminal.press("q")
        assert terminal.ended() == 0
    wait_for(lambda: held(lock) and read_holder(lock).headless, what="an engine without a screen")

    with Terminal(str(lab)) as terminal:
        gate(terminal, 5)
        # Overrule the verdict on the edited one, found by its number.
        edited = now()[3].outcome
        terminal.press("4")
        terminal.wait("o sort")
        terminal.press_until("/", "rows that contain all these words")
        terminal.press("#3\r")
        terminal.wait("1 of 6")
        terminal.press_until("O", "Overrule #3")
        terminal.press("1")
        wait_for(lambda: now()[3].overruled == edited, what="the other verdict")
        assert now()[3].outcome == ("discard" if edited == "keep" else "keep")
        terminal.wait("⇄")
        terminal.press_until("Q", "End the session")
        terminal.press("x")
        assert terminal.ended() == 0

    report = warm.run(["report", str(lab)])
    assert report.returncode == 0, report.stderr
    page = next(Path(line.split()[-1]) for line in report.stdout.splitlines() if line.endswith("report.md"))
    assert "too small a step" in page.read_text("utf-8")
    kinds = [type(record.event) for record in read(lab / ".autoresearch/t/journal.jsonl")]
    assert kinds.count(ev.VerdictOverruled) == 1
    assert problems(lab, "t") == []
