"""What another lab shared, beside a session: told, recognised, and tried here by our own gate, sandbox and referee."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine import shared as shared_results
from autoresearch_tui.engine.session import Session
from autoresearch_tui.engine.shared import SharedResults, candidates
from autoresearch_tui.report.facts import as_lines
from autoresearch_tui.researchers import prompt
from autoresearch_tui.session.badges import marking
from autoresearch_tui.session.events import Event
from autoresearch_tui.session.prior_results import PriorResult
from tests.conftest import SETTINGS
from tests.engine.making import experiment, state
from tests.engine.test_loop import Script, running, turn
from tests.history import problems, state_of
from tests.sharing.labs import Stranger, line, night, peers, session, shared, tool

NewLab = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
VERIFY = SETTINGS + "\n[share]\nverify = 2\n"


def test_a_keep_from_elsewhere_is_scored_here_and_a_lie_is_not_kept(
    new_lab: NewLab, tmp_path: Path, capsys: Capture
) -> None:
    theirs, ours = new_lab("theirs"), new_lab("ours", settings=VERIFY)
    with running(theirs, Script(turn("RATE", 0.25), turn("WIDTH", 4), turn("WIDTH", 14)), rows=4) as driver:
        assert driver.join() == "finished"
    remote = peers(tmp_path, theirs, ours)
    assert tool(capsys, "share", theirs, "--as", "ada", "--include", "kept,tried")[0] == 0
    # Eve has the same evaluator and hardware, and says that a slow change is the best ever.
    (ref,) = shared(remote)
    said = json.loads(Stranger(remote).git("show", f"{ref}:session.json"))
    base = (ours / "train.py").read_bytes()
    code = {"0001/files/train.py": base.replace(b"WIDTH = 8", b"WIDTH = 2"), "0001/base/train.py": base}
    records = {"session.json": session(**said), "experiments.jsonl": line(1, value=-1e9)}
    Stranger(remote).push("refs/autoresearch/shared/eve/s", {**records, **code})
    with running(ours, Script(), rows=3) as driver:
        # While it runs, and its researcher has no idea.
        driver.wait(lambda s: s.asks)
        assert tool(capsys, "fetch-shared", ours)[0] == 0
        assert driver.join() == "finished"
    after = state_of(ours, "t")
    by_origin = {e.proposal.origin.partition("/")[0]: e for e in after.experiments if e.proposal.origin}
    lie, truth = by_origin["eve"], by_origin["ada"]
    assert (lie.status, lie.proposal.claimed) == ("discard", -1e9)
    assert truth.status == "keep"
    assert truth.value == truth.proposal.claimed == pytest.approx(1.019625)
    assert truth.proposal.author == "shared"
    assert truth.description == "ada: WIDTH to 14"
    assert "verified here: 1.019625 against their 1.019625" in "\n".join(as_lines(truth, after, 100))
    assert "@" in marking(after).of(truth)
    assert after.best is truth
    assert problems(ours, "t") == []
    assert len(after.shared) == 5
    assert [e.value for e in after.table] == [1.204625, lie.value, truth.value]


def test_what_others_discarded_is_a_repeat_that_a_researcher_may_insist_on(
    new_lab: NewLab, tmp_path: Path, capsys: Capture
) -> None:
    theirs, ours = new_lab("theirs"), new_lab("ours")
    with running(theirs, Script(turn("WIDTH", 4)), rows=2) as driver:
        assert driver.join() == "finished"
    peers(tmp_path, theirs, ours)
    assert tool(capsys, "share", theirs, "--as", "ada")[0] == 0
    assert tool(capsys, "fetch-shared", ours)[0] == 0
    script = Script(turn("WIDTH", 4), turn("WIDTH", 4))
    with running(ours, script, rows=2) as driver:
        assert driver.join() == "finished"
    told = prompt.build(script.briefs[0]).text
    assert "Nobody here has verified any of it" in told
    assert "ada #0 keep 1.204625: baseline\nada #1 discard 1.284625: WIDTH to 4\n" in told
    assert "experiment 1 of ada, another lab whose word nobody here has checked" in script.briefs[1].complaint
    made = state_of(ours, "t").experiments[1]
    assert made.status == "discard"
    assert made.proposal.duplicate_of is None


def test_what_is_not_journalled_yet_is_read_again(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = night(tmp_path / "theirs", ("keep", 0.99), ("keep", 0.98), ("discard", 0.985), tag="dec1")
    ours = night(tmp_path / "ours", ("keep", 0.99))
    assert theirs.lab is not None and ours.lab is not None
    peers(tmp_path, theirs.lab.root, ours.lab.root)
    assert tool(capsys, "share", theirs.lab.root, "--as", "ada")[0] == 0
    assert tool(capsys, "fetch-shared", ours.lab.root)[0] == 0
    monkeypatch.setattr(shared_results, "RECORD_ROWS", 1)
    first = Session(ours.lab, "nov20")
    append, left = first.append, [None]

    def full(event: Event, request: str = "") -> bytes:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()
        return append(event, request)

    monkeypatch.setattr(first, "append", full)
    reading = SharedResults(first)
    with pytest.raises(OSError, match="No space"):
        reading.read()
    assert len(first.state.shared) == 1
    monkeypatch.setattr(first, "append", append)
    assert reading.read()
    assert not reading.read()
    # Another engine finds that it has all of it.
    second = Session(ours.lab, "nov20")
    assert not SharedResults(second).read()
    assert [one.name.rpartition("#")[2] for one in second.state.shared] == ["1", "0", "2"]
    assert second.state.shared[0].flags == ("it does not say what it ran on",)


def result(name: str, value: float | None, **fields: object) -> PriorResult:
    usual: dict[str, object] = {"origin": name.partition("/")[0], "code": "c" * 40, "judged_alike": True, "number": 1}
    return PriorResult(name, value, 1.0, "keep", "an idea", **{**usual, **fields})  # type: ignore[arg-type]


def test_the_best_of_those_whose_word_held_comes_first() -> None:
    liar = experiment(2, "discard", 0.995, origin="eve/s#1")
    before = state(
        experiment(0, "keep", 0.99),
        experiment(1, "keep", 0.98),
        liar,
        shared=(
            result("eve/s#1", 0.1),
            result("eve/s#2", 0.2),
            result("ada/s#1", 0.97),
            result("bob/s#1", 0.96),
            result("cy/s#1", 0.985),
            result("cy/s#2", 0.5, flags=("it ran on another",)),
            result("di/s#1", 0.5, judged_alike=False),
            result("di/s#2", 0.5, code=""),
            result("di/s#3", 0.5, number=0),
        ),
    )
    assert [one.name for one in candidates(before)] == ["bob/s#1", "ada/s#1", "cy/s#2", "cy/s#1", "eve/s#2"]
