"""What a new session learns of the lab's earlier ones: from their journals, their lessons and their outlines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine import own_sessions
from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.engine.proposing.fingerprints import Fingerprints, of
from autoresearch_tui.lab.devices import Visible
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.hardware import hardware
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.researchers import history
from autoresearch_tui.researchers.base import Attempt
from autoresearch_tui.session.comparing import Measured, measured
from autoresearch_tui.session.prior_results import from_rows, to_rows
from tests.night import BEGAN, Night

H100, CPU = "NVIDIA H100 80GB HBM3", "a processor"


def here(commits: Sequence[str]) -> Mapping[str, str]:
    return {commit: commit for commit in commits}


def lab_with(root: Path, *nights: tuple[str, Sequence[tuple[str, float | None]]]) -> tuple[Lab, list[Night]]:
    """A lab with a session for each of these, the last one written to last."""
    made = []
    for place, (tag, experiments) in enumerate(nights):
        night = Night(root, tag=tag, start=BEGAN + timedelta(days=place))
        for verdict, value in experiments:
            night.experiment(verdict, value)
        when = BEGAN.timestamp() + place
        os.utime(night.files.journal, (when, when))
        made.append(night)
    assert made[0].lab is not None
    return made[0].lab, made


def test_what_ran_what_did_not_and_why(tmp_path: Path) -> None:
    lab, (old, new) = lab_with(tmp_path, ("old", [("keep", 0.99), ("vetoed", None), ("crash", None)]), ("new", []))
    again = old.repeat(0)
    old.launch(again)
    old.end(again, "discard", 0.991)
    old.experiment("withdrawn")
    old.gate(old.proposal("it still waits"))
    now = measured(new.state)
    assert now is not None
    earlier = own_sessions.read(lab, now, here)
    assert [(one.name, one.status, one.value, one.settled) for one in earlier.results] == [
        ("old#0", "keep", 0.99, True),
        ("old#1", "vetoed", None, True),
        ("old#2", "crash", None, True),
        ("old#3", "repeat", 0.991, False),
        ("old#4", "withdrawn", None, False),
        ("old#5", "waiting", None, False),
    ]
    assert earlier.results[1].reason == "seed hacking"
    assert earlier.results[2].reason == "RuntimeError: shapes do not match"
    assert from_rows(to_rows(earlier.results)) == earlier.results
    attempts = [Attempt(o.number, o.commit, "", o.description, "", o.status, o.value, o.reason, session="old")
                for o in earlier.results]  # fmt: skip
    told = history.prior(attempts, old.state.goal, 4000)
    assert told.splitlines()[0] == (
        "Session old: 1 crash, 1 keep, 1 never run, 1 repeat, 1 vetoed, 1 withdrawn; the best kept score is 0.99."
    )
    assert "old #5 never run: it still waits" in told
    assert "| RuntimeError: shapes do not match" in told
    assert "| vetoed because: seed hacking" in told


def test_no_kind_crowds_the_others_out() -> None:
    outcomes = ["vetoed", "crash", "waiting", "discard", *["keep"] * 500]
    attempts = [
        Attempt(n, f"c{n}", "", f"idea {n}", "", outcome, 1.0 if outcome in ("keep", "discard") else None, "because",
                session="old")
        for n, outcome in enumerate(outcomes)
    ]  # fmt: skip
    told = history.prior(attempts, Goal.MINIMIZE, 2000)
    assert len(told) <= 2000
    for kept in ("old #0 vetoed", "old #1 crash", "old #2 never run", "old #3 discard", "old #503 keep"):
        assert kept in told


def test_scores_of_another_kind_are_flagged_and_no_best(tmp_path: Path) -> None:
    lab, (far, near, now) = lab_with(
        tmp_path, ("far", [("keep", 0.5)]), ("near", [("keep", 0.99), ("keep", 0.98)]), ("now", [("keep", 0.99)])
    )
    session = now.state.session
    assert session is not None
    for night, on in ((far, CPU), (near, H100)):
        assert night.state.engine is not None
        night.add(replace(night.state.engine, hardware=on))
    mine = Measured(session, H100)
    best, otherwise = own_sessions.best(lab, mine, here)
    assert best is not None
    assert (best.session, best.number, best.value) == ("near", 1, 0.98)
    assert otherwise == {"far": (f"it ran on {CPU}",)}
    flags = {one.session: one.flags for one in own_sessions.read(lab, mine, here).results}
    assert flags == {"far": (f"it ran on {CPU}",), "near": ()}
    # Where its commit is gone there is nowhere to start from; hardware that nobody noted contradicts nothing.
    assert own_sessions.best(lab, mine, lambda _: {})[0] is None
    assert not own_sessions.best(lab, Measured(session), here)[1]


def test_a_session_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    lab, (old, new) = lab_with(tmp_path, ("old", [("keep", 0.99)]), ("new", []))
    old.files.journal.write_bytes(old.journal.replace(b"val_bpb", b"val_bpc", 1))
    now = measured(new.state)
    assert now is not None
    assert own_sessions.read(lab, now, here) == own_sessions.Earlier((), ("old",), "")
    assert own_sessions.best(lab, now, here) == (None, {})


def test_lessons_are_handed_on_the_human_s_words_first_and_once(tmp_path: Path) -> None:
    _, (old, new) = lab_with(tmp_path, ("old", [("keep", 0.99), ("discard", 1.2)]), ("new", []))
    path = old.files.lessons
    lessons.Lessons(path).keep(old.state)
    text = path.read_text().replace("it did not hold here", "only at this width")
    path.write_text(text.replace("\n## #0", "\nNever touch the tokenizer.\n\n## #0"))
    handed = lessons.inherited(lessons.own(path, "old", old.state))
    assert "## old, in a human's words\nNever touch the tokenizer." in handed
    assert "## old, in a human's words\n#1 discard" in handed
    assert "## old #0 keep: baseline" in handed

    lessons.begin(new.files.lessons, handed)
    lessons.begin(new.files.lessons, "another")
    new.experiment("keep", 0.98)
    lessons.Lessons(new.files.lessons).keep(new.state)
    told = lessons.Lessons(new.files.lessons).recall(new.state)
    assert told.index("Never touch the tokenizer.") < told.index("## old #0 keep") < told.index("## #0 keep")
    # A third session gets the first one's from the first, and only what is new from the second.
    assert [text.partition(":")[0] for _, text in lessons.own(new.files.lessons, "new", new.state)] == [
        "## new #0 keep"
    ]
    # Where room is short, what was handed on goes before this session's keeps, and the human's words stay.
    short = lessons.Lessons(new.files.lessons).recall(new.state, 330)
    assert "Never touch the tokenizer." in short
    assert "## old #0 keep" not in short


def test_many_sessions_hand_on_no_more_than_one(tmp_path: Path) -> None:
    part = (2, "## old #1 discard: " + "x" * 300 + "\n")
    words = (0, "## old, in a human's words\nNever touch the tokenizer.\n")
    handed = lessons.inherited([words, *[part] * 100])
    assert len(handed) <= lessons.INHERITED
    assert handed.startswith(words[1])


def test_fingerprints_outlive_the_engine_and_any_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "fingerprints"
    code = {f"{n:040x}": ({"train.py": f"RATE = {n}\n"}, {"train.py": "RATE = 9\n"}) for n in range(3)}
    known = Fingerprints(path, ["train.py"])
    known.add(code)
    known.add(code)
    assert len(path.read_text().splitlines()) == 4
    monkeypatch.setattr("autoresearch_tui.engine.proposing.fingerprints.of", lambda *_: pytest.fail("worked out again"))
    again = Fingerprints(path, ["train.py"])
    again.add(code)
    for commit, files in code.items():
        assert [again.having(field, print_) for field, print_ in of(*files)._asdict().items()] == [{commit}] * 3
    assert again.having("setting", of(*files).code) == again.having("code", "0" * 64) == frozenset()
    # A line that was cut costs itself alone; of other files nothing is known.
    path.write_text(path.read_text()[:-10])
    assert Fingerprints(path, ["train.py"]).unknown(code) == [f"{2:040x}"]
    assert Fingerprints(path, ["train.py", "more.py"]).unknown(code) == [*code]
    assert Fingerprints(tmp_path / "nowhere" / "x", ["train.py"]).unknown(code) == [*code]


def test_a_machine_without_accelerators_is_its_processor(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: EPYC 9654\nprocessor\t: 1\nmodel name\t: EPYC 9654\n")
    assert hardware((Visible(()),), info) == "EPYC 9654"
    assert hardware((Visible(()),), tmp_path / "none")
