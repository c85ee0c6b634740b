"""Text from an agent or a log is data: no control code survives."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.util.text import DESCRIPTION_LIMIT, as_text, cell_text, clean_line, clean_text, describe

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@given(st.text())
def test_a_cleaned_line_is_one_printable_line(text: str) -> None:
    line = clean_line(text)
    assert not any(unicodedata.category(c) in FORBIDDEN for c in line)
    assert clean_line(line) == line


@given(st.text())
def test_cleaned_text_keeps_its_line_ends_only(text: str) -> None:
    assert all(c == "\n" or unicodedata.category(c) not in FORBIDDEN for c in clean_text(text))


@given(st.text())
def test_a_description_is_one_cell_of_a_table(text: str) -> None:
    cell = describe(text)
    assert 0 < len(cell) <= DESCRIPTION_LIMIT
    assert cell == " ".join(cell.split())
    rows = list(csv.reader(io.StringIO(f"a\t{cell}\tb\n"), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows == [["a", cell, "b"]]


def test_escape_sequences_bidi_and_tabs() -> None:
    assert "\x1b" not in clean_line("\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07")
    assert "\u202e" not in clean_line("abc\u202edef")
    assert clean_line("a\tb") == "a       b"
    assert describe("  two\nlines\t and \x00more ") == "two lines and more"
    assert describe("\u200b") == "-"


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "+cmd|x",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        " =1",
        "\r=1",
        "-lr, deeper",
        "＝1+1",
        '"a", b',
    ],
)
def test_no_reader_takes_a_cell_for_anything_but_text(cell: str) -> None:
    assert as_text(cell) == f"'{cell}"
    assert cell_text(as_text(cell)) == cell


@pytest.mark.parametrize("cell", ["-", "lr 0.04 -> 0.02", "-0.5", "+3%", "0.5", "'quoted'", "a = b", ""])
def test_a_plain_cell_stays_as_it_is(cell: str) -> None:
    assert as_text(cell) == cell_text(cell) == cell


@given(st.text(alphabet="=+-@'\"\t 1a"))
def test_a_cell_comes_back(cell: str) -> None:
    assert cell_text(as_text(cell)) == cell
    row = next(csv.reader(io.StringIO(f"{as_text(describe(cell))}\tnext\n"), delimiter="\t"))
    assert row[1] == "next"
