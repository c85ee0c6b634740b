"""The exceptions that a user may see: what is wrong and where, and how to fix it."""

from typing import ClassVar


def in_line(what: str, remedy: str) -> str:
    """Both in one line; without a remedy, what is wrong alone."""
    return f"{what}; {remedy}" if remedy else what


class UserError(Exception):
    """Wrong input. As text it is one line, which is shown on stderr; the command ends with `exit_code`."""

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return in_line(self.what, self.remedy)


class Refused(UserError):
    """A command that is right, and cannot be carried out now."""

    exit_code = 1


class ScreenCrashed(UserError):
    """A fault of the screen's own. The session is not hurt by it."""

    exit_code = 3
