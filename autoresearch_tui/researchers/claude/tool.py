"""The tool through which the model proposes, and the check of what it gave. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_tui.researchers.base import Proposal
from autoresearch_tui.researchers.prompt import TOOL_NAME
from autoresearch_tui.util.line_ends import like, plain
from autoresearch_tui.util.text import clean_text, describe

_TEXT = {"type": "string"}

TOOL: dict[str, Any] = {
    "name": TOOL_NAME,
    "description": (
        "Propose one experiment: one change of the editable files. Give `edits` for local changes, `files` for a "
        "file that changes for the most part. Nothing is run before the call is complete and valid."
    ),
    "input_schema": {
        "type": "object",
        "properties": {
            "description": {**_TEXT, "description": "What changes, in one line of at most 100 characters."},
            "hypothesis": {**_TEXT, "description": "Why it should improve the score, in one or two sentences."},
            "edits": {
                "type": "array",
                "description": "Replacements. Each `old` occurs exactly once in its file as it stands now.",
                "items": {
                    "type": "object",
                    "properties": {"path": _TEXT, "old": _TEXT, "new": _TEXT},
                    "required": ["path", "old", "new"],
                },
            },
            "files": {
                "type": "array",
                "description": "Whole new texts of files.",
                "items": {
                    "type": "object",
                    "properties": {"path": _TEXT, "text": _TEXT},
                    "required": ["path", "text"],
                },
            },
        },
        "required": ["description", "hypothesis"],
    },
}


class RefusedInput(Exception):
    """The tool's input cannot be used; the text says why, so that the model can fix it."""


def read(value: object, files: Mapping[str, str]) -> Proposal:
    """The proposal in a tool's input, against the editable `files`. Raises RefusedInput."""
    if not isinstance(value, dict):
        raise RefusedInput("the input is not an object")
    description, hypothesis = _text(value, "description", ""), _text(value, "hypothesis", "")
    if not description.strip():
        raise RefusedInput("`description` is empty")
    changed = _whole(_items(value, "files"), files)
    edited = _edited(_items(value, "edits"), files)
    both = sorted(set(changed) & set(edited))
    if both:
        raise RefusedInput(f"{both[0]} is in `edits` and in `files`; give it in one of them")
    after = {path: text for path, text in {**changed, **edited}.items() if plain(text) != plain(files[path])}
    if not after:
        given = "the new text is the same as the old" if changed or edited else "there are no `edits` and no `files`"
        raise RefusedInput(f"nothing changes: {given}")
    for path, text in after.items():
        _usable(path, text)
    return Proposal(describe(description), clean_text(hypothesis).strip()[:2_000], after)


def _items(value: Mapping[str, object], key: str) -> list[tuple[str, Mapping[str, object]]]:
    items = value.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise RefusedInput(f"`{key}` is not a list of objects")
    named: list[tuple[str, Mapping[str, object]]] = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise RefusedInput(f"`{key}[{index}]` is not an object")
        named.append((f"{key}[{index}].", item))
    return named


def _text(item: Mapping[str, object], key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise RefusedInput(f"`{where}{key}` is missing" if value is None else f"`{where}{key}` is not a text")
    return value


def _path(item: Mapping[str, object], where: str, files: Mapping[str, str]) -> str:
    path = _text(item, "path", where).removeprefix("./")
    if path not in files:
        raise RefusedInput(f"`{where}path` is {describe(path)!r}; only {', '.join(sorted(files))} may change")
    return path


def _whole(items: list[tuple[str, Mapping[str, object]]], files: Mapping[str, str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for where, item in items:
        path = _path(item, where, files)
        if path in texts:
            raise RefusedInput(f"`files` has {path} twice")
        texts[path] = like(_text(item, "text", where), files[path])
    return texts


def _edited(items: list[tuple[str, Mapping[str, object]]], files: Mapping[str, str]) -> dict[str, str]:
    places: dict[str, list[tuple[int, int, str]]] = {}
    for where, item in items:
        path = _path(item, where, files)
        old, new = _text(item, "old", where), _text(item, "new", where)
        # Whatever the file's line ends are, the model writes its own.
        old, new = plain(old), plain(new)
        start = _only_place(old, plain(files[path]), path, where)
        places.setdefault(path, []).append((start, start + len(old), new))
    return {path: like(_replaced(plain(files[path]), found, path), files[path]) for path, found in places.items()}


def _only_place(old: str, text: str, path: str, where: str) -> int:
    start = text.find(old) if old else -1
    if not old:
        raise RefusedInput(f"`{where}old` is empty")
    if start < 0:
        raise RefusedInput(f"`{where}old` does not occur in {path}; copy it exactly, with its indentation")
    if text.find(old, start + 1) >= 0:
        raise RefusedInput(f"`{where}old` occurs more than once in {path}; add lines around it")
    return start


def _replaced(text: str, places: list[tuple[int, int, str]], path: str) -> str:
    places.sort(key=lambda place: place[:2])
    parts: list[str] = []
    last = 0
    for start, end, new in places:
        if start < last:
            raise RefusedInput(f"two of the `edits` overlap in {path}; make one of them")
        parts += (text[last:start], new)
        last = end
    return "".join((*parts, text[last:]))


def _usable(path: str, text: str) -> None:
    if not text.strip():
        raise RefusedInput(f"the new text of {path} is empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RefusedInput(f"the new text of {path} has half a character, which UTF-8 cannot hold") from None
    if "\0" in text:
        raise RefusedInput(f"the new text of {path} has a NUL character")
