"""Line ends: whatever an agent, an editor or a merge writes, a file keeps its own, and a diff shows what changed."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.python_source.merge import merge
from autoresearch_tui.researchers.agents.program import Program
from autoresearch_tui.researchers.agents.researcher import Command
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.researchers.claude import tool
from autoresearch_tui.researchers.search.researcher import Search
from autoresearch_tui.util.line_ends import like, plain
from tests.conftest import TRAIN, git
from tests.engine.test_loop import Script, turn
from tests.history import problems, state_of

WHEN = "2026-11-21T03:00:00.000Z"
LINES = st.lists(st.sampled_from(["a = 1", "b = 2", "", "    c", "d é", "# x \x0c y"]), max_size=10)
ENDS = st.sampled_from(["\n", "\r\n"])


def written(lines: list[str], ends: list[str], *, last: bool = True) -> str:
    text = "".join(line + end for line, end in zip(lines, ends, strict=False))
    return text if last else text.removesuffix("\n").removesuffix("\r")


@st.composite
def files(draw: st.DrawFn) -> str:
    """A text in one line end or in a mixture, with or without one at its end."""
    lines = draw(LINES)
    ends = draw(st.one_of(ENDS.map(lambda end: [end] * 10), st.lists(ENDS, min_size=10, max_size=10)))
    return written(lines, ends, last=draw(st.booleans()))


@given(files(), files())
def test_an_edit_says_what_it_said_in_the_files_own_line_ends(base: str, text: str) -> None:
    kept = like(text, base)
    assert plain(kept) == plain(text)
    assert like(kept, base) == kept
    assert like(plain(base), base) == base
    assert like(base.replace("\r\n", "\n").replace("\n", "\r\n"), base) == base or "\n" not in base
    if "\r" not in base and "\n" in base:
        assert "\r" not in kept
    if base.count("\n") == base.count("\r\n") > 0:
        assert kept.count("\n") == kept.count("\r\n")


@given(files(), LINES)
def test_lines_that_were_there_keep_the_ends_that_they_had(base: str, more: list[str]) -> None:
    new = "".join(f"new {n} {line}\n" for n, line in enumerate(more))
    assert like(plain(base) + new, base).startswith(base)


@given(LINES, st.data())
def test_a_merge_does_not_mind_line_ends(lines: list[str], data: st.DataObject) -> None:
    base = "".join(line + "\n" for line in lines)
    ours, theirs = (base + extra for extra in data.draw(st.sampled_from([("o\n", ""), ("", "t\n"), ("", "")])))
    forms = [data.draw(ENDS) for _ in range(3)]
    merged = merge(*(text.replace("\n", end) for text, end in zip((base, ours, theirs), forms, strict=True)))
    assert merged is not None
    assert plain(merged) == merge(base, ours, theirs)
    if ours:
        assert merged == plain(merged).replace("\n", forms[1])


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ends")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=empty")
    return folder


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 12), st.data())
def test_from_edit_to_commit_to_diff_to_merge(repository: Path, count: int, data: st.DataObject) -> None:
    """Two edits of a file in any line ends: each diff has the one line, and both are in the merge."""
    repo = GitRepo(repository)
    ends = data.draw(st.one_of(ENDS.map(lambda end: [end] * count), st.lists(ENDS, min_size=count, max_size=count)))
    base_text = written([f"K{n} = {n}" for n in range(count)], ends)
    base = repo.commit(repo.head(), {"train.py": base_text.encode()}, "base\n", WHEN)
    texts = []
    for place in (0, count - 1):
        old, new = f"K{place} = {place}\n", f"K{place} = 99\n"
        given_edit = {"path": "train.py", "old": old, "new": new}
        value = {"description": "x", "hypothesis": "y", "edits": [given_edit]}
        (text,) = tool.read(value, {"train.py": base_text}).files.values()
        commit = repo.commit(base, {"train.py": text.encode()}, "edit\n", WHEN)
        assert repo.stat(base, commit) == (1, 1)
        changed = [line for line in repo.diff(base, commit).splitlines() if line[:2] in ("+K", "-K")]
        assert [line.rstrip("\r") for line in changed] == [f"-K{place} = {place}", f"+K{place} = 99"]
        texts.append(text)
    merged = merge(base_text, *texts)
    assert merged is not None
    wanted = ["K0 = 99", *(f"K{n} = {n}" for n in range(1, count - 1)), f"K{count - 1} = 99"]
    assert merged == written(wanted, ends)


@pytest.fixture
def windows_lab(new_lab: Callable[..., Path]) -> Path:
    folder = new_lab()
    (folder / "train.py").write_bytes(TRAIN.replace("\n", "\r\n").encode())
    git(folder, "commit", "--all", "--quiet", "--message=from Windows")
    return folder


def test_a_file_from_windows_through_the_loop(windows_lab: Path) -> None:
    """An agent that converts the whole file, one that edits it, and a merge of one onto the other."""

    def converted(brief: Brief) -> Proposal:
        text = plain(brief.files["train.py"]).replace("RATE = 0.5", "RATE = 0.25")
        return Proposal("RATE", "because", {"train.py": text})

    Engine(Session(labs.find(windows_lab), "t"), Script(converted, turn("WIDTH", 12)), headless=True, rows=3).run()
    state = state_of(windows_lab, "t")
    assert [(e.proposal.added, e.proposal.removed) for e in state.experiments] == [(0, 0), (1, 1), (1, 1)]
    repo = GitRepo(windows_lab)
    for experiment in state.experiments:
        data = repo.read(experiment.commit, "train.py")
        assert data.count(b"\n") == data.count(b"\r\n") == TRAIN.count("\n")
    assert problems(windows_lab, "t") == []


@pytest.mark.parametrize(
    ("script", "changed"),
    [
        ("tr -d '\\r' < train.py | sed 's/RATE = 0.5/RATE = 0.25/' > new; mv new train.py", 1),
        ("tr -d '\\r' < train.py > new; mv new train.py", 0),  # its editor converted the file, and that is all
    ],
)
def test_an_agent_that_converts_line_ends_changed_what_it_changed(script: str, changed: int) -> None:
    base = TRAIN.replace("\n", "\r\n")
    brief = Brief(1, "a" * 40, "Make it lower.", {"train.py": base}, {}, "val_bpb", Goal.MINIMIZE, 300, ())
    agent = Command(Program(["sh", "-c", f"{script}; chmod 644 train.py"], environ=os.environ))
    proposal = agent.propose(brief, lambda _text: None, threading.Event())
    assert (proposal is not None) == bool(changed)
    if proposal is not None:
        assert proposal.files == {"train.py": base.replace("RATE = 0.5", "RATE = 0.25")}


def test_the_offline_search_edits_a_file_from_windows(windows_lab: Path) -> None:
    Engine(Session(labs.find(windows_lab), "t"), Search(), headless=True, rows=4).run()
    state = state_of(windows_lab, "t")
    assert all(e.proposal.added <= 6 for e in state.experiments)
    assert len(state.table) == 4


def test_what_git_calls_clean_is_clean(lab_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`core.autocrlf=true` and a filter on train.py: nothing to commit, and one changed line is one changed line."""
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["git", "config", "--global", "core.autocrlf", "true"], check=True)
    (lab_folder / ".gitattributes").write_text("train.py filter=upper\n")
    git(lab_folder, "config", "filter.upper.clean", "sed s/WIDE/WIDTH/")
    git(lab_folder, "config", "filter.upper.smudge", "sed s/WIDTH/WIDE/")
    git(lab_folder, "add", "--all")
    git(lab_folder, "commit", "--quiet", "--message=attributes")
    for name in ("train.py", "prepare.py"):
        text = (lab_folder / name).read_text().replace("WIDTH", "WIDE").replace("\n", "\r\n")
        (lab_folder / name).write_bytes(text.encode())
    subprocess.run(["git", "add", "--renormalize", "."], cwd=lab_folder, check=True)
    repo = GitRepo(lab_folder)
    assert repo.dirty(("train.py", "prepare.py")) == {}
    (lab_folder / "train.py").write_bytes((lab_folder / "train.py").read_bytes().replace(b"RATE = 0.5", b"RATE = 0.4"))
    (changed,) = repo.dirty(("train.py", "prepare.py")).items()
    assert changed[1].count(b"\r") == 0
    commit = repo.commit(repo.head(), dict([changed]), "m\n", WHEN)
    assert repo.stat(repo.head(), commit) == (1, 1)
    # A run has the bytes of the commit, whatever the attributes say of a checkout.
    repo.export(commit, tmp_path / "work", exact=("train.py",))
    assert (tmp_path / "work" / "train.py").read_bytes() == changed[1]
    Engine(Session(labs.find(lab_folder), "t"), Script(), headless=True, rows=1).run()
    assert [e.outcome for e in state_of(lab_folder, "t").table] == ["keep"]
    base = state_of(lab_folder, "t").session
    assert base is not None
    assert repo.stat("HEAD", base.base) == (1, 1)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5\n"


@pytest.mark.parametrize("program", ["no-such-lfs filter-process", "false", ""])
def test_a_filter_that_cannot_run_is_named_and_the_pointers_are_used(
    lab_folder: Path, tmp_path: Path, program: str
) -> None:
    """Its program is not installed, or it fails (no network), or it was never set up."""
    (lab_folder / "data.bin").write_text(POINTER)
    git(lab_folder, "add", "--all")
    git(lab_folder, "commit", "--quiet", "--message=data")
    (lab_folder / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    git(lab_folder, "add", "--all")
    git(lab_folder, "commit", "--quiet", "--message=attributes")
    if program:
        git(lab_folder, "config", "filter.lfs.process", program)
        git(lab_folder, "config", "filter.lfs.required", "true")
    repo = GitRepo(lab_folder)
    repo.export(repo.head(), tmp_path / "work")
    assert (tmp_path / "work" / "data.bin").read_text() == POINTER
    assert repo.unfiltered("HEAD") == ({} if program == "false" else {"lfs": ["data.bin"]})
    Engine(Session(labs.find(lab_folder), "t"), Script(), headless=True, rows=1).run()
    assert [e.outcome for e in state_of(lab_folder, "t").table] == ["keep"]
    journal = (lab_folder / ".autoresearch/t/journal.jsonl").read_text()
    said = "a filter fails" if program == "false" else "git's filter lfs (git-lfs) is not installed: data.bin"
    assert journal.count(said) == 1


def test_a_filter_that_only_cleans_is_not_missed(lab_folder: Path) -> None:
    git(lab_folder, "config", "filter.strip.clean", "cat")
    (lab_folder / ".gitattributes").write_text("*.py filter=strip\n*.md filter\n")
    git(lab_folder, "add", "--all")
    git(lab_folder, "commit", "--quiet", "--message=attributes")
    assert GitRepo(lab_folder).unfiltered("HEAD") == {}


def test_a_filter_that_works_gives_a_run_its_data(lab_folder: Path, tmp_path: Path) -> None:
    (lab_folder / ".gitattributes").write_text("*.bin filter=rot\n")
    git(lab_folder, "config", "filter.rot.clean", "tr a-z b-za")
    git(lab_folder, "config", "filter.rot.smudge", "tr b-za a-z")
    (lab_folder / "data.bin").write_text("hello\n")
    git(lab_folder, "add", "--all")
    git(lab_folder, "commit", "--quiet", "--message=data")
    GitRepo(lab_folder).export("HEAD", tmp_path / "work")
    assert (tmp_path / "work" / "data.bin").read_text() == "hello\n"
