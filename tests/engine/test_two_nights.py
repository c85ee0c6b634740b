"""Two nights of the offline search in one lab, as they were recorded: what the second knew, and what it did with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autoresearch_tui.engine import history, own_sessions, startup
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.paths import Lab, open_lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.researchers import prompt
from autoresearch_tui.researchers.base import Attempt, Brief
from autoresearch_tui.session import journal, prior_results
from autoresearch_tui.session.comparing import measured
from autoresearch_tui.session.ends import EngineEnd
from autoresearch_tui.session.events import Event, HistoryRead
from tests.history import problems, state_of
from tests.night import Night

pytestmark = pytest.mark.usefixtures("unconfined")

DATA = Path(__file__).parents[1] / "session" / "data" / "two-nights"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    for tag in ("nov27", "nov28"):
        folder = tmp_path / ".autoresearch" / tag
        folder.mkdir(parents=True)
        shutil.copy(DATA / f"{tag}.jsonl", folder / "journal.jsonl")
    return Lab(tmp_path, Settings())


def test_the_second_night_knew_all_of_the_first(lab: Lab) -> None:
    first, second = state_of(lab.root, "nov27"), state_of(lab.root, "nov28")
    now = measured(second)
    assert now is not None
    known = own_sessions.read(lab, now, lambda commits: {commit: commit for commit in commits}).results
    assert known == second.prior
    assert len(known) == len(first.experiments) == 9
    best, _ = own_sessions.best(lab, now, lambda commits: {commit: commit for commit in commits})
    assert best is not None and first.best is not None
    assert (best.session, best.commit) == ("nov27", first.best.commit)


def test_the_first_night_is_read_while_the_baseline_trains() -> None:
    events = [journal.type_name(record.event) for record in journal.read(DATA / "nov28.jsonl")]
    assert events.index("run_started") < events.index("history_read") < events.index("proposal_asked")
    assert events.index("history_read") < events.index("run_ended")


def test_a_reading_that_was_killed_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Night(tmp_path / "lab", repository=True)
    for value in (0.99, 0.98, 0.97):
        first.experiment("keep", value)
    first.settle()
    lab = open_lab(tmp_path / "lab")
    monkeypatch.setattr(prior_results, "RECORD_ROWS", 2)
    session = Session(lab, "next")
    startup.start(session, headless=True)
    append = session.append

    def dies(event: Event, request: str = "") -> bytes:
        line = append(event, request)
        if isinstance(event, HistoryRead):
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr(session, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        history.read(session)
    session.end(EngineEnd.DETACHED, "")
    again = Session(lab, "next")
    startup.start(again, headless=True)
    assert len(again.state.prior) == 2
    assert history.unread(again.state)
    history.read(again)
    assert [one.name for one in again.state.prior] == ["nov20#0", "nov20#1", "nov20#2"]
    assert not history.unread(again.state)
    again.end(EngineEnd.DETACHED, "")
    assert problems(lab.root, "next") == []


def test_it_repeated_nothing_and_learnt_from_it(lab: Lab) -> None:
    first, second = ({e.description for e in state_of(lab.root, tag).experiments[1:]} for tag in ("nov27", "nov28"))
    assert len(first) == len(second) == 8
    assert not first & second
    # A negative pause crashed in the first; the second went no further that way than half of a tenth of it.
    assert "PAUSE 0.0 → -0.1" in first
    # The first night's other knob alone won there, and the second turned to what the first had not.
    assert {text.split()[0] for text in first} == {"WIDTH", "PAUSE"}
    assert "RATE" in {text.split()[0] for text in second}


def test_the_request_tells_of_the_first_night(lab: Lab) -> None:
    second = state_of(lab.root, "nov28")
    prior = tuple(
        Attempt(o.number, o.commit, o.base, o.description, "", o.status, o.value, o.reason, session=o.session)
        for o in second.prior
    )
    brief = Brief(1, "b", "Go.", {"train.py": "X = 1\n"}, {}, "val_bpb", second.goal, 300, (), prior=prior)
    told = prompt.build(brief).text
    assert "Session nov27: 1 crash, 2 discard, 6 keep; the best kept score is 1.149625." in told
    assert "nov27 #8 keep 1.149625: WIDTH 11 → 13" in told
    assert "nov27 #4 crash: PAUSE 0.0 → -0.1 | " in told
