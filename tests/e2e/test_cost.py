"""A night against a stand-in API with known prices, on a machine with a price: what every reader says that it cost."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal
from autoresearch_tui.session.cost import cost
from autoresearch_tui.util import timestamps
from tests import warm
from tests.conftest import SETTINGS
from tests.fakes import messages_server as fake
from tests.history import problems, state_of

# Dollars for a million tokens of claude-opus-5: sent, answered, written to the cache for an hour, read from it.
SENT, ANSWERED, WRITTEN, READ = 5.0, 25.0, 10.0, 0.5
A_SECOND = 0.01
PRICED = f"\n[limits]\naccelerator_usd_per_hour = {3600 * A_SECOND}\nmax_usd = 1000\n"


class Priced:
    """Proposals with as many tokens as are asked for; `usd` is what the answers so far must cost."""

    def __init__(self) -> None:
        self.usd = 0.0

    def proposal(self, sent: int, written: int, read: int) -> fake.Step:
        def step(exchange: fake.Exchange) -> None:
            text = fake.editable_of(fake.prompt_of(exchange.body))["train.py"]
            found = re.search(r"^WIDTH = (\d+)$", text, re.M)
            assert found is not None
            edit = {"path": "train.py", "old": found[0], "new": f"WIDTH = {int(found[1]) + 1}"}
            made = {"description": f"width {int(found[1]) + 1}", "hypothesis": "wider", "edits": [edit]}
            answered = 200 + len(json.dumps(made)) // 4
            self.usd += (sent * SENT + written * WRITTEN + read * READ + answered * ANSWERED) / 1e6
            usage = {"cache_creation_input_tokens": written, "cache_read_input_tokens": read}
            fake.propose(made, input_tokens=sent, **usage)(exchange)

        return step

    def page(self, exchange: fake.Exchange) -> None:
        """What the session's end is told in."""
        made = {"text": "Wider is better."}
        self.usd += (2_000 * SENT + (200 + len(json.dumps(made)) // 4) * ANSWERED) / 1e6
        fake.propose(made, input_tokens=2_000)(exchange)

    def cut_off(self, exchange: fake.Exchange) -> None:
        """An answer that ends at its length limit is of no use, and is paid for."""
        self.usd += (1_000 * SENT + 200 * ANSWERED) / 1e6
        fake.half_a_call()(exchange)


def run(environ: dict[str, str], *words: str) -> str:
    done = warm.run(words, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_night_costs_what_it_costs_to_the_cent(new_lab: Callable[..., Path], tmp_path: Path) -> None:
    lab = new_lab(settings=SETTINGS.replace('kind = "search"', 'kind = "claude"') + PRICED)
    priced = Priced()
    proposals = [priced.proposal(120_000, 200_000, 0), priced.cut_off, priced.proposal(3_000, 40_000, 400_000)]
    script = [*proposals, priced.page]
    with fake.MessagesServer(script) as server:
        environ = {**os.environ, "ANTHROPIC_API_KEY": "sk-test", "ANTHROPIC_BASE_URL": server.url}
        run(environ, str(lab), "--tag", "t", "--headless", "--experiments", "3")
        assert len(server.requests) == len(script)
    records = journal.read(lab / ".autoresearch/t/journal.jsonl")
    (began,) = (timestamps.seconds(r.time) for r in records if isinstance(r.event, ev.EngineStarted))
    (ended,) = (timestamps.seconds(r.time) for r in records if isinstance(r.event, ev.EngineStopped))
    devices = (ended - began) * A_SECOND
    total, state = priced.usd + devices, state_of(lab, "t")
    known = cost(state)
    assert (known.researcher_usd, known.accelerator_usd) == pytest.approx((priced.usd, devices), abs=1e-9)
    assert priced.usd > 3 and devices > 0
    kept = sum(e.outcome == "keep" for e in state.experiments if e.number)
    each = f", ${total / kept:.2f} for each kept improvement" if kept else ""
    run(environ, "report", str(lab), "-o", str(tmp_path / "report"))
    written = (tmp_path / "report" / "report.md").read_text().replace("\\", "")
    assert f"Researcher: ${priced.usd:.2f} as far as prices are known" in written
    assert f"Accelerators: ${devices:.2f} for {(ended - began) / 3600:.2f} device hours" in written
    assert f"Together: ${total:.2f} of $1000{each}" in written
    said = json.loads(run(environ, "status", str(lab), "--json"))["cost"]
    assert said["usd"] == pytest.approx(total, abs=0.005)
    assert problems(lab, "t") == []
