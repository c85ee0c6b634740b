"""The demo with Claude: through the real client, against the stand-in that comes with the package."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests import warm
from tests.fakes.messages_server import MessagesServer
from tests.history import problems


def demo(folder: Path, **environ: str) -> tuple[str, list[dict[str, object]]]:
    """What was said, and the events of a short session without a screen; with no other credentials than those given."""
    words = ["demo", str(folder), "--headless", "--tag", "t", "--researcher", "claude", "--review", "auto"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANTHROPIC_")}
    done = warm.run([*words, "--experiments", "3"], env={**kept, "HOME": str(folder.parent), **environ})
    assert done.returncode == 0, done.stderr
    return done.stderr, [json.loads(line) for line in done.stdout.splitlines()]


def test_without_a_key_a_stand_in_plays_claude_and_says_so(lab_folder: Path) -> None:
    said, events = demo(lab_folder)
    assert said.startswith("No API key: a stand-in on this machine plays Claude.")
    made = [event for event in events if event["type"] == "proposal_made"]
    assert [event["author"] for event in made] == ["baseline", "claude", "claude"]
    assert all(event["tokens"] and event["usd"] is None for event in made[1:])
    log = (lab_folder / ".autoresearch/t/researcher.log").read_text()
    assert "What was tried tells me" in log and "submit_experiment" not in log.partition("\n")[0]
    assert problems(lab_folder, "t") == []


def test_against_a_server_of_the_user_s_own(lab_folder: Path) -> None:
    with MessagesServer() as server:
        said, events = demo(lab_folder, ANTHROPIC_BASE_URL=server.url)
        assert said == "" and len(server.requests) >= 2
    made = [event for event in events if event["type"] == "proposal_made"]
    assert all(isinstance(event["usd"], float) for event in made[1:])
