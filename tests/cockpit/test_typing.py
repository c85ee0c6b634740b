"""Keys that arrive together: they take effect in their order, in every field, and past the screens that they open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual._xterm_parser import XTermParser
from textual.app import ComposeResult
from textual.widget import Widget

from autoresearch_tui.cockpit.key_order import _BREATH_SECONDS, KeysInOrder
from autoresearch_tui.cockpit.screens import review
from autoresearch_tui.cockpit.screens.dialogs import REASONS
from autoresearch_tui.cockpit.screens.edit import EditScreen
from autoresearch_tui.cockpit.screens.main import MainScreen
from autoresearch_tui.cockpit.widgets.editor import TextEditor, plain
from autoresearch_tui.cockpit.widgets.line import Line
from autoresearch_tui.session import commands as cmd
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, commit_of, night
from tests.waiting import PATIENCE

BACK, DELETE, LEFT, RIGHT, HOME, END = "\x7f", "\x1b[3~", "\x1b[D", "\x1b[C", "\x1b[H", "\x1b[F"
TO_START, TO_END, KILL_LEFT, KILL_RIGHT, DELETE_TOO = "\x01", "\x05", "\x15", "\x0b", "\x04"


def pasted(text: str) -> str:
    """As a terminal sends it."""
    return f"\x1b[200~{text}\x1b[201~"


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The review takes answers at once: that it does not, is tested elsewhere."""
    monkeypatch.setattr(review, "GRACE_SECONDS", 0.0)


async def send(app: KeysInOrder[Any], packets: Iterable[str]) -> None:
    """Bytes as a terminal sends them: all that a packet holds is there at once. Until every key is done."""
    parser = XTermParser()
    for packet in packets:
        for event in parser.feed(packet):
            app.post_message(event)
    async with asyncio.timeout(PATIENCE):
        await app._pass_through(app)
        while app._typing is not None:
            await app._typing
        await app._settle()


def pieces(text: str, size: int) -> Iterator[str]:
    """Packets with borders anywhere, also within an escape sequence."""
    return (text[i : i + size] for i in range(0, len(text), size))


def model(keys: Iterable[str]) -> str:
    """What an editor of one line makes of keys, one after the other."""
    text, at = "", 0
    for key in keys:
        if key == BACK:
            text, at = text[: max(0, at - 1)] + text[at:], max(0, at - 1)
        elif key in (DELETE, DELETE_TOO):
            text = text[:at] + text[at + 1 :]
        elif key == LEFT:
            at = max(0, at - 1)
        elif key == RIGHT:
            at = min(len(text), at + 1)
        elif key in (HOME, TO_START):
            at = 0
        elif key in (END, TO_END):
            at = len(text)
        elif key == KILL_LEFT:
            text, at = text[at:], 0
        elif key == KILL_RIGHT:
            text = text[:at]
        else:
            new = key.removeprefix("\x1b[200~").removesuffix("\x1b[201~")
            text, at = text[:at] + new + text[at:], at + len(new)
    return text


class Fields(KeysInOrder[None]):
    """One of each."""

    def compose(self) -> ComposeResult:
        yield Line()
        yield TextEditor("", plain)


KEYS = st.lists(
    st.one_of(
        st.sampled_from("abc xyzäß学🚀"),
        st.sampled_from([BACK, DELETE, LEFT, RIGHT, HOME, END, TO_START, TO_END, KILL_LEFT, KILL_RIGHT, DELETE_TOO]),
        st.sampled_from(["two words", "学習 率"]).map(pasted),
    ),
    max_size=40,
)


@given(st.lists(st.tuples(KEYS, st.integers(1, 60)), min_size=1, max_size=6))
@settings(max_examples=5)
def test_a_field_does_what_an_editor_does_key_by_key(rounds: list[tuple[list[str], int]]) -> None:
    async def story() -> None:
        app = Fields()
        async with app.run_test() as pilot:
            for typed, size in rounds:
                for field in (app.query_one(Line), app.query_one(TextEditor)):
                    keys = typed
                    if isinstance(field, Line):
                        field.value = ""
                    else:
                        # There it deletes the whole line where nothing is to its right.
                        keys = [key for key in typed if key != KILL_RIGHT]
                        field.load_text("")
                    field.focus()
                    await pilot.pause()
                    await send(app, pieces("".join(keys), size))
                    got = field.value if isinstance(field, Line) else field.text
                    assert got == model(keys), (type(field).__name__, keys, size)

    asyncio.run(story())


MIXED = [
    *"hallo", *[BACK] * 4, *"ello worl", *[LEFT] * 4, *"big ", END, "d", HOME, "h", DELETE, TO_END, pasted("!! "), BACK,
    LEFT, "?", TO_START, DELETE_TOO, "H", RIGHT, DELETE, "e"
]  # fmt: skip
ENDS_AS = "Heelo big world!?!"
# What opens each field of text, what is in it then, and which widget it is.
FIELDS: dict[str, tuple[str, type[Widget]]] = {
    "note": ("n", Line),
    "veto": ("3v\t", Line),
    "search in the log": ("1/", Line),
    "search in the results": ("4/", Line),
    "go to": (":", Line),
    "another": ("rn", Line),
    "program": (f"e{KILL_RIGHT * 40}", TextEditor),
    "proposal": (f"re{BACK * 60}", TextEditor),
    "palette": ("\x10", Widget),
}


@pytest.mark.parametrize("size", [2, 7, 10_000])
@pytest.mark.parametrize("name", FIELDS)
def test_in_every_field_with_the_keys_that_open_it_in_the_same_packet(
    session: FakeSession, host: FakeHost, name: str, size: int
) -> None:
    night(session)
    session.files.run(8).folder.joinpath("train.py").write_text("MATRIX_LR = 0.02\n")
    opening, kind = FIELDS[name]

    async def story(driver: Driver) -> None:
        driver.later(1)
        await driver.press("3")
        driver.later(1)
        await send(driver.app, pieces(opening + "".join(MIXED), size))
        field = driver.app.focused
        assert isinstance(field, kind), driver.text()
        assert (field.text if isinstance(field, TextEditor) else getattr(field, "value", "")) == ENDS_AS
        assert model(MIXED) == ENDS_AS

    drive(session, host, story)


def test_what_follows_an_answer_is_for_the_screen_below(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await send(driver.app, ["nmind the loader\rp"])
        await send(driver.app, ["nand again\rnthird\r4/loss\r"])
        assert driver.app.main.results.words == "loss"

    drive(session, host, story)
    assert host.sent == [cmd.Note("mind the loader"), cmd.Pause(), cmd.Note("and again"), cmd.Note("third")]


def test_letters_of_a_note_approve_and_stop_nothing(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        driver.later(1)
        await send(driver.app, ["na vQxp, please"])
        await send(driver.app, ["\r"])

    drive(session, host, story)
    assert host.sent == [cmd.Note("a vQxp, please")]


@pytest.mark.parametrize("typed", [f"\ttoo slov{BACK}w", "too slow", "just luck: 2 of 3 seeds"])
def test_a_veto_in_one_breath(session: FakeSession, host: FakeHost, typed: str) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("3")
        driver.later(1)
        await send(driver.app, [f"v{typed}\r"])

    drive(session, host, story)
    assert host.sent[-1] == cmd.Veto(8, commit_of(8), typed.strip().replace(f"v{BACK}w", "w"))


def test_the_reason_of_a_veto_that_was_refused_is_no_command(session: FakeSession, host: FakeHost) -> None:
    """The diff is not on the screen: `v` brings it there, and what is typed on is not taken for keys."""
    night(session)

    async def story(driver: Driver) -> None:
        driver.later(1)
        await send(driver.app, ["4vsQ xp", "stop this one\r"])
        assert isinstance(driver.app.screen, MainScreen), driver.text()
        assert not host.sent
        await asyncio.sleep(_BREATH_SECONDS + 0.1)
        await send(driver.app, ["p"])

    drive(session, host, story, size=(80, 24))
    assert host.sent == [cmd.Pause()]


def test_the_same_key_again_is_a_key(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        driver.later(1)
        await send(driver.app, ["4vs"])
        driver.later(1)
        await driver.pilot.pause()
        await send(driver.app, ["v3"])

    drive(session, host, story, size=(80, 24))
    assert host.sent[-1] == cmd.Veto(8, commit_of(8), REASONS[2])


@pytest.mark.parametrize("keys", ["x = 1\x13", f"y{BACK}x =2{LEFT}{BACK}= 1{DELETE}\x13"])
def test_saving_comes_after_what_was_typed_before_it(session: FakeSession, host: FakeHost, keys: str) -> None:
    night(session)
    session.files.run(8).folder.joinpath("train.py").write_text("")

    async def story(driver: Driver) -> None:
        await send(driver.app, [f"re{keys}\r"])
        assert not isinstance(driver.app.screen, EditScreen), driver.text()

    drive(session, host, story)
    sent = [command for command in host.sent if isinstance(command, cmd.Revise)]
    assert [dict(one.files)["train.py"] for one in sent] == ["x = 1"]


def test_a_night_of_keys_leaves_the_cockpit_where_it_was(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await send(driver.app, ["4joccx12345677zz\x10", "\x1b[5~\x1b[6~", "\x1b"])
        await asyncio.sleep(0.2)
        await driver.pilot.pause()
        await driver.press("escape", "escape")
        assert isinstance(driver.app.screen, MainScreen)

    drive(session, host, story)


@pytest.mark.parametrize("size", [(120, 30), (20, 3), (1, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "keys",
    ["\x10\x1b[5~", "\x10\x1b[6~", "\x10zoom\x1b[6~\x1b[5~", "?\x1b[6~\x1b[F", "rv\x1b[5~", "\x10theme\r\x1b[5~"],
)
def test_paging_in_a_list_that_has_just_been_opened(
    session: FakeSession, host: FakeHost, keys: str, size: tuple[int, int]
) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await driver.press("3")
        driver.later(1)
        await send(driver.app, [keys])
        assert not isinstance(driver.app.screen, MainScreen)

    drive(session, host, story, size=size)


@pytest.mark.parametrize("opening", ["n", "3v\t"])
def test_a_paste_that_is_too_long_is_cut_and_said(session: FakeSession, host: FakeHost, opening: str) -> None:
    night(session)
    limit = 2000 if opening == "n" else 500

    async def story(driver: Driver) -> None:
        driver.later(1)
        await driver.press("3")
        driver.later(1)
        await send(driver.app, [f"{opening}see: {pasted('x' * 5000)}"])
        field = driver.app.focused
        assert isinstance(field, Line)
        assert field.value == f"see: {'x' * (limit - 5)}"
        assert f"takes {limit:,} characters" in driver.said()
        assert f"the last {5005 - limit:,} of what you pasted" in driver.said()

    drive(session, host, story)


def test_typing_on_in_a_full_line_is_said_once(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        # A terminal without bracketed paste sends a paste as keys.
        await send(driver.app, ["n" + "y" * 2050])
        assert driver.said().count("takes 2,000 characters") == 1

    drive(session, host, story)


def test_a_paste_of_several_lines_is_one_note(session: FakeSession, host: FakeHost) -> None:
    night(session)

    async def story(driver: Driver) -> None:
        await send(driver.app, ["n" + pasted("Traceback:\r\n  File x\n\n  OOM\n") + "\r"])

    drive(session, host, story)
    assert [type(command) for command in host.sent] == [cmd.Note]
    assert getattr(host.sent[0], "text", "").split() == ["Traceback:", "File", "x", "OOM"]
