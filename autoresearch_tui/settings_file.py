"""Writes one value into a lab's `autoresearch.toml`, and leaves every other byte of it as the human has it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from autoresearch_tui.engine.results import write
from autoresearch_tui.errors import UserError
from autoresearch_tui.settings import FILE_NAME, from_table

_TABLE = re.compile(r"^[ \t]*\[(?P<name>[^\[\]]+)\][ \t]*(?:#.*)?$", re.MULTILINE)
_INLINE = re.compile(r"^([ \t]*env[ \t]*=[ \t]*)\{([^{}\n]*)\}", re.MULTILINE)
_PAIR = re.compile(r"(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|[^,\"'])+")


def remember(folder: Path, name: str, value: str) -> bool:
    """Set `run.env.NAME` in the lab's own settings file. False where that takes a human: it is left as it is."""
    path = folder / FILE_NAME
    try:
        old = path.read_bytes().decode("utf-8")
        table = tomllib.loads(old)
        from_table(table, str(path))
        new = with_env(old, name, value)
        table.setdefault("run", {}).setdefault("env", {})[name] = value
        if tomllib.loads(new) != table:
            return False
        write(path, new)
    except (OSError, ValueError, UserError):
        return False
    return True


def with_env(text: str, name: str, value: str) -> str:
    """The file's text with the value in it, wherever the file keeps its `run.env`. The caller checks the result."""
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    bodies = {found["name"].strip(): found.end() for found in _TABLE.finditer(text)}
    if "run.env" in bodies:
        return _in_section(text, bodies["run.env"], lambda body: _in_table(body, name, line))
    if "run" in bodies:
        return _in_section(text, bodies["run"], lambda body: _in_run(body, name, line))
    lead = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{lead}\n[run]\nenv = {{ {line} }}\n"


def _in_section(text: str, start: int, change: Callable[[str], str]) -> str:
    """The text with what stands between a table's name and the next table changed."""
    following = _TABLE.search(text, start)
    end = following.start() if following else len(text)
    return text[:start] + change(text[start:end]) + text[end:]


def _in_table(body: str, name: str, line: str) -> str:
    present = re.compile(rf"^[ \t]*{re.escape(name)}[ \t]*=.*$", re.MULTILINE)
    return present.sub(lambda _: line, body, count=1) if present.search(body) else f"\n{line}{body}"


def _in_run(body: str, name: str, line: str) -> str:
    def put(found: re.Match[str]) -> str:
        pairs = [pair.strip() for pair in _PAIR.findall(found[2]) if pair.strip()]
        others = [pair for pair in pairs if not re.match(rf"{re.escape(name)}\s*=", pair)]
        return f"{found[1]}{{ {', '.join([*others, line])} }}"

    return _INLINE.sub(put, body, count=1) if _INLINE.search(body) else f"\nenv = {{ {line} }}{body}"
