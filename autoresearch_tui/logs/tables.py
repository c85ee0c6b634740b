"""Pure: splits a table in any form that people and agents write (delimited, Markdown, JSON) into cells.

The meaning of columns is not decided here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from autoresearch_tui.util.frozen import Frozen

IsHeader = Callable[[Sequence[str]], bool]
"""Whether a line's cells are names of columns."""

_MARKS = "\t;|,"
_RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?")
_PIPE = re.compile(r"(?<!\\)\|")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_HASH = re.compile(r"[0-9a-fA-F]{6,64}")
_BLANKS = re.compile(r"(?<=\S) {2,}(?=\S)")
_SAMPLE = 500
_LONGEST_CELL = 50
"""The most lines of one quoted cell."""


class Row(Frozen):
    """Cells under the last header above them; the header is empty if there was none."""

    header: tuple[str, ...]
    cells: tuple[str, ...]


def read(text: str, is_header: IsHeader) -> list[Row]:
    """Every row, in order; without comments, prose around the table and repeated headers."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    first, _, rest = text.partition("\r")
    if rest and "\n" not in text and any(is_header(first.split(mark)) for mark in _MARKS):
        text = text.replace("\r", "\n")  # an old system's line ends
    if text.lstrip()[:1] in ("{", "["):
        return list(_objects(text))
    lines = text.split("\n")
    if any(_is_rule(line) for line in lines):
        return _markdown(lines, is_header)
    return _delimited(lines, is_header)


def _is_rule(line: str) -> bool:
    return "|" in line and "-" in line and _RULE.fullmatch(line.strip()) is not None


# ── delimited ───────────────────────────────────────────────────────────────────────────────────────────────────


def _delimited(lines: Sequence[str], is_header: IsHeader) -> list[Row]:
    present = [line for line in lines if line.strip() and not line.startswith("#")][:_SAMPLE]
    agreeing = {mark: _agreeing(split(line, mark) for line in present) for mark in _MARKS}
    mark = max(_MARKS, key=lambda each: agreeing[each])
    if _agreeing(_BLANKS.split(line) for line in present) > agreeing[mark]:  # columns aligned with blanks
        lines, mark = [_BLANKS.sub("\t", line) for line in lines], "\t"
    header: tuple[str, ...] = ()
    rows: list[Row] = []
    for cells in _records(_without_prose(lines, mark), mark):
        commented = cells[0].startswith("#") and len(cells[0]) > 1
        if commented and header and len(cells) == len(header):
            # A row that is commented out, or a text that begins with `#`.
            commented = _HASH.fullmatch(cells[0].lstrip("# ")) is not None
        bare = (cells[0].lstrip("# "), *cells[1:]) if commented else cells
        if len(cells) > 1 and is_header(bare):
            header = bare
        elif not commented and (header or len(cells) > 1):
            rows.append(Row(header, cells))
    return rows


def _without_prose(lines: Sequence[str], mark: str) -> list[str]:
    """The lines without empty ones, and without lines of one cell that an empty line separates from the table."""
    kept: list[str] = []
    apart = False
    for line in lines:
        if not line.strip():
            apart = True
        elif not (apart and mark not in line):
            kept.append(line)
            apart = False
    return kept


def _agreeing(lines: Iterable[Sequence[str]]) -> int:
    """How many lines have the same number of cells, more than one."""
    return max(Counter(len(cells) for cells in lines if len(cells) > 1).values(), default=0)


def _records(lines: Sequence[str], mark: str) -> Iterator[tuple[str, ...]]:
    """The cells of each record, which has several lines if a quoted cell contains line ends."""
    place = 0
    while place < len(lines):
        record, taken = lines[place], 1
        if _is_open(record, mark):
            for more in range(2, min(_LONGEST_CELL, len(lines) - place) + 1):
                joined = "\n".join(lines[place : place + more])
                if not _is_open(joined, mark):
                    record, taken = joined, more
                    break
        yield tuple(cell.strip() for cell in split(record, mark))
        place += taken


def _is_open(record: str, mark: str) -> bool:
    """Whether its last cell begins with an unclosed quotation mark."""
    last = split(record, mark)[-1].strip() if mark != "\t" else ""
    return last.startswith('"') and (len(last) < 2 or not last.endswith('"'))


def split(line: str, mark: str) -> list[str]:
    """One line's cells. A cell is quoted if it begins and ends with a quotation mark and has only doubled ones inside;
    any other quotation mark is text."""
    if '"' not in line:
        return line.split(mark)
    cells: list[str] = []
    place = 0
    quoted = re.compile(rf'\s*"((?:[^"]|"")*)"\s*(?={re.escape(mark)}|$)')
    while True:
        if found := quoted.match(line, place):
            cells.append(found[1].replace('""', '"'))
            place = found.end()
        else:
            end = line.find(mark, place)
            cells.append(line[place : end if end >= 0 else len(line)])
            place = end if end >= 0 else len(line)
        if place >= len(line):
            return cells
        place += 1


# ── Markdown ────────────────────────────────────────────────────────────────────────────────────────────────────


def _markdown(lines: Sequence[str], is_header: IsHeader) -> list[Row]:
    """The rows of every table in a document that has a header of results; of all tables if none has."""
    rows: list[Row] = []
    others: list[Row] = []
    header: tuple[str, ...] = ()
    for place, line in enumerate(lines):
        if "|" not in line:
            header = ()
        elif place + 1 < len(lines) and _is_rule(lines[place + 1]):
            header = _pipes(line)
        elif header and not _is_rule(line):
            (rows if is_header(header) else others).append(Row(header, _pipes(line)))
    return rows or others


def _pipes(line: str) -> tuple[str, ...]:
    line = line.strip().removeprefix("|")
    line = line[:-1] if line.endswith("|") and not line.endswith("\\|") else line
    return tuple(_plain(cell) for cell in _PIPE.split(line))


def _plain(cell: str) -> str:
    """Without Markdown's marks around it."""
    cell = _LINK.sub(r"\1", cell.strip().replace("\\|", "|"))
    while len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "*`_":
        cell = cell[1:-1].strip()
    return cell


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _objects(text: str) -> Iterator[Row]:
    """An array of objects, or an object per line; any other line is a row of one cell."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = [_loaded(line) for line in text.split("\n") if line.strip()]
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else [whole]
    for item in whole if isinstance(whole, list) else ():
        if isinstance(item, dict):
            flat = dict(_flat(item))
            yield Row(tuple(flat), tuple(flat.values()))
        else:
            yield Row((), (str(item),))


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line


def _flat(item: Mapping[str, Any], prefix: str = "", depth: int = 3) -> Iterator[tuple[str, str]]:
    for key, value in item.items():
        if isinstance(value, dict) and depth:
            yield from _flat(value, f"{prefix}{key}.", depth - 1)
        else:
            yield f"{prefix}{key}", _as_text(value)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
