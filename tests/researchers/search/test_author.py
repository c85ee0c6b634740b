"""The digest by template says of each step of a constant what it brought."""

from __future__ import annotations

import threading

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.researchers.base import Attempt, Brief
from autoresearch_tui.researchers.search.author import TemplateAuthor

TRAIN = "RATE = 0.5\nWIDTH = 8\nSEEN = 1\n"
FILES = {"base": TRAIN, "up": TRAIN.replace("0.5", "0.9"), "wide": TRAIN.replace("8", "16")}
FILES["same"] = TRAIN.replace("SEEN = 1", "SEEN = 2")
BRIEF = Brief(
    number=4,
    base="base",
    program="",
    files={"train.py": TRAIN},
    locked={},
    metric="val_bpb",
    goal=Goal.MINIMIZE,
    budget_seconds=300,
    history=(
        Attempt(0, "base", "base", "baseline", "", "keep", 1.5, ""),
        Attempt(1, "up", "base", "RATE to 0.9", "", "discard", 1.75, ""),
        Attempt(2, "wide", "base", "WIDTH to 16", "", "keep", 1.25, ""),
        Attempt(3, "same", "base", "SEEN to 2", "", "discard", 1.5, ""),
    ),
    files_at=lambda commit: {"train.py": FILES[commit]},
)


def test_what_each_step_brought() -> None:
    page = TemplateAuthor().write(BRIEF, lambda _: None, threading.Event())
    assert page is not None
    assert "RATE: 0.5 to 0.9 was worse by 0.250000 (#1)." in page.text
    assert "WIDTH: 8 to 16 was better by 0.250000 (#2)." in page.text
    assert "SEEN: 1 to 2 changed nothing (#3)." in page.text
