"""Sessions recorded by an earlier version, before its events were renamed: they open, replay and resume.

`recorded-lab.tar.gz` is a sine lab with a session of six experiments; `every-event.jsonl` has one record of each
event, every field set. Of what lets nights build on each other there is a session each: `given-up`, `confirmed`,
`transferred`, `second-opinion`, `went-ahead` (confirmed, with fronts), `own-base`, `digest`,
`fresh-draws`, `testing-budget-and-holdout` and `several-researchers`; `two-nights` is one
session that knows another, and `three-fronts` lies beside the tests of fronts.
"""

from __future__ import annotations

import json
import tarfile
from itertools import accumulate
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.engine.proposing.attempts import Attempts
from autoresearch_tui.engine.results_table import render
from autoresearch_tui.report import chart as report_chart
from autoresearch_tui.report import report
from autoresearch_tui.researchers.search import researcher
from autoresearch_tui.session import draws, journal, looks, statistics
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.events import DigestWritten
from autoresearch_tui.session.fold import fold, fold_all
from autoresearch_tui.session.outline import outline, recall, snapshot
from autoresearch_tui.session.state import State
from tests import warm
from tests.history import problems, state_of

DATA = Path(__file__).parent / "data"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with tarfile.open(DATA / "recorded-lab.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "lab"


def tool(*words: str | Path) -> str:
    done = warm.run([*map(str, words)])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_event_of_an_earlier_version_is_read_with_all_that_it_said() -> None:
    written = (DATA / "every-event.jsonl").read_bytes()
    records = journal.read(DATA / "every-event.jsonl")
    assert len(records) == len(written.splitlines())
    for line, record in zip(written.splitlines(), records, strict=True):
        before = json.loads(line)
        now = json.loads(journal.encode(record))
        for kept in ("seq", "time"):
            assert now.pop(kept) == before.pop(kept)
        for own in ("type", "crc"):
            now.pop(own)
            before.pop(own)
        values = [json.dumps(value, sort_keys=True) for value in now.values()]
        for name, value in before.items():
            assert json.dumps(value, sort_keys=True) in values, f"{name} of {line!r}"


def test_a_session_of_an_earlier_version_resumes(recorded: Path) -> None:
    before = state_of(recorded, "nov28")
    assert [experiment.outcome for experiment in before.table].count("keep") >= 1
    tool("report", recorded)
    tool(recorded, "--headless", "--experiments", str(len(before.table) + 1))
    after = state_of(recorded, "nov28")
    assert len(after.table) == len(before.table) + 1
    assert after.table[: len(before.table)] == before.table
    assert problems(recorded, "nov28") == []


def test_a_session_with_a_run_that_was_given_up() -> None:
    state = fold_all(journal.read(DATA / "given-up.jsonl"))
    ninth = state.experiments[9]
    assert (ninth.outcome, ninth.status, ninth.value) == ("discard", "given up", None)
    assert ninth.reason.startswith("given up at 40 %: 4.96 against 3.97 (#8); ")
    assert render(state).splitlines()[10].split("\t")[1:] == ["nan", "0.0", "discard", "switch 9"]
    found = outline(state)
    assert found.counts == {"keep": 10, "discard": 1}
    assert recall(snapshot(found, 0, 0), b"") == found


def test_a_session_with_a_critic_and_a_digest_of_an_earlier_version_is_read() -> None:
    """One refused, one agreed to, one that failed and was asked about again, one whose base moved meanwhile."""
    state = fold_all(journal.read(DATA / "second-opinion.jsonl"))
    opinions = [e.critic.opinion if e.critic else None for e in state.experiments[:5]]
    assert opinions == [None, "disagree", "agree", "unsure", "agree"]
    assert [e.outcome for e in state.experiments[:5]] == ["keep", "vetoed", "keep", "vetoed", "keep"]
    assert state.experiments[3].critic_attempts == 2
    assert (state.critic_usd, state.digest_usd, state.usd) == (2.25, 0.25, 2.5)
    assert state.digest is not None and (state.digest.numbers, state.digest.missing) == (5, 1)


def test_a_session_that_continued_from_gains_within_the_noise() -> None:
    state = fold_all(journal.read(DATA / "went-ahead.jsonl"))
    assert [e.outcome for e in state.experiments[4:]] == ["discard"] * 4 + ["keep"]
    assert [e.advanced for e in state.experiments[4:]] == [True, True, False, True, True]
    assert (state.frontier_number, state.heads) == (8, {0: 8})


def test_a_session_with_a_proposal_that_ran_on_its_own_base() -> None:
    state = fold_all(journal.read(DATA / "own-base.jsonl"))
    base, first, second = state.experiments
    assert (first.outcome, second.outcome, state.frontier_number) == ("keep", "keep", 2)
    assert (first.proposal.base, second.proposal.base) == (base.commit, base.commit)


def test_a_session_in_which_several_researchers_thought_at_once() -> None:
    """Three devices; up to four requests in the making, one of which failed while others went on."""
    states = [*accumulate(journal.read(DATA / "several-researchers.jsonl"), fold, initial=State())]
    assert max(len(state.asks) for state in states) == 4
    made = states[-1].experiments
    assert [e.proposal.stream for e in made] == [0, 0, 0, 0, 1, 2, 3, 2, 1, 0, 0, 1, 0, 1]
    assert sum(e.outcome in JUDGED for e in made) == 9
    assert states[-1].asking.thinking_seconds == pytest.approx(1.035)


def test_a_session_with_a_digest_by_template_and_one_by_its_researcher() -> None:
    records = journal.read(DATA / "digest.jsonl")
    written = [r.event for r in records if isinstance(r.event, DigestWritten)]
    assert [(d.author, d.verdicts, d.missing) for d in written] == [("search", 2, 0), ("claude", 3, 1)]
    assert "HTTP 529" in written[0].why
    state = fold_all(records)
    assert (state.digest, state.digest_usd) == (written[1], 0.375)


def test_what_the_researcher_is_told_of_a_run_is_in_every_recorded_session() -> None:
    for name in ("confirmed", "given-up", "transferred", "second-opinion"):
        state = fold_all(journal.read(DATA / f"{name}.jsonl"))
        assert any(e.score is not None and e.score.losses is not None for e in state.experiments), name


def test_a_session_whose_verdicts_were_on_fresh_draws() -> None:
    state = fold_all(journal.read(DATA / "fresh-draws.jsonl"))
    assert [e.outcome for e in state.table] == ["keep", "keep", "discard", "keep"]
    assert len({e.draw.seed for e in state.table if e.draw is not None}) == 4
    assert statistics.gains(state) == pytest.approx({1: 1.0, 2: -0.5, 3: 1.0})
    assert (state.frontier_number, state.best_number, looks.spent(state)) == (3, 3, 0)
    best, first = state.experiments[3], state.experiments[0]
    assert best.value is not None and looks.beaten(state) == pytest.approx(best.value + 2.0)
    assert (draws.beside(best, state.experiments[1]), draws.beside(best, first)) == (best.value + 1.0, None)
    assert report.headline(state) == f"autoresearch/t: {best.value + 2.0:.6f} → {best.value:.6f}"
    told = "better than the baseline by 2.000000: the keeps' gains, each on one draw, added up."
    assert told in report._summary(state, journal.read(DATA / "fresh-draws.jsonl"))
    texts = [label.text for label in report_chart.picture(state).labels]
    assert "each score is on a draw of its own: heights do not compare" in texts
    judged = {each.experiment.number: each for each in statistics.judged(state)}
    said = [lessons._measured(judged[n].experiment, judged[n].frontier, state.goal) for n in (1, 2, 3)]
    assert [text.partition(", ")[2] for text in said] == [
        "1.000000 better than #0.", "0.500000 worse than #1.", "1.000000 better than #1."
    ]  # fmt: skip
    history = Attempts(state)
    assert (history[0].base_there, history[3].base_there) == (None, best.value + 1.0)
    # The offline search learns from both on one draw, whatever the base has in the table.
    assert researcher._scores(history[3], {history[3].base: -9.0}) == (best.value + 1.0, best.value)
    assert [draws.order(state, e) for e in state.experiments[:4]] == [0, -1, -2, -3]
    found = outline(state)
    assert found.wear.gain == pytest.approx(2.0)
    assert recall(snapshot(found, 0, 0), b"") == found


def test_a_session_with_a_testing_budget_that_was_renewed_and_a_holdout_that_was_opened() -> None:
    """The engine that was to open it was killed, and the verb after it did."""
    records = journal.read(DATA / "testing-budget-and-holdout.jsonl")
    state = fold_all(records)
    assert [r.event.limit for r in records if isinstance(r.event, ev.PauseAsked)] == ["testing_budget"] * 2
    assert (looks.spent(state), looks.left(state), state.renewed) == (4, 0, 2)
    assert looks.result(state) == "#4 4.000000, the baseline 7.000000: better by 3.000000 ± 0.000000"
    assert looks.after(state) == "the holdout was opened after 4 looks"
    found = outline(state)
    assert recall(snapshot(found, 0, 0), b"") == found
