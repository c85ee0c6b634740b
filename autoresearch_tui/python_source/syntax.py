"""Parses Python quietly, and normalizes it so that equal code is equal text."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_BOM = "\ufeff"
_STARTS = re.compile(r"(?!(?:else|elif|except|finally|case)\b)[A-Za-z_@]")
_LONGEST = 100  # with more unindented lines in one statement, the file is one chunk
_REMEMBERED = 4096
ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def parse(text: str) -> ast.Module:
    """The syntax tree. Raises SyntaxError, also for text that is nested too deeply or no text; never warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning about an escape sequence would land on the screen
            return ast.parse(text.removeprefix(_BOM))
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply") from None


def drop_texts(tree: ast.AST) -> None:
    """Remove docstrings, and other strings that are statements, from a tree."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_text(s)]  # type: ignore[attr-defined]


def chunks(text: str) -> list[tuple[int, str]] | None:
    """Runs of whole statements, each with the number of lines before it; None if it does not parse.

    Versions of a file share nearly all chunks, so results for a chunk are worth caching. Joined with line
    feeds they are the text again, less a byte order mark.
    """
    text = text.removeprefix(_BOM)
    lines = text.split("\n")
    starts = [index for index, line in enumerate(lines) if index and _STARTS.match(line)]
    found: list[tuple[int, str]] = []
    begin, tries = 0, 0
    for end in [*starts, len(lines)]:
        chunk = "\n".join(lines[begin:end])
        # If it parses, the next unindented word begins a new statement; else it is inside one.
        if parses(chunk):
            found.append((begin, chunk))
            begin, tries = end, 0
        elif (tries := tries + 1) > _LONGEST:
            break
    if begin == len(lines):
        return found
    return [(0, text)] if parses(text) else None


@lru_cache(maxsize=_REMEMBERED)
def parses(text: str) -> bool:
    """Whether a text is valid Python."""
    try:
        parse(text)
    except SyntaxError:
        return False
    return True


def normal_form(text: str) -> str | None:
    """Equal for equal code, regardless of comments, docstrings and layout; None if it does not parse."""
    found = normal_forms(text)
    return None if found is None else "".join(found)


def normal_forms(text: str) -> list[str] | None:
    """The normal form of each chunk, without chunks that are only comments or texts."""
    found = chunks(text)
    return None if found is None else [form for _, chunk in found if (form := _form(chunk))]


@lru_cache(maxsize=_REMEMBERED)
def _form(text: str) -> str:
    tree = parse(text)
    drop_texts(tree)
    try:
        return "".join(map(ast.dump, tree.body))
    except RecursionError:  # the C parser accepts deeper nesting than Python code
        return text


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
