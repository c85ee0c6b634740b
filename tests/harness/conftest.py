"""The harness is no package: its files are loaded by path, as in a lab, with the small demo profile."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that spin bring a busy machine to a halt
HARNESS = Path(__file__).resolve().parents[2] / "harness"
FILES = (
    "prepare",
    "rehearsal",
    "splits",
    "corpus",
    "encode",
    "port",
    "probes",
    "attention",
    "device",
    "train",
    "profiles",
)


def fresh(cache: Path, names: tuple[str, ...] = FILES, **env: str) -> dict[str, ModuleType]:
    """Modules of the harness, imported anew under an environment of their own."""
    saved = dict(os.environ)
    for name in [n for n in os.environ if n.startswith("AUTORESEARCH_")]:
        del os.environ[name]
    os.environ |= {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo"} | env
    sys.path.insert(0, str(HARNESS))
    try:
        for name in FILES:
            sys.modules.pop(name, None)
        return {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(HARNESS))
        os.environ.clear()
        os.environ.update(saved)


def load(name: str) -> ModuleType:
    """One module of the harness on its own, for tests that need no prepared data."""
    return fresh(Path("/nonexistent"), (name,))[name]


@pytest.fixture
def harness(cache: Path) -> Iterator[dict[str, ModuleType]]:
    """The modules over the prepared cache; gone from sys.modules afterwards."""
    yield fresh(cache)
    for name in FILES:
        sys.modules.pop(name, None)
