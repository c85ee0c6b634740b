"""Merging a waiting proposal onto a new frontier."""

from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.python_source.merge import merge, merge_files

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n", "e\n"]), max_size=8)
TEXT = st.builds("".join, LINES)


@given(TEXT, TEXT)
def test_a_side_that_changed_nothing_gives_the_other(base: str, other: str) -> None:
    assert merge(base, base, other) == other
    assert merge(base, other, base) == other
    assert merge(base, other, other) == other


@given(TEXT, TEXT, TEXT)
def test_the_order_of_the_sides_does_not_matter(base: str, one: str, two: str) -> None:
    assert merge(base, one, two) == merge(base, two, one)


@given(st.lists(st.integers(0, 99), min_size=2, max_size=12, unique=True), st.data())
def test_constants_changed_by_both_sides_are_all_there(values: list[int], data: st.DataObject) -> None:
    owner = data.draw(st.lists(st.sampled_from("-ot"), min_size=len(values), max_size=len(values)))

    def text(side: str) -> str:
        return "".join(
            f"K{n} = {1000 + value if who == side else value}\n"
            for n, (value, who) in enumerate(zip(values, owner, strict=True))
        )

    both = "".join(
        f"K{n} = {value if who == '-' else 1000 + value}\n"
        for n, (value, who) in enumerate(zip(values, owner, strict=True))
    )
    assert merge(text("?"), text("o"), text("t")) == both


def test_the_same_line_changed_in_two_ways_is_a_conflict() -> None:
    assert merge("a\nb\nc\n", "a\n1\nc\n", "a\n2\nc\n") is None
    assert merge("a\nc\n", "a\nx\nc\n", "a\ny\nc\n") is None
    assert merge("a\nb\n", "a\n", "a\nB\n") is None


FILES = st.dictionaries(st.sampled_from(["one", "two", "three"]), TEXT)


@given(FILES, FILES)
def test_files_that_one_side_adds_or_removes_come_or_go(base: dict[str, str], other: dict[str, str]) -> None:
    assert merge_files(base, base, other) == other
    assert merge_files(base, other, base) == other
    assert merge_files(base, other, other) == other


@given(FILES, FILES, FILES)
def test_of_files_the_order_of_the_sides_does_not_matter(
    base: dict[str, str], one: dict[str, str], two: dict[str, str]
) -> None:
    assert merge_files(base, one, two) == merge_files(base, two, one)


def test_where_files_clash() -> None:
    assert merge_files({"a": "x\n"}, {}, {"a": "y\n"}) is None
    assert merge_files({}, {"a": "x\n"}, {"a": "y\n"}) is None
    assert merge_files({"a": "x\n", "b": ""}, {"b": ""}, {"a": "x\n", "b": "z\n", "c": "n\n"}) == {
        "b": "z\n",
        "c": "n\n",
    }
