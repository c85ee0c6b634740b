"""Everything that may change, as a space: numbers on scales of coarse steps, and sites with their forms of code."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence

from autoresearch_tui.python_source import constants
from autoresearch_tui.python_source.constants import Value
from autoresearch_tui.python_source.plain_text import is_text
from autoresearch_tui.python_source.setting import reading
from autoresearch_tui.researchers.search.moves import coordinate
from autoresearch_tui.researchers.search.surrogate import Points
from autoresearch_tui.util.frozen import Frozen

_DEFINED = re.compile(r"(?:Async)?(?:Function|Class)Def\(name='([^']*)'")
_FAR = 6.0  # coarse steps: results from further away teach nothing about the base

Part = tuple[str, str, Mapping[str, Value]]
"""A site, its code without literals, and its literals by key."""


def parts(files: Mapping[str, str]) -> tuple[Part, ...]:
    """The files by function and class; the statements between them are one site, and so is a file that is not
    Python."""
    found: list[Part] = []
    for path, text in sorted(files.items()):
        if is_text(path):
            read = reading(path, text)
            found.append((path, read.skeleton if read else text, read.values if read else {}))
            continue
        for skeleton, knobs in constants.statements(path, text):
            name = _DEFINED.match(skeleton)
            found.append((f"{path}:{name[1] if name else ''}", skeleton, {k.key: k.value for k in knobs}))
    return tuple(found)


class Place(Frozen):
    """A point of the space: numbers by key, forms by site. A choice is a site of its own."""

    numbers: Mapping[str, Value]
    forms: Mapping[str, str]


class Space:
    """The space around a base. `kinds`: the scales of all knobs that may be turned."""

    def __init__(self, base: Sequence[Part], kinds: Mapping[str, str]) -> None:
        self._kinds = kinds
        self._choices = {key for key, kind in kinds.items() if kind in ("switch", "choice", "pattern")}
        self.base = self.place(base)
        self.keys = sorted(self.base.numbers)
        self._columns = {key: column for column, key in enumerate(self.keys)}
        self._offsets: dict[tuple[str, Value], float] = {}
        self._sites: list[str] = []
        self._codes: dict[tuple[str, str], int] = {}

    def place(self, of: Sequence[Part]) -> Place:
        numbers: dict[str, Value] = {}
        forms: dict[str, str] = {}
        for site, skeleton, values in of:
            rest = skeleton
            for key, value in values.items():
                if key in self._choices:
                    forms[key] = repr(value)
                elif key in self._kinds:
                    numbers[key] = value
                else:
                    rest += f"|{key}={value!r}"
            forms[site] = forms.get(site, "") + rest
        return Place(numbers, forms)

    def over(self, places: Collection[Place]) -> None:
        """Spans the space: a site where some of these places have another form than the base is a dimension."""
        sites = {site for place in places for site in {*place.forms, *self.base.forms}}
        found = {s for s in sites for p in places if p.forms.get(s, "") != self.base.forms.get(s, "")}
        self._sites = sorted(found)
        self._codes = {(site, self.base.forms.get(site, "")): 0 for site in self._sites}

    def points(self, places: Sequence[Place], groups: Sequence[int]) -> Points:
        import numpy as np

        offsets = np.zeros((len(places), len(self.keys)))
        forms = np.zeros((len(places), len(self._sites)), dtype=np.int64)
        for row, place in enumerate(places):
            for column, key in enumerate(self.keys):
                value = place.numbers.get(key, self.base.numbers[key])
                if value != self.base.numbers[key]:
                    offsets[row, column] = self.offset(key, value)
            for column, site in enumerate(self._sites):
                form = site, place.forms.get(site, "")
                forms[row, column] = self._codes.setdefault(form, len(self._codes))
        return Points(offsets, forms, np.array(groups, dtype=np.int64))

    def moved(self, moves: Sequence[tuple[Place, Mapping[str, Value]]]) -> Points:
        """The base, then forms of it with numbers moved."""
        import numpy as np

        offsets = np.zeros((1 + len(moves), len(self.keys)))
        for row, (_, move) in enumerate(moves, 1):
            for key, value in move.items():
                offsets[row, self._columns[key]] = self.offset(key, value)
        forms = list({id(form): form for form, _ in moves}.values())
        at = {id(form): row for row, form in enumerate(forms, 1)}
        codes = self.points([self.base, *forms], [0] * (1 + len(forms))).forms
        return Points(offsets, codes[[0, *(at[id(form)] for form, _ in moves)]], np.zeros(len(offsets), dtype=np.int64))

    def offset(self, key: str, value: Value) -> float:
        """The distance of a value from the base's, in coarse steps."""
        if (key, value) not in self._offsets:
            away = _at(self._kinds[key], value) - _at(self._kinds[key], self.base.numbers[key])
            self._offsets[key, value] = max(-_FAR, min(_FAR, away))
        return self._offsets[key, value]


def _at(kind: str, value: Value) -> float:
    """As :func:`~autoresearch_tui.researchers.search.moves.coordinate`, but counts by their ratio: 1 to 2 is further
    than 8 to 9."""
    if kind == "count" and not isinstance(value, str):
        return 2 * math.log2(value) if value >= 1 else 2 * (float(value) - 1)
    return coordinate(kind, value)
