"""A night of API trouble: the real loop and the real client against a server that fails by a script, times scaled."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing import asking
from autoresearch_tui.lab.settings import ResearcherSettings
from autoresearch_tui.researchers.claude.api import Api, Limits
from autoresearch_tui.researchers.claude.researcher import Claude
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.state import State
from tests.conftest import SETTINGS, git
from tests.engine.test_loop import Driver
from tests.fakes import messages_server as fake
from tests.history import problems, state_of

HOUR_OF_529 = 14  # with the loop's own pauses: 2, 4, 8, ... 600 s
ROWS = 4


class Night:
    """The script, and what of it was sent to its last byte."""

    def __init__(self) -> None:
        self.whole: list[str] = []
        self.made = 0
        self.server: fake.MessagesServer

    def good(self, exchange: fake.Exchange) -> None:
        """A proposal, noted when its stream has ended as it should."""
        made = self.proposal(exchange)
        fake.propose(made)(exchange)
        self.whole.append(made["description"])

    def cut(self, after: int, how: str) -> fake.Step:
        """The same, but never whole."""

        def step(exchange: fake.Exchange) -> None:
            exchange.begin()
            for event in list(fake.proposal_events(exchange, self.proposal(exchange), {}))[:after]:
                exchange.event(event)
            if how == "reset":
                exchange.reset()
            if how == "ends":
                exchange.end()

        return step

    def proposal(self, exchange: fake.Exchange) -> fake.Event:
        text = fake.editable_of(fake.prompt_of(exchange.body))["train.py"]
        found = re.search(r"^RATE = \S+$", text, re.M)
        assert found is not None
        self.made += 1
        value = 0.5 + self.made / 1000
        edit = {"path": "train.py", "old": found[0], "new": f"RATE = {value}"}
        return {"description": f"RATE to {value}", "hypothesis": "it may help", "edits": [edit]}

    def goes_away(self, exchange: fake.Exchange) -> None:
        """Breaks off, and listens no more: until :meth:`comes_back` connections are refused."""
        server = self.server
        threading.Thread(target=lambda: (server.http.shutdown(), server.http.server_close())).start()
        exchange.reset()

    def comes_back(self) -> None:
        """The rest of the script, at the same address."""
        port = self.server.http.server_address[1]
        self.server = fake.MessagesServer([self.good] * 20, port=port)
        self.server.__enter__()

    def script(self) -> list[fake.Step]:
        overloaded = fake.status(529, "overloaded_error")
        return [
            fake.status(429, "rate_limit_error", headers={"retry-after": "1"}),
            *[overloaded] * HOUR_OF_529,
            self.cut(3, "reset"),
            self.cut(9, "close"),
            # The tool's input is complete, the message is not.
            self.cut(-2, "ends"),
            fake.garbage("event: content_block_delta\ndata: {no json\n\n"),
            fake.error_event("overloaded_error"),
            fake.half_a_call(),
            fake.pings(after=6),
            self.good,
            fake.body(502, "<html>bad gateway</html>"),
            fake.status(500, "api_error"),
            self.good,
            self.goes_away,
        ]


def test_a_night_of_trouble_goes_on_by_itself_and_only_whole_proposals_are_run(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "FIRST_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(asking, "LAST_RETRY_SECONDS", 0.02)
    folder = new_lab(settings=SETTINGS.replace('kind = "search"', 'kind = "claude"'))
    importlib.import_module("anthropic")  # seconds, which are not the server's silence
    night = Night()
    night.server = fake.MessagesServer(night.script()).__enter__()
    environ = {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": night.server.url}
    driver = Driver(
        folder, Claude(Api(ResearcherSettings(), environ=environ, limits=Limits(wall=20, silence=2.0, tick=0.02))), ROWS
    )
    driver.start()
    try:
        driver.wait(refused, 60)
        night.comes_back()
        assert driver.join() == "finished"
    finally:
        night.server.__exit__(None, None, None)
        driver.detach()
    check(folder, night)


def refused(state: State) -> bool:
    """The server is away and the loop has met that twice."""
    return len(state.experiments) >= 3 and state.failures >= 2


def check(folder: Path, night: Night) -> None:
    state = state_of(folder, "t")
    records = [record.event for record in read(folder / ".autoresearch/t/journal.jsonl")]
    failed = [event for event in records if isinstance(event, ev.ProposalFailed)]
    proposed = [e for e in state.experiments if e.proposal.author == "claude"]
    # Nobody helped: no pause, and each failure said when it would be tried again.
    assert not any(isinstance(event, ev.PauseAsked | ev.Resumed) for event in records)
    assert all(event.retry_seconds is not None for event in failed)
    assert [event.retry_seconds for event in failed if "(429)" in event.error] == [1.0]
    assert len(failed) >= HOUR_OF_529 + 10
    assert len(state.table) == ROWS
    # Whatever was run had been received whole, and is what was received.
    assert [e.description for e in proposed] == night.whole
    for experiment in proposed:
        text = git(folder, "show", f"{experiment.commit}:train.py")
        assert f"RATE = {experiment.description.removeprefix('RATE to ')}\n" in text
    assert problems(folder, "t") == []
