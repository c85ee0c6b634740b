"""The change itself, on whatever code: what an earlier session's attempt did is recognised on another base."""

from __future__ import annotations

import queue
import zlib
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing.briefing import SourceCache, Tried
from autoresearch_tui.engine.proposing.preflight import change_print, fingerprint
from autoresearch_tui.engine.proposing.worker import ProposalRequest, ProposalResult, Proposer
from autoresearch_tui.engine.researcher_log import Streams
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal
from autoresearch_tui.session import pages, sequence, snapshots
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.prior_results import NEVER_RUN, PriorResult
from autoresearch_tui.session.state import State
from tests.conftest import TRAIN, make_lab
from tests.night import Night

BASE = "RATE = 0.5\nWIDTH = 8\n\n\ndef f(x):\n    return x * RATE\n"


@pytest.mark.parametrize(
    ("base", "change", "same"),
    [
        (BASE, ("RATE = 0.5", "RATE = 0.25"), True),
        (BASE.replace("WIDTH = 8", "WIDTH = 12"), ("RATE = 0.5", "RATE = 0.25  # halved"), True),
        (BASE.replace("\n\n\ndef", "\nDEPTH = 3\n\n\ndef"), ("RATE = 0.5", '"""Half."""\nRATE = 0.25'), True),
        (BASE.replace("0.5", "0.4"), ("RATE = 0.4", "RATE = 0.25"), False),
        (BASE, ("RATE = 0.5", "RATE = 0.3"), False),
        (BASE, ("RATE = 0.5\nWIDTH = 8", "RATE = 0.25\nWIDTH = 9"), False),
        (BASE, ("x * RATE", "x * RATE * RATE"), False),
        (BASE.replace("def f(x):", "def f(x:"), ("RATE = 0.5", "RATE = 0.25"), False),
    ],
)
def test_a_change_is_the_statements_that_go_and_come(base: str, change: tuple[str, str], same: bool) -> None:
    known = change_print({"train.py": BASE}, {"train.py": BASE.replace("RATE = 0.5", "RATE = 0.25")})
    assert (change_print({"train.py": base}, {"train.py": base.replace(*change)}) == known) == same


def test_a_text_that_is_no_python_changes_by_lines() -> None:
    one = change_print({"notes": "a\nb\n"}, {"notes": "a\nc\n"})
    assert (
        one
        == change_print({"notes": "b\nz\n"}, {"notes": "z\nc\n"})
        != change_print({"other": "b\n"}, {"other": "c\n"})
    )


def test_what_an_earlier_session_changed_is_known_on_any_base(tmp_path: Path) -> None:
    make_lab(tmp_path / "lab")
    lab, repo = open_lab(tmp_path / "lab"), GitRepo(tmp_path / "lab")
    head = repo.head()

    def attempt(rate: str) -> str:
        text = TRAIN.replace("RATE = 0.5", rate)
        return repo.commit(head, {"train.py": text.encode()}, f"{rate}\n", "2026-11-20T00:00:00Z")

    def result(number: int, commit: str, status: str) -> PriorResult:
        return PriorResult(f"t#{number}", None, 0.0, status, "idea", (), commit, "t", number, "boom", head)

    crashed, waits = attempt("RATE = 9"), attempt("RATE = 10")
    state = State(prior=(result(0, head, "keep"), result(1, crashed, "crash"), result(2, waits, NEVER_RUN)))
    archive = SourceCache(lab, repo)
    tried = archive.tried(state)
    wider = TRAIN.replace("WIDTH = 8", "WIDTH = 12")
    print_ = change_print({"train.py": wider}, {"train.py": wider.replace("RATE = 0.5", "RATE = 9")})
    same = tried.change(print_)
    assert same is not None and (same.name, same.reason) == ("experiment 1 of session t", "boom")
    # What never ran may be proposed, and the start is no change at all.
    codes = [fingerprint({"train.py": archive.files(commit)["train.py"]}) for commit in (head, crashed, waits)]
    assert [tried.code(code) for code in codes] == ["0 of session t", "1 of session t", None]
    assert tried.change(change_print(archive.files(head), archive.files(head))) is None
    # The next engine reads no git for it.
    (lab.root / ".git" / "objects").rename(tmp_path / "objects")
    assert SourceCache(lab, repo)._fingerprints.unknown([head, crashed, waits]) == [waits]


def test_the_researcher_is_told_once_and_may_insist(tmp_path: Path) -> None:
    wider = BASE.replace("WIDTH = 8", "WIDTH = 12")
    after = wider.replace("RATE = 0.5", "RATE = 9")
    crashed = Attempt(1, "c1", "c0", "faster", "", "crash", None, "boom", session="t")
    change = change_print({"train.py": BASE}, {"train.py": BASE.replace("RATE = 0.5", "RATE = 9")})
    told: list[str] = []

    class Insists:
        def propose(self, brief: Brief, say: object, cancelled: object) -> Proposal:
            told.append(brief.complaint)
            return Proposal("a rate of 9 once more", "because", {"train.py": after})

    found: queue.SimpleQueue[ProposalResult] = queue.SimpleQueue()
    files = {"train.py": wider}
    brief = Brief(5, "c9", "Go.", files, {}, "val_bpb", Goal.MINIMIZE, 300, ())
    Proposer(Insists(), None, Streams(SessionFiles(tmp_path)), found.put).ask(
        ProposalRequest(5, "c9", files, lambda: brief, lambda: Tried(change={change: crashed}.get), ())
    )
    made = found.get(timeout=60)
    assert made.duplicate_of == crashed
    assert [text.partition(",")[0] for text in told] == ["", "the same change"]
    assert 'experiment 1 of session t, "faster", which ended as crash (boom)' in told[1]


def test_that_code_was_tried_is_known_without_reading_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sequence, pages):
        monkeypatch.setattr(module, "CHUNK", 4)
    night = Night(tmp_path / "lab", repository=True)
    for value in (0.99, 0.98, 0.97, 0.96):
        night.experiment("keep", value)
    data = night.journal
    state = snapshots.Writer(night.files, None).keep(fold_all(night.records), len(data), zlib.crc32(data), ())
    assert isinstance(state.experiments[1], pages.Filed)
    lab = open_lab(tmp_path / "lab")
    archive = SourceCache(lab, GitRepo(lab.root))

    def never(page: pages.Page, place: int) -> None:
        pytest.fail(f"experiment {place} was read")

    monkeypatch.setattr(pages.Page, "read", never)
    commit = state.experiments[2].commit  # a night's code never changes
    assert archive.reason_to_withdraw(state, 9, commit) == "it is the same code as experiment 0 now"
    assert archive.reason_to_withdraw(state, 0, commit) is None
