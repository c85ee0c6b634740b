"""The harness is no package: its files are loaded by path, as in a lab, with the small demo profile."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

HARNESS = Path(__file__).resolve().parents[2] / "harness"
MODULES = (
    "prepare",
    "fixed.settings",
    "fixed.store",
    "fixed.port",
    "fixed.tokenizer",
    "fixed.loader",
    "fixed.corpus",
    "fixed.encode",
    "fixed.attention",
    "fixed.lean",
    "fixed.backends",
    "fixed.device",
    "fixed.meter",
    "fixed.probes",
    "train",
)


def forget() -> None:
    """Take the harness out of the modules that are loaded."""
    for name in [n for n in sys.modules if n in ("prepare", "train", "fixed") or n.startswith("fixed.")]:
        del sys.modules[name]


def fresh(cache: Path, names: tuple[str, ...] = MODULES, **env: str) -> dict[str, ModuleType]:
    """Modules of the harness, by the last part of their names, imported anew under an environment of their own."""
    saved = dict(os.environ)
    for name in [n for n in os.environ if n.startswith("AUTORESEARCH_")]:
        del os.environ[name]
    os.environ |= {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo"} | env
    sys.path.insert(0, str(HARNESS))
    try:
        forget()
        return {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(HARNESS))
        os.environ.clear()
        os.environ.update(saved)


def load(name: str) -> ModuleType:
    """One module of the harness on its own, for tests that need no prepared data."""
    return fresh(Path("/nonexistent"), (name,))[name.rpartition(".")[2]]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws depends neither on those before it nor on the worker that it comes to."""
    torch.manual_seed(0)


@pytest.fixture
def harness(cache: Path) -> Iterator[dict[str, ModuleType]]:
    """The modules over the prepared cache; gone from sys.modules afterwards."""
    yield fresh(cache)
    forget()
