"""The tool through which the model proposes, and the check of its input. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoresearch_tui.lab.editable import Change, Editable
from autoresearch_tui.researchers.base import Proposal
from autoresearch_tui.researchers.prompt import TOOL_NAME
from autoresearch_tui.util.line_ends import like, plain
from autoresearch_tui.util.text import clean_text, describe

_TEXT = {"type": "string"}
NO_PATTERNS = Editable()

_TOOL: dict[str, Any] = {
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


# For labs in which files may be added and removed.
_REMOVE = {"type": "array", "description": "Paths of files to remove.", "items": _TEXT}


def definition(editable: Editable) -> Mapping[str, Any]:
    """The tool, for a lab with these editable files."""
    if not editable.patterns:
        return _TOOL
    schema = _TOOL["input_schema"]
    files = {**schema["properties"]["files"], "description": "Whole texts of new files, or whole new texts of files."}
    properties = {**schema["properties"], "files": files, "remove": _REMOVE}
    return {**_TOOL, "input_schema": {**schema, "properties": properties}}


class RefusedInput(Exception):
    """The tool's input cannot be used; the text says why, so that the model can fix it."""


def read(value: object, files: Mapping[str, str], editable: Editable = NO_PATTERNS) -> Proposal:
    """The proposal in a tool's input, against the editable `files`; `editable` says which others may be added, and
    which removed. Raises RefusedInput."""
    if not isinstance(value, dict):
        raise RefusedInput("the input is not an object")
    description, hypothesis = _text(value, "description", ""), _text(value, "hypothesis", "")
    if not description.strip():
        raise RefusedInput("`description` is empty")
    changed = _whole(_items(value, "files"), files, editable)
    removed = _removed(value, files, editable)
    edited = _edited(_items(value, "edits"), files)
    both = sorted(set(changed) & set(edited))
    if both:
        raise RefusedInput(f"{both[0]} is in `edits` and in `files`; give it in one of them")
    if again := sorted(removed & {*changed, *edited}):
        raise RefusedInput(f"{again[0]} is in `remove`, and is changed as well; do one of the two")
    texts = {**changed, **edited}
    after = {path: text for path, text in texts.items() if path not in files or plain(text) != plain(files[path])}
    if not after and not removed:
        given = "the new text is the same as the old" if changed or edited else "there are no `edits` and no `files`"
        raise RefusedInput(f"nothing changes: {given}")
    for path, text in after.items():
        _usable(path, text)
    change: Change = {**after, **dict.fromkeys(sorted(removed))}
    return Proposal(describe(description), clean_text(hypothesis).strip()[:2_000], change)


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


def _path(item: Mapping[str, object], where: str, files: Mapping[str, str], editable: Editable) -> str:
    path = _text(item, "path", where).removeprefix("./")
    if path in files:
        return path
    if not editable.covers(path):
        allowed = ", ".join((*sorted(files), *editable.patterns))
        raise RefusedInput(f"`{where}path` is {describe(path)!r}; only {allowed} may change")
    if why := editable.refusal([path], files):
        raise RefusedInput(f"`{where}path`: {why}")
    return path


def _whole(
    items: list[tuple[str, Mapping[str, object]]], files: Mapping[str, str], editable: Editable
) -> dict[str, str]:
    texts: dict[str, str] = {}
    for where, item in items:
        path = _path(item, where, files, editable)
        if path in texts:
            raise RefusedInput(f"`files` has {path} twice")
        text = _text(item, "text", where)
        texts[path] = like(text, files.get(path, text))
    return texts


def _removed(value: Mapping[str, object], files: Mapping[str, str], editable: Editable) -> set[str]:
    given = value.get("remove") or []
    if not isinstance(given, list) or not all(isinstance(path, str) for path in given):
        raise RefusedInput("`remove` is not a list of paths")
    paths = {str(path).removeprefix("./") for path in given}
    for path in sorted(paths):
        if path not in files:
            raise RefusedInput(f"`remove` has {describe(path)!r}, which is no editable file")
        if not editable.covers(path):
            raise RefusedInput(f"`remove` has {path}, which the lab always has; change it, or leave it as it is")
    return paths


def _edited(items: list[tuple[str, Mapping[str, object]]], files: Mapping[str, str]) -> dict[str, str]:
    places: dict[str, list[tuple[int, int, str]]] = {}
    for where, item in items:
        path = _path(item, where, files, NO_PATTERNS)
        old, new = _text(item, "old", where), _text(item, "new", where)
        # The model writes its own line ends, whatever the file has.
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
