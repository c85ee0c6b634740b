"""Exceptions that a user may see: what is wrong, where, and how to fix it."""

from typing import ClassVar


def in_line(what: str, remedy: str) -> str:
    """`what; remedy`, or `what` alone."""
    return f"{what}; {remedy}" if remedy else what


class UserError(Exception):
    """Wrong input. `str()` is the one line for stderr; the command ends with `exit_code`."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return in_line(self.what, self.remedy)


class Refused(UserError):
    """A valid command that cannot be carried out now."""

    exit_code = 1


class ScreenCrashed(UserError):
    """A bug in the screen; the session is unaffected."""

    exit_code = 3
