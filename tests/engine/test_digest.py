"""The page for the human: who writes it, when, what of it is marked, what it costs; and an author who lies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autoresearch_tui.engine.digest import Authors
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.report.report import digest_blocks, read_digest, write_report
from autoresearch_tui.researchers.base import Author, Brief, Page, ResearcherError, Usage
from autoresearch_tui.researchers.digest_prompt import build
from autoresearch_tui.researchers.search.author import TemplateAuthor
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.conftest import SETTINGS
from tests.engine.test_loop import Driver, Script, turn
from tests.history import problems, state_of

MOVES = (turn("RATE", 0.25), turn("WIDTH", 4))


class Writer:
    """Writes a page from a text, and keeps what it was told."""

    def __init__(self, text: str = "", error: str = "") -> None:
        self.text, self.error = text, error
        self.briefs: list[Brief] = []

    def write(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Page | None:
        self.briefs.append(brief)
        say("I look back ")
        if self.error:
            raise ResearcherError(self.error, usage=Usage(7, 3, 0.125))
        return Page(self.text, Usage(100, 50, 0.25))


@contextmanager
def running(folder: Path, author: Author, rows: int = 3) -> Iterator[Driver]:
    driver = Driver(folder, Script())
    authors = Authors(TemplateAuthor(), author)
    driver.engine = Engine(Session(labs.find(folder), "t"), Script(*MOVES), headless=False, authors=authors, rows=rows)
    driver.start()
    try:
        yield driver
    finally:
        if driver.outcome == "":
            driver.engine.send(cmd.Stop(now=True))
            driver.join()


def page(folder: Path) -> str:
    return (folder / ".autoresearch/t/digest.md").read_text()


CLAUDE = SETTINGS.replace('kind = "search"', 'kind = "claude"')


def test_at_its_end_a_session_has_a_page_whose_numbers_were_checked(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=CLAUDE)
    author = Writer("## What was learnt\n\n- #1 RATE to 0.25 brought 1.079625, a gain of 0.125.\n- #2 reached 0.95.")
    with running(folder, author) as driver:
        assert driver.join() == "finished"
    text = page(folder)
    assert "- #1 RATE to 0.25 brought 1.079625, a gain of 0.125.\n- #2 reached 0.95?." in text
    assert "Written by claude at" in text and "those marked ? are not in it: 0.95." in text
    state = state_of(folder, "t")
    assert state.digest == ev.DigestWritten("claude", 3, 6, 1, "", 150, 0.25)
    assert (state.usd, state.tokens) == (0.25, 150)
    assert "What was learnt" in read_digest(labs.find(folder), "t")
    write_report(labs.find(folder), "t", folder / "report")
    assert "gain of 0.125" in (folder / "report/report.html").read_text()
    assert (
        len(author.briefs[0].history) == 3
        and "Write the page now, after 3 experiments." in build(author.briefs[0]).body
    )
    assert problems(folder, "t") == []


def test_a_session_that_goes_on_has_one_page_for_each_end(new_lab: Callable[..., Path]) -> None:
    folder, author = new_lab(settings=CLAUDE), Writer("Nothing.")
    for rows in (2, 2, 3):
        with running(folder, author, rows) as driver:
            assert driver.join() == "finished"
    assert len(author.briefs) == 2


def test_an_author_that_fails_leaves_the_page_by_template(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=CLAUDE)
    with running(folder, Writer(error="HTTP 529")) as driver:
        assert driver.join() == "finished"
    text = page(folder)
    assert "Written by search" in text and "Not by the researcher: HTTP 529." in text
    assert "- #1 RATE to 0.25: 1.079625, better than #0 by 0.125000 and the best so far" in text
    assert "?" not in text.partition("\n\n")[2].partition("Not by")[2]  # its own numbers are all in the journal
    assert state_of(folder, "t").usd == 0.125


def test_a_session_that_has_cost_enough_asks_nobody(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=CLAUDE.replace('kind = "claude"', 'kind = "claude"\nmax_usd = 0.2'))
    author = Writer("x")
    with running(folder, author, 2) as driver:
        driver.join()
    assert len(author.briefs) == 1  # the first cost a quarter
    with running(folder, author, 3) as driver:
        driver.wait(lambda s: s.paused)
        driver.engine.send(cmd.WriteDigest())
        state = driver.wait(lambda s: s.digest and s.digest.author == "search")
    assert state.digest is not None and "`researcher.max_usd` is $0.20" in state.digest.why
    assert len(author.briefs) == 1


def test_one_is_written_when_a_human_asks(new_lab: Callable[..., Path]) -> None:
    folder, author = new_lab(settings=CLAUDE), Writer("So far.")
    with running(folder, author, 0) as driver:
        driver.wait(lambda s: len(s.table) == 3)
        driver.engine.send(cmd.WriteDigest())
        state = driver.wait(lambda s: s.digest)
        assert state.digest is not None and state.digest.verdicts == 3
    asked = [r.event for r in read(folder / ".autoresearch/t/journal.jsonl") if isinstance(r.event, ev.DigestAsked)]
    assert asked == [ev.DigestAsked("human")]


def test_a_human_who_stops_does_not_wait_for_it(new_lab: Callable[..., Path]) -> None:
    folder, stuck = new_lab(settings=CLAUDE), threading.Event()

    class Slow(Writer):
        def write(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Page | None:
            stuck.set()
            cancelled.wait(60)
            return None

    with running(folder, Slow(), 2) as driver:
        assert stuck.wait(60)
        driver.engine.send(cmd.Stop())
        driver.join()
    assert not (folder / ".autoresearch/t/digest.md").exists()
    # The next end has it.
    with running(folder, Writer("Done."), 2) as driver:
        assert driver.join() == "finished"
    assert "Done." in page(folder)


def test_an_evil_page_is_only_text(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=CLAUDE)
    evil = "<script>alert(1)</script>\x1b[2J\u202e\n\n# ![x](http://e.example)\n\n" + "9" * 100_000
    with running(folder, Writer(evil), 2) as driver:
        driver.join()
    assert "\x1b" not in page(folder) and len(page(folder)) < 60_000
    write_report(labs.find(folder), "t", folder / "report")
    html = (folder / "report/report.html").read_text()
    assert "<script>alert" not in html and '<img src="http' not in html
    assert [*digest_blocks(page(folder))]
