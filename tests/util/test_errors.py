"""What is wrong and how to fix it: two texts of one error, one line of a command."""

from __future__ import annotations

import pytest

from autoresearch_tui.util.errors import Refused, UserError


@pytest.mark.parametrize("kind", [UserError, Refused])
def test_an_error_is_one_line_of_what_and_remedy(kind: type[UserError]) -> None:
    error = kind("lab: no such folder", "name another")
    assert (error.what, error.remedy, str(error)) == (
        "lab: no such folder",
        "name another",
        "lab: no such folder; name another",
    )
    assert str(kind("lab: no such folder")) == "lab: no such folder"
