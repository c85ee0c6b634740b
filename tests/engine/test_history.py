"""A lab that others have worked in: their table and branches reach the researcher, the journal and the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from autoresearch_tui import lab as labs
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.report import write_report
from autoresearch_tui.researchers.prompt import build
from tests.conftest import TRAIN, git
from tests.engine.test_loop import Script, turn
from tests.history import problems, state_of

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
    assert [(e.name if e.name in ("exp9", "bad row") else e.description, e.status) for e in state.earlier] == [
        ("rate 0.25", "keep"),
        ("rate 0.75", "discard"),
        ("exp9", "keep"),
        ("bad row", "-"),
    ]
    assert state.earlier_from == "results.tsv"
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


def test_it_is_read_once_and_its_own_sessions_are_none_of_it(lab_folder: Path) -> None:
    worked_in(lab_folder)
    for tag in ("t", "t", "u"):
        Engine(Session(labs.find(lab_folder), tag), Script(), headless=True, rows=1).run()
    journal = (lab_folder / ".autoresearch/t/journal.jsonl").read_text()
    assert journal.count('"type":"history_read"') == 1
    assert len(state_of(lab_folder, "u").earlier) == len(state_of(lab_folder, "t").earlier) == 4


def test_a_new_lab_has_no_history(new_lab: Callable[..., Path]) -> None:
    folder = new_lab()
    Engine(Session(labs.find(folder), "t"), Script(), headless=True, rows=1).run()
    assert state_of(folder, "t").earlier == ()
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
