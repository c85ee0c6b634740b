"""The journal: nothing acknowledged is lost, a torn tail is kept aside, damage in the middle stops the writer."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine import codec
from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.journal import Journal, JournalDamaged, JournalTail, decode, encode, read, scan

TEXTS = st.text(max_size=40)
EVENTS = st.one_of(
    st.builds(ev.NoteGiven, text=TEXTS),
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
    with pytest.raises(JournalDamaged, match=r"line 2 is damaged .*doctor --mend"):
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
