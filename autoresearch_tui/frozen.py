"""Values that cannot change, made quickly: some eighty such classes come in before the first picture."""

from __future__ import annotations

from dataclasses import Field, FrozenInstanceError, dataclass, field
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen:
    """Its subclasses are what `@dataclass(frozen=True)` makes, for a quarter of the time.

    That compiles six methods for each class; these are compiled once. A class with many instances is better off with
    `@dataclass(frozen=True, slots=True)`: its instances are smaller, and made faster.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(eq=False, repr=False)(cls)

    def __setattr__(self, name: str, value: object) -> None:
        own = self.__dict__
        if name in own:
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
