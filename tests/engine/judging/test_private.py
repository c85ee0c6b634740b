"""What only the referee gets: files of the commit, variables of the user, and the right to be asked again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing.briefing import SourceCache
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.researchers import prompt
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS, git
from tests.engine.judging.test_scoring import play
from tests.history import problems

NewLab = Callable[..., Path]
KEY = "sk-not-for-a-run"
TABLE = """
[lab]
locked = ["judge.py", "exam"]
private = ["exam/answers.txt"]

[metric]
referee = ["python", "-I", "judge.py"]
referee_env = ["ANTHROPIC_API_KEY", "NOT_SET_ANYWHERE"]
"""
JUDGE = """\
import os, pathlib, sys
answers = pathlib.Path(__file__).with_name("exam") / "answers.txt"
again = pathlib.Path(os.environ["ASKED"])
if not again.exists():
    again.touch()
    print("the server is busy", file=sys.stderr)
    sys.exit(75)
print("val_bpb:", answers.read_text().strip() if os.environ.get("ANTHROPIC_API_KEY", "").startswith("sk-") else 9)
"""
TRAIN = """\
import os, pathlib
for name in ("exam/answers.txt", "exam/questions.txt", {checkout!r}):
    try:
        print(name, "says", pathlib.Path(name).read_text())
    except OSError:
        print(name, "is out of sight")
print("key:", os.environ.get("ANTHROPIC_API_KEY"))
"""


@pytest.fixture
def exam(new_lab: NewLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab whose referee has a file and a key of its own, and is busy when first asked."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    asked = f'[run]\nenv = {{ ASKED = "{tmp_path}/asked" }}\n'
    lab = new_lab(
        settings=SETTINGS.replace("[run]\n", asked) + TABLE,
        train=TRAIN.format(checkout=str(tmp_path / "lab/exam/answers.txt")),
    )
    (lab / "judge.py").write_text(JUDGE)
    (lab / "exam").mkdir()
    (lab / "exam" / "answers.txt").write_text("0.125\n")
    (lab / "exam" / "questions.txt").write_text("how far?\n")
    git(lab, "add", "--all")
    git(lab, "commit", "--quiet", "--message=exam")
    return lab


def test_only_the_referee_gets_the_answers_and_the_key(exam: Path) -> None:
    """It is asked again after it could not tell; neither run nor researcher sees what it has."""
    played = play(exam)
    (baseline,) = played.table
    assert (baseline.outcome, baseline.value) == ("keep", 0.125)
    folder = exam / ".autoresearch" / "t"
    log = (folder / "runs" / "0000" / "run.log").read_text()
    assert log.count("is out of sight") == 2
    assert "exam/questions.txt says how far?" in log
    assert "key: None" in log
    kept = [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == []
    assert "the server is busy" in (folder / "journal.jsonl").read_text()
    brief = SourceCache(labs.find(exam), GitRepo(exam)).brief(played, 1, played.frontier_commit)
    assert sorted(brief.locked) == ["exam/questions.txt", "judge.py"]
    assert "0.125\n" not in repr(prompt.build(brief))
    assert problems(exam, "t") == []


def test_a_referee_that_quotes_its_key_tells_nobody(exam: Path) -> None:
    quoting = JUDGE.replace('print("the server is busy"', 'print("busy: key", os.environ["ANTHROPIC_API_KEY"]')
    quoting += 'sys.exit("401: " + os.environ["ANTHROPIC_API_KEY"])\n'
    (exam / "judge.py").write_text(quoting)
    git(exam, "commit", "--quiet", "--all", "--message=quotes")
    (baseline,) = play(exam).table
    assert baseline.reason.endswith("the referee refused: 401: [key]")
    folder = exam / ".autoresearch" / "t"
    assert "busy: key [key]" in (folder / "journal.jsonl").read_text()
    assert [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('private = ["exam/answers.txt"]', 'private = ["train.py"]', "which is not locked"),
        ('referee = ["python", "-I", "judge.py"]', "", "no `metric.referee`"),
        ('"NOT_SET_ANYWHERE"', '"A=B"', "metric.referee_env"),
        ('"exam/answers.txt"', '"../answers.txt"', "relative to the lab"),
    ],
)
def test_what_cannot_be_private_is_refused_in_a_line(exam: Path, old: str, new: str, said: str) -> None:
    settings = exam / "autoresearch.toml"
    settings.write_text(settings.read_text().replace(old, new))
    with pytest.raises(UserError, match=said):
        labs.find(exam)


def test_a_private_folder_hides_all_in_it(exam: Path) -> None:
    settings = exam / "autoresearch.toml"
    settings.write_text(settings.read_text().replace('"exam/answers.txt"', '"exam"'))
    assert labs.find(exam).settings.lab.visible == ("judge.py",)
