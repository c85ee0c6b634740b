"""Choosing the session that a command opens."""

from __future__ import annotations

from datetime import date

from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.util.errors import UserError

# A folder and a branch have this name, and temporary ones beside them have longer names.
LONGEST = 100


def choose_tag(lab: Lab, tag: str, *, new: bool, today: date | None = None) -> str:
    """The tag to open: the given one, the latest session's, or a new one named after the date.

    Raises UserError for a tag that cannot be part of a branch's name, or whose branch is not a session's.
    """
    try:
        repo = GitRepo(lab.root)
    except GitError as error:
        raise UserError(f"{lab.root}: git refuses: {error}", "fix that (git 2.25 or newer is needed)") from None
    repo.head()
    tags, branches = lab.tags(), repo.branches()
    _check_room(lab, branches)
    if tag:
        # A session whose journal is lost is still ours: its remains are kept, and the tag is free.
        remains = lab.session(tag).folder.is_dir() or bool(repo.refs(f"refs/autoresearch/{tag}/"))
        _check_tag(lab, repo, branches, tag, known=tag in tags, ours=tag in tags or remains, new=new)
        return tag
    if tags and not new:
        return tags[-1]
    day = today or date.today()  # noqa: DTZ011 (the user's own calendar day)
    stem = f"{day:%b}".lower() + str(day.day)
    taken = set(tags) | {name.removeprefix("autoresearch/").partition("/")[0] for name in branches}
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(name for name in candidates if name not in taken)


def _check_room(lab: Lab, branches: frozenset[str]) -> None:
    """To git a branch is a file: a branch `a` leaves no room for `a/b`."""
    if "autoresearch" in branches:
        raise UserError(
            f"{lab.root}: branch autoresearch is in the way of the session's autoresearch/TAG",
            "rename it, for example with `git branch -m autoresearch autoresearch-old`",
        )


def _check_tag(
    lab: Lab, repo: GitRepo, branches: frozenset[str], tag: str, *, known: bool, ours: bool, new: bool
) -> None:
    branch = f"autoresearch/{tag}"
    # The name of an existing branch is valid.
    if "/" in tag or tag.startswith((".", "-")) or not (branch in branches or repo.valid_branch(branch)):
        raise UserError(f"--tag {tag}: cannot be part of a branch's name", "use letters, digits and dashes")
    if len(tag.encode()) > LONGEST:
        raise UserError(f"--tag {tag[:20]}…: longer than {LONGEST} bytes", "choose a shorter one")
    if known and new:
        raise UserError(
            f"--tag {tag}: that session exists", "choose another tag, or leave out --new and --from to resume it"
        )
    if within := next((name for name in branches if name.startswith(f"{branch}/")), None):
        raise UserError(
            f"--tag {tag}: branch {within} is in the way of {branch}",
            f"choose another tag, or rename it, for example with `git branch -m {within} {within.replace('/', '-')}`",
        )
    if not ours and branch in branches:
        raise UserError(f"--tag {tag}: branch {branch} exists but is no session of this lab", "choose another tag")
    if branch in repo.checked_out():
        raise UserError(f"--tag {tag}: branch {branch} is checked out in {lab.root}", "check out another branch first")
