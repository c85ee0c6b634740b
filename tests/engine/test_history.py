"""A lab that others have worked in: their table and branches reach the researcher, the journal and the report."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.report.report import write_report
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.researchers.prompt import build
from autoresearch_tui.researchers.search.researcher import Search
from autoresearch_tui.session.state import State
from tests import warm
from tests.conftest import SETTINGS, TRAIN, git
from tests.engine.test_loop import Move, Script, running, turn
from tests.history import problems, state_of

pytestmark = pytest.mark.usefixtures("unconfined")

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def worked_in(folder: Path) -> str:
    """An old loop's branch with a keep, a discarded commit that is still there, and its table; returns the table."""
    git(folder, "checkout", "--quiet", "-b", "autoresearch/mar5")
    commits = []
    for rate in (0.25, 0.75):
        (folder / "train.py").write_text(TRAIN.replace("RATE = 0.5", f"RATE = {rate}"))
        git(folder, "commit", "--all", "--quiet", f"--message=rate {rate}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    git(folder, "reset", "--quiet", "--hard", "HEAD~1")
    git(folder, "tag", "lost", commits[1])
    git(folder, "checkout", "--quiet", "main")
    table = HEADER + f"{commits[1][:7]}\t1.9\t2.0\tdiscard\trate 0.75\nexp9\t1.2\t2.0\tkeep\twidth 12\nbad row\n"
    (folder / "results.tsv").write_text(table)
    return table


def test_what_others_left_is_history(lab_folder: Path) -> None:
    table = worked_in(lab_folder)
    again, other = turn("RATE", 0.75), turn("RATE", 0.3)
    script = Script(again, other)
    Engine(Session(labs.find(lab_folder), "t"), script, headless=True, rows=2).run()
    state = state_of(lab_folder, "t")
    assert [(e.name if e.name in ("exp9", "bad row") else e.description, e.status) for e in state.prior] == [
        ("rate 0.25", "keep"),
        ("rate 0.75", "discard"),
        ("exp9", "keep"),
        ("bad row", "-"),
    ]
    assert state.prior_source == "results.tsv"
    # The table of others is never overwritten; ours is in the session's folder.
    assert (lab_folder / "results.tsv").read_text() == table
    # The researcher is told, and code that was discarded before is not run again.
    text = build(script.briefs[0]).text
    assert "keep 1.2: width 12" in text
    assert "keep: rate 0.25" in text
    assert len(script.briefs) == 2
    assert "from before this session" in script.briefs[1].complaint
    report = "".join(path.read_text() for path in write_report(labs.find(lab_folder), "t", lab_folder / "out")[:1])
    assert "Before this session" in report
    assert "bad row" in report
    assert problems(lab_folder, "t") == []


def test_it_is_read_once_and_our_own_branches_are_none_of_it(lab_folder: Path) -> None:
    worked_in(lab_folder)
    for tag in ("t", "t", "u"):
        Engine(Session(labs.find(lab_folder), tag), Script(), headless=True, rows=1).run()
    journal = (lab_folder / ".autoresearch/t/journal.jsonl").read_text()
    assert journal.count('"type":"history_read"') == 1
    others = [e for e in state_of(lab_folder, "u").prior if not e.session]
    assert len(others) == len(state_of(lab_folder, "t").prior) == 4


def test_a_new_lab_has_no_history(new_lab: Callable[..., Path]) -> None:
    folder = new_lab()
    Engine(Session(labs.find(folder), "t"), Script(), headless=True, rows=1).run()
    assert state_of(folder, "t").prior == ()
    assert '"history_read"' not in (folder / ".autoresearch/t/journal.jsonl").read_text()


def test_a_long_history_takes_a_share_of_the_request(lab_folder: Path) -> None:
    rows = "".join(f"abc{n:04x}\t{2 - n / 1e4}\t1.0\tdiscard\tidea number {n} {'x' * 80}\n" for n in range(900))
    (lab_folder / "results.tsv").write_text(HEADER + rows)
    script = Script(turn("RATE", 0.3))
    Engine(Session(labs.find(lab_folder), "t"), script, headless=True, rows=2).run()
    text = build(script.briefs[0]).text
    assert "more are left out" in text
    assert "idea number 899" in text
    assert len(text) < 60_000


def test_what_a_branch_took_back_is_history_but_was_not_kept(lab_folder: Path) -> None:
    """As loops undo a commit: by `git revert`, and by checking the file out again; and a Markdown table beside it."""
    git(lab_folder, "checkout", "--quiet", "-b", "autoresearch/mar5")
    kept = git(lab_folder, "rev-parse", "HEAD")
    for rate in (0.25, 0.75, 0.9):
        (lab_folder / "train.py").write_text(TRAIN.replace("RATE = 0.5", f"RATE = {rate}"))
        git(lab_folder, "commit", "--all", "--quiet", f"--message=rate {rate}")
        if rate == 0.25:
            kept = git(lab_folder, "rev-parse", "HEAD")
        elif rate == 0.75:
            git(lab_folder, "revert", "--no-edit", "HEAD")
        else:
            git(lab_folder, "checkout", "--quiet", kept, "--", "train.py")
            git(lab_folder, "commit", "--all", "--quiet", "--message=back to the best")
    git(lab_folder, "checkout", "--quiet", "main")
    table = f"# Night\n\n| commit | val_bpb | status |\n|---|---|---|\n| {kept[:7]} | **1.8** | ✅ keep |\n"
    (lab_folder / "results.md").write_text(table)
    Engine(Session(labs.find(lab_folder), "t"), Script(), headless=True, rows=1).run()
    state = state_of(lab_folder, "t")
    assert state.prior_source == "results.md"
    assert [(e.description, e.status, e.value) for e in state.prior] == [
        ("rate 0.75", "discard", None),
        ("rate 0.9", "discard", None),
        ("-", "keep", 1.8),
    ]
    assert state.prior[-1].commit == kept


def test_thousands_of_branches_are_one_question_to_git(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(lab_folder, "rev-parse", "HEAD")
    refs = "".join(f"{head} refs/heads/autoresearch/night{n:04}\n" for n in range(3000))
    (lab_folder / ".git" / "packed-refs").write_text(refs)
    asked: list[str] = []
    run = subprocess.run

    def counted(words: list[str], **options: Any) -> Any:
        asked.append(next(word for word in words if word in ("log", "for-each-ref")))
        return run(words, **options)

    repo = GitRepo(lab_folder)
    branches = sorted(repo.branches() - {"main"})
    assert len(branches) == 3000
    monkeypatch.setattr(subprocess, "run", counted)
    assert repo.changes_on(branches, ["train.py"]) == []
    assert asked == ["for-each-ref", "log"]


ASK = SETTINGS.replace('mode = "auto"', 'mode = "ask"')


def night(folder: Path, tag: str, *moves: Move, rows: int) -> tuple[State, Script]:
    script = Script(*moves)
    Engine(Session(labs.find(folder), tag), script, headless=True, rows=rows).run()
    return state_of(folder, tag), script


def test_a_new_session_knows_what_our_own_nights_tried(lab_folder: Path) -> None:
    """Crashed, kept and discarded: told with its result, and never run again, as code or as values."""
    first, _ = night(lab_folder, "t", turn("FAIL", "no luck"), turn("RATE", 0.9), turn("RATE", 0.25), rows=4)
    assert [e.outcome for e in first.experiments] == ["keep", "crash", "discard", "keep"]

    def respelled(brief: Brief) -> Proposal:
        return Proposal("a ratio", "", {"train.py": brief.files["train.py"].replace("RATE = 0.5", "RATE = 1.8 / 2")})

    again = (turn("FAIL", "no luck"), turn("RATE", 0.25), respelled, turn("WIDTH", 16))
    state, script = night(lab_folder, "u", *again, rows=2)
    assert [(e.name, e.status, e.value) for e in state.prior] == [
        (f"t#{e.number}", e.outcome, e.value) for e in first.experiments
    ]
    assert "t #2 discard 1.664625: RATE to 0.9" in build(script.briefs[0]).text
    assert [brief.complaint.partition(";")[0] for brief in script.briefs[1:3]] == [
        "the same code as experiment 1 of session t",
        "the same code as experiment 3 of session t",
    ]
    told = 'the same values, only written in another way, as experiment 2 of session t, "RATE to 0.9"'
    assert script.briefs[3].complaint.startswith(told)
    assert [e.description for e in state.experiments][1:2] == ["WIDTH to 16"]
    report = write_report(labs.find(lab_folder), "u", lab_folder / "out")[0].read_text()
    assert "results from its earlier sessions" in report
    assert problems(lab_folder, "u") == []


def test_what_was_vetoed_in_another_session_stays_vetoed(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=ASK + 'unattended = "veto"\nafter_seconds = 0\n')
    with running(folder, Script(turn("RATE", 0.25))) as driver:
        driver.wait(lambda s: [e.outcome for e in s.experiments[:2]] == ["keep", "vetoed"])
    (folder / "autoresearch.toml").write_text(SETTINGS.replace("budget_seconds = 5", "budget_seconds = 4"))
    state, script = night(folder, "u", turn("RATE", 0.25), turn("WIDTH", 16), rows=2)
    flags = ("its budget was 5 s",)
    assert [(e.status, e.flags) for e in state.prior] == [("keep", flags), ("vetoed", flags)]
    assert "t #1 vetoed: RATE to 0.25 | vetoed because: nobody answered in time" in build(script.briefs[0]).text
    assert script.briefs[1].complaint.startswith("the same code as experiment 1 of session t")
    assert [e.description for e in state.experiments] == ["baseline", "WIDTH to 16"]


def test_nearly_the_same_idea_of_another_session_goes_back_once(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=SETTINGS.replace('kind = "search"', 'kind = "claude"'))

    def says(name: str, value: object, words: str) -> Move:
        def move(brief: Brief) -> Proposal:
            made = turn(name, value)(brief)
            assert made is not None
            return Proposal(words, "because", made.files)

        return move

    night(folder, "t", says("RATE", 0.9, "Raise RATE from 0.5 to 0.9"), rows=2)
    near = says("WIDTH", 7, "Increase rate: 0.5 → 0.90")
    state, script = night(folder, "u", near, near, rows=2)
    assert script.briefs[1].complaint.startswith('nearly the same idea as experiment 1 of session t, "Raise RATE')
    assert "ended as discard with 1.664625" in script.briefs[1].complaint
    assert "repeat nearly experiment 1 of session t; its researcher was told" in state.experiments[1].proposal.flags[-1]
    assert state.experiments[1].proposal.duplicate_of is None


def test_the_offline_search_goes_another_way_each_night(lab_folder: Path) -> None:
    """Same seed, same lab: without a memory the second night is the first one again."""
    seen: set[str] = set()
    for tag in ("t", "u", "v"):
        Engine(Session(labs.find(lab_folder), tag), Search(), headless=True, rows=4).run()
        commits = [e.commit for e in state_of(lab_folder, tag).experiments if e.number and e.outcome != "withdrawn"]
        texts = {git(lab_folder, "show", f"{commit}:train.py") for commit in commits}
        assert not texts & seen
        seen |= texts
        assert state_of(lab_folder, tag).failures == 0


def test_a_session_that_cannot_be_read_is_named(lab_folder: Path) -> None:
    night(lab_folder, "t", rows=1)
    path = lab_folder / ".autoresearch/t/journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"baseline", b"baselime", 1))
    state, _ = night(lab_folder, "u", rows=1)
    assert state.prior == ()
    assert (
        "t cannot be read, and what was tried there is not known here"
        in (lab_folder / ".autoresearch/u/journal.jsonl").read_text()
    )


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run([str(folder), "--headless", "--experiments", "1", *words])


def test_a_new_session_starts_from_the_best_of_all_if_it_is_told_to(lab_folder: Path) -> None:
    night(lab_folder, "t", turn("RATE", 0.25), rows=2)
    further, _ = night(lab_folder, "u", turn("RATE", 0.2), rows=2)
    night(lab_folder, "v", rows=1)
    assert further.best is not None
    plain = command(lab_folder, "--tag", "w")
    assert plain.returncode == 0
    assert (
        "autoresearch-tui: session u reached 1.069625 with #1; this one starts from what is checked out, and "
        "`--new --from best` starts there\n"
    ) in plain.stderr
    assert state_of(lab_folder, "w").experiments[0].value == pytest.approx(1.204625)

    best = command(lab_folder, "--from", "best", "--tag", "x")
    assert (best.returncode, best.stderr) == (0, "")
    state = state_of(lab_folder, "x")
    assert state.session is not None
    assert state.session.base == state.experiments[0].commit == further.best.commit
    assert state.experiments[0].value == pytest.approx(further.best.value)
    assert problems(lab_folder, "x") == []

    # The session is there now: what is asked for is a new one.
    again = command(lab_folder, "--from", "best", "--tag", "x")
    assert again.returncode == 2
    assert again.stderr.startswith("autoresearch-tui: --tag x: that session exists; choose another tag")


def test_what_was_measured_otherwise_is_no_best_to_start_from(lab_folder: Path) -> None:
    assert "there is no earlier session" in command(lab_folder, "--from", "best").stderr
    night(lab_folder, "t", turn("RATE", 0.25), rows=2)
    done = command(lab_folder, "--from", "best", "--tag", "u", "--budget", "7")
    assert done.returncode == 2
    assert done.stderr == (
        "autoresearch-tui: --from best: nothing of them can be compared (t: its budget was 5 s); "
        "leave it out to start from what is checked out\n"
    )
    (lab_folder / "train.py").write_text(TRAIN.replace("RATE = 0.5", "RATE = 0.4"))
    done = command(lab_folder, "--from", "best", "--tag", "u")
    assert done.returncode == 2
    assert "train.py has changes that would not be used; commit them or put them aside" in done.stderr
