"""Numbers of a text that is no code: which are knobs, what they are called, and that nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.python_source import plain_text, setting
from autoresearch_tui.python_source.plain_text import SAID, STATED


def knobs(text: str) -> dict[str, object]:
    return {knob.name: knob.value for knob in plain_text.read("a.md", text).knobs}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rate = 0.5  # comment 3\n", {"rate": 0.5, "rate_comment": 3}),
        ("[search]\ndepth = 4\n[run]\ndepth: 5", {"search.depth": 4, "run.depth": 5}),
        ("heat: 20\nmax words: 3", {"heat": 20, "max_words": 3}),
        ('{\n  "top_k": 40,\n', {"top_k": 40}),
        ("1. Use at most 12 words, or 20 %.\n2) go", {"at_most": 12, "words_or": 20}),
        ("7 dwarves and 7 dwarves", {"dwarves": 7, "dwarves_and": 7}),
        ("take 3\ntake 5", {"take": 3, "take#2": 5}),
        ("v1.2.3, 2026-01-02, 10:30, #5, x2, 007, 1,000, 0x1f, a/4", {}),
        ("lower to -3 or 1e-4", {"lower_to": -3, "to_or": 1e-4}),
    ],
)
def test_numbers_are_named_by_what_stands_before_them(text: str, found: dict[str, object]) -> None:
    assert knobs(text) == found


def test_a_table_of_numbers_is_data() -> None:
    assert knobs("take 3 " * 100)
    assert not knobs("take 3 " * 101)


def test_what_is_stated_is_told_from_what_is_said() -> None:
    reach = {knob.name: knob.reach for knob in plain_text.read("a.md", "heat: 20\nat most 3 times").knobs}
    assert reach == {"heat": STATED, "at_most": SAID}


def test_one_setting_in_two_ways() -> None:
    digests = {setting.read({"a.md": text}).digest for text in ("heat: 20\n", "heat: 20.0\n", "heat: 20")}
    assert len(digests) == 1
    assert setting.read({"a.md": "heat: 21"}).digest not in digests
    assert setting.read({"a.md": "cold: 20"}).digest not in digests


@given(st.text(st.sampled_from("ab 1.-=:\n[]#,%é\r\0"), max_size=60), st.integers(0, 5), st.integers(2, 99))
def test_an_edit_changes_one_number_and_nothing_else(text: str, which: int, value: int) -> None:
    before = plain_text.read("a.md", text)
    if not before.knobs:
        assert plain_text.edit(text, {}) == text
        return
    knob = before.knobs[which % len(before.knobs)]
    new = float(value) if isinstance(knob.value, float) else value
    after = plain_text.read("a.md", plain_text.edit(text, {knob: new}))
    assert after.skeleton == before.skeleton
    assert after.values == {**before.values, knob.key: new}
