"""The outline that is kept beside a journal: the same as folding it, or not used."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.outline import Keeper, Outline, outline, read_outline, recall, snapshot
from autoresearch_tui.session.state import State
from autoresearch_tui.util.errors import UserError
from tests.night import Night, real_night


def kept(night: Night) -> bytes:
    return snapshot(outline(night.state), len(night.journal), zlib.crc32(night.journal))


def test_each_moment_of_a_night_is_recalled_as_it_was() -> None:
    night = real_night(experiments=60, devices=2, prior=30, open_ones=True)
    state, data = State(), b""
    for record, line in zip(night.records, night.journal.splitlines(keepends=True), strict=True):
        state, data = fold(state, record), data + line
        found = outline(state)
        assert recall(snapshot(found, len(data), zlib.crc32(data)), data) == found


def test_an_outline_of_other_bytes_is_not_used() -> None:
    night = real_night(experiments=12)
    data, ours = night.journal, kept(night)
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    shorter = data[: data.rfind(b"\n", 0, -1) + 1]
    for other in (flipped, shorter, data + data.splitlines(keepends=True)[-1], b""):
        assert recall(ours, other) is None
    # A line that is being written is not there yet, for a journal's readers neither.
    assert recall(ours, data + b'{"seq":') == outline(night.state)


@pytest.mark.parametrize("damage", ["", "00000000 {}\n", "\0" * 4096, "[" * 5000])
def test_what_a_dying_machine_leaves_is_not_used(damage: str) -> None:
    night = real_night(experiments=3)
    assert recall(damage.encode(), night.journal) is None
    assert recall(kept(night)[:-200], night.journal) is None


def test_an_outline_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    night = real_night(experiments=3)
    before = kept(night)
    monkeypatch.setattr("autoresearch_tui.session.outline.__version__", "9.9.9")
    assert recall(before, night.journal) is None


def read(night: Night) -> Outline:
    assert night.lab is not None
    return read_outline(night.lab.root, night.tag)


def test_a_journal_is_read_once_and_its_outline_from_then_on(tmp_path: Path) -> None:
    night = real_night(tmp_path / "lab", experiments=20, open_ones=True)
    assert not night.files.outline.exists()
    assert read(night) == outline(night.state)
    assert recall(night.files.outline.read_bytes(), night.journal) == outline(night.state)
    night.experiment("keep", 0.9)
    assert read(night) == outline(night.state)


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    night = real_night(tmp_path / "lab", experiments=4)
    night.files.outline.mkdir()
    assert read(night) == outline(night.state)
    assert list(night.files.folder.glob(".*")) == []


def test_a_damaged_journal_is_named_although_its_outline_was_kept(tmp_path: Path) -> None:
    night = real_night(tmp_path / "lab", experiments=9)
    read(night)
    data = night.files.journal.read_bytes()
    night.files.journal.write_bytes(data.replace(b"baseline", b"bathline", 1))
    with pytest.raises(UserError, match="line 4 is damaged"):
        read(night)


def test_an_engine_on_a_cluster_keeps_what_devices_there_are(tmp_path: Path) -> None:
    night = real_night(tmp_path / "lab", experiments=3)
    keeper = Keeper(night.files)
    for event in (
        ev.DeviceJoined("gpu-1:0", "gpu-1", "H100", {"torch": "2.9.1"}),
        ev.NodeRefused("gpu-2", "another driver", "install 570"),
        ev.DeviceSetAside("gpu-1:0", "its baseline is 1.02"),
        ev.NoteGiven("smaller steps"),
        ev.DeviceLeft("gpu-1:0", "its node is gone"),
    ):
        night.add(event)
        found = outline(night.state)
        keeper.keep(found, len(night.journal), zlib.crc32(night.journal))
        assert recall(night.files.outline.read_bytes(), night.journal) == found
        assert found.fleet == night.state.fleet
