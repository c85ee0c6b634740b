"""JSON for the files kept beside a journal (outline, snapshots). Only the version that wrote them reads them: versions
differ in :attr:`Codec.shape`."""

from __future__ import annotations

import typing
import zlib
from collections.abc import Callable, Mapping
from functools import cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from autoresearch_tui.session import asks, experiment, failures, fleet, prior_results, state
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import EngineEnd, Opinion, Outcome, RunEnd
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.util.frozen import Frozen


def _has_fields(kind: type) -> bool:
    return issubclass(kind, Frozen) and kind is not Frozen


_PLAIN = frozenset({str, int, float, bool, type(None)})
_ENUMS = (EngineEnd, Opinion, Outcome, RunEnd, Stage)
_MODULES = (asks, experiment, failures, fleet, prior_results, state)
_CLASSES = (
    *typing.get_args(ev.Event),
    *(kind for module in _MODULES for kind in vars(module).values() if isinstance(kind, type) and _has_fields(kind)),
)
"""The classes in a state. A module with more of them must be listed above."""
_TUPLE, _MAPPING = "tuple", "mapping"


class Codec:
    """Encodes plain values as they are, and all others as a list that begins with the type's name."""

    def __init__(self, *more: type) -> None:
        """`more`: further classes, beside those in a state."""
        self._classes: dict[str, Any] = {kind.__name__: kind for kind in (*_CLASSES, *_ENUMS, *more)}
        self._fields: dict[type, Callable[[object], tuple[object, ...]]] = {}

    @cached_property
    def shape(self) -> int:
        """A checksum of the classes and their fields."""
        names = [(name, [*kind.__struct_fields__]) for name, kind in self._classes.items() if kind not in _ENUMS]
        return zlib.crc32(repr(names).encode())

    def encode(self, value: Any) -> Any:
        """Raises TypeError for an unknown class."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is tuple:
            return [_TUPLE, *map(self.encode, value)]
        if kind in _ENUMS:
            return [kind.__name__, str(value)]
        if isinstance(value, Mapping):
            return [_MAPPING, *([self.encode(key), self.encode(each)] for key, each in value.items())]
        if isinstance(value, Experiment):
            value, kind = value.whole, Experiment
        if kind not in self._fields:
            if self._classes.get(kind.__name__) is not kind:
                raise TypeError(f"{kind.__name__} is not written beside a journal")
            names = kind.__struct_fields__
            self._fields[kind] = attrgetter(*names) if len(names) > 1 else lambda one: (getattr(one, names[0]),)
        return [kind.__name__, *map(self.encode, self._fields[kind](value))]

    def decode(self, value: Any) -> Any:
        """The inverse of :meth:`encode`. Raises ValueError, LookupError or TypeError for anything else."""
        if type(value) is not list:
            return value
        what = value[0]
        if what == _TUPLE:
            return tuple([each if type(each) is not list else self.decode(each) for each in value[1:]])
        if what == _MAPPING:
            return MappingProxyType({self.decode(key): self.decode(each) for key, each in value[1:]})
        return self._classes[what](*[each if type(each) is not list else self.decode(each) for each in value[1:]])


CODEC = Codec()
