"""Reads a run's log while it grows, and finds the numbers in it. What a log says is never trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.logs.encoding import Decoder
from autoresearch_tui.logs.tail import FileTail
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

READ_BYTES = 256 * 1024
FRAME_CHARS = 8 * 1024
PROGRESS_CHARS = 1024
_SUMMARY_KEYS = 64
_SUMMARY_WIDTH = 200

_END = re.compile(r"[\r\n]")
_ANSI = re.compile(r"\x1b(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_FIELD = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z_/]*)[\"']?\s{0,4}[:=]?\s{0,4}(?P<number>[-+]?(?:\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
    r"|\.\d+|nan\b|inf\b))\s?(?P<unit>ms\b|s\b|m\b|h\b|%)?",
    re.IGNORECASE,
)
# The reference's own line, many times faster than field by field: a flood of frames must not hold a key up.
_REFERENCE = re.compile(
    r"step (\d{1,9}) \((\d{1,3}\.\d)%\) \| loss: (\d{1,9}\.\d+) \| lrm: (\d+\.\d+) \| dt: (\d+)ms "
    r"\| tok/sec: (\d[\d,]*) \| mfu: (\d+\.\d+)% \| epoch: (\d+) \| remaining: (\d+)s\s*"
)
_PERCENT = re.compile(r"\(\s{0,4}(\d{1,3}(?:\.\d+)?)\s?%")
_SUMMARY = re.compile(r"^([A-Za-z]\w*)[ \t]*[:=][ \t]*(\S.*)$")
# What the reference's summary has: found without its mark as well.
_KNOWN_KEYS = frozenset(
    {"val_bpb", "training_seconds", "total_seconds", "peak_vram_mb", "mfu_percent", "total_tokens_M", "num_steps"}
    | {"num_params_M", "depth"}
)
_RANK = re.compile(r"^\s*\[?(?:rank|default|worker|gpu)?\s?\d{1,4}\]?\s?:\s?", re.IGNORECASE)
_NAMES = {
    "step": "step",
    "iter": "step",
    "iteration": "step",
    "loss": "loss",
    "train_loss": "loss",
    "train/loss": "loss",
    "tokens_per_second": "tokens_per_second",
    "tokens_per_sec": "tokens_per_second",
    "tok_per_sec": "tokens_per_second",
    "lrm": "lrm",
    "dt": "dt_ms",
    "dt_ms": "dt_ms",
    "tok/sec": "tokens_per_second",
    "tok/s": "tokens_per_second",
    "tokens/sec": "tokens_per_second",
    "tokens/s": "tokens_per_second",
    "mfu": "mfu_percent",
    "mfu_percent": "mfu_percent",
    "epoch": "epoch",
    "remaining": "remaining_seconds",
    "remaining_seconds": "remaining_seconds",
}
# A name that is not among them may have digits, and needs a colon or equals sign unless it follows a bar.
_OTHER = re.compile(
    r"(?P<bar>\|\s{0,4})?(?<![\w./-])(?P<name>[A-Za-z_][\w./-]{0,63})[\"']?(?:\s{0,4}[:=]\s{0,4}|(?(bar)\s{1,4}|(?!)))"
    r"(?P<number>[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?|nan\b|[-+]?inf\b)(?=[a-z%/]{0,4}(?![\w.]))",
    re.IGNORECASE,
)
_MOST_OTHERS = 56
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Progress(Frozen):
    """One progress line. `loss` may be NaN or infinite; what a fork does not print is None.

    `others` are the numbers that only a fork prints, under its own names, each once.
    """

    step: int
    loss: float
    percent: float | None = None
    lrm: float | None = None
    dt_ms: float | None = None
    tokens_per_second: float | None = None
    mfu_percent: float | None = None
    epoch: float | None = None
    remaining_seconds: float | None = None
    others: tuple[tuple[str, float], ...] = ()


_FIELDS = tuple(name for name in Progress.__struct_fields__ if name != "others")


class Chunk(Frozen):
    """What is new. `frame` is the line being written at present; `progress` are the frames that are complete.

    `current` is the progress in `frame`, perhaps not all of it yet: for the screen, not for a record.
    `restarted`: the log was cut or replaced, and this is from its beginning. `behind`: there is more to read.
    """

    lines: tuple[str, ...] = ()
    frame: str = ""
    progress: tuple[Progress, ...] = ()
    current: Progress | None = None
    restarted: bool = False
    behind: bool = False


class Splitter:
    """Bytes in, lines and frames out; how the bytes are cut into pieces makes no difference.

    A carriage return ends a frame, a line feed ends a line; a line is its last frame that is not empty, and
    no frame keeps more than 8 KiB.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._open = ""  # the frame that has no end yet
        self._last = ""  # the last frame of this line that has one

    def feed(self, data: bytes) -> Chunk:
        lines: list[str] = []
        progress: list[Progress] = []
        text = self._decoder.decode(data)
        start = 0
        for end in _END.finditer(text):
            raw = self._extend(text, start, end.start())
            self._open = ""
            start = end.end()
            if raw:
                self._last = raw
                if found := parse_progress(raw):
                    progress.append(found)
            if end.group() == "\n":
                lines.append(clean(self._last))
                self._last = ""
        self._open = self._extend(text, start, len(text))
        frame = self._open or self._last
        return Chunk(tuple(lines), clean(frame), tuple(progress), parse_progress(frame))

    def _extend(self, text: str, start: int, end: int) -> str:
        return self._open + text[start : min(end, start + FRAME_CHARS - len(self._open))]


class LogTail:
    """Follows one log (:class:`FileTail`), 256 KiB a call."""

    def __init__(self, path: Path) -> None:
        self._file = FileTail(path)
        self._splitter = Splitter()

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._file.offset

    def read(self, limit: int = READ_BYTES) -> Chunk:
        """What has been written since the last call, at most `limit` bytes; empty if there is no log yet."""
        try:
            piece = self._file.read(limit)
        except OSError:
            return Chunk()
        if piece.restarted:
            self._splitter = Splitter()
        chunk = self._splitter.feed(piece.data)
        return Chunk(chunk.lines, chunk.frame, chunk.progress, chunk.current, piece.restarted, piece.behind)


def clean(text: str) -> str:
    """One line for the screen: no colours, no controls, no blanks at the end."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return clean_line(text.rstrip())


def split_lines(text: str) -> list[str]:
    """Every line and every frame of a text, cleaned; empty ones left out."""
    return [line for part in _END.split(text) if (line := clean(part[:FRAME_CHARS]))]


def parse_progress(frame: str) -> Progress | None:
    """The reference's progress line and its forks': fields in any order, `step` and `loss` needed."""
    if "step" not in frame and "iter" not in frame and "Step" not in frame and "Iter" not in frame:
        return None
    frame = frame[:PROGRESS_CHARS]
    if usual := _usual(frame):
        return usual
    values: dict[str, float] = {}
    for found in _FIELD.finditer(frame):
        name = _NAMES.get(found["name"].lower())
        if name is None or name in values:
            continue
        values[name] = _number(name, found["number"], (found["unit"] or "").lower())
    step, loss = values.pop("step", None), values.pop("loss", None)
    if step is None or loss is None or not 0 <= step < 2**63:
        return None
    percent = _PERCENT.search(frame)
    return Progress(int(step), loss, float(percent[1]) if percent else None, **values, others=_others(frame))


def _others(frame: str) -> tuple[tuple[str, float], ...]:
    found: dict[str, float] = {}
    for match in _OTHER.finditer(frame):
        if match["name"].lower() not in _NAMES and match["name"] not in _FIELDS and len(found) < _MOST_OTHERS:
            found.setdefault(match["name"], _number("", match["number"], ""))
    return tuple(found.items())


def progress_fields(frame: str) -> dict[str, float]:
    """Every number of a progress line: what :class:`Progress` has under its names, what a fork adds under the fork's.

    Empty if it is no progress line.
    """
    progress = parse_progress(frame)
    if progress is None:
        return {}
    found = {name: value for name in _FIELDS if (value := getattr(progress, name)) is not None}
    return found | dict(progress.others)


def _usual(frame: str) -> Progress | None:
    """Of a line that is exactly the reference's."""
    if (found := _REFERENCE.fullmatch(frame)) is None:
        return None
    step, percent, loss, lrm, dt, tokens, mfu, epoch, remaining = found.groups()
    return Progress(
        step=int(step),
        loss=float(loss),
        percent=float(percent),
        lrm=float(lrm),
        dt_ms=float(dt),
        tokens_per_second=float(tokens.replace(",", "")),
        mfu_percent=float(mfu),
        epoch=float(epoch),
        remaining_seconds=float(remaining),
    )


def parse_summary(text: str) -> Mapping[str, str]:
    """The `key:  value` lines after the last line `---`.

    Where there is no such line, those of the keys that the reference has; where there are none, the last JSON object
    that is a line of its own.
    """
    lines = text.replace("\r", "\n").split("\n")
    marks = [index for index, line in enumerate(lines) if line.rstrip() == "---"]
    found = (_SUMMARY.match(_RANK.sub("", line, count=1)) for line in lines[marks[-1] + 1 if marks else 0 :])
    pairs = [(match[1], match[2]) for match in found if match and (marks or match[1] in _KNOWN_KEYS)]
    if not marks and not pairs:
        values = next((values for line in reversed(lines) if (values := json_object(line))), {})
        pairs = [(key, str(value)) for key, value in values.items() if isinstance(value, int | float | str)]
    shown = [(clean(key), clean(value)[:_SUMMARY_WIDTH]) for key, value in pairs]
    return dict(shown[:_SUMMARY_KEYS] if marks else shown[-_SUMMARY_KEYS:])


def json_object(line: str) -> Mapping[str, object]:
    """A line that is a JSON object; empty for any other."""
    if not line.startswith("{") or len(line) > FRAME_CHARS:
        return {}
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _number(name: str, text: str, unit: str) -> float:
    value = float(text.replace(",", ""))
    if math.isnan(value):
        value = math.nan  # the one object, so that equal frames compare equal
    if name == "dt_ms" and unit in ("s", "m", "h"):
        return value * _SECONDS[unit] * 1000
    if name == "remaining_seconds" and unit in _SECONDS:
        return value * _SECONDS[unit]
    return value
