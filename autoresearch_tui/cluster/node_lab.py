"""A lab on a node: a repository of its own with the trees to run, without history.

A pack of git objects travels, made of commits without parents: the session's base once, and for each run its
differences. Data, keys, the journal and the lab's own repository stay where they are.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from msgspec.structs import replace

from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo, git
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import FILE_NAME
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.frozen import Frozen

_WHEN = "2000-01-01T00:00:00Z"  # of commits that only carry a tree: the same tree is the same commit


class LabParcel(Frozen):
    """Everything to make a lab on a node: `base` is a commit without parents, `pack` its objects.

    `prefix` is the lab's folder in its repository, with a slash, or empty. `settings`: autoresearch.toml as it is in
    the checkout; None if there is none. `budget_seconds`: the session's, which the command line may have set.
    """

    base: str
    pack: bytes
    prefix: str
    settings: bytes | None
    budget_seconds: float


def name(lab: Lab, repo: GitRepo) -> str:
    """The lab's name on nodes, unique among labs of other machines."""
    place = f"{platform.node()}:{repo.common_folder}:{repo.prefix}"
    return f"{lab.root.name}-{hashlib.sha256(place.encode()).hexdigest()[:10]}"


def orphan(repo: GitRepo, commit: str) -> str:
    """A commit without parents with the tree of `commit`. Raises GitError."""
    return repo.commit_tree(f"{commit}^{{tree}}", "a tree to run\n", _WHEN)


def parcel(lab: Lab, repo: GitRepo, commit: str) -> LabParcel:
    """The lab as of `commit`, with its current settings. Raises GitError, OSError."""
    base, settings = orphan(repo, commit), lab.root / FILE_NAME
    text = settings.read_bytes() if settings.is_file() else None
    return LabParcel(base, pack(repo, base), repo.prefix, text, lab.settings.run.budget_seconds)


def pack(repo: GitRepo, commit: str, *without: str) -> bytes:
    """The objects of a commit, except those of commits that the receiver has. Raises GitError."""
    revisions = "".join(f"{name}\n" for name in (commit, *(f"^{each}" for each in without)))
    return git(repo.top(), "pack-objects", "--revs", "--stdout", "-q", stdin=revisions.encode())


def receive(repo: GitRepo, packed: bytes) -> None:
    """Adds a pack's objects to a repository; git checks each. Raises GitError."""
    git(repo.top(), "unpack-objects", "-q", "--strict", stdin=packed)


def make(top: Path, received: LabParcel) -> Lab:
    """Makes the lab in `top`, its files as in the parcel; files prepared on the node stay.

    Safe to repeat, also for another session of the same lab. Raises GitError, OSError, UserError.
    """
    top.mkdir(parents=True, exist_ok=True)
    if not (top / ".git").is_dir():
        kind = ("--object-format=sha256",) if len(received.base) > 40 else ()
        git(top, "init", "--quiet", "--template=", "--initial-branch=node", *kind)
    repo = GitRepo(top)
    receive(repo, received.pack)
    git(top, "-c", "core.autocrlf=false", "reset", "--hard", "--quiet", received.base)
    root = top / received.prefix
    if received.settings is not None:
        write(root / FILE_NAME, received.settings)
    lab = labs.open_lab(root)
    run = replace(lab.settings.run, budget_seconds=received.budget_seconds)
    return replace(lab, settings=replace(lab.settings, run=run))
