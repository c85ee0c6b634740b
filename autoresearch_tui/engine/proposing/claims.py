"""Answers on their way to the loop: of two researchers that think of the same thing at once, the second is told."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

from autoresearch_tui.engine.proposing import preflight
from autoresearch_tui.engine.proposing.briefing import Tried
from autoresearch_tui.lab.editable import applied
from autoresearch_tui.python_source import setting
from autoresearch_tui.researchers.base import Attempt, Proposal


@dataclass(frozen=True, slots=True)
class Claim:
    """A proposal that passed its checks, or is at its last one, and is no experiment yet."""

    code: str
    setting: str
    attempt: Attempt


class Claims:
    """By stream, at most one each. A thread that looks and then claims holds the `lock` in between."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._claims: dict[int, Claim] = {}

    def hold(self, stream: int, number: int, before: Mapping[str, str], made: Proposal) -> None:
        """This is the stream's proposal now."""
        after = applied(before, made.files)
        attempt = Attempt(number, "", "", made.description, made.hypothesis, "waiting", None, "")
        self._claims[stream] = Claim(preflight.fingerprint(after), setting.read(after).digest, attempt)

    def drop(self, stream: int) -> None:
        """It is an experiment, or is none after all."""
        self._claims.pop(stream, None)

    def others(self, stream: int) -> tuple[Attempt, ...]:
        """What the other streams have, in words."""
        return tuple(claim.attempt for place, claim in self._all() if place != stream)

    def beside(self, stream: int, tried: Tried) -> Tried:
        """What was tried, with what the other streams have."""
        others = [claim for place, claim in self._all() if place != stream]
        codes = {claim.code: claim.attempt.number for claim in others}
        settings = {claim.setting: claim.attempt for claim in others}

        def code(print_: str) -> int | str | None:
            found = tried.code(print_)
            return codes.get(print_) if found is None else found

        return replace(tried, code=code, setting=lambda digest: tried.setting(digest) or settings.get(digest))

    def _all(self) -> list[tuple[int, Claim]]:
        return sorted(self._claims.copy().items())
