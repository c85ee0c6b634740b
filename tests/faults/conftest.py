"""Sessions by the hundred: what the sandbox holds is found out once."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _sandbox(sandbox_tested_once: None) -> None:
    pass
