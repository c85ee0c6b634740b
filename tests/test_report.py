"""The report: true to the journal, the same twice, and safe to open."""

from __future__ import annotations

import importlib.util
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui import report_chart, report_page, report_time
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine import journal
from autoresearch_tui.engine.state import State
from autoresearch_tui.errors import UserError
from autoresearch_tui.findings import frontier_line
from autoresearch_tui.lab import Lab
from autoresearch_tui.report import write_report
from autoresearch_tui.settings import Settings
from tests.cockpit.fakes import FakeSession, judged
from tests.cockpit.nights import Night, long_night

EVIL = "<script>alert(1)</script> | `x` [a](javascript:b) \x1b[31m & 'q'"


def recorded(root: Path, night: Night) -> Lab:
    lab = Lab(root / "lab", Settings())
    files = lab.session("nov20")
    files.folder.mkdir(parents=True)
    files.journal.write_bytes(b"".join(journal.encode(record) for record in night.records))
    for number in range(night.count):
        files.run(number).folder.mkdir(parents=True)
        (files.run(number).folder / "train.py").write_text(f"DEPTH = 8\nLR = {number}\n")
    return lab


def texts(paths: tuple[Path, ...]) -> dict[str, str]:
    return {path.name: path.read_text() for path in paths if path.suffix != ".png"}


def test_the_story_of_a_night(tmp_path: Path) -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    first = night.commit(night.experiment("keep", 0.99, base, "deeper"))
    night.experiment("keep", 0.9899, first, "a little wider")
    night.experiment("discard", 0.999, first, "shallower")
    for _ in range(2):
        night.experiment("crash", None, first, "far too deep")
    night.experiment("vetoed", None, first, "swap the seed")
    night.add(ev.NoteGiven("smaller steps"))
    night.review(night.propose(first, "the next one"))
    lab = recorded(tmp_path, night)
    text = texts(write_report(lab, "nov20", tmp_path / "out"))["report.md"]
    assert text.startswith("# autoresearch/nov20: 0.997900 → 0.989900\n")
    assert "7 experiments (3 kept, 1 discarded, 2 crashed, 1 vetoed)" in text
    assert "better than the baseline's 0.997900 by 0.008000 (0.80%)" in text
    assert "- 0007 waits for your answer: the next one" in text
    assert "worth a second run: 0002" in text
    assert "2 crashes have one cause: RuntimeError: shapes do not match" in text
    assert "-LR = 0\n+LR = 2" in text
    assert "| 0006 | vetoed |  |  | swap the seed | seed hacking |" in text
    assert "6 runs, 5 min 3" in text and "$0.32" in text and "smaller steps" in text


def test_the_same_journal_gives_the_same_bytes(tmp_path: Path) -> None:
    lab = recorded(tmp_path, long_night(40))
    one = write_report(lab, "nov20", tmp_path / "a")
    two = write_report(lab, "nov20", tmp_path / "b")
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


SAFE = frozenset(
    ["html", "head", "meta", "title", "style", "body", "table", "thead", "tbody", "tr", "th", "td", "pre", "h2", "span"]
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not any(name.startswith("on") or name in ("href", "src") for name, _ in attrs)


def test_what_an_agent_wrote_is_text_in_every_format(tmp_path: Path) -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    night.experiment("keep", 0.98, base, EVIL)
    lab = recorded(tmp_path, night)
    (lab.session("nov20").run(1).folder / "train.py").write_text(f"```\n{EVIL}\n</pre><script>")
    pages = texts(write_report(lab, "nov20", tmp_path / "out"))
    tags = Tags()
    tags.feed(pages["report.html"])
    assert "script" not in tags.seen and "a" not in tags.seen
    ET.fromstring(pages["progress.svg"])
    assert all("\x1b" not in page for page in pages.values())
    row = next(line for line in pages["report.md"].splitlines() if line.startswith("| 0001 | 0.98"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert "````diff" in pages["report.md"]


@given(st.text(max_size=80))
def test_no_text_breaks_a_table_or_a_page(text: str) -> None:
    grid = report_page.Grid(("a", "b"), ((text, "x"),))
    lines = report_page.markdown([grid]).rstrip("\n").split("\n")
    assert len(lines) == 3 and len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[2])) == 3
    tags = Tags()
    tags.feed(report_page.page(text, [grid, report_page.Code(text, "diff"), report_page.Heading(2, text)]))
    assert set(tags.seen) <= SAFE


def test_a_session_without_a_score_has_a_report_too(tmp_path: Path) -> None:
    lab = recorded(tmp_path, Night())
    text = texts(write_report(lab, "nov20", tmp_path / "out"))["report.md"]
    assert "no score yet" in text and "There is no difference to show." in text


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Settings())
    with pytest.raises(UserError, match="no such session"):
        write_report(lab, "nov20", tmp_path / "out")
    lab = recorded(tmp_path, long_night(3))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_report(lab, "nov20", tmp_path / "file")


def went_back(goal: str = "minimize") -> Night:
    """Four kept, then on from the second, and a gain of its own there."""
    night = Night(goal)
    commits = [night.commit(night.experiment("keep", 0.9979))]
    for value in (0.9900, 0.9850, 0.9840):
        commits.append(night.commit(night.experiment("keep", value, commits[-1])))
    night.add(ev.FrontierMoved(0, "human"))
    night.add(ev.FrontierMoved(1, "human"))
    night.experiment("keep", 0.9860, commits[1])
    return night


def test_the_frontier_goes_back_where_the_search_did() -> None:
    night = went_back()
    way = [(at, e.number) for at, e in frontier_line(night.state)]
    assert way == [(0, 0), (1, 1), (2, 2), (3, 3), (3.5, 1), (4, 4)]
    chart = report_chart.picture(night.state)
    line = chart.strokes[-1].points
    at = {mark.x: mark.y for mark in chart.marks if mark.shape == "dot" and mark.y > 40}
    (_, second, _, fourth, last) = [at[x] for x in sorted(at)]
    back = next(place for place, (_, y) in enumerate(line) if y == fourth)
    assert [y for _, y in line[back:]] == [fourth, fourth, second, second, last, last]
    assert "on from #1" in [label.text for label in chart.labels]


def test_the_frontier_ends_where_the_search_goes_on_from() -> None:
    night = went_back()
    night.add(ev.FrontierMoved(0, "human"))
    chart = report_chart.picture(night.state)
    first = min((mark for mark in chart.marks if mark.shape == "dot" and mark.y > 40), key=lambda mark: mark.x)
    assert chart.strokes[-1].points[-1] == (max(x for x, _ in chart.strokes[-1].points), first.y)


def test_a_keep_that_was_taken_back_is_no_part_of_the_frontier() -> None:
    night = went_back()
    night.add(ev.VerdictOverruled(4, "discard", "human", "a lucky seed"))
    assert [(at, e.number) for at, e in frontier_line(night.state)][-2:] == [(3.5, 1), (4.5, 3)]


def test_marks_say_by_shape_what_became_of_an_experiment() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    night.experiment("discard", 0.9975, base)
    night.experiment("discard", 5.0, base)
    night.experiment("crash", None, base)
    night.experiment("keep", 0.99, base, "deeper")
    chart = report_chart.picture(night.state)
    marks = [mark.shape for mark in chart.marks[:-4]]
    assert sorted(marks) == ["cross", "dot", "dot", "ring", "up"]
    dots = [mark for mark in chart.marks if mark.shape == "dot"][:2]
    assert dots[0].y < dots[1].y, "a lower value is lower in the picture"
    assert any(label.text == "deeper" for label in chart.labels)
    assert len(chart.strokes[-1].points) == 4


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8), st.booleans())
def test_any_scores_make_a_picture(values: list[float], maximize: bool) -> None:
    night = Night(goal="maximize" if maximize else "minimize")
    base = "b" * 40
    for value in values:
        base = night.commit(night.experiment("keep", value, base))
    svg = report_chart.to_svg(report_chart.picture(night.state))
    ET.fromstring(svg)
    assert not re.search(r"\b(nan|inf)\b", svg)


def test_axes_have_round_values() -> None:
    assert report_chart.nice(0.969, 0.998) == (0.97, 0.975, 0.98, 0.985, 0.99, 0.995)
    assert report_chart.nice(0, 0) == ()
    assert report_chart.nice(0, 124, 10) == tuple(float(n) for n in range(0, 121, 20))


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")
def test_the_png_is_a_png(tmp_path: Path) -> None:
    assert report_chart.write_png(report_chart.picture(long_night(40).state), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_without_pillow_there_is_no_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(report_chart.importlib, "import_module", missing)
    assert not report_chart.write_png(report_chart.picture(State()), tmp_path / "p.png")
    assert not (tmp_path / "p.png").exists()


def test_time_spent() -> None:
    night = Night()
    night.experiment("keep", 0.9979)
    night.add(ev.EngineStopped("detached"))
    night.now = night.now.replace(hour=23, minute=59, second=0)
    night.engine()
    spent = report_time.spent(night.records)
    assert spent.runs == 1 and spent.busy == pytest.approx(329.8)
    assert spent.stopped > 3000 and 0.9 < spent.share < 1
    assert [report_time.span(s) for s in (12, 326, 27720)] == ["12 s", "5 min 26 s", "7 h 42 min"]


def test_a_night_that_overfits_and_a_verdict_of_a_humans_are_told(tmp_path: Path) -> None:
    session = FakeSession(tmp_path / "lab")
    judged(session)
    session.close()
    write_report(session.lab, session.tag, tmp_path / "report")
    told = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "The night is overfitting its referee" in told
    assert "0002 was given «discard» and is kept now: simpler at about the same score" in told
    assert "on the sealed split" in (tmp_path / "report" / "progress.svg").read_text("utf-8")
