"""The log as it grows: the same lines whatever the pieces, the reference's numbers, and text meant to harm."""

from __future__ import annotations

import codecs
import itertools
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.logs.encoding import Decoder, decode, tail
from autoresearch_tui.logs.lines import (
    FRAME_CHARS,
    Chunk,
    LogTail,
    Progress,
    Splitter,
    clean,
    parse_progress,
    parse_summary,
)
from autoresearch_tui.logs.score_search import find_score

REFERENCE = (
    "step 00123 (4.1%) | loss: 3.123456 | lrm: 1.00 | dt: 251ms | tok/sec: 1,043,824 | mfu: 45.5% "
    "| epoch: 1 | remaining: 287s"
)
SUMMARY = "---\nval_bpb:          0.997900\ntraining_seconds: 300.1\npeak_vram_mb:     45060.2\nnum_steps: 953\n"


def joined(chunks: list[Chunk]) -> tuple[list[str], list[Progress], str]:
    lines = [line for chunk in chunks for line in chunk.lines]
    progress = [found for chunk in chunks for found in chunk.progress]
    return lines, progress, chunks[-1].frame if chunks else ""


def read_all(tail: LogTail, limit: int = 1 << 18) -> list[Chunk]:
    chunks = [tail.read(limit)]
    while chunks[-1].behind:
        chunks.append(tail.read(limit))
    return chunks


def test_reference_line() -> None:
    assert parse_progress(REFERENCE) == Progress(123, 3.123456, 4.1, 1.0, 251, 1043824, 45.5, 1, 287)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("step 5 | loss: 2.5", Progress(5, 2.5)),
        ("loss: 2.5 | step: 5", Progress(5, 2.5)),
        ("Step 5/100 | train_loss=2.5 | lr: 3e-4", Progress(5, 2.5, others=(("lr", 0.0003),))),
        (
            "step 5 (10%) | loss: 1e-3 | grad: 7 | dt: 0.25s",
            Progress(5, 0.001, percent=10, dt_ms=250, others=(("grad", 7),)),
        ),
        ("step 00001 | loss: nan", Progress(1, math.nan)),
        ("step 00001 | loss: inf", Progress(1, math.inf)),
        ("step 7 | loss: 2.5 | remaining: 4m", Progress(7, 2.5, remaining_seconds=240)),
        ("step 7 | tok/s: 12,345 | loss: .5", Progress(7, 0.5, tokens_per_second=12345)),
        ("[rank1]: step 7 | loss 2.5 | grad_norm 3", Progress(7, 2.5, others=(("grad_norm", 3),))),
        ("iter 7: train/loss 2.5, dt 12ms", Progress(7, 2.5, dt_ms=12)),
        ('{"step": 7, "loss": 2.5, "tokens_per_sec": 12}', Progress(7, 2.5, tokens_per_second=12)),
    ],
)
def test_forks_of_the_reference_line(frame: str, expected: Progress) -> None:
    assert parse_progress(frame) == expected


@pytest.mark.parametrize("frame", ["", "step", "step 5", "loss: 3", "step x | loss: y", "stepping 5 | loss: 3", "…"])
def test_other_lines_are_no_progress(frame: str) -> None:
    assert parse_progress(frame) is None


@given(st.text(max_size=300))
def test_no_text_breaks_the_parsers(text: str) -> None:
    parse_progress("step " + text)
    parse_summary("---\n" + text)
    assert not set(clean(text)) & {"\x1b", "\x00", "\x7f", "\x9b", "\r", "\n", "\u202e"}


def test_long_hostile_frames_are_quick() -> None:
    began = time.process_time()
    for filler in ("1" * 8000, "a" * 8000, "1," * 4000, "(" * 8000, "step " * 1600, "e" * 8000 + "1" * 100):
        parse_progress("step 1 | " + filler)
    assert time.process_time() - began < 20


def test_carriage_returns_rewrite_a_line() -> None:
    splitter = Splitter()
    chunk = splitter.feed(b"hello\r\n\rstep 1 | loss: 3\rstep 2 | loss: 2")
    assert chunk.lines == ("hello",)
    assert chunk.progress == (Progress(1, 3),)
    assert chunk.frame == "step 2 | loss: 2"
    assert chunk.current == Progress(2, 2)
    chunk = splitter.feed(b"   \n---\n")
    assert chunk.lines == ("step 2 | loss: 2", "---")
    assert chunk.progress == (Progress(2, 2),)
    assert chunk.frame == ""


def test_a_frame_that_ends_in_a_carriage_return_stays_shown() -> None:
    assert Splitter().feed(b"step 1 | loss: 3\r").frame == "step 1 | loss: 3"


def test_escape_sequences_and_foreign_bytes_are_harmless() -> None:
    chunk = Splitter().feed(b"\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07\x00 \xff caf\xc3\xa9 \xe2\x80\xae!\n")
    assert chunk.lines == ("red · ÿ café ·!",)


def test_endless_line_is_capped() -> None:
    splitter = Splitter()
    for _ in range(64):
        assert len(splitter.feed(b"x" * 4096).frame) <= FRAME_CHARS
    assert splitter.feed(b"\n").lines == ("x" * FRAME_CHARS,)


PIECES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"step 1 | loss: 2", b"\xc3", b"\xa9", b"\xf0\x9f\x8c\x8d", b"\x1b[31m", b"\x00", b"ab "]
)


@given(st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=40), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_same(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    whole = joined([Splitter().feed(data)])
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    splitter = Splitter()
    parts = [splitter.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    assert joined(parts) == whole


def test_split_of_a_capped_line_gives_the_same() -> None:
    data = b"y" * (FRAME_CHARS * 2) + b"\rshort\n" + b"z" * (FRAME_CHARS + 1)
    whole = joined([Splitter().feed(data)])
    for size in (1000, 4096, FRAME_CHARS, FRAME_CHARS + 1):
        splitter = Splitter()
        assert joined([splitter.feed(data[at : at + size]) for at in range(0, len(data), size)]) == whole


def test_tail_follows_by_offset(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    tail = LogTail(path)
    assert tail.read() == Chunk()
    with path.open("ab", buffering=0) as log:
        log.write(b"one\ntw")
        assert tail.read().lines == ("one",)
        log.write(b"o\n")
        assert tail.read().lines == ("two",)
        assert tail.offset == 8
        assert tail.read() == Chunk()


def test_tail_is_bounded_per_call(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"0123456789\n" * 1000)
    tail = LogTail(path)
    first = tail.read(100)
    assert first.behind
    assert len(first.lines) == 9
    assert len(joined([first, *read_all(tail, 1000)])[0]) == 1000


@pytest.mark.parametrize("replace", [False, True])
def test_tail_starts_again_when_the_log_is_cut_or_replaced(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"old line\nhalf a li")
    tail = LogTail(path)
    tail.read()
    if replace:
        other = tmp_path / "other"
        other.write_bytes(b"new line, longer than the old ones were\n")
        other.replace(path)
    else:
        os.truncate(path, 0)
        path.write_bytes(b"new line\n")
    chunk = tail.read()
    assert chunk.restarted
    assert chunk.lines[0].startswith("new line")
    assert not tail.read().restarted


def test_summary_is_the_block_after_the_last_mark() -> None:
    text = "a: 1\n---\nval_bpb: 2\n" + SUMMARY + "depth:            8\nextra_key:  some words\nnot a pair\n"
    found = parse_summary(text)
    assert found["val_bpb"] == "0.997900"
    assert found["depth"] == "8"
    assert found["extra_key"] == "some words"
    assert "a" not in found
    assert parse_summary("step: 1\nval_loss: 2\n") == {}
    assert parse_summary("") == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("val_bpb: 1\nother: 2\n", {"val_bpb": "1"}),
        ("---\nval_bpb=0.99\npeak_vram_mb = 3\n", {"val_bpb": "0.99", "peak_vram_mb": "3"}),
        ("[rank0]: ---\n[rank0]: val_bpb: 0.99\n1: num_steps: 4\n", {"val_bpb": "0.99", "num_steps": "4"}),
        ('{"step": 1}\n{"val_bpb": 0.99, "depth": 8, "x": [1]}\n', {"val_bpb": "0.99", "depth": "8"}),
        ("{" * 5000, {}),
    ],
)
def test_summary_in_another_form(text: str, found: dict[str, str]) -> None:
    assert parse_summary(text) == found


def test_summary_of_a_hostile_log_is_bounded_and_clean() -> None:
    text = "---\n" + "".join(f"key{n}: \x1b[2J{'v' * 10_000}\n" for n in range(1000))
    found = parse_summary(text)
    assert len(found) <= 64
    assert all(len(value) <= 200 and value.isprintable() for value in found.values())


PATTERN = r"^val_bpb:\s+(\S+)"


@pytest.mark.parametrize("first", [b"\x00\x01", b"\x01\x00", b"\x00\x80", b"\x00\x00"])
def test_a_log_that_begins_with_bytes_that_are_no_text_is_read_as_the_rest_is(first: bytes) -> None:
    assert "val_bpb: 1.5\n" in decode(first + b"\nval_bpb: 1.5\n")
    reader = Decoder()
    assert "val_bpb" in "".join(reader.decode(bytes([byte])) for byte in first + b"\nval_bpb: 1.5\n")


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_encodings(encoding: str) -> None:
    text = "café\n" + REFERENCE + "\r\n" + SUMMARY
    data = (codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b"") + text.encode(encoding)
    assert parse_summary(decode(data))["val_bpb"] == "0.997900"
    for size in (1, 3, 1000):
        splitter = Splitter()
        lines, progress, _ = joined([splitter.feed(data[at : at + size]) for at in range(0, len(data), size)])
        assert lines[0] == "café"
        assert progress == [parse_progress(REFERENCE)]
        assert "val_bpb:          0.997900" in lines


def test_windows_text_is_read() -> None:
    assert Splitter().feed("naïve “quotes”\n".encode("cp1252")).lines == ("naïve “quotes”",)
    assert decode(b"val_bpb: 1 \x81\xff") == "val_bpb: 1 \ufffdÿ"


def test_a_later_piece_is_read_like_the_beginning() -> None:
    data = ("x" * 100 + SUMMARY).encode("utf-16")
    assert parse_summary(decode(data[102:], data[:4]))["num_steps"] == "953"


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_any_bytes_decode_alike_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    decoder = Decoder()
    pieces = "".join(decoder.decode(data[a:b]) for a, b in itertools.pairwise(edges))
    assert pieces == Decoder().decode(data)
    assert decode(data) or not data or set(data) <= {0xEF, 0xBB, 0xBF, 0xFE, 0xFF}


@pytest.mark.parametrize(
    ("name", "score"), [("run-mps-carriage-returns.log", 1.774935), ("run-uv-not-found.log", None)]
)
def test_real_logs_from_elsewhere(name: str, score: float | None) -> None:
    data = (Path(__file__).parent / "data" / name).read_bytes()
    assert find_score(decode(data), PATTERN, "val_bpb", any_form=True).value == score
    assert bool(parse_summary(decode(data))) == (score is not None)


def test_real_log(tmp_path: Path) -> None:
    frames = "".join(f"\r{REFERENCE.replace('00123', f'{n:05d}')}    " for n in range(87))
    path = tmp_path / "run.log"
    path.write_text("Device: mps\nGradient accumulation steps: 4\n" + frames + "\n" + SUMMARY)
    lines, progress, frame = joined(read_all(LogTail(path), 777))
    assert [p.step for p in progress] == list(range(87))
    assert lines[:2] == ["Device: mps", "Gradient accumulation steps: 4"]
    assert lines[2].startswith("step 00086")
    assert lines[3] == "---"
    assert frame == ""


def test_a_night_of_frames(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(("\r" + REFERENCE + "    ").encode() * 200_000)
    began = time.perf_counter()
    chunks = read_all(LogTail(path))
    print(f"{path.stat().st_size / 1e6:.0f} MB, 200,000 frames: {time.perf_counter() - began:.2f} s")
    assert sum(len(chunk.progress) for chunk in chunks) == 199_999
    assert chunks[-1].current == parse_progress(REFERENCE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_end_of_a_log_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.log"
    assert tail(path, 100) == ""
    path.write_bytes(("é" * 1001 + SUMMARY).encode(encoding))
    for limit in (400, 401, 10_000):
        assert parse_summary(tail(path, limit))["num_steps"] == "953"
