"""Temporary folders: gone after use, and after the next start where their user was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from autoresearch_tui.util import scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_afterwards(temporary: Path) -> None:
    with scratch.folder("check") as folder:
        (folder / "file").write_text("x")
        assert folder.parent == temporary
    assert [*temporary.iterdir()] == []


def test_what_a_killed_process_left_is_swept_and_nothing_else(temporary: Path) -> None:
    code = "import os; from autoresearch_tui.util import scratch\nwith scratch.folder('check'): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)}, check=False)
    (left,) = temporary.iterdir()
    assert scratch.sweep() == 0  # it is young: its user may not have locked it yet
    os.utime(left, (0, 0))
    (temporary / "autoresearch-edit-1").mkdir()
    with scratch.folder("index") as used:
        os.utime(used, (0, 0))
        assert scratch.sweep() == 1
        assert used.exists()
    assert [path.name for path in temporary.iterdir()] == ["autoresearch-edit-1"]
