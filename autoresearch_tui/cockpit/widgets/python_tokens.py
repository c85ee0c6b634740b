"""Pure: colours one line of Python, without the cost of a real lexer."""

from __future__ import annotations

import builtins
import keyword
import re
from functools import lru_cache

Token = tuple[int, int, str]

_KEYWORDS = frozenset(keyword.kwlist)
_BUILTINS = frozenset(name for name in dir(builtins) if not name.startswith("_"))
_TOKEN = re.compile(
    r"""
    (?P<comment>\#.*)
  | (?P<string>[rRbBuUfF]{0,2}(?:\"\"\".*?(?:\"\"\"|$)|'''.*?(?:'''|$)
        |"(?:\\.|[^"\\])*(?:"|$)|'(?:\\.|[^'\\])*(?:'|$)))
  | (?P<number>(?<![\w.])(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*\.?[\d_]*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))
  | (?P<decorator>^\s*@[\w.]+)
  | (?P<name>[^\W\d]\w*)
    """,
    re.VERBOSE,
)
_END = re.compile(r'"""|\'\'\'')


@lru_cache(maxsize=4096)
def tokens(text: str, in_string: bool = False) -> tuple[Token, ...]:
    """Tuples (start, end, kind); kind is comment, string, number, decorator, keyword, defined or builtin."""
    found: list[Token] = []
    start = 0
    if in_string:
        end = _END.search(text)
        start = end.end() if end else len(text)
        found.append((0, start, "string"))
    defined = False
    for match in _TOKEN.finditer(text, start):
        kind = str(match.lastgroup)
        if kind == "name":
            name = match.group()
            kind = _name_kind(name, defined, text[match.start() - 1 : match.start()] == ".")
            defined = name in ("def", "class")
        if kind:
            found.append((match.start(), match.end(), kind))
    return tuple(found)


def _name_kind(name: str, defined: bool, attribute: bool) -> str:
    if defined:
        return "defined"
    if name in _KEYWORDS:
        return "keyword"
    return "builtin" if name in _BUILTINS and not attribute else ""
