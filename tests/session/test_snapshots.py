"""A snapshot never changes an answer: what was folded before it, and what comes after it, is what the journal says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoresearch_tui.cockpit.widgets import tree
from autoresearch_tui.cockpit.widgets.table import digits
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import looks, pages, sequence, snapshots
from autoresearch_tui.session.badges import marking, widest
from autoresearch_tui.session.fold import fold, fold_all
from autoresearch_tui.session.journal import Journal, read
from autoresearch_tui.session.outline import outline, read_outline
from autoresearch_tui.session.pages import Filed, Page
from autoresearch_tui.session.questions import DEVICE
from autoresearch_tui.session.state import State
from autoresearch_tui.session.statistics import gains, gaps, near_noise, spread
from tests.night import Night, real_night
from tests.waiting import wait_for

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short night has many pages."""
    for module in (sequence, pages):
        monkeypatch.setattr(module, "CHUNK", 4)


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return real_night(tmp_path / "lab", experiments=40, devices=3, prior=5, open_ones=True)


def kept(night: Night, seq: int, writer: snapshots.Writer | None = None) -> State:
    """The state after so many records, as an engine that keeps a snapshot then continues it."""
    data = b"".join(night.journal.splitlines(keepends=True)[:seq])
    writer = writer or snapshots.Writer(night.files, None)
    return writer.keep(fold_all(night.records[:seq]), len(data), zlib.crc32(data), ["a"])


def gone_on(night: Night) -> State:
    """What a reader has who begins with the snapshot."""
    found = snapshots.read(night.files)
    assert found is not None and seen_in_pieces(night)
    return fold_all(night.records[found.start.seq :], found.state)


@QUICK
@given(data=st.data())
def test_what_is_folded_on_a_snapshot_is_what_is_folded_from_the_beginning(night: Night, data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, len(night.records)))
    before = fold_all(night.records[:seq])
    assert kept(night, seq) == before
    found = snapshots.read(night.files)
    assert found is not None and found.start.seq == seq and found.answered == {"a"}
    assert found.state == before
    assert gone_on(night) == fold_all(night.records)


def test_what_is_finished_is_on_disk_and_answers_as_before(night: Night) -> None:
    records = read(night.files.journal)
    state, known = kept(night, len(records)), fold_all(records)
    filed = [chunk for chunk in state.experiments.chunks if isinstance(chunk, Page)]
    assert len(filed) > 5
    for now, then in zip(state.experiments, known.experiments, strict=True):
        assert now == then and then == now
        for name in pages._LIGHT:
            assert getattr(now, name) == getattr(then, name), name
            assert type(getattr(now, name)) is type(getattr(then, name)), name
    assert isinstance(state.experiments[0], Filed)
    assert state.usd == pytest.approx(known.usd)
    for name in ("table", "ended", "in_flight", "waiting", "confirming", "kept", "tokens", "started_last"):
        assert getattr(state, name) == getattr(known, name), name


def test_columns_say_what_the_experiments_say(night: Night) -> None:
    known = kept(night, len(night.records)).experiments
    pages._IN_USE.clear()
    for chunk, plain in zip(known.chunks, fold_all(read(night.files.journal)).experiments.chunks, strict=True):
        for name in pages._LIGHT:
            told = [getattr(experiment, name) for experiment in plain]
            assert chunk.column(name) == told == plain.column(name), name
            assert list(map(type, chunk.column(name))) == list(map(type, told)), name


def test_what_is_asked_of_all_experiments_makes_no_rows(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(night, len(night.records))
    pages._IN_USE.clear()
    found, plain = snapshots.read(night.files), fold_all(night.records)
    assert found is not None
    of_pages = sum(isinstance(chunk, Page) for chunk in found.state.experiments.chunks)
    made, load = [], Page._load
    monkeypatch.setattr(Page, "_load", lambda page: (made.append(page), load(page))[1])
    for ask in (marking, near_noise, gains, gaps, spread, looks.noise_of, digits):
        assert ask(found.state) == ask(plain), ask
    assert tree.parents(found.state.experiments) == tree.parents(plain.experiments)
    assert widest(found.state, marking(found.state)) == max(len(marking(plain).of(e)) for e in plain.experiments)
    assert of_pages > 5 and not made
    assert outline(found.state) == outline(plain)


def test_the_last_run_of_a_device_is_found_without_reading_pages(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    state = kept(night, len(night.records))
    last = {e.device: e.number for e in fold_all(night.records).experiments if e.started_at}
    monkeypatch.setattr(Page, "read", lambda _page, place: pytest.fail(f"{place} was read"))
    pages._whole.cache_clear()
    assert len(last) > 1
    for device, number in last.items():
        assert next(e.number for e in state.experiments.newest(DEVICE, device) if e.started_at) == number


def test_snapshots_follow_each_other_and_write_what_is_new(night: Night) -> None:
    writer, sizes = snapshots.Writer(night.files, None), []
    for seq in range(20, len(night.records), 60):
        kept(night, seq, writer)
        assert gone_on(night) == fold_all(night.records)
        sizes.append(night.files.history.stat().st_size if night.files.history.exists() else 0)
    assert sizes == sorted(sizes)
    again = snapshots.Writer(night.files, snapshots.read(night.files))
    found = snapshots.read(night.files)
    assert found is not None
    data = night.journal
    now = again.keep(gone_on(night), len(data), zlib.crc32(data), [])
    assert now == fold_all(night.records) == gone_on(night)


def seen_in_pieces(night: Night) -> bool:
    """Whether a screen continues with the snapshot."""
    found = snapshots.read(night.files, proven=False)
    if found is None:
        return False
    proof, known = snapshots.Proof(night.files.journal, found.start), None
    while known is None:
        known = proof.go_on(1000)
    return known


@QUICK
@given(data=st.data())
def test_a_byte_that_has_changed_changes_no_answer(night: Night, data: st.DataObject) -> None:
    kept(night, len(night.records) - 7)
    path = data.draw(st.sampled_from([night.files.snapshot, night.files.history, night.files.journal]))
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    how = data.draw(st.sampled_from(["flipped", "cut", "zeroed"]))
    changed = {
        "flipped": before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :],
        "cut": before[:at],
        "zeroed": before[:at] + bytes(len(before) - at),
    }
    path.write_bytes(changed[how])
    pages._IN_USE.clear()
    pages._whole.cache_clear()
    try:
        found = snapshots.read(night.files)
        if found is not None:
            assert found.state == fold_all(night.records[: found.start.seq])
        if path == night.files.journal and at < len(before) - 3000:
            assert found is None
            assert not seen_in_pieces(night)
    finally:
        path.write_bytes(before)


def test_a_snapshot_of_another_version_or_another_journal_is_left_alone(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(night, 100)
    other = real_night(tmp_path / "other", experiments=30, seed=2)
    other.files.snapshot.write_bytes(night.files.snapshot.read_bytes())
    assert snapshots.read(other.files) is None
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "__version__", "9.9.9")
        assert snapshots.read(night.files) is None
    assert snapshots.read(night.files) is not None


def test_a_change_to_what_is_on_disk_is_a_change_like_any_other(night: Night) -> None:
    state = kept(night, len(night.records))
    first = state.experiments[0]
    assert isinstance(first, Filed)
    changed = state.experiments.replacing(first.whole)
    assert changed == state.experiments and list(changed.changed(state.experiments)) != []


def test_a_journal_goes_on_after_its_snapshot(night: Night) -> None:
    kept(night, 50)
    found = snapshots.read(night.files)
    assert found is not None
    whole_one, rest = Journal(night.files.journal), Journal(night.files.journal, found.start)
    assert rest.records == whole_one.records[50:]
    assert rest.extent == whole_one.extent
    night.files.journal.open("ab").write(b'{"torn')
    torn = Journal(night.files.journal, found.start)
    assert torn.records == rest.records and torn.extent == rest.extent
    for each in (whole_one, rest, torn):
        each.close()


def test_threads_ask_a_page_for_the_first_time_at_once(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kept(night, len(night.records))
    told = [experiment.description for experiment in whole.experiments]
    reading, read = threading.Event(), pages._values

    def slowly(name: str, line: bytes, count: int) -> list[object]:
        reading.set()
        time.sleep(0.0005)  # so that the other threads come in between
        return read(name, line, count)

    monkeypatch.setattr(pages, "_values", slowly)
    pages._IN_USE.clear()
    found = snapshots.read(night.files)
    assert found is not None
    page = next(chunk for chunk in found.state.experiments.chunks if isinstance(chunk, Page))

    def ask() -> tuple[list[str], int]:
        return [experiment.description for experiment in page], id(page[0])

    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(ask)
        assert reading.wait(10)
        asked = [first, *(threads.submit(ask) for _ in range(2))]
        answers = [each.result() for each in asked]
    assert [answer[0] for answer in answers] == [told[: len(page)]] * 3 and len({answer[1] for answer in answers}) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="counts this process's open files in /proc")
def test_however_many_snapshots_there_were_the_file_of_pages_is_open_once(night: Night) -> None:
    writer, state, size, checksum = snapshots.Writer(night.files, None), State(), 0, 0
    watched = State()
    for number, line in enumerate(night.journal.splitlines(keepends=True)):
        state = fold(state, night.records[number])
        watched = fold(watched, night.records[number])
        size, checksum = size + len(line), zlib.crc32(line, checksum)
        if number % 10 == 0:
            state = writer.keep(state, size, checksum, [])
            watched = snapshots.adopted(watched, night.files)
    assert sum(isinstance(chunk, Page) for chunk in watched.experiments.chunks) > 5
    opened = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink() and path.exists()]
    assert sum(path.resolve() == night.files.history.resolve() for path in opened) == 1
    assert watched == state == fold_all(night.records)


def test_how_a_session_stands_is_folded_from_its_snapshot_on(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(night, 50)
    wanted, folded = outline(fold_all(night.records)), list[int]()

    def noted(state: State, record: ev.Record) -> State:
        folded.append(record.seq)
        return fold(state, record)

    monkeypatch.setattr("autoresearch_tui.session.fold.fold", noted)
    assert read_outline(night.lab.root, night.tag) == wanted
    assert folded == list(range(51, len(night.records) + 1))
    assert read_outline(night.lab.root, night.tag) == wanted
    assert len(folded) == len(night.records) - 50, "what was folded is kept where no engine is"


def test_damage_after_what_was_seen_last_does_not_matter_there_and_damage_before_it_is_no_failure(night: Night) -> None:
    kept(night, 50)
    snapshots.keep_seen(night.files, len(night.records))
    lines = night.journal.splitlines(keepends=True)
    for damaged, seq, known in ((70, 60, True), (55, 60, False), (70, 50, True)):
        night.files.journal.write_bytes(b"".join((*lines[:damaged], b"damaged\n", *lines[damaged + 1 :])))
        assert snapshots.seen(night.files, seq) == (fold_all(night.records[:seq]) if known else None)


WRITE = """
import sys, zlib
from pathlib import Path
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.session import journal, pages, sequence, snapshots
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.state import State
from autoresearch_tui.session.statistics import gains, gaps, near_noise, spread
sequence.CHUNK = pages.CHUNK = 4
files = SessionFiles(Path(sys.argv[1]))
data = files.journal.read_bytes()
records, lines = journal.scan(files.journal, data).records, data.splitlines(keepends=True)
while True:
    writer, state, size, crc = snapshots.Writer(files, snapshots.read(files)), State(), 0, 0
    for record, line in zip(records, lines):
        state, size, crc = fold(state, record), size + len(line), zlib.crc32(line, crc)
        state = writer.keep(state, size, crc, [])
"""


def test_an_engine_that_is_killed_while_it_writes_leaves_what_is_right_or_nothing(night: Night) -> None:
    for pause in (0.0, 0.01, 0.05, 0.1, 0.2):
        process = subprocess.Popen([sys.executable, "-c", WRITE, night.files.folder])
        night.files.snapshot.unlink(missing_ok=True)
        wait_for(night.files.snapshot.exists)
        time.sleep(pause)  # any moment will do
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        pages._IN_USE.clear()
        found = snapshots.read(night.files)
        if found is not None:
            assert found.state == fold_all(night.records[: found.start.seq])


@pytest.fixture(autouse=True)
def nothing_in_use() -> Iterator[None]:
    yield
    pages._IN_USE.clear()
    pages._whole.cache_clear()
