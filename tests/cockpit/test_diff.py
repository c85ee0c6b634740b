"""The diff: its model for any text, and the pane as a reader uses it."""

from __future__ import annotations

import difflib
import time
import timeit
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.app import ComposeResult

from autoresearch_tui.cockpit.widgets import diff_model as model
from autoresearch_tui.cockpit.widgets.cells import Span, cells, cut, wrap, wrap_code
from autoresearch_tui.cockpit.widgets.diff import DiffPane
from autoresearch_tui.cockpit.widgets.diff_model import Kind
from autoresearch_tui.cockpit.widgets.python_tokens import tokens
from tests.cockpit.coloured import Coloured
from tests.cockpit.nights import pilot_test

OLD = [
    '"""A model."""',
    "DEPTH = 8",
    "LR = 0.02  # Muon",
    "",
    *(f"line_{n} = {n}" for n in range(40)),
    "end = 1",
]
NEW = [*OLD[:1], "DEPTH = 9", "LR = 0.035  # Muon", *OLD[3:20], "import os", *OLD[20:44], "end = 2"]


def unified(old: list[str], new: list[str], path: str = "train.py") -> str:
    lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")
    return f"diff --git a/{path} b/{path}\nindex 1..2 100644\n" + "\n".join(lines) + "\n"


DIFF = unified(OLD, NEW)


def kept(diff: model.Diff, *kinds: Kind) -> list[str]:
    return [line.text for file in diff.files for line in file.parts if line.kind in kinds]


def test_the_lines_and_their_numbers() -> None:
    diff = model.parse(DIFF)
    assert (diff.added, diff.removed) == (4, 3)
    assert [file.path for file in diff.files] == ["train.py"]
    found = {(line.kind, line.text): line for line in diff.files[0].parts}
    assert found[Kind.REMOVED, "DEPTH = 8"].number == 2
    assert found[Kind.ADDED, "import os"].number == 21
    assert found[Kind.CONTEXT, "line_16 = 16"].other == 21
    assert found[Kind.CONTEXT, "line_16 = 16"].number == 22


def test_a_removed_line_that_looks_like_a_header_is_a_line() -> None:
    diff = model.parse(unified(["-- x", "++ y", "@@ -1 +1 @@", "z"], ["z"]))
    assert kept(diff, Kind.REMOVED) == ["-- x", "++ y", "@@ -1 +1 @@"]


def test_several_files_and_what_git_says_beside_hunks() -> None:
    text = (
        DIFF
        + "diff --git a/a b.txt b/a b.txt\nnew file mode 100644\nBinary files differ\n"
        + unified(["a"], ["b"], "c.md")
    )
    diff = model.parse(text)
    assert [file.path for file in diff.files] == ["train.py", "a b.txt", "c.md"]
    assert kept(diff, Kind.NOTE) == ["Binary files differ"]
    layout = model.lay_out(diff)
    captions = [row.left.text for row in layout.rows if row.left and row.left.kind is Kind.FILE]
    assert captions == ["3 files  +5 −4", "train.py  +4 −3", "a b.txt  new", "c.md  +1 −1"]
    assert [line.text for row in layout.files if (line := layout.rows[row].left)] == captions[1:]


def test_a_file_that_comes_or_goes_has_a_header_of_its_own() -> None:
    new = "diff --git a/x.md b/x.md\nnew file mode 100644\n--- /dev/null\n+++ b/x.md\n@@ -0,0 +1,2 @@\n+one\n+two\n"
    old = "diff --git a/y.md b/y.md\ndeleted file mode 100644\n--- a/y.md\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"
    assert [file.headline for file in model.parse(new + old).files] == ["x.md  new  +2", "y.md  removed  −1"]
    first = model.lay_out(model.parse(new)).rows[0].left
    assert first is not None and first.text == "x.md  new  +2"


def test_plain_unified_diffs_without_git_headers_split_at_their_headers() -> None:
    text = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n--- a/y.py\n+++ b/y.py\n@@ -1 +1 @@\n-c\n+d\n"
    assert [file.path for file in model.parse(text).files] == ["x.py", "y.py"]


def test_replaced_lines_know_each_other_and_what_changed() -> None:
    diff = model.parse(DIFF)
    line = next(line for line in diff.files[0].parts if line.text == "LR = 0.035  # Muon")
    assert line.mate == "LR = 0.02  # Muon"
    assert [line.text[a:b] for a, b in model.changed(line.text, line.mate)] == ["0.035"]


def test_lines_with_nothing_in_common_are_not_spotted() -> None:
    assert model.changed("return x + attention(y)", "import torch") == ()
    assert model.pair(["a = 1", "b = 2"], ["zzz", "b = 3"]) == [(1, 1)]
    assert model.pair(["x"], ["y"]) == [(0, 0)]


def test_a_hunk_that_begins_in_a_docstring_is_coloured_as_one() -> None:
    lines = ["    inside", '    """', "    import torch"]
    diff = model.parse(unified(lines, [*lines, "y = 2"]))
    states = {line.text: line.in_string for line in diff.files[0].parts if line.kind is Kind.CONTEXT}
    assert states["    inside"] and states['    """'] and not states["    import torch"]


def test_a_flag_stands_under_its_line_and_one_without_a_line_on_top() -> None:
    flags = ("train.py:21 import os reaches outside the model", "train.py:999 time far away", "odd")
    for split in (False, True):
        layout = model.lay_out(model.parse(DIFF), flags, split)
        texts = [line.text for row in layout.flags if (line := layout.rows[row].left)]
        assert texts == ["train.py:999 time far away", "odd", "import os reaches outside the model"]
        above = layout.rows[layout.flags[2] - 1]
        assert "import os" in {line.text for line in (above.left, above.right) if line}


def test_side_by_side_puts_mates_on_one_row() -> None:
    layout = model.lay_out(model.parse(DIFF), split=True)
    pairs = [(row.left.text if row.left else None, row.right.text if row.right else None) for row in layout.rows]
    assert ("DEPTH = 8", "DEPTH = 9") in pairs
    assert (None, "import os") in pairs
    assert ("line_0 = 0", "line_0 = 0") in pairs


def test_control_codes_and_markup_are_text() -> None:
    diff = model.parse("@@ -1 +1 @@\n-a\n+\x1b[31m[red]b\u202e\n")
    assert kept(diff, Kind.ADDED) == ["·[31m[red]b·"]


anything = st.text(alphabet=st.characters(), max_size=200)
pieces = st.sampled_from(
    [
        "@@ -1,2 +1,3 @@\n",
        "@@ -0,0 +1 @@ def f\n",
        "+a = 1\n",
        "-a = 2\n",
        " b\n",
        "\n",
        "\\ No newline\n",
        '+"""\n',
        "diff --git a/x.py b/x.py\n",
        "--- a/x.py\n",
        "+++ b/x.py\n",
        "+++ /dev/null\n",
        "Binary\n",
        "@@ -99999999999 @@\n",
    ]
)


@given(st.lists(st.one_of(pieces, anything), max_size=30), st.lists(anything, max_size=3), st.booleans())
def test_any_text_parses_and_no_line_of_it_is_lost(parts: list[str], flags: list[str], split: bool) -> None:
    diff = model.parse("".join(parts))
    layout = model.lay_out(diff, flags, split)
    shown = sum((row.left is not None) + (row.right is not None) for row in layout.rows)
    contexts = len(kept(diff, Kind.CONTEXT)) if split else 0
    assert shown >= sum(len(file.parts) for file in diff.files) + contexts + len(flags)
    for row in layout.rows:
        for line in (row.left, row.right):
            if line is not None:
                assert "\x1b" not in line.text
                model.changed(line.text, line.mate or "")
                assert all(a <= b for a, b, _ in tokens(line.text, line.in_string))


@given(st.lists(st.sampled_from(["a = 1", "b = 2", "c", "", "d(e)"]), max_size=12), st.data())
def test_real_diffs_come_back_whole(old: list[str], data: st.DataObject) -> None:
    new = data.draw(st.lists(st.sampled_from(["a = 1", "b = 3", "c", "", "d(f)"]), max_size=12))
    diff = model.parse(unified(old, new))
    lines = [line for line in unified(old, new).split("\n")[5:] if line]
    assert kept(diff, Kind.ADDED) == [line[1:] for line in lines if line[0] == "+"]
    assert kept(diff, Kind.REMOVED) == [line[1:] for line in lines if line[0] == "-"]


@pytest.mark.parametrize("how", [wrap, wrap_code])
@example(text="00\x1f\xa0", width=1)
@given(text=anything, width=st.integers(1, 30))
def test_wrapped_pieces_are_the_text_and_fit(
    how: Callable[[str, int], tuple[Span, ...]], text: str, width: int
) -> None:
    spans = how(text, width)
    assert "".join(text[a:b] for a, b in spans) == text
    assert all(cells(text[a:b]) <= max(width, 2) for a, b in spans)
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert cells(cut(text, width)) <= width


def test_code_is_wrapped_between_names() -> None:
    line = "from prepare import POINT_BUDGET, TIME_BUDGET, evaluate"
    assert [line[a:b] for a, b in wrap_code(line, 40)] == [line[:34], line[34:]]
    assert wrap_code("a" * 50, 40) == ((0, 40), (40, 50))


def test_six_hundred_lines_parse_well_within_the_bar() -> None:
    old = [f"    self.value_{n} = nn.Linear(config.width, {n}, bias=False)  # layer {n}" for n in range(600)]
    new = [line.replace("False", "True") if n % 2 else line for n, line in enumerate(old)]
    text = unified(old, new)
    once = timeit.repeat(
        lambda: model.lay_out(model.parse(text), split=True), number=1, repeat=5, timer=time.process_time
    )
    assert min(once) < 0.5


class PaneApp(Coloured):
    def compose(self) -> ComposeResult:
        yield DiffPane()

    @property
    def pane(self) -> DiffPane:
        return self.query_one(DiffPane)

    def lines(self) -> list[str]:
        return [self.pane.render_line(y).text for y in range(self.pane.size.height)]


@pilot_test
async def test_the_pane_says_by_glyph_what_it_says_by_colour() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 30)) as pilot:
        app.pane.show(DIFF, "0007 deeper", ("train.py:2 constant DEPTH decides the memory",))
        await pilot.pause()
        text = "\n".join(app.lines())
        assert "0007 deeper  +4 −3" in text
        assert "   2 - DEPTH = 8" in text
        assert "   2 + DEPTH = 9" in text
        assert "⚑ constant DEPTH decides the memory" in text
        marked = [
            segment.text
            for y in range(30)
            for segment in app.pane.render_line(y)
            if segment.style and segment.style.underline
        ]
        assert marked == ["8", "0.02", "9", "0.035", "1", "2"]


@pilot_test
async def test_hunks_flags_and_the_way_back() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 10)) as pilot:
        app.pane.show(DIFF, flags=("train.py:21 import os why",))
        app.pane.focus()
        await pilot.pause()
        assert app.lines()[0].startswith("@@ line 1")
        await pilot.press("n")
        assert app.lines()[0].startswith("@@ line 18")
        await pilot.press("N")
        assert app.lines()[0].startswith("@@ line 1")
        await pilot.press("f")
        assert "⚑ import os why" in app.lines()[0]
        app.pane.show(DIFF, flags=("train.py:21 import os why",))
        assert "⚑ import os why" in app.lines()[0]
        app.pane.show("")
        assert app.lines()[0].startswith("no changes")


@pilot_test
async def test_from_file_to_file() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 10)) as pilot:
        app.pane.show(DIFF + unified(["a"], [*"bcdefghijklm"], "c.md") + unified(["a"], [*"nopqrstuvw"], "d.md"))
        app.pane.focus()
        await pilot.pause()
        assert app.lines()[0].startswith("── 3 files  +26 −5")
        for key, shown in (("}", "train.py"), ("}", "c.md"), ("}", "d.md"), ("{", "c.md")):
            await pilot.press(key)
            assert app.lines()[0].startswith(f"── {shown}")


@pilot_test
async def test_side_by_side_only_where_there_is_room() -> None:
    app = PaneApp()
    async with app.run_test(size=(140, 20)) as pilot:
        app.pane.show(DIFF)
        app.pane.focus()
        await pilot.press("u")
        row = next(line for line in app.lines() if "DEPTH" in line)
        assert "- DEPTH = 8" in row and "+ DEPTH = 9" in row
        await pilot.resize_terminal(80, 20)
        assert sum("DEPTH" in line for line in app.lines()) == 2


@pilot_test
async def test_a_long_line_is_wrapped_and_nothing_of_it_hidden() -> None:
    app = PaneApp()
    async with app.run_test(size=(40, 20)) as pilot:
        word = "".join(chr(97 + n % 26) for n in range(100))
        app.pane.show(f"@@ -0,0 +1 @@\n+{word}\n")
        await pilot.pause()
        assert "".join(line[7:].strip() for line in app.lines()[1:]) == word
        assert app.lines()[2].startswith("   ↪ + ")
