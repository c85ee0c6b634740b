"""A lab whose artifact is a folder of texts, through the loop: files come and go, are shown, kept, merged, checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine.launching import Launcher, LaunchRefused
from autoresearch_tui.lab.editable import Change
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.sandbox import for_runs
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.state import Stage
from tests.conftest import git
from tests.engine.making import experiment
from tests.engine.test_loop import Move, Script, running
from tests.history import problems, state_of

SETTINGS = """\
[lab]
editable = ["prompt.txt", "skills/*.md"]
locked = ["judge.py", "check.py"]

[run]
command = ["python", "judge.py"]
budget_seconds = 5
timeout_seconds = 30

[metric]
name = "errors"
pattern = '^errors: (\\S+)'

[review]
mode = "auto"
"""
JUDGE = """\
from pathlib import Path
words = " ".join(path.read_text() for path in [Path("prompt.txt"), *sorted(Path("skills").glob("*.md"))])
print("errors:", sum(word not in words for word in ("wash", "dry", "fold", "iron")))
"""
CHECK = """\
from pathlib import Path
for path in sorted(Path("skills").glob("*.md")):
    if not path.read_text().startswith("#"):
        raise SystemExit(f"{path}: begin with a heading")
"""


@pytest.fixture
def folder(new_lab: Callable[..., Path]) -> Path:
    root = new_lab(settings=SETTINGS)
    for name in ("train.py", "prepare.py"):
        (root / name).unlink()
    (root / "skills").mkdir()
    files = {"prompt.txt": "help\n", "skills/wash.md": "# wash\n", "judge.py": JUDGE, "check.py": CHECK}
    for name, text in files.items():
        (root / name).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=skills")
    return root


def change(**files: str | None) -> Move:
    """A proposal: `prompt` stands for prompt.txt, any other name for a skill; None removes it."""
    made: Change = {"prompt.txt" if n == "prompt" else f"skills/{n}.md": text for n, text in files.items()}
    return lambda _brief: Proposal(" and ".join(made), "because", made)


def test_files_come_and_go_and_are_merged_shown_and_kept(folder: Path) -> None:
    script = Script(
        change(dry="# dry\n"),
        change(fold="# fold\n", prompt="help, and iron\n"),
        change(wash=None),
    )
    with running(folder, script, rows=4) as driver:
        driver.join()
    state = state_of(folder, "t")
    assert [e.outcome for e in state.experiments] == ["keep", "keep", "keep", "discard"]
    best = state.experiments[2]
    assert git(folder, "ls-tree", "-r", "--name-only", best.commit, "skills").split() == [
        "skills/dry.md",
        "skills/fold.md",
        "skills/wash.md",
    ]
    run = open_lab(folder).session("t").run(2)
    trained = {name: path.read_text() for name, path in run.as_trained(("prompt.txt",)).items()}
    assert trained == {
        "prompt.txt": "help, and iron\n",
        "skills/dry.md": "# dry\n",
        "skills/fold.md": "# fold\n",
        "skills/wash.md": "# wash\n",
    }
    assert "new file mode 100644" in run.diff.read_text()
    gone = open_lab(folder).session("t").run(3)
    assert "deleted file mode 100644" in gone.diff.read_text()
    assert set(gone.as_trained(())) == {"skills/dry.md", "skills/fold.md"}
    assert [e.proposal.low_risk for e in state.experiments[1:]] == [True, True, True]
    assert problems(folder, "t") == []


def test_a_change_outside_goes_back_with_the_reason(folder: Path) -> None:
    def then(brief: Brief) -> Proposal | None:
        assert (
            brief.complaint
            == "judge.py: not editable; a proposal may change prompt.txt, skills/wash.md, skills/*.md only"
        )
        return Proposal("Wash", "because", {"skills/Wash.md": "# dry\n"})

    def at_last(brief: Brief) -> Proposal | None:
        assert "skills/wash.md differs from it only in how it is written" in brief.complaint
        return Proposal("dry", "because", {"skills/dry.md": "# dry\n"})

    bad: Change = {"judge.py": "print('errors: -1')"}
    with running(folder, Script(lambda _: Proposal("bad", "because", bad), then, at_last), rows=2) as driver:
        driver.join()
    assert state_of(folder, "t").experiments[1].description == "dry"


@pytest.mark.parametrize(
    ("mode", "path", "why"),
    [
        ("120000", "skills/link.md", "from mode 000000 to 120000"),
        ("100755", "skills/run.md", "from mode 000000 to 100755"),
        ("100644", "skills/.hidden.md", "is not editable"),
        ("100644", "more.md", "is not editable"),
        ("100644", "skills/dry.md", ""),
    ],
)
def test_what_no_launch_takes_whoever_made_the_commit(folder: Path, mode: str, path: str, why: str) -> None:
    base = git(folder, "rev-parse", "HEAD")
    (folder / "text").write_text("judge.py")
    blob = git(folder, "hash-object", "-w", "text")
    git(folder, "update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")
    commit = git(folder, "commit-tree", git(folder, "write-tree"), "-p", base, "-m", "by hand")
    lab = open_lab(folder)
    launcher, files = Launcher(lab, GitRepo(folder)), lab.session("t").run(1)
    if not why:
        launcher.prepare(experiment(1, commit=commit, base=base), files)
        assert (launcher.cwd(files) / path).read_text() == "judge.py"
        return
    with pytest.raises(LaunchRefused, match=why):
        launcher.prepare(experiment(1, commit=commit, base=base), files)


def test_the_labs_own_check_goes_back_to_the_researcher(folder: Path) -> None:
    if for_runs.mechanism().kind is for_runs.Kind.NONE:
        pytest.skip("nothing confines a check here")
    settings = (folder / "autoresearch.toml").read_text()
    (folder / "autoresearch.toml").write_text(settings.replace("[lab]\n", '[lab]\ncheck = ["python", "check.py"]\n'))

    def then(brief: Brief) -> Proposal | None:
        assert brief.complaint == "the lab's check says: skills/dry.md: begin with a heading"
        return Proposal("dry", "because", {"skills/dry.md": "# dry\n", "skills/wash.md": None})

    with running(folder, Script(change(dry="dry\n"), then), rows=2) as driver:
        driver.join()
    assert state_of(folder, "t").experiments[1].outcome == "discard"


def test_a_human_edits_what_a_proposal_adds_and_removes_a_file_by_emptying_it(folder: Path) -> None:
    asks = (folder / "autoresearch.toml").read_text().replace('mode = "auto"', 'mode = "ask"')
    (folder / "autoresearch.toml").write_text(asks)
    with running(folder, Script(change(dry="# dry\n", fold="# fold\n"))) as driver:
        state = driver.wait(lambda s: any(e.stage is Stage.REVIEW for e in s.experiments))
        edit = {"skills/dry.md": "# dry, and iron\n", "skills/wash.md": ""}
        driver.engine.send(cmd.Revise(1, state.experiments[1].commit, edit))
        state = driver.wait(lambda s: s.experiments[1].outcome)
    assert git(folder, "show", f"{state.experiments[1].commit}:skills/dry.md") == "# dry, and iron"
    names = open_lab(folder).session("t").run(1).as_trained(())
    assert list(names) == ["skills/dry.md", "skills/fold.md"]
    assert problems(folder, "t") == []
