"""What command-line agents print, as recorded from them, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.researchers.agents.stream import FORMS, Stream
from autoresearch_tui.researchers.base import Usage
from autoresearch_tui.session.stream_marks import mark_of

RECORDED = Path(__file__).parent / "streams"
NAMES = sorted(path.stem for path in RECORDED.glob("*.jsonl"))
AGENTS = ("claude-code", "codex", "gemini-cli", "opencode")


def lines(name: str) -> list[str]:
    return (RECORDED / f"{name}.jsonl").read_text("utf-8").splitlines()


def read(name: str) -> tuple[Stream, list[str]]:
    stream = Stream("/lab")
    shown = [text for line in lines(name) for text in stream.read(line)]
    return stream, [*shown, *stream.rest()]


def fed(*events: object) -> tuple[Stream, list[str]]:
    stream = Stream()
    shown = [text for event in events for text in stream.read(event if isinstance(event, str) else json.dumps(event))]
    return stream, [*shown, *stream.rest()]


THINKS = "∴ The learning rate is the value that was tried least."
LAST = "I halved LR; the rest is as it was.\nLR from 0.04 to 0.02"


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("claude-code", [THINKS, "» I read the file first.", "◇ Read train.py", "« 1", "» Now I halve LR."]),
        ("codex", ["∴ **Reading**", "» I read the file first.", "◇ cat train.py", "← LR = 0.04", "» Now I halve LR."]),
        ("gemini-cli", ["» I read the file first.", "◇ read_file train.py", "← done", "» Now I halve LR."]),
        ("opencode", [THINKS, "» I read the file first.", "◇ read train.py", "← LR = 0.04", "» Now I halve LR."]),
    ],
)
def test_what_each_agent_does_is_shown_in_parts(agent: str, shown: list[str]) -> None:
    stream, texts = read(f"{agent}.done")
    firsts = [text.splitlines()[0].replace("← 1\tLR = 0.04", "« 1") for text in texts if mark_of(text)]
    assert firsts[: len(shown)] == shown
    assert firsts[-1] == "» I halved LR; the rest is as it was." and "LR from 0.04 to 0.02" in texts[-1]
    edit, result = firsts[len(shown)], firsts[len(shown) + 1]
    # Codex does not tell what it changes
    change = "" if agent == "codex" else ": LR = 0.04 → LR = 0.02"
    assert edit[0] == "◇" and edit.endswith(f" train.py{change}") and result[0] == "←"
    assert stream.words == LAST and not stream.trouble
    assert not [text for text in texts if "{" in text]


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("claude-code.done", Usage(4_400, 200, 0.0205)),
        ("claude-code.cut", Usage(3_300, 150, 0.01825)),
        ("codex.done", Usage(3_300, 150)),
        ("codex.cut", Usage()),
        ("gemini-cli.done", Usage(4_400, 280)),
        ("gemini-cli.cut", Usage(3_300, 210)),
        ("opencode.done", Usage(3_300, 150, 0.0075)),
        ("opencode.cut", Usage(2_200, 100, 0.00615)),
    ],
)
def test_what_each_agent_cost(name: str, usage: Usage) -> None:
    told = read(name)[0].usage
    assert (told.input_tokens, told.output_tokens) == (usage.input_tokens, usage.output_tokens)
    assert told.usd == (usage.usd if usage.usd is None else pytest.approx(usage.usd))


@pytest.mark.parametrize(
    ("name", "trouble", "hopeless"),
    [
        ("claude-code.cut", "Credit balance is too low (billing_error)", True),
        ("claude-code.key", "Invalid API key · Fix external API key (authentication_failed)", True),
        ("claude-code.rate", "This request would exceed your account's rate limit. (rate_limit)", False),
        ("claude-code.tool", "it ended with error_max_turns", False),
        ("codex.cut", "Quota exceeded. Check your plan and billing details.", True),
        ("codex.key", "unexpected status 401 Unauthorized: Incorrect API key provided: sk-x", True),
        ("codex.sandboxed", "inside the sandbox its own sandbox has to be off: --sandbox danger-full-access", False),
        ("codex.rate", "exceeded retry limit, last status: 429 Too Many Requests", False),
        ("gemini-cli.cut", "You have exhausted your daily quota on this model.", False),
        ("gemini-cli.key", "API key not valid. Please pass a valid API key.", True),
        ("opencode.cut", "Your credit balance is too low to access the Anthropic API. (400)", True),
        ("opencode.key", "invalid x-api-key (401)", True),
        ("opencode.rate", "This request would exceed your account's rate limit. (429)", False),
    ],
)
def test_what_stopped_an_agent_is_told_in_its_words(name: str, trouble: str, hopeless: bool) -> None:
    stream, shown = read(name)
    assert trouble in stream.trouble and "{" not in stream.trouble
    assert stream.hopeless is hopeless
    assert len([text for text in shown if text.startswith("── error: ") and trouble in text]) == 1 + (
        name == "codex.key"  # first as the reason to connect again
    )


@pytest.mark.parametrize("agent", AGENTS)
def test_a_tool_that_failed(agent: str) -> None:
    failed = [text for text in read(f"{agent}.tool")[1] if text.startswith("← failed: ")]
    assert len(failed) == 1 and "not find" in failed[0].replace("not found", "not find").replace("No such", "not find")


def test_a_run_that_is_cut_short_has_cost_what_was_told_until_then() -> None:
    until = [line for line in lines("claude-code.done") if '"result","subtype"' not in line]
    stream, _ = fed(*until)
    # three messages, one of them in three events; the output is counted at their start
    assert stream.usage == Usage(3_300, 3, None)


@pytest.mark.parametrize("name", ["claude-code.done", "codex.done", "gemini-cli.done", "opencode.done"])
def test_an_agent_that_runs_twice_has_cost_twice(name: str) -> None:
    once = [*lines(name)]
    twice = [line.replace('"id1"', '"id1-again"') for line in once]
    one, two = fed(*once)[0].usage, fed(*once, *twice)[0].usage
    assert (two.input_tokens, two.output_tokens) == (2 * one.input_tokens, 2 * one.output_tokens)


def claude(kind: str, *content: object) -> object:
    return {"type": kind, "message": {"content": list(content)}}


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (
            claude("assistant", {"type": "tool_use", "name": "Bash", "input": {"command": "ls", "description": "x"}}),
            ["◇ Bash ls"],
        ),
        (claude("assistant", {"type": "tool_use", "name": "Todo", "input": {"n": 1}}), ['◇ Todo {"n": 1}']),
        (
            {"type": "tool_use", "tool_name": "e", "parameters": {"path": "a", "oldString": "b", "newString": "c\nd"}},
            ["◇ e a: b → 2 lines"],
        ),
        (claude("user", {"type": "tool_result", "content": "a\nb\nc\nd\ne"}), ["← a\nb\nc\nd …"]),
        (claude("user", {"type": "tool_result", "content": [{"text": "no"}], "is_error": True}), ["← failed: no"]),
        (claude("user", {"type": "tool_result", "content": ""}), ["← nothing"]),
        (claude("assistant", 3, {"type": "text", "text": None}), []),
        ({"type": "item.completed", "item": {"type": "command_execution", "aggregated_output": "x", "exit_code": 2}}, [
            "← failed: x"
        ]),
        ({"type": "item.started", "item": {"type": "reasoning", "text": ""}}, []),
        ({"type": "message", "role": "user", "content": "the whole prompt"}, []),
        ({"type": "error", "severity": "warning", "message": "Loop detected"}, ["── error: Loop detected"]),
        ({"type": "error", "error": {"name": "UnknownError", "data": {}}}, ["── error: UnknownError"]),
        ({"type": "turn.failed", "error": 3}, ["── error: the turn failed"]),
    ],
)  # fmt: skip
def test_single_events(event: object, shown: list[str]) -> None:
    assert fed(event)[1] == shown


@pytest.mark.parametrize(
    "line", ["plain words", '{"loss": 1}', "{not json", "[1]", "3", '{"loss": {"mean": 1}, "step": 3}', "{" * 9_999]
)
def test_what_is_no_event_is_shown_as_it_is(line: str) -> None:
    assert fed(line)[1] == [line[:2_000]]


def test_a_text_in_pieces_is_shown_by_the_line_and_ends_with_what_follows() -> None:
    pieces = [
        {"type": "message", "role": "assistant", "content": each, "delta": True} for each in ("I ha", "lve\nLR", ".")
    ]
    tool = {"type": "tool_use", "tool_name": "replace", "parameters": {"file_path": "train.py"}}
    stream = Stream()
    shown = [stream.read(json.dumps(event)) for event in (*pieces, tool, pieces[0])]
    assert shown == [[], ["» I halve"], [], ["LR.", "◇ replace train.py"], []]
    assert stream.rest() == ["» I ha"] and stream.words == "I ha"


def test_a_long_result_is_cut() -> None:
    (shown,) = fed(claude("user", {"type": "tool_result", "content": "x" * 9_000}))[1]
    assert len(shown) < 500
    assert shown.endswith(" …")


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (["one", "two "], "two"),
        ([{"type": "mine", "result": "I edited it.\nLower LR"}], "I edited it.\nLower LR"),
        ([claude("assistant", {"type": "text", "text": "Lower LR"}), {"type": "mine"}], "Lower LR"),
        (["said", {"type": "turn.completed", "usage": {}}], "said"),
        (["[1]"], "[1]"),
    ],
)
def test_the_last_words(events: list[object], words: str) -> None:
    assert fed(*events)[0].words == words


@pytest.mark.parametrize(
    "result",
    [
        {"total_cost_usd": float("nan"), "usage": {"input_tokens": -5, "output_tokens": "9"}},
        {"total_cost_usd": "much", "usage": [1]},
        {"total_cost_usd": 10**400, "usage": {"input_tokens": 10**400, "output_tokens": None}, "modelUsage": [2]},
    ],
)
def test_a_cost_that_can_be_none_counts_for_nothing(result: dict[str, object]) -> None:
    assert fed({"type": "result", **result})[0].usage == Usage()


# Whatever comes

EVENTS = [json.loads(line) for name in NAMES for line in lines(name)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """A recorded event with one value in it, however deep, put in place of another, or left out."""
    event = json.loads(json.dumps(draw(st.sampled_from(EVENTS))))
    place = event
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            place[key] = draw(JSON)
        else:
            del place[key]
        return event


@st.composite
def cut_off(draw: st.DrawFn) -> str:
    """The start of a recorded line, and something else after it."""
    line = json.dumps(draw(st.sampled_from(EVENTS)))
    return line[: draw(st.integers(0, len(line)))] + draw(st.text(max_size=8))


@given(st.lists(mutated() | cut_off() | st.sampled_from(EVENTS), max_size=6))
def test_no_event_whatever_is_in_it_stops_the_reading(events: list[object]) -> None:
    stream, shown = fed(*events)
    assert all(isinstance(text, str) for text in (*shown, stream.words, stream.trouble))
    assert stream.usage.input_tokens >= 0 and stream.usage.output_tokens >= 0
    assert stream.usage.usd is None or 0 <= stream.usage.usd < float("inf")
    assert stream.hopeless in (True, False)


@pytest.mark.parametrize("name", NAMES)
def test_an_event_is_of_one_agent(name: str) -> None:
    for line in lines(name):
        assert len([form for form in FORMS if form(json.loads(line)) is not None]) == 1
