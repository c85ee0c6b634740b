"""Facts in, by offset: a long journal in slices, a damaged one, a stream that is cut in the middle of a letter."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from autoresearch_tui.cockpit import bridge as bridge_module
from autoresearch_tui.cockpit.bridge import Bridge
from autoresearch_tui.engine import commands as cmd
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.journal import read
from tests.cockpit.driving import Driver, drive
from tests.cockpit.fakes import FakeHost, FakeSession, night


def test_a_long_journal_in_slices(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "READ_BYTES", 2048)
    night(session)
    bridge = Bridge(session.lab, session.tag, None)
    polls = 0
    while bridge.poll():
        polls += 1
    assert polls > 5
    assert bridge.reading is None
    assert bridge.state.seq == len(read(session.files.journal))
    assert not bridge.poll()
    session.add(ev.NoteGiven("more"))
    assert bridge.poll()
    assert bridge.state.notes == ("more",)


def test_the_screen_waits_until_all_is_read(session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge_module, "READ_BYTES", 2048)
    night(session)

    async def story(driver: Driver) -> None:
        assert "#8 ADAM_BETAS" in driver.text()
        assert "reading" not in driver.text()

    drive(session, None, story)


def test_a_damaged_journal_is_told(session: FakeSession) -> None:
    night(session)
    data = session.files.journal.read_bytes()
    session.files.journal.write_bytes(data.replace(b"MATRIX_LR", b"MATRIX_XX", 1))
    bridge = Bridge(session.lab, session.tag, None)
    assert bridge.poll()
    assert "the checksum does not match" in bridge.problem
    assert not bridge.poll()


def test_commands_go_to_the_host_only(session: FakeSession, host: FakeHost) -> None:
    assert Bridge(session.lab, session.tag, host).send(cmd.Pause())
    assert host.sent == [cmd.Pause()]
    assert not Bridge(session.lab, session.tag, None).send(cmd.Pause())


def test_a_stream_cut_in_the_middle_of_a_letter(session: FakeSession) -> None:
    bridge = Bridge(session.lab, session.tag, None)
    assert bridge.read_stream() == ""
    text = "größer 🚀".encode()
    for cut in range(len(text)):
        session.files.researcher_log.write_bytes(text[:cut])
        first = bridge.read_stream()
        session.files.researcher_log.write_bytes(text)
        assert first + bridge.read_stream() == text.decode()
        bridge = Bridge(session.lab, session.tag, None)


@contextmanager
def full_disk() -> Iterator[None]:
    """Files can be made, and nothing be written to them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_seen_is_kept_where_there_is_no_room_for_more(session: FakeSession, host: FakeHost) -> None:
    night(session)
    bridge = Bridge(session.lab, session.tag, host)
    while bridge.poll():
        pass
    bridge.write_seen()
    seen = bridge.state.seq
    session.add(ev.NoteGiven("more"))
    bridge.poll()
    with full_disk():
        bridge.write_seen()
    again = Bridge(session.lab, session.tag, host)
    while again.poll():
        pass
    assert again.left_at is not None
    assert again.left_at.seq == seen < again.state.seq
