"""A fixed evaluation wears out: looks are counted, kept to a budget, and checked on a holdout that is opened once."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal, looks
from autoresearch_tui.session.state import State
from tests import warm
from tests.conftest import SETTINGS, git, make_lab
from tests.engine.judging.test_fresh import TRAIN as LEAVES
from tests.engine.judging.test_fresh import part
from tests.engine.test_loop import Move, Script, running
from tests.faults.engines import Engines
from tests.history import problems, state_of

JUDGE = """\
import json, os, time
left, split = float(open("left.txt").read()), os.environ.get("AUTORESEARCH_SPLIT")
assert split in (None, "holdout") and "AUTORESEARCH_DRAW" not in os.environ
moved = 2.0 if split else 1.0
print(json.dumps({"scores": [moved + left - 0.25, moved + left + 0.25]}))
print(f"val_bpb: {moved + left:.6f}")
with open(os.environ["COUNTER"], "a") as file:
    file.write(f"{split or 'look'}\\n")
"""


def lab(folder: Path, more: str = "") -> Path:
    counter = folder.parent / "counter"
    settings = SETTINGS.replace("timeout_seconds = 30", f'timeout_seconds = 30\nenv = {{ COUNTER = "{counter}" }}')
    settings += f"""
[lab]
locked = ["prepare.py", "judge.py"]

[metric]
referee = ["{sys.executable}", "-I", "-S", "judge.py"]
{more}
"""
    made = make_lab(folder, settings, LEAVES)
    (made / "judge.py").write_text(JUDGE)
    git(made, "add", "judge.py")
    git(made, "commit", "--quiet", "--message=judge")
    return made


def night(folder: Path, *moves: Move, rows: int) -> State:
    with running(folder, Script(*moves), rows=rows) as driver:
        assert driver.join() == "finished"
    assert problems(folder, "t") == []
    return state_of(folder, "t")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of the baseline and of one gain."""
    folder = lab(tmp_path_factory.mktemp("played") / "lab")
    night(folder, part(2, -1.0), rows=2)
    return folder


@pytest.fixture
def folder(played: Path, tmp_path: Path) -> Path:
    """A copy of one's own, which counts for itself."""
    folder = shutil.copytree(played, tmp_path / "lab", symlinks=True)
    (tmp_path / "counter").touch()
    settings = folder / "autoresearch.toml"
    settings.write_text(settings.read_text().replace(str(played.parent), str(tmp_path)))
    return folder


def tool(*words: str | Path, code: int = 0) -> str:
    done = warm.run([*map(str, words)])
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def openings(folder: Path) -> list[str]:
    """What the referee was asked about the holdout."""
    return [line for line in (folder.parent / "counter").read_text().split() if line == "holdout"]


def test_a_look_is_a_candidate_that_was_compared(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", "baseline_runs = 2")
    state = night(folder, part(2, -1.0), part(3, 0.5), rows=4)
    seen = [each.description for each in state.experiments if looks.is_look(each, state)]
    assert seen == ["part 2 to -1.0", "part 3 to 0.5"]
    assert looks.spent(state) == 2 and looks.left(state) is None


def test_a_budget_that_is_spent_pauses_until_it_is_renewed(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", "testing_budget = 2")
    with running(folder, Script(part(2, -1.0), part(3, 0.5), part(4, -1.0), part(2, -2.0)), rows=0) as driver:
        state = driver.wait(lambda state: state.paused)
        assert state.paused is not None and (state.paused.by, state.paused.limit) == ("engine", "testing_budget")
        assert state.paused.reason == "the testing budget is spent: 2 looks at a fixed evaluation"
        assert looks.spent(state) == 2
        driver.engine.send(cmd.Resume())
        state = driver.wait(lambda state: state.refused)
        assert state.paused is not None and state.refused is not None
        assert state.refused.why == "the testing budget is spent: 2 looks at a fixed evaluation; renew it to continue"
        driver.engine.send(cmd.RenewBudget())
        state = driver.wait(lambda state: looks.spent(state) == 4)
        driver.wait(lambda state: state.paused)
    assert problems(folder, "t") == []
    renewed = [r.event for r in journal.read(folder / ".autoresearch/t/journal.jsonl")]
    assert [each.looks for each in renewed if isinstance(each, ev.BudgetRenewed)] == [2]


def test_without_a_human_the_session_ends_and_a_verb_renews_the_budget(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", "testing_budget = 1")
    words = (folder, "--tag", "t", "--headless", "--experiments", "3")
    tool(*words)
    state = state_of(folder, "t")
    assert state.stopped is not None and (state.stopped.why, state.stopped.limit) == ("finished", "testing_budget")
    assert len(state.table) == 2
    said = tool("status", folder)
    assert "waits for you: `renew` renews it" in said and "1 look, 0 left · luck unknown" in said
    assert "the testing budget is renewed, after 1 look" in tool("renew", folder)
    assert "nothing of the testing budget is spent" in tool("renew", folder)
    tool(*words)
    assert len(state_of(folder, "t").table) == 3
    assert problems(folder, "t") == []


def test_the_holdout_is_opened_once_and_compares_best_and_baseline(folder: Path) -> None:
    night(folder, part(3, 0.5), rows=3)
    assert openings(folder) == []
    said = tool("holdout", folder)
    assert said == (
        "#1 6.000000, the baseline 7.000000: better by 1.000000 ± 0.000000; the holdout was opened after 2 looks\n"
    )
    state = state_of(folder, "t")
    assert state.holdout == ev.HoldoutOpened(6.0, 7.0, 0.0)
    assert openings(folder) == ["holdout", "holdout"]
    assert "better by 1 ± 0 · #1 against #0 · after 2 looks" in tool("status", folder)
    assert json.loads(tool("status", folder, "--json"))["evaluation"]["holdout"]["after_looks"] == 2
    assert "holdout: #1 6.000000, the baseline 7.000000" in tool("experiment", "1", folder)
    again = tool("holdout", folder, code=1)
    assert re.fullmatch(
        r"autoresearch-tui: the holdout was opened after 2 looks, at .* UTC; it opens once for a session\n", again
    )
    assert openings(folder) == ["holdout", "holdout"]
    assert state_of(folder, "t").holdout == state.holdout
    assert problems(folder, "t") == []


def test_an_opening_that_showed_nothing_is_tried_again_with_what_the_runs_left(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab")
    closed, counter = tmp_path / "closed", tmp_path / "counter"
    (folder / "judge.py").write_text(JUDGE + f'assert not (split and os.path.exists("{closed}")), "closed"\n')
    git(folder, "commit", "--quiet", "--all", "--message=closed")
    night(folder, part(2, -1.0), rows=2)
    closed.touch()
    assert "no comparison on the holdout: #0: the referee refused: AssertionError: closed" in tool(
        "holdout", folder, code=1
    )
    closed.unlink()
    assert "#1 6.000000, the baseline 7.000000: better by 1.000000" in tool("holdout", folder)
    assert counter.read_text().split().count("holdout") == 4
    assert not list((folder / ".autoresearch/t/runs").glob("*/work"))
    assert problems(folder, "t") == []


def test_it_is_opened_while_the_session_runs(folder: Path) -> None:
    with running(folder, Script(), rows=0) as driver:
        driver.engine.send(cmd.OpenHoldout())
        driver.engine.send(cmd.OpenHoldout())
        state = driver.wait(lambda state: state.holdout)
        assert state.holdout == ev.HoldoutOpened(6.0, 7.0, 0.0)
        driver.engine.send(cmd.OpenHoldout())
        state = driver.wait(lambda state: state.refused)
        assert state.refused is not None and "opens once" in state.refused.why
    assert openings(folder) == ["holdout", "holdout"]
    assert not list((folder / ".autoresearch/t/runs").glob("*/work"))
    assert problems(folder, "t") == []


@pytest.mark.parametrize("orders", ["after:holdout_asked:1", "before:holdout_opened:1"])
def test_killed_between_the_intent_and_the_opening(engines: Engines, folder: Path, orders: str) -> None:
    assert engines.run(["holdout", str(folder)], folder.parent / "errors", orders=orders) == -signal.SIGKILL
    state = state_of(folder, "t")
    assert state.holdout_asked == ev.HoldoutAsked("human", 1, 0, 1) and state.holdout is None
    assert "better by 1.000000" in tool("holdout", folder)
    records = journal.read(folder / ".autoresearch/t/journal.jsonl")
    kinds = [type(record.event) for record in records]
    assert (kinds.count(ev.HoldoutAsked), kinds.count(ev.HoldoutOpened)) == (1, 1)
    assert problems(folder, "t") == []


def test_an_opening_that_an_engine_left_is_finished_by_the_next(engines: Engines, folder: Path) -> None:
    engines.run(["holdout", str(folder)], folder.parent / "errors", orders="after:holdout_asked:1")
    with running(folder, Script(), rows=0) as driver:
        assert driver.wait(lambda state: state.holdout).holdout == ev.HoldoutOpened(6.0, 7.0, 0.0)


def test_a_lab_without_one_says_so(lab_folder: Path) -> None:
    with running(lab_folder, Script(), rows=1) as driver:
        driver.join()
    assert tool("holdout", lab_folder, code=1) == (
        "autoresearch-tui: this session has no holdout: no locked file reads AUTORESEARCH_SPLIT\n"
    )
    assert "there is no testing budget" in tool("renew", lab_folder, code=1)


def test_a_sealed_split_under_embargo_is_the_holdout(tmp_path: Path) -> None:
    folder = lab(tmp_path / "lab", 'sealed = "embargoed"')
    (folder / "judge.py").write_text(
        "import json\nleft = float(open('left.txt').read())\n"
        "print(json.dumps({'sealed': left + 3, 'sealed_rows': [[left, 1], [left, 1]]}))\nprint('val_bpb:', left)\n"
    )
    git(folder, "commit", "--quiet", "--all", "--message=sealed")
    state = night(folder, part(2, -1.0), rows=2)
    assert all(each.score is not None and each.score.sealed is None for each in state.experiments[:2])
    written = (folder / ".autoresearch/t/journal.jsonl").read_text()
    assert '"sealed":null' in written.replace(" ", "")
    assert json.loads((folder / ".autoresearch/t/runs/0001/score.json").read_text())["embargoed"] == 7
    assert "#1 7.000000, the baseline 8.000000: better by 1.000000 ± 0.000000" in tool("holdout", folder)


def test_the_holdout_stays_shut_where_the_runs_files_are_on_nodes(folder: Path) -> None:
    with (folder / "autoresearch.toml").open("a") as file:
        file.write('[cluster]\naddress = "127.0.0.1:6379"\n')
    said = tool("holdout", folder, code=1)
    assert "the referee would score it in the runs' working copies, and those stay on the cluster's nodes" in said
    assert openings(folder) == []
