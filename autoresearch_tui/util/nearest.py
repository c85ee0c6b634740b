"""Did you mean …? One answer to a misspelt command, option, setting, key, action or theme."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known name most like `name`; empty if none is alike."""
    import difflib

    # Letters that changed places count as near, and so does another case.
    by_name = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=cutoff)
    return by_name[close[0]] if close else ""


def suggestion(name: str, known: Iterable[str], prefix: str = "", cutoff: float = 0.5) -> str:
    """The end of an error's line: the name that was probably meant, or all that there are."""
    names = list(known)
    found = nearest(name, names, cutoff)
    return f"; did you mean `{prefix}{found}`?" if found else f"; known: {', '.join(names)}"
