"""Claude through the real client, against a real server on the loopback that fails as it is told."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.settings import ResearcherSettings, Settings
from autoresearch_tui.researchers import factory
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal, ResearcherError
from autoresearch_tui.researchers.claude import errors as claude_errors
from autoresearch_tui.researchers.claude import models as claude_models
from autoresearch_tui.researchers.claude import tool
from autoresearch_tui.researchers.claude.api import Api, Limits
from autoresearch_tui.researchers.claude.researcher import Claude
from autoresearch_tui.util.errors import UserError
from tests.fakes import messages_server as fake

KEY = "sk-ant-secret-0123456789"
TRAIN = "LR = 0.04\nDEPTH = 8\nx = 1\nx = 1\n"
BRIEF = Brief(
    number=3,
    base="abc",
    program="Lower the loss.",
    files={"train.py": TRAIN, "model.py": "WIDTH = 64\n"},
    locked={"prepare.py": "SEED = 1\n"},
    metric="val_bpb",
    goal=Goal.MINIMIZE,
    budget_seconds=300,
    history=(Attempt(0, "a", "a", "baseline", "", "keep", 1.5, ""),),
)
GOOD = {
    "description": "halve LR",
    "hypothesis": "it jumps",
    "edits": [{"path": "train.py", "old": "LR = 0.04", "new": "LR = 0.02"}],
}
HALVED = {"train.py": TRAIN.replace("0.04", "0.02")}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """It takes seconds, which no limit here should count, and which workers without these tests should not spend."""
    importlib.import_module("anthropic")


class Clock:
    """Real time, and as much more as a test adds."""

    def __init__(self) -> None:
        self.added = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.added


@dataclasses.dataclass
class Bench:
    """A server with a script, and Claude that asks it."""

    server: fake.MessagesServer
    home: Path
    clock: Clock = dataclasses.field(default_factory=Clock)
    said: list[str] = dataclasses.field(default_factory=list)
    cancelled: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.home), "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": self.server.url}

    def claude(self, model: str = "", tick: float = 0.02, effort: Any = "", **environ: str) -> Claude:
        settings = ResearcherSettings(model=model, effort=effort)
        limits = Limits(20 * 60, 5 * 60, tick)
        return Claude(Api(settings, environ={**self.environ, **environ}, limits=limits, clock=self.clock))

    def ask(self, claude: Claude | None = None, brief: Brief = BRIEF) -> Proposal | None:
        return (claude or self.claude()).propose(brief, self.said.append, self.cancelled)

    def fails(self, claude: Claude | None = None, brief: Brief = BRIEF) -> ResearcherError:
        with pytest.raises(ResearcherError) as caught:
            self.ask(claude, brief)
        assert KEY not in str(caught.value) and KEY not in repr(caught.value)
        return caught.value

    def when_said(self, pieces: int, action: Callable[[], object]) -> None:
        """Does something as soon as the server has had a request and so many pieces of its answer were shown."""

        def wait() -> None:
            deadline = time.monotonic() + 20
            while not (self.server.requests and len(self.said) >= pieces) and time.monotonic() < deadline:
                time.sleep(0.005)
            action()

        threading.Thread(target=wait, daemon=True).start()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench from the steps of a script."""
    servers: list[fake.MessagesServer] = []

    def make(*script: fake.Step, **options: Any) -> Bench:
        server = fake.MessagesServer(script, **options)
        servers.append(server.__enter__())
        return Bench(server, tmp_path)

    yield make
    for server in servers:
        server.__exit__(None, None, None)


MakeBench = Callable[..., Bench]


# What is asked and what is shown


def test_a_proposal_is_streamed_validated_and_priced(bench: MakeBench) -> None:
    b = bench(fake.propose(GOOD, input_tokens=1_000, cache_creation_input_tokens=2_000, cache_read_input_tokens=4_000))
    proposal = b.ask()
    output = 200 + len(json.dumps(GOOD)) // 4
    usd = (1_000 * 5 + 2_000 * 10 + 4_000 * 0.5 + output * 25) / 1e6
    assert proposal is not None
    assert proposal.usage.usd == pytest.approx(usd)
    assert proposal == Proposal("halve LR", "it jumps", HALVED, replace(proposal.usage))
    assert (proposal.usage.input_tokens, proposal.usage.output_tokens) == (7_000, output)
    shown = "".join(b.said)
    assert "What was tried tells me" in shown and "I change one value" in shown and '"old": "LR = 0.04"' in shown
    assert len(b.said) > 10


def test_the_request_uses_what_the_model_says_it_can_do(bench: MakeBench) -> None:
    b = bench()
    b.ask()
    request = b.server.requests[0]
    assert request["model"] == "claude-opus-5" and request["stream"] is True
    assert request["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert "output_config" not in request
    marks = [part["cache_control"] for part in request["messages"][0]["content"] if "cache_control" in part]
    assert marks and len(marks) <= 4 and all(mark == {"type": "ephemeral", "ttl": "1h"} for mark in marks)
    assert "tool_choice" not in request
    assert b.server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_servers_without_a_list_get_the_plain_dialect(bench: MakeBench) -> None:
    b = bench(models=None)
    claude = b.claude("qwen", ANTHROPIC_API_KEY="")
    proposal = b.ask(claude)
    assert proposal is not None and proposal.usage.usd is None and proposal.usage.input_tokens == 1_000
    request = b.server.requests[0]
    assert set(request) == {"model", "max_tokens", "system", "messages", "tools", "stream"}
    assert isinstance(request["system"], str) and isinstance(request["messages"][0]["content"], str)
    assert set(request["tools"][0]) == {"name", "description", "input_schema"}
    b.ask(claude)
    assert b.server.seen == ["/v1/models/qwen"]


@pytest.mark.parametrize("models", [None, [], [{"id": "a", "object": "model"}, {"id": "b", "object": "model"}]])
def test_no_model_and_no_list_is_fatal_and_says_what_to_set(bench: MakeBench, models: Any) -> None:
    b = bench(models=models)
    error = b.fails()
    assert error.fatal and "researcher.model" in str(error) and b.server.requests == []


def test_the_only_model_of_a_plain_list_is_taken(bench: MakeBench) -> None:
    b = bench(models=[{"id": "local-one", "object": "model"}])
    assert b.ask() is not None
    assert b.server.requests[0]["model"] == "local-one" and "thinking" not in b.server.requests[0]


def info(name: str, line: str | None, created: str, lifecycle: str = "active") -> dict[str, Any]:
    return {"id": name, "line": line, "created_at": created, "lifecycle": lifecycle}


def test_the_model_is_the_newest_active_one_of_the_most_capable_line() -> None:
    models = [
        info("haiku-9", "haiku", "2026-12-01"),
        info("opus-5", "opus", "2026-07-01"),
        info("opus-6", "opus", "2026-09-01"),
        info("fable-1", "fable", "2026-12-01", "deprecated"),
        info("mythos-5", "mythos", "2026-11-01"),
        info("new-line", "saga", "2026-12-01"),
        info("no-line", None, "2026-12-01"),
    ]
    assert claude_models.choose(models)["id"] == "opus-6"
    assert claude_models.choose([*models, info("fable-2", "fable", "2026-01-01")])["id"] == "fable-2"


def offers(*thinking: str, effort: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a model says of itself."""
    levels = dict.fromkeys(effort, fake.ALL)
    types = dict.fromkeys(thinking, fake.ALL)
    return {
        "thinking": {"supported": bool(thinking), "types": types},
        "effort": {"supported": bool(effort), **levels},
    }


@pytest.mark.parametrize(
    ("capabilities", "style", "thinking", "effort"),
    [
        (offers("enabled"), ("", ""), "enabled", ""),
        (offers("enabled", "adaptive", effort=("high",)), ("", ""), "adaptive", ""),
        (offers("enabled", "adaptive", "disabled"), ("", "enabled"), "enabled", ""),
        (offers("adaptive"), ("", "enabled"), "adaptive", ""),
        (offers("adaptive", "disabled"), ("", "off"), "disabled", ""),
        (offers("adaptive"), ("", "off"), "", ""),
        ({"thinking": {"supported": False, "types": {"adaptive": fake.ALL}}}, ("", "adaptive"), "", ""),
        (offers(effort=("low", "medium")), ("max", ""), "", "medium"),
        (offers(effort=("low", "max")), ("max", ""), "", "max"),
        ({"effort": {"supported": False, "high": fake.ALL}, "thinking": None}, ("high", "adaptive"), "", ""),
        ({}, ("high", "off"), "", ""),
    ],
)
def test_thinking_and_effort_as_wanted_and_as_the_model_says(
    capabilities: Any, style: tuple[str, str], thinking: str, effort: str
) -> None:
    info = {"id": "m", "max_tokens": 8_000, "capabilities": capabilities}
    chosen = claude_models.dialect("m", info, claude_models.Style(*style))
    assert (chosen.thinking, chosen.effort, chosen.max_tokens, chosen.cache) == (thinking, effort, 8_000, True)


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        ("off", {"type": "disabled"}),
        ("adaptive", {"type": "adaptive", "display": "summarized"}),
        ("enabled", {"type": "enabled", "budget_tokens": claude_models.THINKING_TOKENS}),
    ],
)
def test_what_the_settings_say_of_effort_and_thinking_is_sent(bench: MakeBench, thinking: Any, sent: object) -> None:
    b = bench()
    settings = ResearcherSettings(effort="max", thinking=thinking)
    b.ask(Claude(Api(settings, environ=b.environ)))
    request = b.server.requests[0]
    assert request["thinking"] == sent and request["output_config"] == {"effort": "max"}


# Repairs


def edit(old: str, new: str, path: str = "train.py") -> dict[str, str]:
    return {"path": path, "old": old, "new": new}


WORDS = {"description": "d", "hypothesis": "h"}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([1], "not an object"),
        ({**GOOD, "description": "  "}, "`description` is empty"),
        ({**GOOD, "description": 3}, "`description` is not a text"),
        ({"description": "d", "edits": []}, "`hypothesis` is missing"),
        (WORDS, "there are no `edits` and no `files`"),
        ({**WORDS, "edits": "x"}, "`edits` is not a list"),
        ({**WORDS, "edits": ["x"]}, r"`edits\[0\]` is not an object"),
        ({**WORDS, "edits": [{"path": "train.py", "old": "LR = 0.04"}]}, r"`edits\[0\]\.new` is missing"),
        ({**WORDS, "edits": [edit("LR = 0.05", "x")]}, "does not occur in train.py"),
        ({**WORDS, "edits": [edit("", "x")]}, r"`edits\[0\]\.old` is empty"),
        ({**WORDS, "edits": [edit("x = 1", "x = 2")]}, "occurs more than once"),
        ({**WORDS, "edits": [edit("SEED = 1", "SEED = 2", "prepare.py")]}, "only model.py, train.py may change"),
        ({**WORDS, "edits": [edit("a", "b", "../x")]}, "only model.py, train.py may change"),
        ({**WORDS, "edits": [edit("DEPTH = 8", "DEPTH = 8")]}, "nothing changes"),
        ({**WORDS, "edits": [edit("LR = 0.04\nDEPTH", "a"), edit("DEPTH = 8", "b")]}, "overlap"),
        ({**WORDS, "edits": [edit("LR = 0.04", "b")], "files": [{"path": "train.py", "text": "c"}]}, "in one of them"),
        ({**WORDS, "files": [{"path": "train.py", "text": " \n"}]}, "is empty"),
        ({**WORDS, "files": [{"path": "train.py", "text": "a\0b"}]}, "NUL"),
        ({**WORDS, "files": [{"path": "train.py", "text": "a\ud800b"}]}, "half a character"),
        ({**WORDS, "files": [{"path": "train.py", "text": TRAIN}]}, "nothing changes"),
        ({**WORDS, "files": [{"path": "train.py", "text": "a"}, {"path": "train.py", "text": "b"}]}, "twice"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(given: object, reason: str) -> None:
    with pytest.raises(tool.RefusedInput, match=reason):
        tool.read(given, BRIEF.files)


def test_edits_of_two_files_and_a_whole_file_apply_together() -> None:
    edits = [edit("DEPTH = 8", "DEPTH = 6"), edit("LR = 0.04", "LR = 0.02")]
    value = {**WORDS, "edits": edits, "files": [{"path": "./model.py", "text": "WIDTH = 96\n"}]}
    files = tool.read(value, BRIEF.files).files
    assert files == {"train.py": "LR = 0.02\nDEPTH = 6\nx = 1\nx = 1\n", "model.py": "WIDTH = 96\n"}


SKILLS = {"prompt.txt": "be kind\n", "skills/wash.md": "# wash\n"}
FREE = Editable(("prompt.txt", "skills/*.md"), ("prepare.py",))


def test_files_are_added_and_removed_where_the_lab_allows_it(bench: MakeBench) -> None:
    value = {
        **WORDS,
        "files": [{"path": "skills/dry.md", "text": "# dry\n"}],
        "remove": ["./skills/wash.md"],
        "edits": [edit("kind", "firm", "prompt.txt")],
    }
    b = bench(fake.propose(value))
    made = b.ask(brief=replace(BRIEF, files=SKILLS, editable=FREE))
    assert made is not None
    assert made.files == {"prompt.txt": "be firm\n", "skills/dry.md": "# dry\n", "skills/wash.md": None}
    request = b.server.requests[0]
    assert "remove" in request["tools"][0]["input_schema"]["properties"]
    assert "new ones within skills/*.md" in json.dumps(request["messages"])
    assert "remove" not in tool.definition(Editable(("train.py",)))["input_schema"]["properties"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"remove": ["prompt.txt"]}, "which the lab always has"),
        ({"remove": ["skills/dry.md"]}, "which is no editable file"),
        ({"remove": "skills/wash.md"}, "not a list of paths"),
        ({"remove": ["skills/wash.md"], "files": [{"path": "skills/wash.md", "text": "x"}]}, "do one of the two"),
        ({"files": [{"path": "skills/../prepare.py", "text": "x"}]}, "may change"),
        ({"files": [{"path": "skills/Wash.md", "text": "x"}]}, "differs from it only"),
        ({"files": [{"path": "skills/a.md", "text": ""}]}, "is empty"),
        ({"edits": [edit("a", "b", "skills/a.md")]}, "may change"),
    ],
)
def test_what_may_not_come_or_go_is_refused_with_the_reason(given: dict[str, object], reason: str) -> None:
    with pytest.raises(tool.RefusedInput, match=reason):
        tool.read({**WORDS, **given}, SKILLS, FREE)


def test_an_unusable_answer_goes_back_with_the_reason(bench: MakeBench) -> None:
    bad = {**WORDS, "edits": [edit("LR = 0.05", "x")]}
    b = bench(fake.propose(bad), fake.says("Shall I go on?"), fake.propose(GOOD))
    proposal = b.ask()
    assert proposal is not None and proposal.files == HALVED
    # what the mending cost is in it
    assert proposal.usage.input_tokens == 3_000 and proposal.usage.output_tokens > 600
    first, second = b.server.requests[1]["messages"][1:3]
    assert [part["type"] for part in first["content"]] == ["thinking", "text", "tool_use"]
    assert first["content"][0]["signature"] == "c2lnbmVk" and first["content"][2]["input"] == bad
    result = second["content"][0]
    assert result["tool_use_id"] == first["content"][2]["id"] and result["is_error"] is True
    assert "does not occur" in result["content"]
    assert "nobody answers" in b.server.requests[2]["messages"][4]["content"][0]["text"]
    assert "sent back" in "".join(b.said)


def test_a_complaint_of_the_loop_goes_back_with_the_refused_change(bench: MakeBench) -> None:
    b = bench(fake.propose(GOOD), fake.propose(GOOD), fake.propose(GOOD))
    claude = b.claude()
    b.ask(claude)
    b.ask(claude, replace(BRIEF, complaint="the same code as #1"))
    b.ask(claude, replace(BRIEF, number=4, complaint="of another one"))
    mended, other = (json.dumps(request["messages"]) for request in b.server.requests[1:])
    assert "the same code as #1" in mended and "| +LR = 0.02" in mended and "| +LR = 0.02" not in other


def test_three_repairs_and_no_more(bench: MakeBench) -> None:
    b = bench(*[fake.says("What do you think?")] * 10)
    error = b.fails()
    assert len(b.server.requests) == 4 and not error.fatal
    assert error.usage.input_tokens == 4_000 and error.usage.output_tokens == 800 and error.usage.usd


# Faults


@pytest.mark.parametrize(
    ("step", "fatal", "words"),
    [
        (fake.status(401, "authentication_error"), True, "refused the key"),
        (fake.status(403, "permission_error"), True, "no permission"),
        (fake.status(402, "billing_error"), True, "spend limit"),
        (fake.status(400, "invalid_request_error", "Your credit balance is too low"), True, "end of the credit"),
        (fake.status(429, "rate_limit_error", cause="enforced_spend_limit_reached"), True, "spend limit"),
        (fake.status(429, "rate_limit_error", cause="contract_spend_limit_reached"), True, "spend limit"),
        (fake.status(404, "not_found_error", "model: x"), True, "has no model 'claude-opus-5'"),
        (fake.status(400, "invalid_request_error", "messages: nonsense"), True, "refused the request"),
        (fake.status(429, "rate_limit_error"), False, "too many requests"),
        (fake.status(529, "overloaded_error"), False, "overloaded"),
        (fake.status(500, "api_error"), False, "failed (500)"),
        (fake.status(503, "api_error"), False, "failed (503)"),
        (fake.status(408, "timeout_error"), False, "failed (408)"),
        (fake.body(502, "<html>Bad gateway</html>"), False, "failed (502)"),
        (fake.body(200, '{"type": "message"}'), False, ""),
        (fake.body(200, "<html>hello</html>"), False, ""),
        (fake.error_event("overloaded_error"), False, "overloaded"),
        (fake.error_event("api_error"), False, "failed"),
        (fake.error_event("authentication_error"), True, "refused the key"),
        (fake.cut(5, "reset"), False, ""),
        (fake.cut(0, "reset"), False, ""),
        (fake.cut(5, "close"), False, "cut off"),
        (fake.cut(5, "ends"), False, "before it was whole"),
        (fake.cut(-1, "ends"), False, ""),
        (fake.cut(-2, "ends"), False, "before it was whole"),
        (fake.cut(0, "ends"), False, "before it was whole"),
        (fake.half_a_call(), False, "length limit"),
        (fake.stops("max_tokens"), False, "length limit"),
        (fake.stops("refusal"), False, "declined"),
        (fake.stops("pause_turn"), False, "pause_turn"),
        (fake.stops("something_new"), False, "something_new"),
        (fake.stops(None), False, "before it was whole"),
        (fake.garbage("event: content_block_delta\ndata: {not json\n\n"), False, "broken data"),
        (fake.garbage('event: content_block_delta\ndata: ["list"]\n\n'), False, ""),
        (fake.garbage('event: content_block_delta\ndata: {"type": "content_block_delta"}\n\n'), False, ""),
        (fake.garbage("data: \ufffd\n\n\x00\x00"), False, "before it was whole"),
    ],
)
def test_each_fault_is_told_apart_and_nothing_half_is_used(
    bench: MakeBench, step: fake.Step, fatal: bool, words: str
) -> None:
    b = bench(step)
    error = b.fails()
    assert error.fatal == fatal and words in str(error), error
    # no hidden retries
    assert len(b.server.requests) == 1
    assert b.ask() is not None


def test_a_tool_call_counts_only_where_the_answer_ended_as_one(bench: MakeBench) -> None:
    b = bench(fake.stops("end_turn"), fake.propose(GOOD))
    proposal = b.ask()
    assert proposal is not None and proposal.files == HALVED and len(b.server.requests) == 2


def test_broken_json_in_a_finished_call_is_not_used(bench: MakeBench) -> None:
    b = bench(fake.whole(lambda _: [fake.start(), *fake.tool_block(0, ['{"a": ']), *fake.finish("tool_use")]))
    error = b.fails()
    assert not error.fatal and "broken data" in str(error) and error.usage.input_tokens == 1_000


def test_unknown_events_and_parts_pass_by(bench: MakeBench) -> None:
    def events(exchange: fake.Exchange) -> Iterator[fake.Event]:
        yield fake.start()
        yield {"type": "news", "of": "the day"}
        yield from fake.block(0, {"type": "hologram", "x": 1}, [{"type": "hologram_delta", "x": 2}])
        yield from fake.tool_block(1, [json.dumps(GOOD)])
        yield from fake.finish("tool_use")

    proposal = bench(fake.whole(events)).ask()
    assert proposal is not None and proposal.files == HALVED


def test_nobody_there(bench: MakeBench) -> None:
    b = bench()
    b.server.__exit__(None, None, None)
    error = b.fails(b.claude("claude-opus-5"))
    assert not error.fatal and "cannot reach 127.0.0.1" in str(error)


@pytest.mark.parametrize("step", [fake.status(529, "overloaded_error"), fake.cut(0, "reset")])
def test_a_fault_of_the_list_of_models_is_not_the_end(bench: MakeBench, step: fake.Step) -> None:
    b = bench(models=step)
    assert not b.fails().fatal


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "999999999"}, 3_600),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_that_a_server_asks_for(bench: MakeBench, headers: dict[str, str], seconds: float | None) -> None:
    assert bench(fake.status(429, "rate_limit_error", headers=headers)).fails().retry_after == seconds


def test_the_time_that_a_server_asks_for_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (claude_errors.retry_after({"retry-after": date}) or 0) <= 60


# Limits and cancelling


@pytest.mark.parametrize(
    ("step", "pieces"),
    [(fake.silent(), 0), (fake.silent(head=True), 0), (fake.pings(), 0), (fake.pings(after=6), 3)],
)
def test_silence_and_pings_end_by_the_clock(bench: MakeBench, step: fake.Step, pieces: int) -> None:
    b = bench(step)
    b.when_said(pieces, lambda: setattr(b.clock, "added", 301))
    error = b.fails()
    assert "sent nothing for 300 s" in str(error) and not error.fatal
    assert b.server.hung_up.wait(60)


def test_an_answer_without_end_ends_by_the_clock(bench: MakeBench) -> None:
    b = bench(fake.drip())
    b.when_said(0, lambda: setattr(b.clock, "added", 1201))
    error = b.fails()
    assert "longer than 1200 s" in str(error) and b.server.hung_up.wait(60)


@pytest.mark.parametrize("step", [fake.silent(), fake.pings(after=3), fake.drip()])
def test_cancelling_takes_effect_at_once(bench: MakeBench, step: fake.Step) -> None:
    b = bench(step)
    b.when_said(0, b.cancelled.set)
    assert b.ask(b.claude(tick=Limits(1, 1).tick)) is None
    count = len(b.said)
    assert b.server.hung_up.wait(60)
    assert len(b.said) == count


def test_cancelling_while_the_list_of_models_does_not_come(bench: MakeBench) -> None:
    b = bench(models=fake.silent())
    threading.Timer(0.1, b.cancelled.set).start()
    assert b.ask() is None


def test_what_a_cancelled_call_cost_is_in_the_next_bill(bench: MakeBench) -> None:
    b = bench(fake.pings(after=4), fake.propose(GOOD))
    claude = b.claude()
    b.when_said(1, b.cancelled.set)
    assert b.ask(claude) is None
    b.cancelled = threading.Event()
    proposal = b.ask(claude)
    assert proposal is not None and proposal.usage.input_tokens == 2_000


# Too long, and parameters that a server does not know


LONG = tuple(Attempt(n, f"c{n}", "a", f"idea {n} " * 8, "", "discard", 1.0 + n, "") for n in range(300))


@pytest.mark.parametrize(
    "step",
    [
        fake.status(413, "request_too_large", "Request exceeds the maximum size"),
        fake.status(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        fake.stops("model_context_window_exceeded"),
    ],
)
def test_too_long_is_asked_once_more_with_less_history(bench: MakeBench, step: fake.Step) -> None:
    b = bench(step, fake.propose(GOOD), step, step)
    brief = replace(BRIEF, history=LONG)
    claude = b.claude()
    assert b.ask(claude, brief) is not None
    first, second = (json.dumps(request["messages"]) for request in b.server.requests)
    assert len(second) < 0.7 * len(first) and "#299 " in second
    error = b.fails(claude, brief)
    assert error.fatal and len(b.server.requests) == 4


@pytest.mark.parametrize(
    "message",
    [
        "thinking: Extra inputs are not permitted",
        "output_config.effort: unknown field",
        "messages.0.content.0.cache_control.ttl: not supported",
    ],
)
def test_an_unknown_parameter_leads_to_the_plain_dialect_for_good(bench: MakeBench, message: str) -> None:
    b = bench(fake.status(400, "invalid_request_error", message), fake.propose(GOOD))
    claude = b.claude(effort="high")
    assert b.ask(claude) is not None and b.ask(claude) is not None
    keys = [
        set(request) - {"model", "max_tokens", "system", "messages", "tools", "stream"} for request in b.server.requests
    ]
    assert keys == [{"thinking", "output_config"}, set(), set()]


def test_a_server_that_refuses_the_plain_dialect_too_is_fatal(bench: MakeBench) -> None:
    step = fake.status(400, "invalid_request_error", "tools: unknown field")
    b = bench(step, step)
    assert b.fails().fatal and len(b.server.requests) == 2


# Keys and prices


def test_a_key_that_the_server_repeats_is_taken_out(bench: MakeBench) -> None:
    b = bench(fake.status(401, "authentication_error", f"invalid key {KEY}"), fake.says(f"your key is{KEY}"))
    claude = b.claude()
    error = b.fails(claude)
    assert "[key]" in str(error) and error.__cause__ is None and error.__suppress_context__
    b.server.script[1:1] = [fake.propose(GOOD)]
    assert b.ask(claude) is not None
    assert KEY not in "".join(b.said) and KEY not in repr(claude) and KEY not in str(error.args)


@pytest.mark.parametrize("place", range(280, 300, 4))
def test_not_even_half_a_key_is_left_where_words_are_cut(bench: MakeBench, place: int) -> None:
    error = bench(fake.status(500, "api_error", "x" * place + KEY)).fails()
    assert KEY[:6] not in str(error)


def test_a_key_that_cannot_be_sent_is_said_without_it(bench: MakeBench) -> None:
    b = bench()
    error = b.fails(b.claude(ANTHROPIC_API_KEY=KEY + "\nX: é"))
    assert error.fatal and "ANTHROPIC_API_KEY" in str(error) and KEY not in str(error)


@pytest.mark.parametrize("base", ["localhost:8080", "ftp://x", "http://"])
def test_an_address_that_is_none(bench: MakeBench, base: str) -> None:
    b = bench()
    error = b.fails(b.claude("m", ANTHROPIC_BASE_URL=base))
    assert error.fatal or "cannot reach" in str(error)


def test_a_token_instead_of_a_key(bench: MakeBench) -> None:
    b = bench(fake.propose(GOOD))
    assert b.ask(b.claude(ANTHROPIC_API_KEY="", ANTHROPIC_AUTH_TOKEN="token-1")) is not None
    assert b.server.headers[0]["Authorization"] == "Bearer token-1"


def test_the_user_s_prices_go_first_and_a_broken_table_is_named(bench: MakeBench, tmp_path: Path) -> None:
    own = tmp_path / ".config" / "autoresearch-tui" / "prices.toml"
    own.parent.mkdir(parents=True)
    own.write_text("[models.qwen]\ninput = 1\noutput = 2\ncache_write = 0\ncache_read = 0\n")
    b = bench(fake.says("x", "stop_sequence"), fake.propose(GOOD), models=None)
    proposal = b.ask(b.claude("qwen"))
    assert proposal is not None and proposal.usage.usd == pytest.approx(
        (2_000 + 2 * proposal.usage.output_tokens) / 1e6
    )
    own.write_text("[models.qwen]\ninput = 'much'\n")
    with pytest.raises(UserError, match=r"prices\.toml"):
        b.claude("qwen")


def test_without_any_credentials(bench: MakeBench, tmp_path: Path) -> None:
    line = r"^no API key: set ANTHROPIC_API_KEY, or choose --researcher search$"
    with pytest.raises(UserError, match=line):
        factory.make(Settings(), {"HOME": str(tmp_path)})
    with pytest.raises(ResearcherError, match=line) as caught:
        Claude(Api(ResearcherSettings(), environ={"HOME": str(tmp_path)})).propose(BRIEF, print, threading.Event())
    assert caught.value.fatal
    assert isinstance(factory.make(Settings(), bench().environ), Claude)


# The whole


def test_a_night_of_trouble(bench: MakeBench) -> None:
    """The loop's part is to ask again; every proposal that comes out was received whole."""
    script = [
        *[fake.status(529, "overloaded_error")] * 10,
        fake.status(429, "rate_limit_error", headers={"retry-after": "12"}),
        fake.cut(6, "reset"),
        fake.propose(GOOD),
        fake.cut(9, "close"),
        fake.cut(12, "ends"),
        fake.half_a_call(),
        fake.garbage("event: message_delta\ndata: {{{\n\n"),
        fake.error_event("overloaded_error", 8),
        fake.propose(GOOD),
        fake.stops(None),
        fake.propose(GOOD),
    ]
    b = bench(*script)
    claude = b.claude()
    proposals, errors = [], []
    while b.server.script:
        try:
            proposals.append(b.ask(claude))
        except ResearcherError as error:
            errors.append(error)
    assert [p and p.files for p in proposals] == [HALVED] * 3
    assert len(errors) == 18 and not any(error.fatal for error in errors)
    assert [error.retry_after for error in errors if error.retry_after] == [12]


def test_the_package_is_imported_only_when_it_is_needed() -> None:
    code = (
        "import sys; from autoresearch_tui.researchers import factory; "
        "from autoresearch_tui.researchers.claude import researcher; "
        "from autoresearch_tui.lab.settings import Settings; "
        "factory.make(Settings(), {'ANTHROPIC_API_KEY': 'x', 'HOME': '/nonexistent'}); "
        "print([m for m in ('anthropic', 'httpx2', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_server_as_a_program_of_its_own(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "autoresearch_tui.researchers.claude.stand_in",
        "--port",
        "0",
        "--delay",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = re.search(r"http://\S+", process.stdout.readline())
        assert url is not None
        environ = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": url[0]}
        claude = factory.make(Settings(), environ)
        proposals = [claude.propose(BRIEF, lambda _: None, threading.Event()) for _ in range(4)]
        process.terminate()
    assert len({str(p and p.files) for p in proposals}) == 4
    assert all(p and p.usage.usd is None and p.usage.input_tokens and p.description for p in proposals)


def test_the_stand_in_of_this_process_needs_no_key(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "ANTHROPIC_BASE_URL": "stand-in"}
    said: list[str] = []
    proposal = factory.make(Settings(), environ).propose(BRIEF, said.append, threading.Event())
    assert proposal is not None and proposal.files != BRIEF.files and "What was tried" in "".join(said)
