"""Reads a run's log while it grows, and finds the numbers in it. What a log says is never trusted."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoresearch_tui.engine.reading.logtext import Decoder
from autoresearch_tui.text import clean_line

READ_BYTES = 256 * 1024
FRAME_CHARS = 8 * 1024
MATCH_CHARS = 2**20
MATCH_SECONDS = 5.0
_PROGRESS_CHARS = 1024
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
    "tok/sec": "tokens_per_second",
    "tok/s": "tokens_per_second",
    "tokens/sec": "tokens_per_second",
    "tokens/s": "tokens_per_second",
    "mfu": "mfu_percent",
    "epoch": "epoch",
    "remaining": "remaining_seconds",
}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# In a process of its own, because a pattern can take longer than the universe and nothing interrupts it.
_MATCHER = """
import json, re, sys
pattern, text = json.load(sys.stdin)
found = None
for found in re.finditer(pattern, text, re.MULTILINE):
    pass
json.dump(found and found.group(1), sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress line. `loss` may be NaN or infinite; what a fork does not print is None."""

    step: int
    loss: float
    percent: float | None = None
    lrm: float | None = None
    dt_ms: float | None = None
    tokens_per_second: float | None = None
    mfu_percent: float | None = None
    epoch: float | None = None
    remaining_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
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
    """Follows one log by byte offset; never holds it open, never blocks, at most 256 KiB a call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._splitter = Splitter()

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._offset

    def read(self, limit: int = READ_BYTES) -> Chunk:
        """What has been written since the last call, at most `limit` bytes; empty where there is no log."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                restarted = self._check(status)
                file.seek(self._offset)
                data = file.read(limit)
        except OSError:
            return Chunk()
        self._offset += len(data)
        chunk = self._splitter.feed(data)
        behind = self._offset < status.st_size
        return Chunk(chunk.lines, chunk.frame, chunk.progress, chunk.current, restarted, behind)

    def _check(self, status: os.stat_result) -> bool:
        identity = (status.st_dev, status.st_ino)
        replaced = self._identity not in (None, identity) or status.st_size < self._offset
        self._identity = identity
        if replaced:
            self._offset = 0
            self._splitter = Splitter()
        return replaced


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
    frame = frame[:_PROGRESS_CHARS]
    if usual := _REFERENCE.fullmatch(frame):
        step_text, percent_text, loss_text, lrm, dt, tokens, mfu, epoch, remaining = usual.groups()
        speed = float(tokens.replace(",", ""))
        rest = (float(percent_text), float(lrm), float(dt), speed, float(mfu), float(epoch), float(remaining))
        return Progress(int(step_text), float(loss_text), *rest)
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
    return Progress(int(step), loss, float(percent[1]) if percent else None, **values)


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
        values = next((values for line in reversed(lines) if (values := _object(line))), {})
        pairs = [(key, str(value)) for key, value in values.items() if isinstance(value, int | float | str)]
    shown = [(clean(key), clean(value)[:_SUMMARY_WIDTH]) for key, value in pairs]
    return dict(shown[:_SUMMARY_KEYS] if marks else shown[-_SUMMARY_KEYS:])


def _object(line: str) -> Mapping[str, object]:
    """A line that is a JSON object; empty for any other."""
    if not line.startswith("{") or len(line) > FRAME_CHARS:
        return {}
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def last_match(text: str, pattern: str) -> float | None:
    """The number in the last match's first group (MULTILINE), in the last MiB of the text.

    None for no match, for anything but a finite number, and for a pattern that takes more than 5 s.
    """
    return _finite(_last_group(text, pattern))


def find_metric(text: str, pattern: str, name: str) -> float | None:
    """:func:`last_match`; for a pattern that matches nowhere the last mention of the metric by its name and a number,
    in whatever form: `val_bpb=0.99`, `final val bpb: 0.99`, `{"val_bpb": 0.99}`.
    """
    text = text.replace("\r", "\n")
    found = _last_group(text, pattern)
    if found is not None:
        return _finite(found)
    words = r"[ _./-]?".join(re.escape(word) for word in re.split(r"[ _./-]+", name) if word)
    between = r"[\"'`]?\s{0,20}(?:[:=]|is|->|\u2192)?\s{0,20}"
    number = r"([-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf))(?!\w)"
    return _finite(_last_group(text, rf"(?i)(?<![A-Za-z0-9]){words}{between}{number}"))


def _last_group(text: str, pattern: str) -> object:
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", _MATCHER],
            input=json.dumps([pattern, text[-MATCH_CHARS:]]),
            capture_output=True,
            encoding="utf-8",
            timeout=MATCH_SECONDS,
            check=True,
        ).stdout
        return json.loads(answer)
    except (subprocess.SubprocessError, ValueError):
        return None


def _finite(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _number(name: str, text: str, unit: str) -> float:
    value = float(text.replace(",", ""))
    if math.isnan(value):
        value = math.nan  # the one object, so that equal frames compare equal
    if name == "dt_ms" and unit in ("s", "m", "h"):
        return value * _SECONDS[unit] * 1000
    if name == "remaining_seconds" and unit in _SECONDS:
        return value * _SECONDS[unit]
    return value
