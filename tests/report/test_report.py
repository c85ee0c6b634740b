"""The report: true to the journal, the same twice, and safe to open."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from autoresearch_tui.cli import main
from autoresearch_tui.cockpit.screens.since import digest
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets.bars import _score
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.launch import launcher
from autoresearch_tui.report import chart as report_chart
from autoresearch_tui.report import overview, report
from autoresearch_tui.report import page as report_page
from autoresearch_tui.report.report import _cost, write_report
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.notifications import news
from autoresearch_tui.session.state import State
from autoresearch_tui.session.statistics import frontier_line
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line
from tests.cockpit.fakes import FakeSession, judged
from tests.cockpit.nights import Night, long_night
from tests.night import Night as TimedNight

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
    assert "worth another run: 0002" in text
    assert "2 crashes have one cause: RuntimeError: shapes do not match" in text
    assert "-LR = 0\n+LR = 2" in text
    assert "| 0006 | vetoed |  |  | swap the seed | seed hacking |" in text
    assert "6 runs, 5 min 2" in text and "$0.32" in text and "smaller steps" in text


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


class Shown(HTMLParser):
    """What a page shows, without blanks, and how it is built."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags += [] if tag in ("thead", "tbody") else [tag]

    def handle_data(self, data: str) -> None:
        self.text += "".join(data.split())


MARKS = st.text(alphabet="ab1 .)(-+*_`~#>|<&;[]!\\:=$'\"/{}", max_size=20)


@given((MARKS | st.text(max_size=30)).map(clean_line).filter(str.strip))
def test_a_reader_of_markdown_sees_what_the_page_shows(text: str) -> None:
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    for block in (
        report_page.Heading(2, text),
        report_page.Paragraph(text),
        report_page.Bullets((text, "b")),
        report_page.Grid(("a", "b"), ((text, "c"),)),
    ):
        read, written = Shown(reader.render(report_page.markdown([block]))), Shown(report_page._html(block))
        assert (read.text, read.tags) == (written.text, written.tags)


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
    night.moment = night.moment.replace(hour=23, minute=59, second=0)
    night.engine()
    spent = report.spent(night.records)
    assert spent.runs == 1 and spent.busy == spent.device == pytest.approx(329.8, abs=10)
    assert spent.stopped > 3000 and spent.share == spent.busy / spent.total < 0.15
    assert spent.busy + spent.stopped + spent.idle == pytest.approx(spent.total)
    assert [report.span(s) for s in (12, 326, 27720)] == ["12 s", "5 min 26 s", "7 h 42 min"]


def at(number: int, minute: float, event: ev.Event) -> ev.Record:
    return ev.Record(number, f"2026-11-20T22:{int(minute):02d}:{round(minute % 1 * 60):02d}.000Z", event)


def records(*events: tuple[float, ev.Event]) -> tuple[ev.Record, ...]:
    return tuple(at(number, minute, event) for number, (minute, event) in enumerate(events, start=1))


ENGINE = ev.EngineStarted(1, "here", False, "0", "search", "ask", "hold", 300, 600)


def test_device_time_and_wall_time_are_two_figures() -> None:
    """Two devices at once, five minutes each; then two minutes in which nothing ran."""
    spent = report.spent(
        records(
            (0, ENGINE),
            (1, ev.RunStarted(0, "a", 1, "0")),
            (1, ev.RunStarted(1, "b", 1, "1")),
            (6, ev.RunEnded(0, "finished", 0, 300)),
            (6, ev.RunEnded(1, "finished", 0, 300)),
            (6, ev.VerdictGiven(0, "keep", 1.0, 0, "")),
            (7, ev.VerdictGiven(1, "keep", 0.9, 0, "")),
            (9, ev.NoteGiven("done")),
        )
    )
    assert (spent.device, spent.busy, spent.total, spent.idle) == (660, 360, 540, 180)
    assert (spent.runs, spent.devices, round(spent.share, 3)) == (2, 2, 0.667)
    words = " · ".join(_cost(State(), spent))
    assert "Device time: 11 min 0 s of training and scoring in 2 runs on 2 devices, 5 min 30 s a run" in words
    assert "Wall time: 9 min 0 s; something was in training or being scored for 6 min 0 s of it, 67%" in words


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_outlives_its_engine_counts_for_as_long_as_it_took(killed: bool) -> None:
    """The engine is gone from minute 2 to 52, the run ends in minute 6; it is scored once there is an engine again."""
    stop = () if killed else ((2.0, ev.EngineStopped("detached")),)
    spent = report.spent(
        records(
            (0, ENGINE),
            (1, ev.RunStarted(0, "a", 1)),
            (2, ev.NoteGiven("good night")),
            *stop,
            (52, ENGINE),
            (52, ev.RunEnded(0, "finished", 0, 300)),
            (53, ev.VerdictGiven(0, "keep", 1.0, 0, "")),
        )
    )
    assert (spent.device, spent.busy, spent.stopped, spent.idle) == (360, 360, 3000, 60)
    assert spent.share == 360 / (53 * 60)


def test_a_run_without_an_end_counts_until_now() -> None:
    spent = report.spent(records((0, ENGINE), (1, ev.RunStarted(0, "a", 1)), (4, ev.NoteGiven("look"))))
    assert (spent.device, spent.runs, spent.idle) == (180, 0, 60)


def test_a_night_that_overfits_and_a_verdict_of_a_humans_are_told(tmp_path: Path) -> None:
    session = FakeSession(tmp_path / "lab")
    judged(session)
    write_report(session.lab, session.tag, tmp_path / "report")
    told = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "The night is overfitting its referee" in told
    assert '0002 was given "discard" and is kept now: simpler at about the same score' in told
    assert "on the sealed split" in (tmp_path / "report" / "progress.svg").read_text("utf-8")


def test_the_best_stays_the_best_where_the_search_goes_on_from_a_worse_one(tmp_path: Path) -> None:
    """The report's title, summary and diff, the digest, the top line and a run's legend."""
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    first = night.commit(night.experiment("keep", 0.9900, base, "a step"))
    night.experiment("keep", 0.9700, first, "the best of all")
    night.add(ev.FrontierMoved(1, "human"))
    state = night.state
    assert (state.best, state.frontier) == (state.experiments[2], state.experiments[1])
    assert "★ best 0.970000 by #2, the best of all; the search continues from #1" in digest(State(), state)
    lab = recorded(tmp_path, night)
    text = texts(write_report(lab, "nov20", tmp_path / "out"))["report.md"]
    assert text.startswith("# autoresearch/nov20: 0.997900 → 0.970000\n")
    assert "The best is 0002, the best of all" in text
    assert "The search continues from 0001" in text
    assert "-LR = 0\n+LR = 2" in text
    top = "".join(words for words, _ in _score(state, 100))
    assert "val_bpb 0.9700" in top and "from #1 0.9900" in top
    night.launch(night.propose(first, "another way"))
    lab = recorded(tmp_path / "other", night)
    bridge = Bridge(lab, "nov20", None)
    while bridge.poll():
        pass
    assert bridge.curve_to_beat()[1] == "best so far, #2"


def test_a_keep_that_is_worse_than_the_best_is_no_new_best() -> None:
    night = went_back()
    before = night.state
    night.experiment("keep", 0.9850, night.commit(4))
    assert [each.kind for each in news(before, night.state)] == []
    night.experiment("keep", 0.9750, night.commit(5))
    assert [each.text for each in news(before, night.state)] == [
        f"new best: val_bpb 0.9750, better by 0.0090 · #6 {night.state.experiments[6].description}"
    ]


def test_the_exit_line_names_the_best_and_the_frontier(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = went_back().state
    launcher._print_outcome(Lab(tmp_path, Settings()), "nov20", "stopped", state)
    assert "the best #3 with 0.984000; the search continues from #4." in capfd.readouterr().out


def test_an_exit_line_that_the_terminal_does_not_take_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a dropped line, once the screen's own last words had filled the terminal."""
    drain, full = os.pipe()
    os.set_blocking(full, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(full, bytes(4096)):
            pass
    os.set_blocking(full, True)
    monkeypatch.setattr(launcher, "_CLOSING_SECONDS", 1)
    launcher._print("lost", to=full)
    assert os.read(drain, 4096) == bytes(4096)
    os.close(full)
    os.close(drain)


def sessions_of(root: Path) -> Lab:
    """Three sessions, the second with another metric, and one in which nothing has happened."""
    for day, (tag, goal, values) in enumerate(
        (("nov20", "minimize", (0.99, 0.98)), ("nov21", "maximize", (3.0, 4.0)), ("nov22", "minimize", (0.985, 0.97)))
    ):
        night = TimedNight(root, tag=tag, goal=goal, start=datetime(2026, 11, 20 + day, 22, tzinfo=UTC))
        for value in values:
            night.experiment("keep", value, description=f"{tag} {EVIL}")
        night.experiment("crash", description="too deep")
    (root / ".autoresearch" / "nov23").mkdir()
    (root / ".autoresearch" / "nov23" / "journal.jsonl").touch()
    assert night.lab is not None
    return night.lab


def test_all_sessions_have_one_curve_and_one_table(tmp_path: Path) -> None:
    lab = sessions_of(tmp_path / "lab")
    pages = texts(overview.write_overview(lab, lab.tags(), tmp_path / "out"))
    text = pages["report.md"]
    assert text.startswith("# lab: 0.990000 → 0.970000\n")
    assert "9 experiments in 3 sessions. The best is 0001 of nov22" in text
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| nov2")]
    assert rows == ["nov20", "nov21", "nov22"] + [
        tag for n in (2, 3) for tag in ["nov20"] * n + ["nov21"] * n + ["nov22"] * n
    ]
    assert "for their metric is another one: nov21" in text
    drawn = [element.text for element in ET.fromstring(pages["progress.svg"]).iter("{http://www.w3.org/2000/svg}text")]
    assert "nov20" in drawn and "nov22" in drawn and "nov21" not in drawn
    assert drawn[0] == "lab: 6 experiments in 2 sessions, 2 of them kept beyond the baselines"
    found = Tags()
    found.feed(pages["report.html"])
    assert "script" not in found.seen and "a" not in found.seen


def test_the_curve_of_all_sessions_goes_through_the_best_so_far(tmp_path: Path) -> None:
    lab = sessions_of(tmp_path / "lab")
    states = [fold_all(journal.read(lab.session(tag).journal)) for tag in ("nov20", "nov22")]
    chart = report_chart.of_sessions(states, "lab")
    dots = [mark for mark in chart.marks[:-4] if mark.shape == "dot"]
    assert len(dots) == 4 and [mark.x for mark in dots] == sorted(mark.x for mark in dots)
    # The second session's baseline is no better than the first one's best.
    corners = {(x, y) for x, y in chart.strokes[-1].points}
    assert {(mark.x, mark.y) for mark in (dots[0], dots[1], dots[3])} <= corners
    assert (dots[2].x, dots[2].y) not in corners


def test_the_report_of_all_sessions_by_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = sessions_of(tmp_path / "lab")
    (lab.root / "prepare.py").touch()
    subprocess.run(["git", "init", "-q", lab.root], check=True)
    assert main(["report", str(lab.root), "--all"]) == 0
    folder = lab.state_folder / ".all" / "report"
    assert capsys.readouterr().out.splitlines()[0] == str(folder / "report.md")
    assert lab.tags()[-1] == "nov23"
    assert main(["report", str(lab.root), "--all", "--tag", "nov20"]) == 2
    assert "choose one" in capsys.readouterr().err
