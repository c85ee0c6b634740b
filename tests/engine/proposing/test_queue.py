"""What is asked, from where, and what becomes of repeats and crashes: through the real loop."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine.proposing import base_choice
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Script, running, turn
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")

AGENT = SETTINGS.replace('kind = "search"', 'kind = "claude"')


def says(name: str, value: object, description: str) -> Callable[[Brief], Proposal]:
    """A proposal of :func:`verdict_index` in other words."""

    def move(brief: Brief) -> Proposal:
        made = turn(name, value)(brief)
        assert made is not None
        return Proposal(description, "because", made.files)

    return move


def made(folder: Path) -> list[ev.ProposalMade]:
    events = [record.event for record in read(folder / ".autoresearch/t/journal.jsonl")]
    return [event for event in events if isinstance(event, ev.ProposalMade)]


def test_nearly_the_same_idea_goes_back_once_with_its_result_and_may_be_insisted_on(
    new_lab: Callable[..., Path],
) -> None:
    folder = new_lab(settings=AGENT)
    script = Script(
        says("RATE", 0.9, "Raise RATE from 0.5 to 0.9"),
        says("WIDTH", 5, "Narrow the model"),
        says("WIDTH", 7, "Increase rate: 0.5 → 0.90"),
        says("WIDTH", 7, "Increase rate: 0.5 → 0.90"),
    )
    with running(folder, script, rows=4) as driver:
        driver.join()
    assert [b.complaint[:45] for b in script.briefs[2:4]] == ["", 'nearly the same idea as experiment 1, "Raise ']
    assert "ended as discard with 1.664625" in script.briefs[3].complaint
    state = state_of(folder, "t")
    assert [e.proposal.duplicate_of for e in state.experiments] == [None, None, None, 1]
    assert "repeat nearly experiment 1" in state.experiments[3].proposal.flags[-1]
    assert problems(folder, "t") == []


def test_a_repeat_is_withdrawn_by_another_idea(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=AGENT)
    script = Script(
        says("RATE", 0.9, "Raise RATE to 0.9"), says("WIDTH", 7, "Raise RATE to 0.90"), says("WIDTH", 16, "Wider")
    )
    with running(folder, script, rows=3) as driver:
        driver.join()
    assert [e.description for e in state_of(folder, "t").experiments[1:]] == ["Raise RATE to 0.9", "Wider"]
    assert made(folder)[2].duplicate_of is None


def test_the_same_values_in_other_writing_go_back_even_to_the_offline_search(lab_folder: Path) -> None:
    def respelled(brief: Brief) -> Proposal:
        text = brief.files["train.py"].replace("RATE = 0.5", "RATE = 1.8 / 2")
        return Proposal("RATE as a ratio", "", {"train.py": text})

    script = Script(turn("RATE", 0.9), respelled, says("WIDTH", 16, "RATE to 0.9"))
    with running(lab_folder, script, rows=3) as driver:
        driver.join()
    assert script.briefs[2].complaint.startswith("the same values, only written in another way, as experiment 1,")
    # Its descriptions are alike by design, so words alone are no reason.
    assert state_of(lab_folder, "t").experiments[2].description == "RATE to 0.9"


def test_a_crash_goes_back_to_the_agent_with_its_files_and_its_cause(new_lab: Callable[..., Path]) -> None:
    late = TRAIN.replace("if FAIL:\n", "if FAIL:\n    time.sleep(0.7)\n")
    folder = new_lab(settings=AGENT, train=late)

    def crashes(brief: Brief) -> Proposal:
        text = brief.files["train.py"].replace("RATE = 0.5", "RATE = 0.25").replace('FAIL = ""', 'FAIL = "no luck"')
        return Proposal("RATE to a quarter", "", {"train.py": text})

    def fixes(brief: Brief) -> Proposal:
        assert brief.fixes == 1
        assert "RATE = 0.25" in brief.files["train.py"]
        assert "RuntimeError: no luck" in brief.history[1].reason
        return Proposal("RATE to a quarter", "mended", {"train.py": brief.files["train.py"].replace("no luck", "")})

    def after(brief: Brief) -> Proposal | None:
        assert brief.fixes is None
        return turn("WIDTH", 9)(brief)

    # While 1 trains, 2 is proposed; so 3 is the mend.
    script = Script(crashes, turn("WIDTH", 12), fixes, after)
    with running(folder, script, rows=5) as driver:
        driver.join()
    state = state_of(folder, "t")
    assert state.failed is None
    assert [e.outcome for e in state.experiments[:4]] == ["keep", "crash", "keep", "keep"]
    assert [e.proposal.fixes for e in state.experiments[:4]] == [None, None, None, 1]
    text = git(folder, "show", f"{state.experiments[3].commit}:train.py")
    # The mend stands on what was kept meanwhile.
    assert re.search(r"^RATE = 0.25$", text, re.M) and re.search(r"^WIDTH = 12$", text, re.M)
    assert problems(folder, "t") == []


def test_on_a_plateau_a_side_branch_starts_at_an_earlier_keep_and_the_frontier_may_move_there(
    new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_choice, "RESTART_AFTER", 2)
    folder = new_lab(settings=AGENT)
    seen: list[Brief] = []

    def aside(brief: Brief) -> Proposal | None:
        seen.append(brief)
        return turn("RATE", 0.125)(brief)

    # 1 is kept, 2 to 4 are not; 5 starts from the baseline and beats everything.
    script = Script(turn("RATE", 0.45), *(turn("WIDTH", width) for width in (1, 2, 3)), aside, turn("WIDTH", 16))
    with running(folder, script, rows=7) as driver:
        driver.join()
    state = state_of(folder, "t")
    side = next(e for e in state.experiments if e.proposal.exploratory)
    assert seen[0].exploratory == 0
    assert side.proposal.base == state.experiments[0].commit
    assert side.outcome == "keep"
    assert git(folder, "rev-parse", f"{side.commit}^") == state.experiments[0].commit
    # What was proposed next starts from the new frontier, on the side branch.
    last = state.experiments[6]
    assert state.frontier is not None
    assert (last.proposal.base, last.outcome) == (side.commit, "keep")
    assert git(folder, "merge-base", f"{last.commit}", state.experiments[1].commit) == state.experiments[0].commit
    assert problems(folder, "t") == []


def test_each_verdict_leaves_a_lesson_that_the_next_request_has(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=AGENT)
    path = folder / ".autoresearch/t/lessons.md"

    def edits(brief: Brief) -> Proposal | None:
        path.write_text(path.read_text().replace("## #0 keep: baseline", "## #0 keep: the start, says Ada"))
        return turn("WIDTH", 4)(brief)

    script = Script(turn("RATE", 0.25), edits, turn("WIDTH", 3), turn("WIDTH", 2))
    with running(folder, script, rows=4) as driver:
        driver.join()
    text = path.read_text()
    assert [int(n) for n in re.findall(r"^## #(\d+) ", text, re.M)] == [0, 1, 2, 3]
    assert "says Ada" in text
    assert "says Ada" in script.briefs[2].lessons
    assert "## #1 keep" in script.briefs[-1].lessons


def test_the_session_counts_the_tokens_of_proposals_that_failed_as_well(new_lab: Callable[..., Path]) -> None:
    def fails(_brief: Brief) -> Proposal | None:
        raise ResearcherError("overloaded", retry_after=0.05, usage=Usage(30, 4, 0.5))

    def proposes(brief: Brief) -> Proposal:
        found = turn("RATE", 0.25)(brief)
        assert found is not None
        return Proposal("RATE", "", found.files, Usage(100, 20, 0.25))

    folder = new_lab(settings=AGENT)
    with running(folder, Script(fails, proposes), rows=2) as driver:
        driver.join()
    state = state_of(folder, "t")
    assert (state.tokens, state.usd) == (154, 0.75)
    assert state.experiments[1].proposal.tokens == 120


QUEUE = 'kind = "search"\nqueue = 3'


def test_a_queue_of_three_is_filled_and_each_waits_its_turn(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(
        settings=SETTINGS.replace('kind = "search"', QUEUE), train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 3")
    )
    script = Script(
        turn("RATE", 0.25),
        turn("RATE", 0.25),  # the same code as one that waits
        turn("WIDTH", 12),
        turn("WIDTH", 20),
        turn("RATE", 0.125),
    )
    with running(folder, script, rows=4) as driver:
        state = driver.wait(lambda s: s.running is not None and len(s.waiting) == 3)
        assert [e.number for e in state.waiting] == [1, 2, 3]
        assert {e.proposal.base for e in state.waiting} == {state.frontier_commit}
        assert script.briefs[2].complaint.startswith("the same code as experiment 1")
        assert [a.outcome for a in script.briefs[3].history] == ["waiting"] * 3
        assert len(script.briefs) == 4
        driver.join()
    state = state_of(folder, "t")
    assert [e.outcome for e in state.table[:2]] == ["keep", "keep"]
    # Two that turn the same line: the later one no longer applies, and runs where it was made.
    assert state.experiments[3].proposal.base == state.experiments[1].commit
    assert [e.outcome for e in state.experiments[:4]] == ["keep", "keep", "keep", "discard"]
    assert problems(folder, "t") == []


def test_what_becomes_the_same_as_an_earlier_one_by_merging_is_not_run(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(
        settings=SETTINGS.replace('kind = "search"', QUEUE), train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 2")
    )

    def both(brief: Brief) -> Proposal:
        text = brief.files["train.py"].replace("RATE = 0.5", "RATE = 0.25").replace("WIDTH = 8", "WIDTH = 2")
        return Proposal("both", "", {"train.py": text})

    script = Script(both, turn("RATE", 0.25), turn("WIDTH", 2), turn("WIDTH", 9))
    with running(folder, script, rows=4) as driver:
        driver.wait(lambda s: len(s.waiting) == 3)
        driver.join()
    state = state_of(folder, "t")
    assert [e.outcome for e in state.experiments] == ["keep", "discard", "keep", "withdrawn", "keep"]
    assert "the same code as experiment 1 now" in state.experiments[3].reason
    assert problems(folder, "t") == []


@pytest.mark.parametrize(
    ("limit", "usage", "said"),
    [
        ("max_usd = 0.3", Usage(1, 1, 0.2), "has cost $0.40; `researcher.max_usd` is $0.30"),
        ("max_tokens = 3_000", Usage(1_500, 500), "has taken 4,000 tokens; `researcher.max_tokens` is 3,000"),
    ],
)
def test_no_more_is_asked_for_than_may_be_spent(
    new_lab: Callable[..., Path], limit: str, usage: Usage, said: str
) -> None:
    folder = new_lab(settings=SETTINGS.replace('kind = "search"', f'kind = "search"\n{limit}'))

    def fails(brief: Brief) -> Proposal:
        raise ResearcherError("half an answer", usage=usage, retry_after=0)

    def costs(brief: Brief) -> Proposal:
        made = turn("RATE", 0.25)(brief)
        assert made is not None
        return replace(made, usage=usage)

    script = Script(fails, costs, turn("WIDTH", 9))
    with running(folder, script) as driver:
        state = driver.wait(lambda s: s.paused is not None and len(s.table) == 2)
        assert state.paused is not None and state.paused.by == "engine" and said in state.paused.reason
        assert len(script.briefs) == 2


@pytest.mark.parametrize("settings", [SETTINGS, AGENT])
def test_what_was_withdrawn_before_it_ran_may_be_proposed_again(new_lab: Callable[..., Path], settings: str) -> None:
    """#2 was made beside #1, which was kept: it no longer applies, and another one waits that does."""
    settings = settings.replace("[researcher]", "[researcher]\nqueue = 2")
    folder = new_lab(settings=settings, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 2"))
    script = Script(turn("RATE", 0.25), turn("RATE", 0.125), turn("WIDTH", 2), turn("RATE", 0.125), turn("WIDTH", 3))
    with running(folder, script, rows=4) as driver:
        driver.wait(lambda s: s.experiments and len(s.waiting) == 2 and len(s.experiments) == 4)
        driver.join()
    state = state_of(folder, "t")
    assert [(e.description, e.outcome) for e in state.experiments[1:5]] == [
        ("RATE to 0.25", "keep"),
        ("RATE to 0.125", "withdrawn"),
        ("WIDTH to 2", "discard"),
        ("RATE to 0.125", "keep"),
    ]
    assert state.experiments[2].attempt == 0
    assert problems(folder, "t") == []


@pytest.mark.parametrize(("rate", "outcome"), [(0.125, "keep"), (0.4, "discard")])
def test_a_proposal_that_clashes_runs_on_its_own_base_rather_than_the_accelerator_idles(
    new_lab: Callable[..., Path], rate: float, outcome: str
) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.5"))
    script = Script(turn("RATE", 0.25), turn("RATE", rate))
    with running(folder, script, rows=3) as driver:
        driver.join()
    state = state_of(folder, "t")
    base, first, second = state.experiments
    assert (first.outcome, second.outcome, second.proposal.base) == ("keep", outcome, base.commit)
    assert second.reason.startswith(f"{second.value:.6f} against {first.value:.6f} (#1)")
    assert state.frontier is (second if outcome == "keep" else first)
    assert git(folder, "rev-parse", "autoresearch/t") == state.frontier_commit
    assert problems(folder, "t") == []
