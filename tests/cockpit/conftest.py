"""A lab on disk whose session is written by the tests, and a host that notes what it is told."""

from __future__ import annotations

import os

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cockpit.fakes import FakeHost, FakeSession


@pytest.fixture
def session(tmp_path: Path) -> Iterator[FakeSession]:
    """A session that has just begun."""
    made = FakeSession(tmp_path / "lab")
    yield made
    made.close()


@pytest.fixture
def host() -> FakeHost:
    """An engine that does nothing."""
    return FakeHost()
