"""A new session of a lab whose earlier ones came further than what is checked out: one question before the screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.lab.paths import Lab, open_lab
from autoresearch_tui.launch.launcher import Choice, offered
from autoresearch_tui.session import events as ev
from tests.conftest import git
from tests.night import Night

NEW = Choice("new", True, {"review": "auto"})


class Measured(Night):
    """A session that measured as its lab's settings say."""

    def add(self, *events: ev.Event, after: float | None = None) -> None:
        assert self.lab is not None
        budget = self.lab.settings.run.budget_seconds
        began = (replace(e, budget_seconds=budget) if isinstance(e, ev.SessionBegan) else e for e in events)
        super().add(*began, after=after)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    night = Measured(tmp_path / "lab", repository=True)
    night.experiment("keep", 0.99)
    night.experiment("keep", 0.97)
    night.settle()
    return open_lab(tmp_path / "lab")


def answers(monkeypatch: pytest.MonkeyPatch, *given: str) -> list[str]:
    asked: list[str] = []
    left = list(given)

    def answer(question: str) -> str:
        asked.append(question)
        if not left:
            raise EOFError
        return left.pop(0)

    monkeypatch.setattr("builtins.input", answer)
    return asked


@pytest.mark.parametrize("typed", ["y", "Yes ", "", "n", None])
def test_the_answer_is_where_it_starts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str | None
) -> None:
    asked = answers(monkeypatch, *([] if typed is None else [typed]))
    chosen = offered(lab, "new", NEW)
    assert asked == ["Start from there? [y/N] "]
    assert capsys.readouterr().out == ("Session nov20 reached 0.970000 with #1; what is checked out is other code.\n")
    assert chosen.overrides == {"review": "auto"} | ({"from": "best"} if typed in ("y", "Yes ") else {})


def test_nothing_is_asked_that_is_answered_already(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch)
    said = replace(NEW, overrides={"from": "best"})
    assert offered(lab, "new", said) is said
    assert offered(lab, "nov20", NEW) is NEW  # it is there, and resumes where it was
    # What the user has not committed is the start that they mean; so is the best, once it is checked out.
    text = (lab.root / "train.py").read_text()
    (lab.root / "train.py").write_text(f"{text}# mine\n")
    assert offered(lab, "new", NEW) is NEW
    (lab.root / "train.py").write_text(text)
    git(lab.root, "checkout", "--quiet", "--detach", "autoresearch/nov20")
    assert offered(lab, "new", NEW) is NEW
    assert asked == []


def test_what_was_measured_otherwise_is_not_offered(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch)
    run = replace(lab.settings.run, budget_seconds=7)
    otherwise = replace(lab, settings=replace(lab.settings, run=run))
    assert offered(otherwise, "new", NEW) is NEW
    assert asked == []
