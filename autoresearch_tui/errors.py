"""The one exception that a user may see: a line that says what is wrong, where, and how to mend it."""


class UserError(Exception):
    """Wrong input. Its text is shown on stderr as it is, and the command ends with exit code 2."""
