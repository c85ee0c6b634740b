"""The layers hold, and the contract that says so notices an import that runs upward."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (CHECKOUT / "docs" / "architecture.md").read_text()


def contracts(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("util/text.py", "from autoresearch_tui.session import events"),
        ("engine/gate.py", "def late() -> None:\n    from autoresearch_tui.cockpit import layout"),
    ],
)
def test_an_upward_import_breaks_the_contract(place: str, line: str, tmp_path: Path) -> None:
    shutil.copytree(
        CHECKOUT / "autoresearch_tui", tmp_path / "autoresearch_tui", ignore=shutil.ignore_patterns("*.pyc")
    )
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    path = tmp_path / "autoresearch_tui" / place
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = contracts(tmp_path)
    assert done.returncode != 0
    assert "Layers" in done.stdout
    assert f"autoresearch_tui.{place.removesuffix('.py').replace('/', '.')}" in done.stdout


def test_the_glossary_has_at_most_25_words() -> None:
    glossary = ARCHITECTURE.partition("## Glossary")[2].partition("\n## ")[0]
    rows = [row for row in glossary.splitlines() if row.startswith("| ")]
    assert 15 <= len(rows) - 1 <= 25


def test_the_picture_has_the_layers_of_the_contract_in_their_order() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    held = next(each["layers"] for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    picture = ARCHITECTURE.split("```")[1]
    assert re.findall(r"^(\w+)(?:/|\.py)", picture, re.MULTILINE) == [name.rpartition(".")[2] for name in held]


def test_every_place_in_the_code_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(\w+(?:/\w+)*(?:\.py|/))`", ARCHITECTURE)) - {"inbox/"}  # a session's, not the code's
    assert len(named) > 15
    assert [name for name in sorted(named) if not (CHECKOUT / "autoresearch_tui" / name).exists()] == []
