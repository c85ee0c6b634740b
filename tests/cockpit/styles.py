"""Style sheets that are parsed once in a process, not for every app: an app's start is most of what a test costs."""

from __future__ import annotations

from typing import Any

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet


def parse_once(patch: pytest.MonkeyPatch) -> None:
    """Equal sources with equal variables are the same rules: nothing changes a rule that is parsed."""
    real, parsed = Stylesheet._parse_rules, dict[tuple[Any, ...], list[RuleSet]]()

    def remembered(self: Stylesheet, css: str, read_from: tuple[str, str], *more: Any, **named: Any) -> list[RuleSet]:
        source = (css, read_from, more, tuple(named.items()), tuple(self._variables.items()))
        if source not in parsed:
            parsed[source] = real(self, css, read_from, *more, **named)
        return parsed[source]

    patch.setattr(Stylesheet, "_parse_rules", remembered)
