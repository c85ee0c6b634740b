"""Journals that were cut or changed, of real nights: every sound record stays, and all that is left is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui import doctor
from autoresearch_tui.doctor import salvage
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.launch.tags import choose_tag
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.state import State
from tests.conftest import git
from tests.engine.test_loop import Script
from tests.history import problems, state_of
from tests.night import Night, real_night

NIGHT = real_night(experiments=20, devices=2, prior=60)
TRUTH = {record.seq: record for record in NIGHT.records}


class Known:
    """What git would say of the night in memory."""

    def session(self, found: Mapping[int, ev.Record]) -> ev.SessionBegan | None:
        event = NIGHT.records[0].event
        return event if isinstance(event, ev.SessionBegan) else None

    def proposal(self, number: int, state: State, commit: str) -> ev.ProposalMade | None:
        return ev.ProposalMade(number, commit or NIGHT.state.experiments[number].commit, "b", "", "", "", "", 0, 0)

    def change(self, number: int, commit: str) -> ev.ProposalRebased | None:
        return ev.ProposalRebased(number, commit, "b", True, 0, 0)


def check(data: bytes) -> salvage.Rebuilt:
    """Every record whose checksum holds is found, as it was, and stays."""
    found = salvage.sound(data)
    assert all(TRUTH[seq] == record for seq, record in found.items())
    built = salvage.rebuild(found, Known())
    assert built.kept == set(found)
    assert built.dropped == []
    assert [record.seq for record in built.records] == list(range(1, len(built.records) + 1))
    return built


@given(st.lists(st.tuples(st.integers(0, len(NIGHT.journal) - 1), st.integers(1, 255)), min_size=1, max_size=8))
def test_bytes_changed_anywhere_cost_their_own_records_alone(changes: list[tuple[int, int]]) -> None:
    data = bytearray(NIGHT.journal)
    for where, bits in changes:
        data[where] ^= bits
    built = check(bytes(data))
    # A line end that is another letter costs nothing: both records can still be told apart.
    assert len(built.kept) >= len(NIGHT.records) - len(changes)
    if len(built.kept) == len(NIGHT.records):
        assert built.state == NIGHT.state


@given(st.integers(0, len(NIGHT.journal)), st.integers(0, 5000), st.binary(max_size=40))
def test_a_piece_cut_out_or_written_over(at: int, gone: int, new: bytes) -> None:
    check(NIGHT.journal[:at] + new + NIGHT.journal[at + gone :])


@given(st.lists(st.integers(0, len(NIGHT.records) - 1), max_size=30))
def test_lines_lost_anywhere(lost: list[int]) -> None:
    lines = NIGHT.journal.splitlines(keepends=True)
    check(b"".join(line for number, line in enumerate(lines) if number not in lost))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return real_night(tmp_path_factory.mktemp("damage") / "lab", experiments=10, repository=True)


@pytest.fixture
def lab(played: Night, tmp_path: Path) -> Path:
    """A copy of one's own."""
    assert played.lab is not None
    return shutil.copytree(played.lab.root, tmp_path / "lab", symlinks=True)


def go_on(lab: Path, tag: str = "nov20") -> str:
    """An engine takes the session up, and ends when one row is there. What it says of the journal."""
    found = open_lab(lab)
    assert choose_tag(found, tag, new=False) == tag
    outcome = Engine(Session(found, tag), Script(), headless=True, rows=1).run()
    assert outcome == "finished"
    said = [r.event.why for r in read(found.session(tag).journal) if isinstance(r.event, ev.CommandRefused)]
    return "\n".join(why for why in said if "the journal's end is lost" in why)


def logs(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("run.log"))


def all_is_kept(lab: Path, played: Night) -> None:
    """Every commit is reachable, and every log is there, under whatever name."""
    commits = {experiment.commit for experiment in played.state.experiments}
    assert set(GitRepo(lab).refs("refs/autoresearch/").values()) >= commits
    assert played.lab is not None
    had, has = logs(played.files.folder), logs(lab / ".autoresearch")
    assert [log for log in had if log not in has] == []
    # A start that the journal lost is one that it does not know of; what a lost record said is not between the others.
    told = ("started", "record ")
    assert [each for each in problems(lab, "nov20") if not any(word in each for word in told)] == []


@pytest.mark.parametrize("share", [0, 0.4, 0.8, 0.95, 1])
@pytest.mark.parametrize("where", ["at a line's end", "within a line"])
def test_a_journal_cut_in_its_tail(lab: Path, played: Night, share: float, where: str) -> None:
    path = open_lab(lab).session("nov20").journal
    data = path.read_bytes()
    cut = data.rfind(b"\n", 0, int(len(data) * share)) + 1
    path.write_bytes(data[: cut + (7 if where == "within a line" and cut < len(data) else 0)])
    before = len(state_of(lab, "nov20").experiments)
    table = (path.parent / "results.tsv").read_bytes()
    said = go_on(lab)
    all_is_kept(lab, played)
    lost = before < len(played.state.experiments)
    assert share < 1 or said == ""
    if lost:
        assert "left-out-1" in said
        assert (path.parent / "left-out-1" / "results.tsv").read_bytes() == table
        assert GitRepo(lab).refs("refs/autoresearch/nov20.left-out-1/")
    assert go_on(lab) == said


@pytest.mark.parametrize("left", ["the folder", "the refs alone"])
def test_a_journal_that_is_gone_leaves_the_tag_free(lab: Path, played: Night, left: str) -> None:
    folder = open_lab(lab).session("nov20").folder
    shutil.rmtree(folder) if left == "the refs alone" else (folder / "journal.jsonl").unlink()
    assert "left-out-1" in go_on(lab)
    if left == "the folder":
        all_is_kept(lab, played)
    assert set(GitRepo(lab).refs("refs/autoresearch/nov20.left-out-1/").values()) == {
        experiment.commit for experiment in played.state.experiments
    }


def test_a_run_that_goes_on_beyond_the_journal_is_not_overwritten_by_its_loss(lab: Path, played: Night) -> None:
    """The last verdict is lost, its score is not: it is not run once more."""
    path = open_lab(lab).session("nov20").journal
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"type":"run_ended"' in line and b'"finished"' in line)
    number = json.loads(lines[last])["number"]
    path.write_bytes(b"".join(lines[: last + 1]))
    go_on(lab)
    again, before = state_of(lab, "nov20").experiments[number], played.state.experiments[number]
    assert (again.value, again.outcome, again.attempt) == (before.value, before.outcome, before.attempt)


KINDS = (
    "session_began", "engine_started", "proposal_made", "proposal_rebased", "proposal_approved", "run_started",
    "run_ended", "run_scored", "verdict_given", "program_read",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_letter_costs_one_record(
    lab: Path, played: Night, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = open_lab(lab).session("nov20").journal
    lines = path.read_bytes().splitlines(keepends=True)
    hits = [n for n, line in enumerate(lines) if f'"type":"{kind}"'.encode() in line]
    hit = hits[len(hits) // 2]
    lines[hit] = lines[hit].replace(b'"type"', b'"tyPe"', 1)
    path.write_bytes(b"".join(lines))
    damaged = path.read_bytes()
    doctor.run(lab, as_json=True, repair=True)
    said = json.loads(capsys.readouterr().out)["items"][0]["found"]
    assert f"{len(lines) - 1} records are kept, 1 are lost" in said
    assert (path.parent / "journal.damaged-1.jsonl").read_bytes() == damaged
    kept = path.read_bytes().splitlines(keepends=True)
    assert [line for n, line in enumerate(kept) if n != hit] == [line for n, line in enumerate(lines) if n != hit]
    state = state_of(lab, "nov20")
    assert [e.commit for e in state.experiments] == [e.commit for e in played.state.experiments]
    if kind != "verdict_given":
        assert [(e.outcome, e.value) for e in state.experiments] == [
            (e.outcome, e.value) for e in played.state.experiments
        ]
    if kind == "session_began":
        assert state.session == played.state.session or state.session is not None
    assert go_on(lab) == ""
    all_is_kept(lab, played)


def test_a_journal_of_rubbish_leaves_the_tag_free(lab: Path, played: Night, capsys: pytest.CaptureFixture[str]) -> None:
    path = open_lab(lab).session("nov20").journal
    path.write_bytes(b"rubbish\n" * 100)
    doctor.run(lab, as_json=True, repair=True)
    assert "`--tag nov20` begins it anew" in capsys.readouterr().out
    assert (path.parent / "journal.damaged-1.jsonl").read_bytes() == b"rubbish\n" * 100
    assert "left-out-2" in go_on(lab)
    all_is_kept(lab, played)


def test_a_branch_of_somebody_else_is_still_nobodys_session(lab: Path) -> None:
    git(lab, "branch", "autoresearch/other")
    with pytest.raises(doctor.UserError, match="is no session of this lab"):
        choose_tag(open_lab(lab), "other", new=False)
