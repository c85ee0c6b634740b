"""Whether a proposal's files may be what they are: which come and go, how large they are, what text is. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping

from autoresearch_tui.lab.editable import LARGEST_BYTES, Editable, too_much
from autoresearch_tui.util.text import describe

# They make a text read otherwise than it is written.
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_ENDS = frozenset("\t\n\r")


def check(
    before: Mapping[str, str], after: Mapping[str, str], editable: Editable, tree: Callable[[], Collection[str]]
) -> str | None:
    """What is wrong with the files of a change from `before` to `after`, in one line that says how to fix it; None if
    nothing. `tree`: every path of the lab, among which new files must find their place; asked for only if there are.
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
    """What a file that is no code must not have, as the rest of a sentence; nothing if it is plain text.

    `before`: what it had so far is not held against it.
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
