"""Git by plumbing: attempts are commits, the user's checkout is never touched."""

from pathlib import Path

import pytest

from autoresearch_tui.engine.ledger import NO_COMMIT, GitError, Ledger
from autoresearch_tui.errors import UserError
from tests.conftest import git

WHEN = "2026-11-21T03:00:00.000Z"


def test_a_commit_changes_its_files_only_and_no_ref(lab_folder: Path) -> None:
    ledger = Ledger(lab_folder)
    base = ledger.head()
    commit = ledger.commit(base, {"train.py": b"x = 1\n"}, "One\n", WHEN)
    assert ledger.read(commit, "train.py") == b"x = 1\n"
    assert ledger.read(commit, "prepare.py") == ledger.read(base, "prepare.py")
    assert ledger.changed_paths(base, commit) == ("train.py",)
    assert ledger.head() == base
    assert git(lab_folder, "status", "--porcelain") == ""
    assert commit == ledger.commit(base, {"train.py": b"x = 1\n"}, "One\n", WHEN)


def test_hooks_filters_and_a_stale_index_lock_do_not_matter(lab_folder: Path) -> None:
    hook = lab_folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    hook.chmod(0o755)
    (lab_folder / ".git" / "index.lock").write_text("")
    ledger = Ledger(lab_folder)
    commit = ledger.commit(ledger.head(), {"train.py": b"y = 2\n"}, "Two\n", WHEN)
    ledger.set_ref("refs/autoresearch/t/0001", commit, NO_COMMIT)
    assert ledger.refs("refs/autoresearch/t/") == {"refs/autoresearch/t/0001": commit}
    assert not (lab_folder / "ran").exists()


def test_a_ref_moves_only_from_where_it_was_seen(lab_folder: Path) -> None:
    ledger = Ledger(lab_folder)
    base = ledger.head()
    one = ledger.commit(base, {"train.py": b"1\n"}, "1\n", WHEN)
    two = ledger.commit(base, {"train.py": b"2\n"}, "2\n", WHEN)
    ledger.set_ref("refs/heads/autoresearch/t", one, NO_COMMIT)
    with pytest.raises(GitError):
        ledger.set_ref("refs/heads/autoresearch/t", two, base)
    assert ledger.resolve("refs/heads/autoresearch/t") == one


def test_an_export_is_the_commit_without_git(lab_folder: Path, tmp_path: Path) -> None:
    ledger = Ledger(lab_folder)
    (lab_folder / "train.py").write_text("changed but not committed\n")
    ledger.export(ledger.head(), tmp_path / "work")
    names = sorted(path.name for path in (tmp_path / "work").iterdir())
    assert names == ["autoresearch.toml", "prepare.py", "program.md", "train.py"]
    assert (tmp_path / "work" / "train.py").read_bytes() == ledger.read("HEAD", "train.py")


def test_a_lab_inside_a_larger_repository(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "lab").mkdir(parents=True)
    (top / "lab" / "train.py").write_text("a = 1\n")
    (top / "shared.py").write_text("b = 2\n")
    git(top, "init", "--quiet")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "x")
    ledger = Ledger(top / "lab")
    assert ledger.prefix == "lab/"
    commit = ledger.commit(ledger.head(), {"train.py": b"a = 2\n"}, "m\n", WHEN)
    assert ledger.changed_paths(ledger.head(), commit) == ("train.py",)
    ledger.export(commit, tmp_path / "work")
    assert (tmp_path / "work" / "lab" / "train.py").read_text() == "a = 2\n"
    assert (tmp_path / "work" / "shared.py").exists()


def test_a_repository_without_a_commit_is_explained(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UserError, match="has no commit yet"):
        Ledger(tmp_path).head()


def test_ignoring_is_done_once_and_keeps_what_is_there(lab_folder: Path) -> None:
    exclude = lab_folder / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("mine")
    ledger = Ledger(lab_folder)
    for _ in range(2):
        ledger.ignore((".autoresearch/", "results.tsv"))
    assert exclude.read_text() == "mine\n/.autoresearch/\n/results.tsv\n"
