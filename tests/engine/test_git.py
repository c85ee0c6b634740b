"""Git by plumbing: attempts are commits, the user's checkout is never touched."""

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
    assert repo.changed_paths(base, commit) == ("train.py",)
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
    assert repo.changed_paths(repo.head(), commit) == ("train.py",)
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
