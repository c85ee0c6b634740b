"""Did you mean …? For misspelt commands, options, settings, keys, actions and themes."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known name most like `name`; empty if none is alike."""
    import difflib

    # Swapped letters count as near, and case does not matter.
    by_name = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=cutoff)
    return by_name[close[0]] if close else ""


def suggestion(name: str, known: Iterable[str], prefix: str = "", cutoff: float = 0.5) -> str:
    """The end of an error message: the name that was probably meant, or all known names."""
    names = list(known)
    found = nearest(name, names, cutoff)
    return f"; did you mean `{prefix}{found}`?" if found else f"; known: {', '.join(names)}"
