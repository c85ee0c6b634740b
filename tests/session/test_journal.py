"""The journal: nothing acknowledged is lost, a torn tail is kept aside, damage in the middle stops the writer."""

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.session import Session
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import journal as codec
from autoresearch_tui.session.journal import Journal, JournalDamaged, JournalTail, Rewritten, decode, encode, read, scan
from tests.night import real_night

TEXTS = st.text(max_size=40)
EVENTS = st.one_of(
    st.builds(ev.NoteGiven, text=TEXTS),
    st.builds(ev.NoteWithdrawn, record=st.integers(1, 9999), by=TEXTS),
    st.builds(
        ev.ProposalFailed,
        number=st.integers(0, 9999),
        error=TEXTS,
        retry_seconds=st.none() | st.floats(0, 1e6),
        usd=st.none() | st.floats(0, 100),
    ),
    st.builds(
        ev.RunEnded,
        number=st.integers(0, 9999),
        reason=st.sampled_from(["finished", "crashed"]),
        exit_code=st.none() | st.integers(-64, 255),
        seconds=st.floats(0, 1e6),
        cause=st.lists(TEXTS).map(tuple),
    ),
    st.builds(
        ev.RunScored,
        number=st.integers(0, 9999),
        value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        memory_gb=st.floats(0, 1e3),
        source=TEXTS,
        summary=st.dictionaries(TEXTS, TEXTS, max_size=3),
    ),
)


def without_surrogates(event: ev.Event) -> bool:
    return "\\ud" not in json.dumps(codec.to_fields(event))


@given(EVENTS.filter(without_surrogates))
def test_an_event_comes_back_as_it_was(event: ev.Event) -> None:
    record = ev.Record(1, "2026-11-21T00:00:00.000Z", event)
    line = encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == record
    values = json.loads(line)
    assert list(values)[:3] == ["seq", "time", "type"]
    assert values["type"] == codec.type_name(event)


@given(st.lists(EVENTS.filter(without_surrogates), min_size=1, max_size=5), st.data())
def test_a_journal_cut_anywhere_keeps_every_whole_record(events: list[ev.Event], data: st.DataObject) -> None:
    lines = [encode(ev.Record(n + 1, "t", event)) for n, event in enumerate(events)]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    found = scan(Path("j"), whole[:cut])
    complete = sum(1 for n in range(len(lines)) if len(b"".join(lines[: n + 1])) <= cut)
    assert [r.event for r in found.records] == events[:complete]
    expected_torn = None if cut == len(b"".join(lines[:complete])) else len(b"".join(lines[:complete]))
    assert found.torn_at == expected_torn


@given(st.data())
def test_a_changed_byte_is_never_taken_for_a_record(data: st.DataObject) -> None:
    line = bytearray(encode(ev.Record(1, "t", ev.NoteGiven("a note")))[:-1])
    where = data.draw(st.integers(0, len(line) - 1))
    line[where] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        decode(bytes(line))


def test_a_torn_tail_is_cut_and_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(ev.NoteGiven("one"))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":2,"ti')
    again = Journal(path)
    assert [r.event for r in again.records] == [ev.NoteGiven("one")]
    assert (tmp_path / "journal.torn").read_bytes() == b'{"seq":2,"ti\n'
    again.append(ev.NoteGiven("two"))
    again.close()
    assert [r.event for r in read(path)] == [ev.NoteGiven("one"), ev.NoteGiven("two")]


def test_damage_in_the_middle_stops_the_writer_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for word in ("one", "two", "three"):
        journal.append(ev.NoteGiven(word))
    journal.close()
    damaged = path.read_bytes().replace(b"two", b"TWO")
    path.write_bytes(damaged)
    with pytest.raises(JournalDamaged, match=r"line 2 is damaged .*doctor --repair"):
        Journal(path)
    assert path.read_bytes() == damaged


def test_the_tail_gives_each_record_once_and_waits_for_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    tail = JournalTail(path)
    assert list(tail.read()) == []
    lines = [encode(ev.Record(n, "t", ev.NoteGiven(str(n)))) for n in (1, 2)]
    path.write_bytes(lines[0] + lines[1][:10])
    assert [r.seq for r in tail.read()] == [1]
    assert list(tail.read()) == []
    path.write_bytes(b"".join(lines))
    assert [r.seq for r in tail.read()] == [2]


@given(st.lists(st.integers(0, 3000), max_size=8), st.integers(1, 2000), st.lists(st.integers(0, 30_000), max_size=5))
def test_a_tail_reads_every_record_however_long(lengths: list[int], limit: int, cuts: list[int]) -> None:
    """The file grows in pieces of any size; a reading takes fewer bytes than a record has."""
    data = b"".join(encode(ev.Record(n + 1, "t", ev.NoteGiven("x" * length))) for n, length in enumerate(lengths))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        tail, found = JournalTail(path), list[int]()
        for cut in (*sorted(cuts), len(data)):
            path.write_bytes(data[:cut]) if not path.exists() else _grow(path, data[:cut])
            while records := list(tail.read(limit)):
                found += [record.seq for record in records]
    assert found == list(range(1, len(lengths) + 1))


def _grow(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(data[file.tell() :])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=12))
def test_a_tail_never_holds_what_the_writer_took_back(steps: list[tuple[bool, int]]) -> None:
    """Whatever is appended, seen, and taken back by a writer whose disk failed: the tail ends with what is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        path.touch()
        tail, seen, count = JournalTail(path), list[ev.Record](), 0
        for number, (stays, word) in enumerate(steps):
            size = path.stat().st_size
            _grow(path, path.read_bytes() + encode(ev.Record(count + 1, "t", ev.NoteGiven("abcd"[word]))))
            if number % 3:
                seen = _polled(tail, seen)
            if stays:
                count += 1
            else:
                os.truncate(path, size)
        seen = _polled(tail, seen)
        assert tuple(seen) == read(path)


def _polled(tail: JournalTail, seen: list[ev.Record]) -> list[ev.Record]:
    try:
        return [*seen, *tail.read()]
    except Rewritten:
        return list(tail.read())


def failing(*calls: bool) -> Callable[[int], None]:
    """A call on a descriptor that fails where its turn says so."""
    turns = iter(calls)

    def call(_file: int, *_more: object) -> None:
        if next(turns, False):
            raise OSError(errno.EIO, "Input/output error")

    return call


def test_a_record_that_did_not_reach_the_disk_was_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    journal, tail = Journal(path), JournalTail(path)
    journal.append(ev.NoteGiven("one"))
    seen = list(tail.read())

    def sync(file: int) -> None:
        seen.extend(tail.read())  # a viewer that looks at the worst moment
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", sync)
        with pytest.raises(OSError, match=r"journal\.jsonl"):
            journal.append(ev.NoteGiven("two"))
    assert [record.seq for record in seen] == [1, 2]
    journal.append(ev.NoteGiven("owt"))  # of the same length
    assert [record.event for record in _polled(tail, seen)] == [ev.NoteGiven("one"), ev.NoteGiven("owt")]
    journal.close()


def test_half_a_record_that_cannot_be_taken_back_at_once_is_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(True))
        patch.setattr(os, "ftruncate", failing(True))
        with pytest.raises(OSError, match="Input/output error"):
            journal.append(ev.NoteGiven("one"))
    journal.append(ev.NoteGiven("two"))
    journal.close()
    assert [record.event for record in read(path)] == [ev.NoteGiven("two")]


def test_a_journal_that_others_cut_while_it_is_in_use_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for word in ("one", "two"):
        journal.append(ev.NoteGiven(word))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(OSError, match="was cut by another program"):
        journal.append(ev.NoteGiven("three"))
    journal.close()


@pytest.mark.parametrize(
    "event",
    [
        ev.FrontierMoved(99, "human"),
        ev.VerdictGiven(99, "keep", 1.0, 1.0, ""),
        ev.ProposalRebased(-99, "c", "b", True, 1, 1),
        ev.RunRequeued(99),
        ev.VerdictOverruled(99, "keep", "human", ""),
        ev.ProposalMade(3, "c", "b", "", "", "", "", 1, 1),
        ev.RunEnded("x", "finished", 0, 1.0),  # type: ignore[arg-type]
        ev.NoteGiven(float("nan")),  # type: ignore[arg-type]
        ev.HistoryRead("results.tsv", ({"no": "row"},), 0),
    ],
    ids=lambda event: type(event).__name__,
)
def test_an_event_that_cannot_follow_is_not_written(event: ev.Event, tmp_path: Path) -> None:
    night = real_night(tmp_path / "lab", experiments=2, repository=True)
    assert night.lab is not None
    before, lines = night.files.journal.read_bytes(), list[bytes]()
    session = Session(night.lab, night.tag, on_line=lines.append)
    with pytest.raises(ValueError):
        session.append(event)
    assert night.files.journal.read_bytes() == before
    assert session.state == night.state
    session.append(ev.NoteGiven("it continues"))
    assert len(lines) == 1
    session.end("detached", "")
    again = Session(night.lab, night.tag)
    assert again.state.notes[-1] == "it continues"
    again.end("detached", "")


def test_a_journal_that_amounts_to_nothing_is_damaged_and_says_where(tmp_path: Path) -> None:
    """As an older version may have left it: well written, but no start can read it."""
    night = real_night(tmp_path / "lab", experiments=2, repository=True)
    assert night.lab is not None
    with night.files.journal.open("ab") as file:
        file.write(encode(ev.Record(len(night.records) + 1, "t", ev.FrontierMoved(99, "human"))))
    with pytest.raises(JournalDamaged, match=rf"line {len(night.records) + 1} is damaged .*no experiment 99.*--repair"):
        Session(night.lab, night.tag)
