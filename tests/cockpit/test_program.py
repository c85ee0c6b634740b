"""program.md in the cockpit: two hands on one file, and neither overwrites the other silently."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from autoresearch_tui.cockpit import program_file
from autoresearch_tui.cockpit.program_file import Watch
from autoresearch_tui.cockpit.screens import program
from autoresearch_tui.cockpit.screens.dialogs import Dialog
from autoresearch_tui.cockpit.screens.program import ProgramScreen
from autoresearch_tui.cockpit.screens.program_diffs import ConflictScreen
from autoresearch_tui.cockpit.session_view import Bridge
from autoresearch_tui.cockpit.widgets.editor import TextEditor
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.session import events as ev
from tests.cockpit.coloured import Coloured
from tests.cockpit.fakes import FakeHost
from tests.cockpit.nights import Night, pilot_test

TEXT = "# Program\n\nBe bold.\n\nNever stop.\n"


class HandWatch(Watch):
    """Sees the file only when the test says so."""

    def start(self) -> bool:
        return True

    def touch(self) -> None:
        self._changed()


class NoWatch(Watch):
    """A system without watches."""

    def start(self) -> bool:
        return False


class Desk(Coloured):
    def __init__(
        self,
        root: Path,
        night: Night | None = None,
        watch: Callable[[Path, Callable[[], None]], Watch] = HandWatch,
    ) -> None:
        super().__init__()
        view = Bridge(labs.Lab(root, Settings()), "nov21", FakeHost())
        view.state = (night or Night()).state
        self.path = view.lab.program
        self.watches: list[Watch] = []

        def watched(path: Path, changed: Callable[[], None]) -> Watch:
            self.watches.append(watch(path, changed))
            return self.watches[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, "Watch", watched)
            self.shown = ProgramScreen(view)
        self.left = False

    def on_mount(self) -> None:
        self.push_screen(self.shown, self.leave)

    def leave(self, _: None) -> None:
        self.left = True

    @property
    def text(self) -> str:
        return self.shown.query_one(TextEditor).text

    def picture(self) -> str:
        return self.export_screenshot().replace("&#160;", " ")

    def write(self, text: str) -> None:
        self.path.write_text(text)
        for watch in self.watches:
            if isinstance(watch, HandWatch):
                watch.touch()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "program.md").write_text(TEXT)
    return tmp_path


async def until(pilot: Pilot[None], true: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for the outside world; ends at once when it has come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


@pilot_test
async def test_saving_is_whole_keeps_the_mode_and_names_the_version(root: Path) -> None:
    app = Desk(root)
    app.path.chmod(0o600)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"So: ", "ctrl+s")
        assert app.path.read_text() == "So: " + TEXT
        assert app.path.stat().st_mode & 0o777 == 0o600
        assert [path.name for path in root.iterdir() if path.is_file()] == ["program.md"]
        version = hashlib.sha256(app.path.read_bytes()).hexdigest()[:12]
        assert f"the next experiment, #0, will use {version[:7]}" in app.picture()
        await pilot.press("escape")
    assert app.left


@pilot_test
async def test_another_editors_change_is_shown_where_nothing_is_edited(root: Path) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        app.write("other\n")
        await pilot.pause()
        assert app.text == "other\n" and not app.shown.unsaved


@pilot_test
async def test_the_real_watch_sees_a_write_and_a_rename(root: Path) -> None:
    app = Desk(root, watch=Watch)
    async with app.run_test(size=(100, 30)) as pilot:
        app.path.write_text("written\n")
        await until(pilot, lambda: app.text == "written\n")
        (root / "new").write_text("renamed\n")
        (root / "new").replace(app.path)
        await until(pilot, lambda: app.text == "renamed\n")


@pilot_test
async def test_without_watches_it_looks_by_itself(root: Path) -> None:
    app = Desk(root, watch=NoWatch)
    async with app.run_test(size=(100, 30)) as pilot:
        app.path.write_text("polled\n")
        await until(pilot, lambda: app.text == "polled\n")


@pilot_test
async def test_a_conflict_that_merges(root: Path) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My ")
        app.write(TEXT + "Their line.\n")
        await pilot.pause()
        assert app.text == "My " + TEXT
        assert "changed on disk by another editor" in app.picture()
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, ConflictScreen)
        assert app.path.read_text() == TEXT + "Their line.\n", "nothing is written before the choice"
        await pilot.press("m")
        assert app.path.read_text() == "My " + TEXT + "Their line.\n" == app.text


@pilot_test
@pytest.mark.parametrize(
    ("key", "on_disk", "in_editor"),
    [
        ("t", "Their" + TEXT, "Their" + TEXT),
        ("y", "My" + TEXT, "My" + TEXT),
        ("escape", "Their" + TEXT, "My" + TEXT),
        ("m", "Their" + TEXT, "My" + TEXT),
    ],
)
async def test_a_conflict_on_one_line(root: Path, key: str, on_disk: str, in_editor: str) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My")
        app.path.write_text("Their" + TEXT)
        await pilot.press("ctrl+s", key)
        assert app.path.read_text() == on_disk
        assert app.text == in_editor


@pilot_test
async def test_both_texts_to_settle_by_hand(root: Path) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My")
        app.write("Their" + TEXT)
        await pilot.press("ctrl+s", "b")
        head = "<<<<<<< yours\nMy# Program\n=======\nTheir# Program\n>>>>>>> on disk\n"
        assert app.text == head + TEXT.partition("\n")[2]
        assert app.path.read_text() == "Their" + TEXT and app.shown.unsaved
        await pilot.press("ctrl+s")
        assert "lines 1, 3, 5 are conflict markers: resolve them" in app.picture()
        assert app.path.read_text() == "Their" + TEXT and app.shown.unsaved, "not saved unasked"
        # The way out by leaving asks as well.
        await pilot.press("x", "escape", "s")
        assert not app.left and app.path.read_text() == "Their" + TEXT
        await pilot.press("ctrl+s")
        assert app.path.read_text() == app.text


@pilot_test
@pytest.mark.parametrize("key", ["m", "b", "t", "y"])
@pytest.mark.parametrize("seen", [True, False], ids=["the watch saw it", "nobody saw it"])
async def test_an_answer_about_two_texts_is_not_one_about_a_third(root: Path, key: str, seen: bool) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My ")
        app.write(TEXT + "Their line.\n")
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, ConflictScreen)
        third = "Third" + TEXT
        if seen:
            app.write(third)
            await pilot.pause()
        else:
            app.path.write_text(third)
        await pilot.press(key)
        assert isinstance(app.screen, ConflictScreen), "asked again, about what is there now"
        assert "Third" in app.picture()
        assert (app.path.read_text(), app.text) == (third, "My " + TEXT)
        await pilot.press("y")
        assert app.path.read_text() == "My " + TEXT == app.text


@pilot_test
@pytest.mark.parametrize("then", ["gone", "as it was"])
async def test_a_conflict_that_is_over_before_it_is_answered(root: Path, then: str) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My ")
        app.write("Their" + TEXT)
        await pilot.press("ctrl+s")
        if then == "gone":
            app.path.unlink()
        else:
            app.write(TEXT)
        await pilot.press("t")
        assert app.screen is app.shown and app.text == "My " + TEXT
        await pilot.press("ctrl+s")
        assert app.path.read_text() == "My " + TEXT


def test_an_underlined_heading_is_no_conflict() -> None:
    assert program_file.conflict_marks("Title\n=======\n> quoted\n") == ""
    assert program_file.conflict_marks("half settled\n=======\nc\n>>>>>>> on disk\n") == "2, 4"
    assert program_file.conflict_marks("a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> 1a2b3c\n") == "2, 4, 6"


@pilot_test
async def test_leaving_with_unsaved_changes_asks(root: Path) -> None:
    for key, text in (("s", "x" + TEXT), ("d", TEXT)):
        (root / "program.md").write_text(TEXT)
        app = Desk(root)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.press("x", "escape")
            assert isinstance(app.screen, Dialog)
            await pilot.press("escape")
            assert app.screen is app.shown and not app.left
            await pilot.press("escape", key)
            assert app.left and app.path.read_text() == text


@pilot_test
async def test_a_file_that_is_not_utf8_or_gone_is_one_clear_line(root: Path) -> None:
    (root / "program.md").write_bytes(b"caf\xe9")
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        assert "program.md: not UTF-8 at byte 3; save it as UTF-8" in app.picture()
        await pilot.press(*"abc", "ctrl+s")
        assert app.path.read_bytes() == b"caf\xe9"
        app.write("mended\n")
        await pilot.pause()
        assert app.text == "mended\n"
        app.path.unlink()
        app.shown.post_message(ProgramScreen.Touched())
        await pilot.pause()
        assert "was deleted on disk" in app.picture()
        await pilot.press("x", "ctrl+s")
        assert app.path.read_text() == "xmended\n"


@pilot_test
async def test_a_disk_that_refuses_keeps_the_text(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "program.md")

    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        monkeypatch.setattr(program_file.os, "fsync", full)
        await pilot.press("x", "ctrl+s")
        assert "not saved: program.md: No space left on device" in app.picture()
        assert app.shown.unsaved and app.path.read_text() == TEXT
        assert [path.name for path in root.iterdir() if path.is_file()] == ["program.md"]


@pilot_test
async def test_the_external_editor_works_on_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def edit(paths: Sequence[Path]) -> str:
        paths[0].write_text("from outside\n")
        return ""

    monkeypatch.setattr(program, "suspended", lambda app: edit)
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+o")
        assert app.text == "from outside\n"
        await pilot.press("x", "ctrl+o")
        assert app.text == "xfrom outside\n"


@pilot_test
async def test_line_ends_and_other_bytes_survive(root: Path) -> None:
    (root / "program.md").write_bytes("\ufeffä\r\nb\r\n".encode())
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down", "down", *"c", "ctrl+s")
        assert app.path.read_bytes() == "\ufeffä\r\nb\r\nc".encode()


@pilot_test
async def test_an_unsaved_edit_outlives_the_cockpit(root: Path) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My ")
    assert app.path.read_text() == TEXT
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        assert app.text == "My " + TEXT and app.shown.unsaved
        assert "was not saved when the cockpit closed" in app.picture()
        await pilot.press("escape", "d")
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        assert app.text == TEXT and not app.shown.unsaved


@pilot_test
async def test_an_unsaved_edit_is_on_disk_while_the_cockpit_lives(root: Path) -> None:
    app = Desk(root)
    draft = root / ".autoresearch" / "program.draft.json"
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("x")
        await until(pilot, draft.exists)
        await pilot.press("ctrl+s")
        assert not draft.exists()


@pilot_test
async def test_an_unsaved_edit_of_a_file_that_changed_is_a_conflict(root: Path) -> None:
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press(*"My ")
    app.path.write_text(TEXT + "Their line.\n")
    app = Desk(root)
    async with app.run_test(size=(100, 30)) as pilot:
        assert "changed on disk by another editor" in app.picture()
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, ConflictScreen)
        await pilot.press("m")
        assert app.path.read_text() == "My " + TEXT + "Their line.\n"


def test_versions_and_the_best_under_each() -> None:
    night = Night()
    base = night.commit(night.experiment("keep", 0.9979))
    night.experiment("discard", 0.9990, base)
    night.add(ev.ProgramRead("2" * 12, 90))
    number = night.propose(base, program="2" * 12)
    night.launch(number)
    night.finish(number, "keep", 0.99)
    night.launch(night.propose(night.commit(number), program="2" * 12))
    found = program.versions(night.state)
    assert [(one.version, one.first, one.last, one.tried, one.kept, one.best) for one in found] == [
        ("2" * 12, 2, 3, 1, 1, 0.99),
        ("1f3a5c7e9b0d", 0, 1, 2, 1, 0.9979),
    ]
    assert program.uses(night.state, "2" * 12) == "#3 runs with it"
    night.add(ev.ProposalAsked(4, "x", 1))
    assert program.uses(night.state, "2" * 12) == "#3 runs with it, #4 is being proposed"
    assert program.next_line(night.state, "3" * 12) == (f"#4 is being proposed with {'2' * 7}; #5 will use {'3' * 7}")


@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abd"), max_size=6))
def test_both_holds_every_line_of_both(mine: list[str], theirs: list[str]) -> None:
    text = program_file.both("".join(f"{c}\n" for c in mine), "\n".join(theirs))
    lines = text.splitlines()
    assert all(lines.count(c) >= max(mine.count(c), theirs.count(c)) for c in "abcd")


@pilot_test
async def test_an_earlier_version_is_read_compared_and_restored(root: Path) -> None:
    night = Night()
    night.experiment("keep", 0.9979)
    app = Desk(root, night)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("ctrl+r")
        assert isinstance(app.screen, ProgramScreen), "none is kept"
        kept = labs.Lab(root, Settings()).session("nov21").program("1f3a5c7e9b0d")
        kept.parent.mkdir(parents=True)
        kept.write_text("# Program\n\nBe timid.\n")
        await pilot.press("n", "ctrl+r")
        assert "1f3a5c7  #0, 1 of 1 kept, best 0.997900 by #0" in app.picture()
        await pilot.press("1")
        assert "timid" in app.picture()
        assert "Never" in app.picture()
        await pilot.press("o")
        assert "Never" not in app.picture()
        await pilot.press("escape", "ctrl+r", "1", "r")
        assert app.screen.query_one(TextEditor).text == "# Program\n\nBe timid.\n"
        assert app.path.read_text() == TEXT, "not before it is saved"
        await pilot.press("ctrl+z")
        assert app.screen.query_one(TextEditor).text == "n" + TEXT
        await pilot.press("ctrl+r", "1", "r", "ctrl+s")
        assert app.path.read_text() == "# Program\n\nBe timid.\n"
