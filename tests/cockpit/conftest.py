"""A lab on disk whose session is written by the tests, and a host that notes what it is told."""

from __future__ import annotations

import gc
import os

os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
# Whatever the tests are started in: on a dumb terminal the cockpit has no colours.
os.environ["TERM"] = "xterm-256color"
os.environ["COLORTERM"] = "truecolor"

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cockpit import idle, styles
from tests.cockpit.fakes import FakeHost, FakeSession


@pytest.fixture(scope="package", autouse=True)
def _quick_apps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        idle.take_the_place_of_textuals(patch)
        styles.parse_once(patch)
        often = gc.get_threshold()
        gc.set_threshold(50_000, *often[1:])  # an app makes thousands of objects, and is frozen as soon as it is up
        yield
        gc.set_threshold(*often)


@pytest.fixture
def session(tmp_path: Path) -> FakeSession:
    """A session that has not begun yet."""
    return FakeSession(tmp_path / "lab")


@pytest.fixture
def host() -> FakeHost:
    """An engine that does nothing."""
    return FakeHost()
