"""Python text as syntax: parsed quietly, and brought to a form in which equal code is equal text."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache

_BOM = "\ufeff"
_STARTS = re.compile(r"(?!(?:else|elif|except|finally|case)\b)[A-Za-z_@]")


def parse(text: str) -> ast.Module:
    """The syntax tree. Raises SyntaxError, also for text that is too deep or not text at all; never warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning about somebody's escape sequence would land on the screen
            return ast.parse(text.removeprefix(_BOM))
    except SyntaxError:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "nested too deeply") from None


def drop_texts(tree: ast.AST) -> None:
    """Takes docstrings, and other strings that stand as statements, out of a tree."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_text(s)]  # type: ignore[attr-defined]


def chunks(text: str) -> Iterator[tuple[int, str]]:
    """Runs of lines that begin with a statement at the margin, each with the number of lines before it.

    Versions of a file share nearly all of them, so work on a chunk is worth remembering. A chunk that does not parse
    by itself (the margin ran through a long string) means that the text has to be taken whole.
    """
    lines = text.removeprefix(_BOM).split("\n")
    start, decorated = 0, False
    for index, line in enumerate(lines):
        if not _STARTS.match(line):
            continue
        if not decorated and index > start:
            yield start, "\n".join(lines[start:index])
            start = index
        decorated = line.startswith("@")
    yield start, "\n".join(lines[start:])


def normal_form(text: str) -> str | None:
    """The same string for the same code, whatever its comments, docstrings and layout; None for what is not Python."""
    forms = [_form(chunk) for _, chunk in chunks(text)]
    if None in forms:
        return _form(text)
    return "".join(filter(None, forms))


@lru_cache(maxsize=4096)
def _form(text: str) -> str | None:
    try:
        tree = parse(text)
        drop_texts(tree)
        return "".join(map(ast.dump, tree.body))
    except (SyntaxError, RecursionError):
        return None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
