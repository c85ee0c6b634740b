"""Pure checks of a proposal's files: which are added and removed, their sizes, and their text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping

from autoresearch_tui.lab.editable import LARGEST_BYTES, Editable, too_much
from autoresearch_tui.util.text import describe

# These make a text look different from what it is.
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = frozenset("\t\n\r")


def check(
    before: Mapping[str, str], after: Mapping[str, str], editable: Editable, tree: Callable[[], Collection[str]]
) -> str | None:
    """What is wrong with the files of a change, in one line that says how to fix it; None if nothing.

    `tree`: gives every path of the lab, for checking new files; called only if there are any.
    """
    added = sorted(after.keys() - before.keys())
    if strangers := [path for path in added if not editable.covers(path)]:
        allowed = ", ".join(dict.fromkeys((*before, *editable.patterns)))
        return f"{describe(', '.join(strangers))}: not editable; a proposal may change {allowed} only"
    removed = sorted(before.keys() - after.keys())
    if named := [path for path in removed if not editable.covers(path)]:
        return f"{describe(named[0])} cannot be removed: the lab always has it; change it, or leave it as it is"
    if added and (why := editable.refusal(added, {*tree(), *before} - {*removed})):
        return why
    sizes = {path: len(text.encode("utf-8", "surrogatepass")) for path, text in after.items()}
    for path, text in after.items():
        if text != before.get(path):
            if sizes[path] > LARGEST_BYTES:
                return f"{path} is larger than {LARGEST_BYTES >> 20} MiB; make it shorter"
            if not path.endswith(".py") and (problem := text_problem(text, before.get(path, ""))):
                return f"{path}{problem}"
    return too_much(sizes) or None


def text_problem(text: str, before: str = "") -> str:
    """What is wrong with a file that is no code, as the end of a message; empty if it is plain text.

    Characters that `before` already had are allowed.
    """
    if not text.strip():
        return ": nothing is left in it; remove the file, or write something" if not before or before.strip() else ""
    known = {*before}
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if line.isascii() and line.strip("\t\n\r").isprintable():
            continue
        for character in line:
            if character in known:
                continue
            category = unicodedata.category(character)
            if category == "Cs":
                return f":{number}: half a character, which UTF-8 cannot hold; leave it out"
            if (category == "Cc" and character not in _LINE_ENDS) or character in _BIDIRECTIONAL:
                return f":{number}: a control character (U+{ord(character):04X}); leave it out"
    return ""
