"""Which files a proposal may change, add and remove: names, patterns and folders, and what no pattern reaches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab.editable import Editable, applied, change_between
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.lab.uncommitted import uncommitted
from autoresearch_tui.util.errors import UserError
from tests.conftest import git

SKILLS = Editable(
    ("prompt.txt", "skills/*.md", "strategies/", "lib/**/*.py"), ("judge.py", "strategies/base.py", "fixed")
)


@pytest.mark.parametrize(
    "path", ["skills/a.md", "strategies/a.py", "strategies/deep/er/b.txt", "lib/a.py", "lib/x/y/a.py"]
)
def test_patterns_and_folders_cover(path: str) -> None:
    assert SKILLS.covers(path)
    assert SKILLS.refusal([path], ()) == ""
    folder = path.rpartition("/")[0]
    assert all(SKILLS.reaches("/".join(folder.split("/")[:n])) for n in range(1, folder.count("/") + 2))


@pytest.mark.parametrize(
    "path",
    [
        "prompt.txt",  # always there: neither added nor removed
        "skills/a.txt",
        "skills/deep/a.md",
        "Skills/a.md",
        "a.md",
        "strategies",
        "strategies/base.py",
        "strategies/.hidden",
        "strategies/.git/hooks/pre-commit",
        "strategies/__pycache__/a.py",
        "strategies/credentials.json",
        "skills/.md",
        "lib/x/.y/a.py",
        "judge.py",
        "",
    ],
)
def test_what_no_pattern_covers(path: str) -> None:
    assert not SKILLS.covers(path)
    assert SKILLS.refusal([path], ()) != ""


@pytest.mark.parametrize(
    ("editable", "locked", "path", "may"),
    [
        ("harness/", "harness/fixed", "harness/fixed/new.py", False),
        ("harness/skills/", "harness", "harness/skills/new.md", True),
        ("harness/*.md", "harness", "harness/new.md", False),
        ("strategies/", "strategies/base_*.py", "strategies/base_two.py", False),
        ("strategies/", "strategies/base_*.py", "strategies/other.py", True),
    ],
)
def test_where_a_locked_folder_and_a_pattern_meet(editable: str, locked: str, path: str, may: bool) -> None:
    assert Editable((editable,), (locked,)).covers(path) is may


_PATHS = st.lists(
    st.sampled_from(["skills", "strategies", "lib", "judge.py", ".git", "..", "", ".", "-rf", "a.md", "b.py", "Ａ.md"])
    | st.text(max_size=4),
    max_size=5,
).map("/".join)


@given(_PATHS)
def test_whatever_is_accepted_is_a_plain_path_inside(path: str) -> None:
    if SKILLS.refusal([path], ()) == "":
        assert path.isascii() and path.isprintable() and not path.startswith("/")
        assert all(part not in ("", ".", "..") and part[0] not in "-." for part in path.split("/"))
        assert path.startswith(("skills/", "strategies/", "lib/"))


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_pattern_and_any_path_get_an_answer(pattern: str, path: str) -> None:
    editable = Editable((f"{pattern}*",))
    if editable.covers(path):
        assert all(editable.reaches(path[:at]) for at, letter in enumerate(path) if letter == "/" and at)


_FILES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "one", "two"]))


@given(_FILES, _FILES)
def test_a_change_is_what_turns_one_set_of_files_into_another(before: dict[str, str], after: dict[str, str]) -> None:
    change = change_between(before, after)
    assert applied(before, change) == after
    assert not any(text == before.get(path, before) for path, text in change.items())


def skill_lab(new_lab: Callable[..., Path], editable: str = '["prompt.txt", "skills/*.md"]') -> Path:
    folder = new_lab(settings=f'[lab]\neditable = {editable}\nlocked = ["prepare.py"]\n[run]\ncommand = ["true"]\n')
    (folder / "prompt.txt").write_text("be kind\n")
    (folder / "skills").mkdir()
    (folder / "skills" / "wash.md").write_text("1. water\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=skills")
    return folder


def test_a_lab_has_the_files_that_its_patterns_find(new_lab: Callable[..., Path]) -> None:
    folder = skill_lab(new_lab)
    (folder / "skills" / "new.md").write_text("2. dry\n")
    (folder / "skills" / "link.md").symlink_to("wash.md")
    (folder / ".gitignore").write_text("skills/ignored.md\n")
    (folder / "skills" / "ignored.md").write_bytes(b"\xff")
    lab = open_lab(folder)
    assert lab.editable_files == ("prompt.txt", "skills/new.md", "skills/wash.md")
    (folder / "skills" / "wash.md").unlink()
    assert uncommitted(open_lab(folder), GitRepo(folder)) == {"skills/new.md": b"2. dry\n", "skills/wash.md": None}


def test_no_pattern_reaches_what_the_human_says(new_lab: Callable[..., Path]) -> None:
    folder = skill_lab(new_lab, '["**/*.md", "*.toml", "*.tsv"]')
    (folder / "pyproject.toml").write_text("")
    (folder / "results.tsv").write_text("")
    (folder / "more.toml").write_text("")
    assert open_lab(folder).editable_files == ("more.toml", "skills/wash.md")


def test_a_folder_may_be_named_without_its_slash(new_lab: Callable[..., Path]) -> None:
    lab = open_lab(skill_lab(new_lab, '["skills"]'))
    assert lab.settings.lab.editable == ("skills/",)
    assert lab.editable_files == ("skills/wash.md",)


def test_the_files_of_many_commits(new_lab: Callable[..., Path]) -> None:
    folder = skill_lab(new_lab, '["prompt.txt", "skills/**/*.md"]')
    repo, editable = GitRepo(folder), open_lab(folder).editable
    base = repo.head()
    made = repo.commit(base, {"skills/deep/a.md": b"deep\n", "skills/wash.md": None}, "one", "2026-01-01T00:00:00Z")
    again = repo.commit(base, {"skills/deep/a.md": b"deep\n", "skills/wash.md": None}, "one", "2026-01-01T00:00:00Z")
    back = repo.commit(made, {"skills/deep/a.md": None, "skills/deep": b"a file\n"}, "two", "2026-01-01T00:00:00Z")
    assert made == again
    assert repo.editable_of_many([base, made, back], editable) == {
        base: {"prompt.txt": "be kind\n", "skills/wash.md": "1. water\n"},
        made: {"prompt.txt": "be kind\n", "skills/deep/a.md": "deep\n"},
        back: {"prompt.txt": "be kind\n"},
    }


def test_a_lab_inside_a_larger_repository(tmp_path: Path) -> None:
    root = tmp_path / "a[b]"
    (root / "skills").mkdir(parents=True)
    (root / "skills" / "wash.md").write_text("1. water\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message=one")
    repo, editable = GitRepo(root), Editable(("skills/*.md",))
    made = repo.commit(repo.head(), {"skills/wash.md": None, "skills/-x.md": b"x\n"}, "two", "2026-01-01T00:00:00Z")
    assert repo.editable_texts(made, editable) == {"skills/-x.md": "x\n"}
    assert repo.paths(made) == ("skills/-x.md",)
    git(tmp_path, "branch", "autoresearch/one", made)
    git(tmp_path, "branch", "--move", "main")
    (change,) = repo.changes_on(["autoresearch/one"], editable.names)
    assert sorted(change.blobs) == ["a[b]/skills/-x.md", "a[b]/skills/wash.md"]


def test_too_many_files_are_named(new_lab: Callable[..., Path]) -> None:
    folder = skill_lab(new_lab)
    for number in range(201):
        (folder / "skills" / f"{number}.md").write_text("x")
    with pytest.raises(UserError, match="203 editable files; 200 at most"):
        open_lab(folder)


@pytest.mark.parametrize("name", ["/skills/", "../skills/*.md", ".git/", "./", "skills//", "a\nb*", ".autoresearch/*"])
def test_names_that_settings_refuse(new_lab: Callable[..., Path], name: str) -> None:
    quoted = name.replace("\n", "\\n")
    folder = new_lab(settings=f'[lab]\neditable = ["{quoted}"]\n')
    with pytest.raises(UserError, match=r"`lab\.editable` has"):
        open_lab(folder)
