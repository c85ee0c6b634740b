"""The inbox: what is sent arrives once and in order, and nothing else that lies there does anything."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoresearch_tui.session import commands as cmd
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.inbox import LARGEST_BYTES, Inbox, Sender, decode, encode, make_folder
from tests.waiting import wait_for

ID = f"{7:020d}-{'a' * 16}"
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NUMBER = st.integers(0, 10**9 - 1)
COMMANDS = st.one_of(
    st.builds(cmd.Approve, NUMBER, TEXT),
    st.builds(cmd.Veto, NUMBER, TEXT, TEXT),
    st.builds(cmd.Revise, NUMBER, TEXT, st.dictionaries(TEXT, TEXT | st.none()), TEXT),
    st.builds(cmd.Attend, NUMBER, TEXT, st.booleans(), TEXT),
    st.builds(cmd.Pause, st.booleans()),
    st.builds(cmd.Resume),
    st.builds(cmd.StopRun, NUMBER, TEXT),
    st.builds(cmd.Transfer, NUMBER),
    st.builds(cmd.Repeat, NUMBER),
    st.builds(cmd.Overrule, NUMBER, st.sampled_from(Outcome), TEXT),
    st.builds(cmd.ContinueFrom, NUMBER),
    st.builds(cmd.Note, TEXT),
    st.builds(cmd.WithdrawNote, NUMBER),
    st.builds(cmd.Stop, st.booleans()),
    st.builds(cmd.CancelStop),
    st.builds(cmd.Undo, NUMBER),
    st.builds(cmd.WriteDigest),
    st.builds(cmd.RenewBudget),
    st.builds(cmd.OpenHoldout),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    make_folder(path)
    return path


def taken(folder: Path, answered: set[str] | None = None) -> list[cmd.Command]:
    """What an engine that starts now obeys."""
    inbox, found = Inbox(folder, answered or set()), []
    for request in inbox.take():
        found.append(request.command)
        inbox.done(request)
    return found


@given(COMMANDS)
def test_a_command_is_the_same_on_the_other_side(command: cmd.Command) -> None:
    assert decode(encode(command)) == command


def test_every_command_can_be_sent() -> None:
    """But for letting go of the session, which is for its own process."""
    sent = set[type]()

    @settings(max_examples=1000)
    @given(COMMANDS)
    def note(command: cmd.Command) -> None:
        sent.add(type(decode(encode(command))))

    note()
    assert sent == {*typing.get_args(cmd.Command)} - {cmd.Detach}


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.integers() | TEXT, st.lists).map(repr).map(str.encode))
def test_nonsense_is_no_command(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "Detach"}',
        '{"command": "Approve", "number": 1}',
        '{"command": "Approve", "number": true, "commit": ""}',
        '{"command": "Approve", "number": -1, "commit": ""}',
        '{"command": "Approve", "number": 1e300, "commit": ""}',
        '{"command": "Note", "text": "\\ud800"}',
        '{"command": "Note", "text": "a", "more": 1}',
        '{"command": "Revise", "number": 1, "commit": "", "files": {"train.py": 1}}',
        '{"command": ["Note"], "text": "a"}',
        '["command"]',
    ],
)
def test_what_does_not_fit_is_no_command(text: str) -> None:
    with pytest.raises(ValueError):
        decode(text.encode())


def test_commands_arrive_once_and_in_order(folder: Path) -> None:
    sender = Sender(folder)
    sent = [sender.send(cmd.Note(str(number))) for number in range(20)]
    assert taken(folder) == [cmd.Note(str(number)) for number in range(20)]
    assert all(each.settled and not each.withdraw() for each in sent)
    assert taken(folder) == []


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    for at, make in enumerate((Path.mkdir, Path.touch, lambda path: path.symlink_to(tmp_path), lambda path: None)):
        path = tmp_path / str(at)
        make(path)
        make_folder(path)
        assert not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    Sender(path).send(cmd.Resume()).close()
    (file,) = path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_withdrawn_is_not_obeyed(folder: Path) -> None:
    sender = Sender(folder)
    first, second = sender.send(cmd.Note("a")), sender.send(cmd.Note("b"))
    inbox = Inbox(folder, set())
    requests = inbox.take()
    assert next(requests).command == cmd.Note("a")
    assert not first.withdraw()
    assert second.withdraw()
    assert [*requests] == []
    assert not first.settled and second.settled


def test_what_could_not_be_journalled_waits_again(folder: Path) -> None:
    sent = Sender(folder).send(cmd.Note("a"))
    inbox = Inbox(folder, set())
    (request,) = inbox.take()
    inbox.put_back(request)
    assert not sent.settled
    assert taken(folder) == [cmd.Note("a")]


def test_an_engine_that_died_with_a_command_leaves_it_to_the_next(folder: Path) -> None:
    sender = Sender(folder)
    lost, answered = sender.send(cmd.Note("lost")), sender.send(cmd.Note("answered"))
    assert len([*Inbox(folder, set()).take()]) == 2
    later = sender.send(cmd.Note("later"))
    assert taken(folder, {answered.id}) == [cmd.Note("lost"), cmd.Note("later")]
    assert lost.settled and answered.settled and later.settled


def test_a_command_whose_sender_has_died_does_not_count(folder: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from autoresearch_tui.session import commands, inbox
sent = inbox.Sender(Path({str(folder)!r})).send(commands.Note("mine"))
print(flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        sender.stdout.readline()
        assert [request.command for request in Inbox(folder, set()).take()] == [cmd.Note("mine")]
        sender.kill()
    assert taken(folder) == []
    assert [*folder.iterdir()] == []


def link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def loop(path: Path) -> None:
    path.symlink_to(path)


def hard_link(path: Path) -> None:
    other = path.parents[1] / "other"
    other.write_text("a file of the user's")
    path.hardlink_to(other)


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 200_000)


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)


NONSENSE: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "unlocked": lambda path: path.write_bytes(encode(cmd.Note("nobody waits"))),
    "link": link,
    "loop": loop,
    "hard link": hard_link,
    "fifo": os.mkfifo,
    "deep": deep,
    "large": large,
    "binary": lambda path: path.write_bytes(os.urandom(999)),
}


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("suffix", ["request", "taken"])
def test_nonsense_is_removed_and_nothing_waits_for_it(folder: Path, name: str, suffix: str) -> None:
    NONSENSE[name](folder / f"{ID}.{suffix}")
    sent = Sender(folder).send(cmd.Resume())
    assert taken(folder) == [cmd.Resume()]
    assert sent.settled
    assert [*folder.iterdir()] == []


def test_what_is_no_request_is_left_alone(folder: Path) -> None:
    (folder / f"{ID}.request").mkdir()
    (folder / "notes.txt").write_text("mine")
    sent = Sender(folder).send(cmd.Resume())
    assert taken(folder) == [cmd.Resume()]
    assert sent.settled
    assert len([*folder.iterdir()]) == 2


def test_a_folder_that_is_gone_comes_back(folder: Path) -> None:
    folder.rmdir()
    assert taken(folder) == []
    wait_for(folder.is_dir)
    Sender(folder).send(cmd.Resume())


@pytest.mark.parametrize("holds", [True, False])
def test_an_engine_that_looks_before_a_file_has_its_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    """It removes the file, or `holds` it for an instant: the command is sent all the same."""
    Sender(folder).send(cmd.Resume())
    lock, looks = fcntl.flock, iter([True])

    def look_first(file: int, how: int) -> None:
        if how & fcntl.LOCK_EX and next(looks, False):
            (half,) = folder.glob(".*.partial")
            with half.open() as seen:
                if holds:
                    lock(seen, fcntl.LOCK_SH)
                    return lock(file, how)
            assert taken(folder) == [cmd.Resume()]
            assert not half.exists()
        return lock(file, how)

    monkeypatch.setattr(fcntl, "flock", look_first)
    sent = Sender(folder).send(cmd.Pause())
    assert taken(folder)[-1] == cmd.Pause()
    assert sent.settled
    assert not list(folder.iterdir())


def test_a_command_that_is_too_long_is_not_sent(folder: Path) -> None:
    with pytest.raises(ValueError, match="16 MiB"):
        Sender(folder).send(cmd.Note("x" * LARGEST_BYTES))
    assert [*folder.iterdir()] == []
