"""Git by plumbing: attempts are commits, the user's checkout is never touched."""

import os
import subprocess
from pathlib import Path

import pytest

from autoresearch_tui.lab.git import NO_COMMIT, GitError, GitRepo
from autoresearch_tui.util.errors import UserError
from tests.conftest import git

WHEN = "2026-11-21T03:00:00.000Z"


def test_a_commit_changes_its_files_only_and_no_ref(lab_folder: Path) -> None:
    repo = GitRepo(lab_folder)
    base = repo.head()
    commit = repo.commit(base, {"train.py": b"x = 1\n"}, "One\n", WHEN)
    assert repo.read(commit, "train.py") == b"x = 1\n"
    assert repo.read(commit, "prepare.py") == repo.read(base, "prepare.py")
    assert [*repo.modes(base, commit)] == ["train.py"]
    assert repo.head() == base
    assert git(lab_folder, "status", "--porcelain") == ""
    assert commit == repo.commit(base, {"train.py": b"x = 1\n"}, "One\n", WHEN)


def test_hooks_filters_and_a_stale_index_lock_do_not_matter(lab_folder: Path) -> None:
    hook = lab_folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    hook.chmod(0o755)
    (lab_folder / ".git" / "index.lock").write_text("")
    repo = GitRepo(lab_folder)
    commit = repo.commit(repo.head(), {"train.py": b"y = 2\n"}, "Two\n", WHEN)
    repo.set_ref("refs/autoresearch/t/0001", commit, NO_COMMIT)
    assert repo.refs("refs/autoresearch/t/") == {"refs/autoresearch/t/0001": commit}
    assert not (lab_folder / "ran").exists()


def test_a_ref_moves_only_from_where_it_was_seen(lab_folder: Path) -> None:
    repo = GitRepo(lab_folder)
    base = repo.head()
    one = repo.commit(base, {"train.py": b"1\n"}, "1\n", WHEN)
    two = repo.commit(base, {"train.py": b"2\n"}, "2\n", WHEN)
    repo.set_ref("refs/heads/autoresearch/t", one, NO_COMMIT)
    with pytest.raises(GitError):
        repo.set_ref("refs/heads/autoresearch/t", two, base)
    assert repo.resolve("refs/heads/autoresearch/t") == one


def test_an_export_is_the_commit_without_git(lab_folder: Path, tmp_path: Path) -> None:
    repo = GitRepo(lab_folder)
    (lab_folder / "train.py").write_text("changed but not committed\n")
    repo.export(repo.head(), tmp_path / "work")
    names = sorted(path.name for path in (tmp_path / "work").iterdir())
    assert names == ["autoresearch.toml", "prepare.py", "program.md", "train.py"]
    assert (tmp_path / "work" / "train.py").read_bytes() == repo.read("HEAD", "train.py")


def test_a_lab_inside_a_larger_repository(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "lab").mkdir(parents=True)
    (top / "lab" / "train.py").write_text("a = 1\n")
    (top / "shared.py").write_text("b = 2\n")
    git(top, "init", "--quiet")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "x")
    repo = GitRepo(top / "lab")
    assert repo.prefix == "lab/"
    commit = repo.commit(repo.head(), {"train.py": b"a = 2\n"}, "m\n", WHEN)
    assert [*repo.modes(repo.head(), commit)] == ["lab/train.py"]
    repo.export(commit, tmp_path / "work")
    assert (tmp_path / "work" / "lab" / "train.py").read_text() == "a = 2\n"
    assert (tmp_path / "work" / "shared.py").exists()


def test_a_repository_without_a_commit_is_explained(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UserError, match="has no commit yet"):
        GitRepo(tmp_path).head()


def test_ignoring_is_done_once_and_keeps_what_is_there(lab_folder: Path) -> None:
    exclude = lab_folder / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("mine")
    repo = GitRepo(lab_folder)
    for _ in range(2):
        repo.ignore((".autoresearch/", "results.tsv"))
    assert exclude.read_text() == "mine\n/.autoresearch/\n/results.tsv\n"


def test_the_files_of_many_commits_by_one_git(lab_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that is gone, and where a folder or nothing is of that name."""
    repo = GitRepo(lab_folder)
    head = repo.head()
    made = [repo.commit(head, {"train.py": f"# {n} é\n".encode()}, "m", "2026-11-21T00:00:00Z") for n in range(30)]
    repo.commit(head, {"folder/file": b"x"}, "m", "2026-11-21T00:00:00Z")
    inside = repo.commit(head, {"folder/file": b"x"}, "m", "2026-11-21T00:00:00Z")
    gits, run = [], subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *words, **more: gits.append(words) or run(*words, **more))
    found = repo.read_many([*made, "0" * 40, inside], ["train.py", "folder", "none.py"])
    assert len(gits) == 1
    assert [found[commit] for commit in made] == [{"train.py": f"# {n} é\n"} for n in range(30)]
    assert found["0" * 40] == {}
    assert list(found[inside]) == ["train.py"]
    assert repo.read_many([], ["train.py"]) == {}


NAMES = ('with "quotes".py', "back\\slash.py", "two\nlines.py", "ä name → here.py", " space .py", "deep/er/down.py")


def test_a_commit_is_the_one_that_git_makes_step_by_step(lab_folder: Path) -> None:
    """Whatever the names are, without a ref, and with the date as it was given."""
    repo = GitRepo(lab_folder)
    base, files = repo.head(), {name: f"{place}\n".encode() for place, name in enumerate(NAMES)}
    when = "2026-11-21T03:00:00+05:30"
    found = repo.commit(base, {**files, "program.md": None, "train.py": b""}, "One\n\n→ why\n", when)
    assert repo.refs("refs/") == {f"refs/heads/{repo.branch()}": base}
    (lab_folder / "program.md").unlink()
    (lab_folder / "train.py").write_bytes(b"")
    for name, data in files.items():
        (lab_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (lab_folder / name).write_bytes(data)
    git(lab_folder, "add", "-A")
    who = ("-c", "user.name=autoresearch-tui", "-c", "user.email=autoresearch-tui@localhost")
    dated = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    words = ["git", *who, "commit", "--quiet", "-m", "One\n\n→ why"]
    subprocess.run(words, cwd=lab_folder, check=True, env=os.environ | dated)
    assert repo.head() == found


def test_a_commit_that_cannot_be_made_leaves_nothing_behind(lab_folder: Path) -> None:
    before = sorted(path.name for path in (lab_folder / ".git").iterdir())
    tree = git(lab_folder, "rev-parse", "HEAD^{tree}").strip()
    with pytest.raises(GitError, match=r"fatal: .*commit"):
        GitRepo(lab_folder).commit(tree, {"train.py": b"x\n"}, "One\n", WHEN)
    assert sorted(path.name for path in (lab_folder / ".git").iterdir()) == before


def test_a_diff_comes_with_its_lines_counted(lab_folder: Path) -> None:
    repo = GitRepo(lab_folder)
    base = repo.head()
    lines = repo.read(base, "train.py").decode().splitlines(keepends=True)
    new = "".join(("--- a\n", "+++ b\n", *lines[1:])).encode()
    made = repo.commit(base, {"train.py": new, "data.bin": b"\0\1\2"}, "One\n", WHEN)
    diff, (added, removed) = repo.diff_and_stat(base, made)
    assert diff.startswith("diff --git a/data.bin") and "+--- a\n" in diff
    assert (added, removed) == (2, 1)
    assert repo.diff_and_stat(base, base) == ("", (0, 0))
