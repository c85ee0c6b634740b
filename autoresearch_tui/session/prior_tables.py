"""Pure: parses what others left in a lab: a results.tsv that this product did not write, and `autoresearch/*` branches.

No two loops agree on the columns. Whatever is readable is read; what looks wrong is flagged but kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from msgspec.structs import replace

from autoresearch_tui.lab.reverts import Attempt
from autoresearch_tui.logs import tables
from autoresearch_tui.logs.cells import STATUSES, decimal_comma, number, status, uncoloured
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import cell_text, describe

USUAL = ("commit", "val_bpb", "memory_gb", "status", "description")
"""The columns of the reference's table. The second holds the lab's metric, whatever its name."""

_WORDS: Mapping[str, tuple[str, ...]] = {  # in order of preference
    "commit": (
        "commit", "git_commit", "commit_hash", "commit_sha", "commit_id", "git_sha", "git_hash", "sha", "hash", "rev",
        "revision",
    ),
    "name": (
        "id", "exp", "experiment", "exp_id", "experiment_id", "run", "run_id", "iter", "iteration", "trial", "#",
        "number", "no", "n", "name", "tag",
    ),
    "status": ("status", "outcome", "verdict", "decision", "result", "kept", "keep", "accepted"),
    "description": (
        "description", "desc", "change", "changes", "idea", "summary", "what_was_tried", "notes", "note", "hypothesis",
        "comment", "comments", "insight", "message", "title", "tag", "config", "configuration", "experiment", "name",
    ),
}  # fmt: skip
_KNOWN = frozenset(word for words in _WORDS.values() for word in words)
_FLAGS = frozenset({"kept", "keep", "accepted"})
_SCORES = ("score", "metric", "value", "metric_value", "primary_metric")
_MEMORY = re.compile(r"(?:.*_)?(?:memory|mem|vram)(?:_.*)?")
_UNITS = {"gb": 1.0, "gib": 1.0, "mb": 1 / 1024, "mib": 1 / 1024}
_LARGEST_GIB = 2048.0
# A column with one of these words in its name is about the score, but not the score itself.
_ABOUT = frozenset({
    "delta", "diff", "d", "best", "prev", "previous", "parent", "baseline", "base", "std", "stderr", "sem", "se", "var",
    "ci", "gain", "improvement", "change", "vs", "target", "expected", "train", "rank", "pct", "percent", "rel",
    "relative", "cumulative", "error", "margin", "threshold", "goal",
})  # fmt: skip
_HASH = re.compile(r"[0-9a-f]{6,64}", re.IGNORECASE)
_SHOWS_A_HASH = re.compile(r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{6,64}|[0-9]{7}[0-9]*", re.IGNORECASE)
# An outcome in a commit's subject: `lower lr (discard)`, `discard: lower lr`.
_OUTCOME = re.compile(r"[(\[]\s*(\w+)[^()\[\]]*[)\]]\s*$|^(\w+):")
_SAMPLE = 500
_GUESS = "no header; the score is the column that looks like one"


def parse(text: str, metric: str) -> tuple[PriorResult, ...]:
    """The rows of a table of any form and schema, in its order: oldest first if rows were appended."""
    metric = _word(metric)
    rows = tables.read(text, lambda cells: _is_header(cells, metric))
    parsed: list[PriorResult] = []
    for header, group in groupby(rows, lambda row: row.header):
        cells = [row.cells for row in group]
        if header:
            parsed += _under(header, cells, metric)
        elif all(len(row) == 1 for row in cells):
            parsed += [_unread(row[0]) for row in cells]
        else:
            parsed += _without_header(cells)
    return tuple(parsed)


def is_history(rows: Iterable[PriorResult]) -> bool:
    """Whether the rows of an arbitrary file are a table of experiments."""
    known = set(STATUSES.values())
    return any(row.status in known and (row.value is not None or _HASH.fullmatch(row.name)) for row in rows)


def joined(
    rows: Sequence[PriorResult], commits: Mapping[str, str], attempts: Sequence[Attempt]
) -> tuple[PriorResult, ...]:
    """The table's rows with their commits, after the commits on branches that no row names.

    `commits`: the whole hash of each row's name that is one.
    """
    found = [replace(row, commit=commits.get(row.name, "")) for row in rows]
    named = {row.commit for row in found if row.commit}
    others = (_from_commit(attempt) for attempt in attempts if attempt.commit not in named)
    return (*others, *found)


def _from_commit(attempt: Attempt) -> PriorResult:
    flags = [
        f"only a commit on {attempt.branch}",
        *([f"undone by {attempt.undone_by[:7]}"] if attempt.undone_by else []),
    ]
    match = _OUTCOME.search(attempt.subject)
    claimed = status(match[1] or match[2]) if match else ""
    outcome = "discard" if attempt.undone_by else claimed or "keep"
    text = describe(attempt.subject)
    return PriorResult(attempt.commit[:7], None, 0.0, outcome, text, tuple(flags), attempt.commit)


class _Columns(Frozen):
    """The place of each field among `width` cells. `memory_unit`: GiB per unit. `doubt`: a flag for every row."""

    places: Mapping[str, int]
    width: int
    memory_unit: float = 1.0
    status_is_flag: bool = False
    doubt: str = ""


def _word(name: str) -> str:
    """A column's normalized name: `Val BPB (lower is better)` is val_bpb."""
    name = re.sub(r"[(\[].*", "", name.strip().strip("*`\"'").lower()) or name.lower()
    return name.strip() if name.strip() == "#" else re.sub(r"[^a-z0-9]+", "_", name.rpartition(".")[2]).strip("_")


def _is_header(cells: Sequence[str], metric: str) -> bool:
    """Whether a line names columns: some names are known, none is a number or a hash, and not just `keep`."""
    if any(number(cell).value is not None or _SHOWS_A_HASH.fullmatch(cell) for cell in cells):
        return False
    words = {_word(cell) for cell in cells} - {""}
    known = {
        word for word in words if word in _KNOWN or word in {metric, USUAL[1], *_SCORES} or _MEMORY.fullmatch(word)
    }
    return len(known) >= 2 or bool(known - set(STATUSES))


def _under(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], metric: str) -> list[PriorResult]:
    columns = _by_name(header, rows, metric)
    comma = decimal_comma(
        row[columns.places[what]]
        for row in rows
        for what in ("value", "memory")
        if what in columns.places and columns.places[what] < len(row)
    )
    return [_row(row, columns, comma) for row in rows]


def _by_name(header: Sequence[str], rows: Sequence[Sequence[str]], metric: str) -> _Columns:
    words = [_word(name) for name in header]
    places: dict[str, int] = {}
    if (memory := next((place for place, word in enumerate(words) if _MEMORY.fullmatch(word)), None)) is not None:
        places["memory"] = memory
    if (value := _exact(words, metric)) is not None:
        places["value"] = value
    for what, known in _WORDS.items():
        free = (words.index(word) for word in known if word in words and words.index(word) not in places.values())
        if (place := next(free, None)) is not None:
            places[what] = place
    if "status" not in places and (found := _most(rows, len(header), status, places)) is not None:
        places["status"] = found
    doubt = "" if value is not None else _guess_value(words, rows, metric, places)
    parts = re.findall(r"[a-z]+", header[memory].lower()) if memory is not None else []
    unit = next((_UNITS[part] for part in parts if part in _UNITS), 0.0)
    if value is not None and words.count(words[value]) > 1:
        doubt = f"two columns are called {words[value]}"
    is_flag = "status" in places and words[places["status"]] in _FLAGS
    return _Columns(places, len(header), unit, is_flag, doubt)


def _exact(words: Sequence[str], metric: str) -> int | None:
    """The score's column by name. The reference's table calls every lab's metric val_bpb."""
    usual = [USUAL[1]] if [*words] == [*USUAL] else []
    return next((words.index(word) for word in (metric, *usual, *_SCORES) if word in words), None)


def _guess_value(words: Sequence[str], rows: Sequence[Sequence[str]], metric: str, places: dict[str, int]) -> str:
    """Adds the only column that is likely the score to `places`. Returns the flag: which column, or why none."""
    parts = set(metric.split("_"))
    taken = set(places.values())
    free = [place for place, word in enumerate(words) if place not in taken and not _ABOUT & set(word.split("_"))]
    near = [place for place in free if parts <= set(words[place].split("_"))]
    last = metric.rpartition("_")[2]
    near = near or [place for place in free if last in words[place].split("_") and set(words[place].split("_")) < parts]
    if len(near) == 1:
        places["value"] = near[0]
        return f"the score is from the column {words[near[0]]}"
    numeric = [place for place in free if _share(rows, place, lambda cell: number(cell).value is not None) > 0.5]
    named = ", ".join(words[place] for place in (near or numeric)[:4])
    return f"no column for {metric}" + (f" (perhaps {named})" if named else "")


def _share(rows: Sequence[Sequence[str]], place: int, test: Callable[[str], object]) -> float:
    cells = [row[place] for row in rows[:_SAMPLE] if place < len(row) and row[place]]
    return sum(1 for cell in cells if test(cell)) / len(cells) if cells else 0.0


def _most(
    rows: Sequence[Sequence[str]], width: int, test: Callable[[str], object], taken: Mapping[str, int]
) -> int | None:
    """The free column in which most cells pass `test`."""
    shares = {place: _share(rows, place, test) for place in range(width) if place not in taken.values()}
    best = max(shares, key=lambda place: shares[place], default=None)
    return best if best is not None and shares[best] > 0.5 else None


def _without_header(rows: Sequence[tuple[str, ...]]) -> list[PriorResult]:
    """Identifies columns by their contents."""
    width = Counter(len(row) for row in rows).most_common(1)[0][0]
    places: dict[str, int] = {}
    for what, test in (("status", status), ("commit", _HASH.fullmatch)):
        if (place := _most(rows, width, test, places)) is not None:
            places[what] = place
    whole = [row for row in rows if len(row) == width]
    comma = decimal_comma(cell for row in whole for cell in row)
    numeric = [
        place
        for place in range(width)
        if place not in places.values()
        and _share(rows, place, lambda cell: number(cell, comma).value is not None) > 0.5
    ]
    if not places and not numeric:
        return []  # not a table
    rest = [place for place in range(width) if place not in (*places.values(), *numeric)]
    if rest:
        longest = max(rest, key=lambda place: sum(len(row[place]) for row in whole))
        places["description"] = longest
        if "commit" not in places and (names := [place for place in rest if place != longest]):
            places["name"] = names[0]
    doubt = ""
    if numeric == [1, 2] and width == len(USUAL) and places.get("status") == 3:
        places |= {"value": 1, "memory": 2}
        places.setdefault("commit", 0)
        places.setdefault("description", 4)
    elif len(numeric) == 1:
        places["value"], doubt = numeric[0], _GUESS
    else:
        doubt = f"no header; {len(numeric)} columns could be the score" if numeric else "no header"
    return [_row(row, _Columns(places, width, doubt=doubt), comma) for row in rows]


def _unread(text: str) -> PriorResult:
    return PriorResult("-", None, 0.0, "-", describe(text), ("no row of a table",))


def _row(cells: Sequence[str], columns: _Columns, comma: bool | None) -> PriorResult:
    cells, flags, aligned = _aligned(cells, columns)
    texts = {what: cells[place] if place < len(cells) else "" for what, place in columns.places.items()}
    names = (uncoloured(texts.get(what, "")).strip() for what in ("commit", "name"))
    name = next((name for name in names if name not in ("", "-")), "")
    if not _HASH.fullmatch(name):
        flags.append("no commit's hash" if name else "no name")
    outcome = status(texts.get("status", ""), is_flag=columns.status_is_flag)
    if not outcome:
        outcome = describe(texts.get("status", ""), 12)
        flags.append(f"an unknown status: {outcome}" if outcome != "-" else "no status")
    value = _value(texts.get("value", ""), outcome, columns, comma, flags, readable=aligned)
    memory = _memory(texts.get("memory", ""), columns.memory_unit, comma, flags) if aligned else 0.0
    if outcome == "keep" and value == 0 and memory == 0:
        value = None
        flags.append("a score and memory of 0")
    if columns.doubt and outcome not in ("crash", "skip"):
        flags.append(columns.doubt)
    description = describe(cell_text(texts.get("description", "")))
    return PriorResult(describe(name, 40), value, memory, outcome, description, tuple(flags))


def _aligned(cells: Sequence[str], columns: _Columns) -> tuple[list[str], list[str], bool]:
    """A row's cells aligned with the columns, the flags, and whether the row's numbers can be trusted.

    The status shows that: if it is elsewhere, cells are missing, or a description contains the separator.
    """
    found, surplus = [*cells], len(cells) - columns.width
    if not surplus:
        return found, [], True
    flags = [f"{len(cells)} columns where there are {columns.width}"]
    at, text = columns.places.get("status"), columns.places.get("description")
    if surplus > 0 and text is not None:
        merged = [*found[:text], " ".join(found[text : text + surplus + 1]), *found[text + surplus + 1 :]]
        if at is None or status(merged[at]):
            return merged, flags, at is not None or text == columns.width - 1
    fits = at is not None and at < len(found) and bool(status(found[at]))
    return found, flags, fits


def _value(
    text: str, outcome: str, columns: _Columns, comma: bool | None, flags: list[str], *, readable: bool
) -> float | None:
    """The score, or None; doubts are added to `flags`."""
    found = number(text, comma)
    hash_like = found.value is not None and re.fullmatch(r"[0-9a-fA-F]{7,}", text.strip()) is not None
    if outcome in ("crash", "skip") or (outcome == "invalid" and found.value == 0):
        return None
    if found.doubt and "value" in columns.places:
        flags.append(found.doubt)
    if found.value is None or not readable or hash_like:
        flags.append("no score")
        return None
    return found.value


def _memory(text: str, unit: float, comma: bool | None, flags: list[str]) -> float:
    """GiB; 0 if missing or impossible."""
    found = number(text, comma)
    if found.value is None or found.value <= 0:
        return 0.0
    unit = next((_UNITS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in _UNITS), unit)
    memory = found.value * (unit or 1.0)
    if memory > _LARGEST_GIB:
        flags.append("memory in an unknown unit")
        return 0.0
    return memory
