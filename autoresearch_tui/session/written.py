"""Values of a session as JSON, for what is kept beside a journal; the journal itself has only events.

What one version has written only the same one reads: :attr:`Codec.shape` tells them apart.
"""

from __future__ import annotations

import typing
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from autoresearch_tui.session import asks, experiment, failures, fleet, prior_results, state
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import EngineEnd, Opinion, Outcome, RunEnd
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.util.frozen import Frozen, field_names


def _has_fields(kind: type) -> bool:
    return (issubclass(kind, Frozen) and kind is not Frozen) or is_dataclass(kind)


_PLAIN = frozenset({str, int, float, bool, type(None)})
_ENUMS = (EngineEnd, Opinion, Outcome, RunEnd, Stage)
_MODULES = (asks, experiment, failures, fleet, prior_results, state)
_CLASSES = (
    *typing.get_args(ev.Event),
    *(kind for module in _MODULES for kind in vars(module).values() if isinstance(kind, type) and _has_fields(kind)),
)
"""What a state consists of; a class of another module has to be named here."""
_TUPLE, _MAPPING = "tuple", "mapping"


class Codec:
    """Plain values are themselves; what is not has a list that begins with what it is."""

    def __init__(self, *more: type) -> None:
        """`more`: classes beside those that a state consists of."""
        self._classes: dict[str, type] = {kind.__name__: kind for kind in (*_CLASSES, *_ENUMS, *more)}
        self._fields: dict[type, Callable[[object], tuple[object, ...]]] = {}

    @cached_property
    def shape(self) -> int:
        """A number for the classes and their fields: another one where a class was changed."""
        names = [(name, [*field_names(kind)]) for name, kind in self._classes.items() if kind not in _ENUMS]
        return zlib.crc32(repr(names).encode())

    def encode(self, value: Any) -> Any:
        """Raises TypeError for what is not known."""
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
            names = [field.name for field in fields(kind)]
            self._fields[kind] = attrgetter(*names) if len(names) > 1 else lambda one: (getattr(one, names[0]),)
        return [kind.__name__, *map(self.encode, self._fields[kind](value))]

    def decode(self, value: Any) -> Any:
        """What was encoded. Raises ValueError, LookupError or TypeError for anything else."""
        if type(value) is not list:
            return value
        what = value[0]
        if what == _TUPLE:
            return tuple([each if type(each) is not list else self.decode(each) for each in value[1:]])
        if what == _MAPPING:
            return MappingProxyType({self.decode(key): self.decode(each) for key, each in value[1:]})
        return self._classes[what](*[each if type(each) is not list else self.decode(each) for each in value[1:]])


CODEC = Codec()
