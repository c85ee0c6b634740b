"""The result of one check."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import force_setattr

from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

Status = Literal["ok", "warning", "problem"]


class Item(Frozen):
    """The finding in one line, and the remedy if there is something to fix.

    A problem keeps a night from working; a warning makes it worse than it could be.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # Quotes from files, tools and servers are data.
        force_setattr(self, "found", clean_line(" ".join(self.found.split())))
        force_setattr(self, "remedy", clean_line(" ".join(self.remedy.split())))


def ok(name: str, found: str) -> Item:
    return Item(name, "ok", found)


def warning(name: str, found: str, remedy: str) -> Item:
    return Item(name, "warning", found, remedy)


def problem(name: str, found: str, remedy: str) -> Item:
    return Item(name, "problem", found, remedy)


def from_error(name: str, error: Exception) -> Item:
    what, remedy = (error.what, error.remedy) if isinstance(error, UserError) else (str(error), "")
    return problem(name, what, remedy or "fix what it names")
