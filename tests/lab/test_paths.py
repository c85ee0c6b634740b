"""A folder among the locked paths: every file in it that git knows is locked, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.lab import paths as labs
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS, git

LOCKED = f'[lab]\nlocked = ["prepare.py", "fixed"]\neditable = ["train.py", "fixed/knobs.py"]\n{SETTINGS}'


@pytest.fixture
def folder(new_lab: Callable[..., Path]) -> Path:
    lab = new_lab(settings=LOCKED)
    for name in ("fixed/data.py", "fixed/sub/port é.py", "fixed/knobs.py"):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text("X = 1\n")
    git(lab, "add", "--all")
    git(lab, "commit", "--quiet", "--message=fixed")
    return lab


def test_it_stands_for_its_files_without_the_editable_ones(folder: Path) -> None:
    (folder / "fixed" / "__pycache__").mkdir()
    (folder / "fixed" / "__pycache__" / "data.pyc").write_bytes(b"\xff")
    (folder / "fixed" / "draft.py").write_text("git does not know it\n")
    found = labs.open_lab(folder).settings.lab
    assert found.locked == ("prepare.py", "fixed/data.py", "fixed/sub/port é.py")


def test_a_file_of_it_that_is_gone_is_named_with_its_remedy(folder: Path) -> None:
    (folder / "fixed" / "data.py").unlink()
    with pytest.raises(UserError, match=r"no fixed/data\.py.*`git checkout HEAD -- fixed/data\.py` restores it"):
        labs.open_lab(folder)


def test_a_folder_without_committed_files_is_an_error(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=LOCKED.replace(', "fixed/knobs.py"', ""))
    (lab / "fixed").mkdir()
    with pytest.raises(UserError, match="commit its files"):
        labs.open_lab(lab)
