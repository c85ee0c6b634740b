"""Failures alike, one after the other: the loop pauses, and says so wherever a human looks first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.cockpit.screens.since import digest
from autoresearch_tui.engine.proposing import asking
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.failures import Streak, alike
from autoresearch_tui.session.state import State
from tests.conftest import SETTINGS
from tests.engine.test_loop import Script, running, turn
from tests.history import problems
from tests.waiting import wait_for

HOOKED = (
    SETTINGS
    + """
[hooks]
stopped = ["sh", "-c", "printf %s \\"$1\\" > told", "sh", "{text}"]
"""
)


def crash(width: int) -> Callable[[Brief], Proposal]:
    """A change of its own each time that ends with the same error, but for a number and an address."""

    def move(brief: Brief) -> Proposal:
        text = brief.files["train.py"].replace(
            'FAIL = ""', f'FAIL = "out of memory: tried {width}.50 GiB at 0x7f{width}a"'
        )
        return Proposal(f"width {width}", "because", {"train.py": text.replace("WIDTH = 8", f"WIDTH = {width}")})

    return move


def test_equal_crashes_pause_the_loop_with_their_cause(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=HOOKED)
    script = Script(*(crash(width) for width in range(10, 22)))
    with running(folder, script) as driver:
        state = driver.wait(lambda s: s.paused and not s.running)
        assert [e.outcome for e in state.table] == ["keep", *["crash"] * 5]
        assert state.paused is not None
        assert state.paused.by == "engine"
        assert state.paused.reason.startswith(
            "the last 5 runs failed alike: crashed: RuntimeError: out of memory: tried "
        )
        assert digest(State(), state)[0] == f"! paused by the engine: {state.paused.reason}"
        wait_for(lambda: (folder / "told").exists() and (folder / "told").read_text())
        assert (folder / "told").read_text().startswith("paused by the engine: the last 5 runs failed alike")
        # It counts anew once a human has resumed it.
        driver.engine.send(cmd.Resume())
        driver.wait(lambda s: s.paused is None)
        state = driver.wait(lambda s: s.paused and not s.running)
        assert len(state.table) == 11
    assert problems(folder, "t") == []


def test_other_failures_between_and_no_limit_let_it_go_on(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=SETTINGS.replace("[run]", "[run]\npause_after_failures = 2"))
    moves = [crash(10), turn("FAIL", "no luck"), crash(11), turn("RATE", 0.9), crash(12), crash(13), crash(14)]
    with running(folder, Script(*moves)) as driver:
        state = driver.wait(lambda s: s.paused and not s.running)
    assert [e.outcome for e in state.table] == ["keep", *["crash"] * 3, "discard", *["crash"] * 2]
    folder = new_lab("unlimited", settings=SETTINGS.replace("[run]", "[run]\npause_after_failures = 0"))
    with running(folder, Script(*(crash(width) for width in range(10, 17))), rows=8) as driver:
        assert driver.join() == "finished"


def test_equal_failures_of_the_researcher_pause_the_loop(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_RETRY_SECONDS", 0.01)

    def fails(brief: Brief) -> Proposal:
        raise ResearcherError(
            f"agent failed with exit code 127 in /tmp/agent-{id(brief):x}; its last lines:\nnot found"
        )

    def refused(brief: Brief) -> Proposal:
        return Proposal("nothing", "", dict(brief.files))

    script = Script(*[fails] * 5, *[refused] * 40)
    with running(lab_folder, script) as driver:
        state = driver.wait(lambda s: s.paused)
        assert state.paused is not None
        assert state.paused.reason.startswith("the last 5 requests for a proposal failed alike: agent failed with exit")
        driver.engine.send(cmd.Resume())
        driver.wait(lambda s: s.paused is None)
        state = driver.wait(lambda s: s.paused)
        assert state.paused is not None
        assert (
            "failed alike: preflight refused 4 proposals; the last: nothing changes in train.py" in state.paused.reason
        )
    # A request is told why the answers to the one before were refused.
    assert script.briefs[4].complaint == "" and script.briefs[9].complaint.startswith("nothing changes")
    assert problems(lab_folder, "t") == []


def test_an_outage_passes_by_itself(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(asking, "LAST_RETRY_SECONDS", 0.05)

    def down(brief: Brief) -> Proposal:
        raise ResearcherError("the API is overloaded (529)", outage=True)

    with running(lab_folder, Script(*[down] * 8, turn("RATE", 0.25)), rows=2) as driver:
        assert driver.join() == "finished"


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB", "CUDA out of memory. Tried to allocate 1.5 GiB", True),
        ("CUDA out of memory. Tried to allocate 20.00 MiB", "CUDA out of memory. Tried to allocate 24.50 MiB", True),
        ("train.py:412: shapes [3, 4]", "train.py:97: shapes [12, 4]", True),
        ("<Model at 0x7f3a1b2c>", "<Model at 0x55d0aa10>", True),
        ("cannot open /tmp/tmpab12x/a", "cannot open /tmp/tmpzz9/a", True),
        ("timed out: step 00100 | loss: 3.1", "timed out: step 00731 | loss: 2.9e-1", True),
        ("KeyError: width", "KeyError: depth", False),
    ],
)
def test_what_is_alike(one: str, two: str, same: bool) -> None:
    assert alike(one, two) is same
    assert Streak().after(one).after(two).count == (2 if same else 1)
