"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoresearch_tui.text import clean_line

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Item:
    """What was found, in one line, and what to do about it where there is something to do.

    A problem keeps a night from working; a warning makes it worse than it could be.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # Files, tools and servers are quoted here: their words are data.
        object.__setattr__(self, "found", clean_line(" ".join(self.found.split())))
        object.__setattr__(self, "remedy", clean_line(" ".join(self.remedy.split())))


def ok(name: str, found: str) -> Item:
    """Nothing to do."""
    return Item(name, "ok", found)


def warning(name: str, found: str, remedy: str) -> Item:
    """Works, but not as well as it could."""
    return Item(name, "warning", found, remedy)


def problem(name: str, found: str, remedy: str) -> Item:
    """Has to be mended first."""
    return Item(name, "problem", found, remedy)


def from_error(name: str, error: Exception) -> Item:
    """A problem from an error's own words, which end in the remedy after the first semicolon."""
    found, _, remedy = str(error).partition("; ")
    return problem(name, found, remedy or "mend what it names")
