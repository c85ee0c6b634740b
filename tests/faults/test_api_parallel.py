"""Three requests to the API at once, and an overload that meets all of them: the real loop and the real client."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.proposing import asking
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import ResearcherSettings
from autoresearch_tui.researchers.claude.api import Api, Limits
from autoresearch_tui.researchers.claude.researcher import Claude
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from tests.conftest import SETTINGS, TRAIN
from tests.engine.test_loop import Driver
from tests.fakes import messages_server as fake
from tests.history import problems

THREE = SETTINGS.replace('kind = "search"', 'kind = "claude"\nqueue = 8').replace(
    "[run]\n", '[run]\ndevices = ["0", "1", "2"]\n'
)


class Overload:
    """Answers 529 to the first three, one proposal to the next, and three to those after it, each three at once."""

    def __init__(self) -> None:
        self._together = threading.Barrier(3, timeout=60)
        self._rates = iter(range(1, 99))
        self.open = self.alone = 0

    def refuses(self, exchange: fake.Exchange) -> None:
        self._together.wait()
        fake.status(529, "overloaded_error")(exchange)

    def answers_alone(self, exchange: fake.Exchange) -> None:
        self.alone += 1
        self._propose(exchange)

    def answers(self, exchange: fake.Exchange) -> None:
        assert self.alone == 1
        self._together.wait()
        self._propose(exchange)

    def _propose(self, exchange: fake.Exchange) -> None:
        text = fake.editable_of(fake.prompt_of(exchange.body))["train.py"]
        found = re.search(r"^RATE = \S+$", text, re.M)
        assert found is not None
        value = 0.5 + next(self._rates) / 1000
        edit = {"path": "train.py", "old": found[0], "new": f"RATE = {value}"}
        fake.propose({"description": f"RATE to {value}", "hypothesis": "it may help", "edits": [edit]})(exchange)


def test_an_overload_is_waited_out_together_and_tried_by_one(
    new_lab: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "FIRST_RETRY_SECONDS", 0.2)
    importlib.import_module("anthropic")
    folder, overload = new_lab(settings=THREE, train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 25.0")), Overload()
    script = [*[overload.refuses] * 3, overload.answers_alone, *[overload.answers] * 3, *[fake.silent()] * 3]
    with fake.MessagesServer(script) as server:
        environ = {"HOME": str(tmp_path), "ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": server.url}

        def claude() -> Claude:
            return Claude(Api(ResearcherSettings(), environ=environ, limits=Limits(wall=60, silence=60, tick=0.02)))

        engine = Engine(Session(labs.find(folder), "t"), claude(), another=claude, headless=False)
        driver = Driver.hosting(engine)
        driver.start()
        try:
            state = driver.wait(lambda s: len(s.experiments) == 7 and len(s.asks) == 3)
            assert [ask.event.attempt for ask in state.asks] == [1, 1, 1]
            assert {e.proposal.stream for e in state.experiments[3:]} == {0, 1, 2}
            assert len({e.commit for e in state.experiments[3:]}) == 4
            assert state.tokens > 0
            events = [record.event for record in read(folder / ".autoresearch/t/journal.jsonl")]
            asked = [each for each in events if isinstance(each, ev.ProposalAsked | ev.ProposalFailed)]
            assert [type(each).__name__[8:] for each in asked[:7]] == ["Asked"] * 3 + ["Failed"] * 3 + ["Asked"]
            assert [each.attempt for each in asked if isinstance(each, ev.ProposalAsked)] == [1] * 3 + [2] + [1] * 6
        finally:
            engine.send(cmd.Stop(now=True))
            driver.join()
    assert problems(folder, "t") == []
