"""`Frozen` is held to what `@dataclass(frozen=True)` does."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, field

import pytest

from autoresearch_tui.util.frozen import Frozen, field_names, replaced


class Point(Frozen):
    """A subclass as any."""

    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)


class Other(Frozen):
    """The same fields under another name."""

    x: int
    y: int = 2
    tags: dict[str, int] = field(default_factory=dict)


class Bare(Frozen):
    """Nothing but its kind."""


class Third(Frozen):
    """What a dictionary or a set may hold."""

    x: int
    y: str = ""


def test_fields_are_given_by_place_or_name_and_have_defaults() -> None:
    point = Point(1, tags={"a": 3})
    assert (point.x, point.y, point.tags) == (1, 2, {"a": 3})
    assert Point(1).tags is not Point(1).tags
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1, z=2)  # type: ignore[call-arg]


def test_nothing_can_be_changed() -> None:
    point = Point(1)
    with pytest.raises(FrozenInstanceError, match="'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match="'x'"):
        del point.x
    assert point == Point(1)


@pytest.mark.parametrize("name", ["typo", "X", "_hidden", "__dict__"])
def test_nothing_can_be_added(name: str) -> None:
    third, before = Third(1), hash(Third(1))
    with pytest.raises(FrozenInstanceError, match=name):
        setattr(third, name, 2)
    assert third == Third(1) and hash(third) == before


def test_equal_is_what_is_of_one_kind_and_has_equal_fields() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(2)
    assert Point(1) != Other(1)
    assert Bare() == Bare()
    assert Bare() != Point(1)
    assert {Third(1), Third(1, ""), Third(2)} == {Third(2), Third(1)}


def test_the_library_knows_it_as_a_dataclass() -> None:
    point = Point(1)
    assert dataclasses.replace(point, y=5) == Point(1, 5)
    assert dataclasses.asdict(point) == {"x": 1, "y": 2, "tags": {}}
    assert [f.name for f in dataclasses.fields(point)] == ["x", "y", "tags"]
    assert repr(point) == "Point(x=1, y=2, tags={})"
    match point:
        case Point(x=1, y=y):
            assert y == 2
        case _:
            raise AssertionError


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """As the state of a session is."""

    x: int
    y: int = 2


@pytest.mark.parametrize("value", [Point(1, 3, {"a": 1}), Slotted(1, 3)])
def test_replaced_is_what_dataclasses_replace(value: Point | Slotted) -> None:
    for changes in ({}, {"x": 5}, {"x": 5, "y": 6}):
        made = replaced(value, **changes)
        assert made == dataclasses.replace(value, **changes) and type(made) is type(value) and made is not value
    assert value.x == 1
    with pytest.raises(KeyError):
        replaced(value, z=1)


def test_threads_that_make_the_first_instances_at_once_get_whole_ones() -> None:
    kinds = [
        type(f"Kind{n}", (Frozen,), {"__annotations__": {"x": "int", "y": "int"}, "y": n, "__doc__": ""})
        for n in range(40)
    ]
    start = threading.Barrier(4)

    def make() -> list[tuple[int, int]]:
        start.wait(10)
        return [(each.x, each.y) for each in (kind(1) for kind in kinds)]

    with ThreadPoolExecutor(4) as threads:
        made = [threads.submit(make) for _ in range(4)]
        assert all(each.result(20) == [(1, n) for n in range(40)] for each in made)


class Line(Point):
    """One more field than its parent."""

    end: int = 9


def test_a_class_is_known_before_it_has_an_instance() -> None:
    class New(Frozen):
        x: int
        y: int = 2

    assert New.__match_args__ == field_names(New) == ("x", "y")
    assert [each.name for each in dataclasses.fields(New)] == ["x", "y"]
    assert dataclasses.is_dataclass(New)
    assert New(1) == New(1, 2)
    match New(3, 4):
        case New(x, y):
            assert (x, y) == (3, 4)
    assert Line(1).end == 9
    assert field_names(Line) == ("x", "y", "tags", "end")
