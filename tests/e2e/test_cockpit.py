"""The story of a night on a real pseudo-terminal: approve, veto, edit the program, leave, come back."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.session.state import Stage
from tests.conftest import SETTINGS, THOROUGH, TRAIN
from tests.e2e.terminal import Terminal, rows
from tests.history import problems, state_of, survivors
from tests.waiting import wait_for

ASK = SETTINGS.replace('mode = "auto"', 'mode = "ask"')
SLOW = TRAIN.replace("PAUSE = 0.0", "PAUSE = 2.0")


def stop_headless(lab: Path) -> None:
    """End the engine that continues without a screen, as its farewell says."""
    lock = lab / ".autoresearch" / "engine.lock"
    wait_for(lambda: held(lock) and read_holder(lock).headless, what="the take-over by a headless engine")
    os.kill(read_holder(lock).pid, signal.SIGINT)
    wait_for(lambda: not held(lock), what="the engine's end")


def test_approve_veto_and_stop(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=ASK)
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("a approves")
        terminal.wait(lambda _: len(state_of(lab, "t").table) == 1)
        first = state_of(lab, "t").experiments[1]
        terminal.answer("a", lambda _: state_of(lab, "t").experiments[1].approved_by)
        terminal.wait(lambda _: state_of(lab, "t").experiments[1].outcome)
        assert state_of(lab, "t").experiments[1].commit == first.commit
        assert state_of(lab, "t").experiments[1].approved_by == "human"
        terminal.wait("#2")
        wait_for(lambda: len(state_of(lab, "t").experiments) > 2)
        terminal.answer("v", "or in your own words")
        terminal.press("\r")
        wait_for(lambda: state_of(lab, "t").experiments[2].outcome == "vetoed", what="the veto")
        terminal.press("Q")
        terminal.wait("End the session")
        terminal.press("x")
        assert terminal.ended() == 0
    assert problems(lab, "t") == []


def test_leaving_goes_on_without_a_screen_and_coming_back_takes_over(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(train=SLOW)
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("training #0")
        terminal.press("q")
        assert terminal.ended() == 0
        assert f"autoresearch-tui {lab}" in terminal.text
    wait_for(lambda: len(rows(lab)) >= 2, what="a verdict without a screen")
    with Terminal(str(lab)) as terminal:
        terminal.wait("Since you left")
        terminal.press("\r")
        terminal.wait("training #")
        assert not read_holder(lab / ".autoresearch" / "engine.lock").headless
        terminal.press("q")
        assert terminal.ended() == 0
    stop_headless(lab)
    assert problems(lab, "t") == []


AGENT = """#!/bin/sh
sleep 1
sed -i 's/^RATE = .*/RATE = 0.25/' train.py
"""
SLOW_GIT = """#!/bin/sh
case "$*" in *fast-import*) touch "{lab}/.committing"; sleep 1;; esac
exec {git} "$@"
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def same_numbers(lab: Path, table: list[list[str]]) -> Callable[[str], bool]:
    """Whether a screen shows these rows, and how many of those that there are by now were kept."""

    def shown(text: str) -> bool:
        lines = [line for line in text.splitlines() if "│" in line]
        kept = [e for e in state_of(lab, "t").table if e.outcome == "keep"]
        return f"{len(kept)} kept of {len(rows(lab))}" in text and all(
            any(f"{float(value):.4f}" in line and name in line for line in lines) for _, value, _, _, name in table
        )

    return shown


def seen(lab: Path) -> str:
    """What the session keeps of how far its human has seen it."""
    path = lab / ".autoresearch/t/seen"
    return path.read_text() if path.exists() else ""


def go_and_stop(lab: Path) -> None:
    """Come back as a human would: see what happened, see the same numbers, stop for good."""
    table = rows(lab)
    with Terminal(str(lab), columns=200, lines=50) as terminal:
        terminal.wait("Since you left")
        terminal.press("\r")
        terminal.wait(same_numbers(lab, table))
        terminal.press_until("Q", "End the session")
        terminal.press("x")
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("how", "moment"),
    [
        *(("kill -9", moment) for moment in ("run", "proposal", "commit")),
        ("dropped line", "review"),
        *([("kill -9", "review"), ("dropped line", "commit")] if THOROUGH else []),
    ],
)
def test_a_cockpit_that_ends_at_any_moment_is_the_same_as_leaving(
    new_lab: Callable[..., Path], tmp_path: Path, how: str, moment: str
) -> None:
    agent = tmp_path / "agent.sh"
    settings = ASK if moment == "review" else SETTINGS
    settings = settings.replace('kind = "search"', f'kind = "command"\ncommand = ["{agent}"]')
    lab = new_lab(train=SLOW, settings=settings)
    script(agent, AGENT)
    bin_folder = script(tmp_path / "bin/git", SLOW_GIT.format(lab=lab, git=shutil.which("git"))).parent
    signs = {
        "run": lambda: state_of(lab, "t").running,
        "proposal": lambda: state_of(lab, "t").asks,
        "review": lambda: [e for e in state_of(lab, "t").experiments if e.stage == "review"],
        "commit": (lab / ".committing").exists,
    }
    path = {"PATH": f"{bin_folder}:{os.environ['PATH']}"} if moment == "commit" else {}
    with Terminal(str(lab), "--tag", "t", env=path) as terminal:
        terminal.wait(lambda _: signs[moment]() and seen(lab))
        terminal.hang_up() if how == "dropped line" else terminal.kill()
    lock = lab / ".autoresearch" / "engine.lock"
    wait_for(lambda: held(lock) and read_holder(lock).headless, what="the take-over by a headless engine")
    enough = 1 if moment == "review" else 2
    wait_for(lambda: len(rows(lab)) >= enough, what="the session's going on")
    if moment == "review":
        # A line that drops while a proposal is under review never launches it.
        assert [e.approved_by for e in state_of(lab, "t").experiments] == ["baseline", ""]
    go_and_stop(lab)
    assert problems(lab, "t") == []


@pytest.mark.parametrize("way", ["leave", "stop", "finish", "give up the lab"])
def test_a_cockpit_that_ends_as_it_should_leaves_nobody_behind(new_lab: Callable[..., Path], way: str) -> None:
    lab = new_lab(settings=ASK)
    with Terminal(str(lab), "--tag", "t", *(["--experiments", "1"] if way == "finish" else [])) as terminal:
        terminal.wait("finished" if way == "finish" else "a approves")
        match way:
            case "leave":
                terminal.press("q")
                assert terminal.ended() == 0
                stop_headless(lab)
            case "stop":
                terminal.press_until("Q", "End the session")
                terminal.press("x")
                assert terminal.ended() == 0
            case "finish":
                terminal.kill()
            case _:
                with Terminal(str(lab)) as second:
                    second.wait("has this lab")
                    second.press_until("T", lambda text: "a approves" in text and has_lab(lab, second))
                    terminal.kill()
                    second.press_until("Q", "End the session")
                    second.press("x")
                    assert second.ended() == 0
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert not held(lab / ".autoresearch" / "engine.lock")
    assert problems(lab, "t") == []


def test_a_stop_that_was_asked_for_survives_the_cockpit(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 6.0"))
    with Terminal(str(lab), "--tag", "t") as terminal:
        terminal.wait("training #0")
        terminal.press_until("Q", "End the session")
        terminal.press("a")
        wait_for(lambda: state_of(lab, "t").stopping == "after", what="the stop")
        terminal.kill()
    wait_for(
        lambda: (stopped := state_of(lab, "t").stopped) and stopped.why == "stopped", what="the end after this run"
    )
    assert len(rows(lab)) == 1
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []


def test_a_second_cockpit_has_the_same_keys_and_goes_on_when_the_first_is_killed(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=ASK)
    with Terminal(str(lab), "--tag", "t") as first:
        first.wait("a approves")
        with Terminal(str(lab)) as second:
            second.wait("has this lab")
            at_gate(second, lab, 1)
            second.answer("a", lambda _: state_of(lab, "t").experiments[1].approved_by == "human")
            assert has_lab(lab, first)
            first.kill()
            second.wait(lambda _: has_lab(lab, second))
            at_gate(second, lab, 2)
            second.answer("a", lambda _: state_of(lab, "t").experiments[2].approved_by == "human")
            second.press_until("Q", "End the session")
            second.press("x")
            assert second.ended() == 0
            assert "Session t has stopped" in second.text
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []


def test_a_cockpit_that_leaves_another_behind_needs_no_headless_engine(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=ASK)
    with Terminal(str(lab), "--tag", "t") as host:
        host.wait("a approves")
        guest = Terminal(str(lab))
        guest.wait("a approves")
        host.press("q")
        assert host.ended() == 0
    with guest:
        guest.wait(lambda _: has_lab(lab, guest))
        # And to a third, which asks for it.
        with Terminal(str(lab)) as third:
            third.press_until("T", lambda _: has_lab(lab, third))
            guest.wait("another terminal has taken over")
            # Who ends the session ends it for everybody.
            guest.press_until("Q", "End the session")
            guest.press("x")
            assert third.ended() == 0
        assert guest.ended() == 0
        assert "Session t has stopped" in guest.text
    wait_for(lambda: survivors(lab) == [], what="the end of every process of the lab")
    assert problems(lab, "t") == []


def lock_of(lab: Path) -> Path:
    return lab / ".autoresearch" / "engine.lock"


def has_lab(lab: Path, terminal: Terminal) -> bool:
    """Whether this terminal's process is the engine."""
    return held(lock_of(lab)) and read_holder(lock_of(lab)).pid == terminal.process.pid


def at_gate(terminal: Terminal, lab: Path, number: int) -> None:
    """Until a proposal waits, and nothing runs that could change it."""

    def waits(_: str) -> bool:
        state = state_of(lab, "t")
        one = state.experiments[number] if number < len(state.experiments) else None
        return one is not None and one.stage is Stage.REVIEW and state.running is None

    terminal.wait(waits)
    terminal.wait(f"#{number} waits for you")
