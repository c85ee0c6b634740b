"""Immutable values whose classes are cheap to create: some eighty are imported before the first paint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import Field, FrozenInstanceError, dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, dataclass_transform

T = TypeVar("T")
_FIELDS, _INIT = "__dataclass_fields__", "__init__"
_MAKING = threading.RLock()


class _Later:
    """Placeholder for an attribute that `@dataclass` generates, until its first use."""

    def __init__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, one: object, _: type) -> Any:
        with _MAKING:
            if vars(self._owner)[self._name] is self:
                delattr(self._owner, _INIT)  # `@dataclass` keeps an existing one
                dataclass(eq=False, repr=False)(self._owner)
        made = vars(self._owner)[self._name]
        return made if one is None or self._name != _INIT else made.__get__(one)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """Subclasses behave like `@dataclass(frozen=True)` and are created in a tenth of the time.

    The decorator compiles six methods for each class. Here five are shared, and the sixth is compiled for the class's
    first instance; most classes have none before the first paint. For a class with many instances use
    `@dataclass(frozen=True, slots=True)`: they are smaller and created faster.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.__bases__ != (Frozen,) or _INIT in vars(cls):
            dataclass(eq=False, repr=False)(cls)
            return
        cls.__match_args__ = field_names(cls)  # type: ignore[attr-defined,misc]
        for name in (_FIELDS, _INIT):
            setattr(cls, name, _Later(cls, name))

    def __init__(self, *values: object, **more: object) -> None:
        """Called while another thread replaces the placeholder."""
        with _MAKING:
            init = vars(type(self))[_INIT]
        init(self, *values, **more)

    def __setattr__(self, name: str, value: object) -> None:
        own = self.__dict__
        # `__init__` sets each field once.
        if name in own or name not in self.__dataclass_fields__:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        own[name] = value

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__qualname__}({values})"


def field_names(cls: type) -> tuple[str, ...]:
    """The names of a dataclass's fields, without replacing the placeholders."""
    hints = [vars(each).get("__annotations__", {}) for each in reversed(cls.__mro__)]
    return tuple({name: None for each in hints for name, hint in each.items() if not str(hint).startswith("ClassVar")})


def replaced(old: T, **changes: object) -> T:
    """`dataclasses.replace` in a third of the time, for dataclasses whose `__init__` takes every field."""
    cls: Any = type(old)
    values_of, places = _shape(cls)
    values = list(values_of(old))
    for name, value in changes.items():
        values[places[name]] = value
    made: T = cls(*values)
    return made


@cache
def _shape(cls: type[Any]) -> tuple[Callable[[object], tuple[object, ...]], Mapping[str, int]]:
    names = [each.name for each in fields(cls)]
    return attrgetter(*names), {name: place for place, name in enumerate(names)}
