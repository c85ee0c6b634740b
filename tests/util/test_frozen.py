from __future__ import annotations

import pickle

import pytest
from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.util.frozen import Frozen, defaults


class Point(Frozen):
    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)


class Other(Frozen):
    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)


class Further(Point):
    z: int = 3


class Named(Frozen):
    x: int
    name: str = ""


def test_fields_are_given_by_place_or_name_and_have_defaults() -> None:
    point = Point(1, tags={"a": 3})
    assert (point.x, point.y, point.tags) == (1, 2, {"a": 3})
    assert Point(1).tags is not Point(1).tags
    with pytest.raises(TypeError, match="'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'z'"):
        Point(1, z=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [Point, Further])
@pytest.mark.parametrize("name", ["x", "typo", "__dict__"])
def test_nothing_can_be_changed_or_added(kind: type[Point], name: str) -> None:
    point = kind(1)
    with pytest.raises(AttributeError):
        setattr(point, name, 2)
    with pytest.raises(AttributeError):
        delattr(point, name)
    assert point == kind(1)


def test_equal_is_what_is_of_one_kind_and_has_equal_fields() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1) != Other(1)
    assert Point(1) != Further(1)
    assert {Named(1), Named(1, ""), Named(2)} == {Named(2), Named(1)}


def test_a_copy_differs_where_it_should() -> None:
    further = Further(1)
    assert replace(further, y=5, z=6) == Further(1, 5, {}, 6)
    assert further == Further(1)
    with pytest.raises(TypeError, match="typo"):
        replace(further, typo=1)


def test_defaults_are_those_of_the_fields_that_have_one() -> None:
    assert defaults(Named) == {"name": ""}
    assert {name: value for name, value in defaults(Further).items() if name != "tags"} == {"y": 2, "z": 3}


def test_a_value_crosses_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Further(1, tags={"a": 1}))) == Further(1, tags={"a": 1})
