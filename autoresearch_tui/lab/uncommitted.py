"""The user's uncommitted changes of a lab's files."""

from __future__ import annotations

from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab


def uncommitted(lab: Lab, repo: GitRepo, *, locked: bool = True) -> dict[str, bytes | None]:
    """What git would commit of the editable and the `locked` files; None for a removed file.

    Raises OSError for an unreadable file, GitError.
    """
    here = lab.editable_files
    found: dict[str, bytes | None] = {**repo.dirty((*here, *(lab.settings.lab.locked if locked else ())))}
    if lab.editable.patterns:
        found |= dict.fromkeys(sorted(repo.editable_texts(repo.head(), lab.editable).keys() - {*here}))
    return found
