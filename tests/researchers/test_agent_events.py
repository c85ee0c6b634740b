"""What a command-line agent's JSON events look like in its stream."""

from __future__ import annotations

import json

import pytest

from autoresearch_tui.researchers.agent_events import parts


def claude(kind: str, *content: object) -> str:
    return json.dumps({"type": kind, "message": {"content": list(content)}})


def codex(kind: str, **item: object) -> str:
    return json.dumps({"type": f"item.{kind}", "item": item})


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (claude("assistant", {"type": "thinking", "thinking": "Hm.\n"}), ["∴ Hm."]),
        (claude("assistant", {"type": "text", "text": "I halve LR."}), ["» I halve LR."]),
        (
            claude("assistant", {"type": "tool_use", "name": "Bash", "input": {"command": "ls", "description": "x"}}),
            ["◇ Bash ls"],
        ),
        (claude("assistant", {"type": "tool_use", "name": "Todo", "input": {"n": 1}}), ['◇ Todo {"n": 1}']),
        (claude("user", {"type": "tool_result", "content": "a\nb\nc\nd\ne"}), ["← a\nb\nc\nd …"]),
        (claude("user", {"type": "tool_result", "content": [{"text": "no"}], "is_error": True}), ["← failed: no"]),
        (claude("user", {"type": "tool_result", "content": ""}), ["← nothing"]),
        ('{"type": "system", "subtype": "init"}', []),
        ('{"type": "result", "result": "done"}', []),
        (codex("completed", type="reasoning", text="Hm."), ["∴ Hm."]),
        (codex("completed", type="agent_message", text="Done."), ["» Done."]),
        (codex("started", type="command_execution", command="ls"), ["◇ ls"]),
        (codex("completed", type="command_execution", aggregated_output="x", exit_code=2), ["← failed: x"]),
        (codex("completed", type="file_change", changes=[{"path": "train.py"}]), ["◇ edit train.py"]),
        (codex("started", type="reasoning", text=""), []),
        ("plain words", None),
        ('{"loss": 1}', None),
        ("{not json", None),
        ('{"type": "assistant", "message": 3}', None),
        ('{"type": "assistant", "message": {"content": [3, {"type": "text", "text": null}]}}', []),
    ],
)
def test_events(line: str, shown: list[str] | None) -> None:
    assert parts(line) == shown


def test_a_long_result_is_cut() -> None:
    (shown,) = parts(claude("user", {"type": "tool_result", "content": "x" * 9_000})) or []
    assert len(shown) < 500
    assert shown.endswith(" …")
