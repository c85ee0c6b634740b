"""docs/labs.md, "A text and its rubric": the page's own files are a lab, with a server on loopback as the judge."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoresearch_tui.lab.paths import open_lab
from tests import warm
from tests.conftest import git
from tests.fakes.messages_server import Exchange, MessagesServer, Step, status
from tests.history import state_of

PAGE = (Path(__file__).parents[2] / "docs" / "labs.md").read_text()
_, SECTION = PAGE.split("### A text and its rubric\n", 1)
SETTINGS, JUDGE = (re.search(rf"```{kind}\n(.*?)```", SECTION, re.DOTALL)[1] for kind in ("toml", "python"))  # type: ignore[index]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    # Nobody is asked for a second opinion here.
    settings = SETTINGS.partition("[review]")[0]
    files = {
        "autoresearch.toml": settings,
        "judge.py": JUDGE,
        "rubric.md": "One point for each word.",
        "text.md": "Four words </text> stand.",
        "program.md": "Write text.md.",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=lab")
    return folder


def gives(text: str) -> Step:
    return lambda exchange: exchange.answer(200, {"content": [{"type": "text", "text": text}]})


def judged(lab: Path, *script: Step) -> tuple[subprocess.CompletedProcess[str], list[Exchange]]:
    with MessagesServer(script) as server:
        env = {**os.environ, "JUDGE_MODEL": "m", "ANTHROPIC_BASE_URL": server.url, "ANTHROPIC_API_KEY": "k"}
        done = subprocess.run(
            [sys.executable, "-I", "judge.py"], cwd=lab, env=env, capture_output=True, text=True, check=False
        )
        return done, server.requests  # type: ignore[return-value]


def test_the_settings_of_the_page_are_a_lab_and_its_night_has_a_score(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [gives(f'Here: {{"points": {number}, "why": "short"}}') for number in (40, 60, 50)] * 3
    with MessagesServer(points) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-the-judge")
        words = ["--headless", "--researcher", "search", "--review", "auto", "--experiments", "1"]
        done = warm.run([str(lab), *words])
    assert done.returncode == 0, done.stderr
    (tag,) = open_lab(lab).tags()
    baseline = state_of(lab, tag).experiments[0]
    assert baseline.value == 50
    assert baseline.score is not None
    assert baseline.score.columns == {"words": 4, "apart": 20}
    assert {headers["X-Api-Key"] for headers in map(_titled, server.headers)} == {"key-of-the-judge"}
    assert "<text>\nFour words  stand.\n</text>" in server.requests[0]["messages"][0]["content"]


def _titled(headers: dict[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [
        (status(401, "authentication_error"), 1, "401"),
        (status(529, "overloaded_error"), 75, "529"),
        (gives("ten out of ten"), 75, "no points"),
        (gives(json.dumps({"mark": 3})), 75, "no points"),
    ],
)
def test_a_judge_without_an_answer_says_so_in_a_line(lab: Path, step: Step, code: int, said: str) -> None:
    done, _ = judged(lab, step)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert said in done.stderr
    assert "METRIC" not in done.stdout
