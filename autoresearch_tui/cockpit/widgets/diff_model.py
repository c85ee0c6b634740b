"""Pure: parses a unified diff, and lays it out as rows. Any text parses; nothing here depends on a terminal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from enum import Enum
from functools import lru_cache

from msgspec import Struct, field
from msgspec.structs import replace

from autoresearch_tui.cockpit.widgets.cells import Span
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line


class Kind(Enum):
    """The kinds of rows. The values of the first three are the glyphs of the gutter."""

    CONTEXT = " "
    ADDED = "+"
    REMOVED = "-"
    FILE = "file"
    HUNK = "hunk"
    FLAG = "flag"
    NOTE = "note"


class Line(Frozen):
    """One line of a file or of the diff's own text. `mate` is the line that replaces it, or that it replaces."""

    kind: Kind
    text: str
    number: int = 0
    other: int = 0
    mate: str | None = None
    python: bool = False
    in_string: bool = False


class Row(Frozen):
    """One row of the view: a line across, or a left and a right one (None for an empty side)."""

    left: Line | None
    right: Line | None = None
    across: bool = True


class Flag(Frozen):
    """A risk that preflight found, at a line of the proposed file."""

    path: str
    line: int
    text: str


class FileDiff(Frozen):
    """The changes of one file. `parts` has hunk headers and lines in the order of the diff; `fate` is "new" or
    "removed", or empty for a changed file."""

    path: str
    parts: tuple[Line, ...]
    fate: str = ""

    @property
    def headline(self) -> str:
        """Its name and fate, and how many lines are added and removed."""
        added, removed = (sum(1 for part in self.parts if part.kind is kind) for kind in (Kind.ADDED, Kind.REMOVED))
        counts = [f"{sign}{count}" for sign, count in (("+", added), ("−", removed)) if count]
        return "  ".join(word for word in (self.path or "(no name)", self.fate, " ".join(counts)) if word)


class Diff(Frozen):
    files: tuple[FileDiff, ...] = ()
    added: int = 0
    removed: int = 0


class Layout(Frozen):
    """Rows, and the rows to jump to: those of hunks, of risk flags and of file headers."""

    rows: tuple[Row, ...] = ()
    hunks: tuple[int, ...] = ()
    flags: tuple[int, ...] = ()
    files: tuple[int, ...] = ()


_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(.*)", re.DOTALL)
_FLAG = re.compile(r"(.+?):(\d{1,9})\s+(\S.*)", re.DOTALL)
_QUOTES = re.compile(r'"""|\'\'\'|#')
_NOISE = ("index ", "--- ", "similarity index", "dissimilarity index")
_FATES = (("new file mode ", "new"), ("deleted file mode ", "removed"))


def parse(text: str) -> Diff:
    """The diff in `text`; lines that are no diff are kept as notes."""
    reader = _Reader()
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    for line in lines:
        reader.take(line)
    return reader.done()


class _Reader(Struct):
    """Parses line by line. Counts each hunk's lines, because `--- x` inside a hunk is a removed line."""

    files: list[FileDiff] = field(default_factory=list)
    path: str = ""
    fate: str = ""
    parts: list[Line] = field(default_factory=list)
    old: int = 0
    new: int = 0
    old_left: int = 0
    new_left: int = 0
    added: int = 0
    removed: int = 0

    def take(self, line: str) -> None:
        if (self.old_left > 0 or self.new_left > 0) and self._in_hunk(line):
            return
        self._outside(line)

    def done(self) -> Diff:
        self._close()
        return Diff(tuple(self.files), self.added, self.removed)

    def _in_hunk(self, line: str) -> bool:
        python = self.path.endswith(".py")
        glyph, text = line[:1], clean_line(line[1:])
        if glyph == "+" and self.new_left > 0:
            self.parts.append(Line(Kind.ADDED, text, self.new, python=python))
            self.new, self.new_left, self.added = self.new + 1, self.new_left - 1, self.added + 1
        elif glyph == "-" and self.old_left > 0:
            self.parts.append(Line(Kind.REMOVED, text, self.old, python=python))
            self.old, self.old_left, self.removed = self.old + 1, self.old_left - 1, self.removed + 1
        elif glyph in ("", " ") and self.old_left > 0 and self.new_left > 0:
            self.parts.append(Line(Kind.CONTEXT, text, self.new, self.old, python=python))
            self.old, self.new = self.old + 1, self.new + 1
            self.old_left, self.new_left = self.old_left - 1, self.new_left - 1
        elif glyph == "\\":
            self.parts.append(Line(Kind.NOTE, clean_line(line)))
        else:
            # The hunk is shorter than its header says.
            self.old_left = self.new_left = 0
            return False
        return True

    def _outside(self, line: str) -> None:
        hunk = _HUNK.fullmatch(line)
        if hunk:
            old, old_count, new, new_count, heading = hunk.groups()
            self.old, self.new = int(old), int(new)
            self.old_left = 1 if old_count is None else int(old_count)
            self.new_left = 1 if new_count is None else int(new_count)
            self.parts.append(Line(Kind.HUNK, clean_line(heading.strip()), self.new or self.old, self.old))
        elif line.startswith("diff --git "):
            self._close()
            # The +++ line corrects paths that contain " b/".
            self.path = clean_line(line.rpartition(" b/")[2])
        elif line.startswith("--- ") and any(part.kind is Kind.HUNK for part in self.parts):
            self._close()
        elif line.startswith("+++ "):
            name = line[4:].partition("\t")[0].strip()
            if name != "/dev/null":
                self.path = clean_line(name.removeprefix("b/"))
        elif fate := next((word for mark, word in _FATES if line.startswith(mark)), ""):
            self.fate = fate
        elif line.strip() and not line.startswith(_NOISE):
            self.parts.append(Line(Kind.NOTE, clean_line(line)))

    def _close(self) -> None:
        if self.path or self.parts:
            self.files.append(FileDiff(self.path, tuple(_with_mates(_with_strings(self.parts))), self.fate))
        self.path, self.fate, self.parts = "", "", []
        self.old_left = self.new_left = 0


def _with_strings(lines: Sequence[Line]) -> Iterator[Line]:
    """Marks lines that start inside a triple-quoted string, tracked separately on the old and the new side."""
    old: str | None = None
    new: str | None = None
    for index, line in enumerate(lines):
        if line.kind is Kind.HUNK:
            old = new = _string_at_start(lines, index + 1)
        if not line.python:
            yield line
            continue
        start = old if line.kind is Kind.REMOVED else new
        yield replace(line, in_string=True) if start else line
        if line.kind is not Kind.ADDED:
            old = _string_state(line.text, old)
        if line.kind is not Kind.REMOVED:
            new = _string_state(line.text, new)


def _string_at_start(lines: Sequence[Line], start: int) -> str | None:
    """The quote if a hunk starts inside a docstring: its first triple quote then most likely stands alone, to close
    it."""
    for line in lines[start:]:
        if line.kind is Kind.HUNK:
            break
        if '"""' in line.text or "'''" in line.text:
            alone = line.text.strip()
            return alone if alone in ('"""', "'''") else None
    return None


def _string_state(text: str, quote: str | None) -> str | None:
    for match in _QUOTES.finditer(text) if '"""' in text or "'''" in text else ():
        found = match.group()
        if quote is None and found == "#":
            break
        if quote is None:
            quote = found
        elif found == quote:
            quote = None
    return quote


def _with_mates(lines: Iterable[Line]) -> Iterator[Line]:
    """Gives replaced and replacing lines their mates."""
    removed: list[Line] = []
    added: list[Line] = []
    for line in lines:
        if line.kind is Kind.ADDED:
            added.append(line)
            continue
        if line.kind is not Kind.REMOVED or added:
            yield from _mated(removed, added)
            removed, added = [], []
        if line.kind is Kind.REMOVED:
            removed.append(line)
        else:
            yield line
    yield from _mated(removed, added)


def _mated(removed: list[Line], added: list[Line]) -> Iterator[Line]:
    pairs = pair([line.text for line in removed], [line.text for line in added])
    for a, b in pairs:
        removed[a], added[b] = (
            replace(removed[a], mate=added[b].text),
            replace(added[b], mate=removed[a].text),
        )
    yield from removed
    yield from added


def pair(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """The indexes of old and new lines that replace one another, in order, and only if they share words."""
    if len(old) * len(new) > 10_000:
        return [(i, i) for i in range(min(len(old), len(new)))]
    words = [set(_WORD.findall(text)) for text in new]
    pairs: list[tuple[int, int]] = []
    start = 0
    for i, text in enumerate(old):
        mine = set(_WORD.findall(text))
        best, where = 0.3, -1
        for j in range(start, len(new)):
            union = len(mine | words[j])
            likeness = len(mine & words[j]) / union if union else 0.0
            if likeness > best:
                best, where = likeness, j
        if where >= 0:
            pairs.append((i, where))
            start = where + 1
    if not pairs and len(old) == len(new) == 1:
        return [(0, 0)]
    return pairs


_WORD = re.compile(r"\w+|[^\w\s]")
_TOKEN = re.compile(r"\d+\.\d+(?:[eE][+-]?\d+)?|\w+|\s+|[^\w\s]")


@lru_cache(maxsize=4096)
def changed(text: str, mate: str) -> tuple[Span, ...]:
    """The parts of `text` that `mate` does not have; none if the two have too little in common."""
    if len(text) + len(mate) > 4000:
        return ()
    mine, other = _TOKEN.findall(text), _TOKEN.findall(mate)
    matcher = SequenceMatcher(None, mine, other, autojunk=False)
    if matcher.ratio() < 0.4:
        return ()
    starts = [0]
    for token in mine:
        starts.append(starts[-1] + len(token))
    spans: list[Span] = []
    for tag, i, j, _, _ in matcher.get_opcodes():
        if tag == "equal" or i == j:
            continue
        spans.append((starts[i], starts[j]))
    return tuple(spans)


def parse_flag(text: str) -> Flag:
    """Parses `path:line kind why`; any other text is a flag without a place."""
    match = _FLAG.fullmatch(text)
    if not match:
        return Flag("", 0, clean_line(text))
    path, line, what = match.groups()
    return Flag(clean_line(path), int(line), clean_line(what))


def lay_out(diff: Diff, flags: Sequence[str] = (), split: bool = False, title: str = "") -> Layout:
    """All rows, unified or side by side, with each flag under its line; flags without a line come first."""
    builder = _Builder(split)
    several = len(diff.files) > 1
    files = f"  {len(diff.files)} files" if several else ""
    if title or several:
        builder.across(Line(Kind.FILE, f"{clean_line(title)}{files}  +{diff.added} −{diff.removed}".lstrip()))
    here: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    shown = {
        (file.path, line.number)
        for file in diff.files
        for line in file.parts
        if line.kind in (Kind.ADDED, Kind.CONTEXT)
    }
    for flag in map(parse_flag, flags):
        if (flag.path, flag.line) in shown:
            here[flag.path, flag.line].append(flag.text)
        else:
            place = f"{flag.path}:{flag.line} " if flag.path else ""
            builder.flag(place + flag.text)
    for file in diff.files:
        if several or file.fate or (file.path and not any(line.kind is Kind.HUNK for line in file.parts)):
            builder.file(file.headline)
        for line in file.parts:
            builder.add(line)
            if line.kind in (Kind.ADDED, Kind.CONTEXT):
                for text in here.get((file.path, line.number), ()):
                    builder.flag(text)
        builder.flush()
    return builder.done()


class _Builder:
    """Collects rows; side by side, a change's removed and added lines wait until the change is complete."""

    def __init__(self, split: bool) -> None:
        self._split = split
        self._rows: list[Row] = []
        self._hunks: list[int] = []
        self._flags: list[int] = []
        self._files: list[int] = []
        self._removed: list[Line] = []
        self._added: list[Line] = []
        self._late: list[str] = []

    def add(self, line: Line) -> None:
        if not self._split or line.kind not in (Kind.ADDED, Kind.REMOVED, Kind.CONTEXT):
            self.across(line)
        elif line.kind is Kind.REMOVED:
            if self._added:
                self.flush()
            self._removed.append(line)
        elif line.kind is Kind.ADDED:
            self._added.append(line)
        else:
            self.flush()
            old = replace(line, number=line.other)
            self._rows.append(Row(old, line, across=False))

    def across(self, line: Line) -> None:
        self.flush()
        if line.kind is Kind.HUNK:
            self._hunks.append(len(self._rows))
        self._rows.append(Row(line))

    def file(self, headline: str) -> None:
        self.flush()
        self._files.append(len(self._rows))
        self._rows.append(Row(Line(Kind.FILE, headline)))

    def flag(self, text: str) -> None:
        if self._added:
            self._late.append(text)
            return
        self._flags.append(len(self._rows))
        self._rows.append(Row(Line(Kind.FLAG, text)))

    def flush(self) -> None:
        removed, added, late = self._removed, self._added, self._late
        self._removed, self._added, self._late = [], [], []
        self._rows += [Row(left, right, across=False) for left, right in _side_by_side(removed, added)]
        for text in late:
            self.flag(text)

    def done(self) -> Layout:
        self.flush()
        return Layout(tuple(self._rows), tuple(self._hunks), tuple(self._flags), tuple(self._files))


def _side_by_side(removed: list[Line], added: list[Line]) -> Iterator[tuple[Line | None, Line | None]]:
    """Pairs of lines for each row: mates together, the other lines before them on rows of their own."""
    places = {(line.text, line.mate): i for i, line in reversed(list(enumerate(added))) if line.mate is not None}
    done = 0
    for left in removed:
        where = places.get((left.mate, left.text), -1) if left.mate is not None else -1
        if where < done:
            yield left, None
            continue
        for right in added[done:where]:
            yield None, right
        yield left, added[where]
        done = where + 1
    for right in added[done:]:
        yield None, right
