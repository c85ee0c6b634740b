"""Immutable values: dozens of classes are defined before the first paint, and a night holds thousands of instances."""

from __future__ import annotations

from typing import Any, dataclass_transform

from msgspec import Struct, field


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Frozen(Struct, frozen=True):
    """The base of every value that does not change. Its fields are declared as in a dataclass.

    `field` is msgspec's, a copy with other values is `msgspec.structs.replace`, and `__struct_fields__` are the names.
    """


def defaults(kind: type[Struct]) -> dict[str, Any]:
    """The default of each field that has one; that of a field with a factory equals nothing."""
    return dict(zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False))
