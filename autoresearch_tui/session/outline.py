"""A summary of a session without its finished experiments, small enough to keep beside its journal.

Folding a long night takes seconds, and the most frequent questions need little of the state. Attributes that a
:class:`~autoresearch_tui.session.state.State` also has mean the same. The status line is made of an outline alone.

The engine writes it to disk whenever its loop is idle, and commands like `status` read it.
"""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import asdict

from autoresearch_tui import __version__
from autoresearch_tui.lab import engine_lock, session_files
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import fleet_baselines, limits, looks, undo
from autoresearch_tui.session.asks import Ask
from autoresearch_tui.session.cost import Cost, cost
from autoresearch_tui.session.ends import JUDGED
from autoresearch_tui.session.fleet import Fleet
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.session.written import Codec
from autoresearch_tui.util import atomic, timestamps
from autoresearch_tui.util.frozen import Frozen

_CODEC = Codec(Cost, limits.End, looks.Wear)
_MANY = ("in_flight", "waiting")
# An engine writes the outline a moment after the record.
_PAUSES = (0.005, 0.02, 0.05)


class Outline(Frozen):
    """`counts`: the number of experiments by outcome."""

    seq: int
    time: str
    session: ev.SessionBegan | None
    engine: ev.EngineStarted | None
    last_engine: ev.EngineStarted | None
    stopped: ev.EngineStopped | None
    paused: ev.PauseAsked | None
    stopping: str
    trouble: ev.TroubleMet | None
    trouble_at: str
    asks: tuple[Ask, ...]
    critic_asked: ev.CriticAsked | None
    critic_asked_at: str
    failed: ev.ProposalFailed | None
    failed_at: str
    in_flight: tuple[Experiment, ...]
    waiting: tuple[Experiment, ...]
    baseline: Experiment | None
    best: Experiment | None
    frontier: Experiment | None
    shown: Experiment | None
    """The run in progress, or the last one."""
    judged: Experiment | None
    """The experiment with the newest verdict."""
    experiments: int
    counts: Mapping[str, int]
    cost: Cost
    """As of the last record; see :meth:`spent` for now."""
    limit: limits.End | None
    needed_seconds: float
    """The time that a new proposal's run must have left before the limit."""
    unsandboxed: bool
    cannot_train: bool
    wear: looks.Wear | None
    """None in an outline for a screen, which computes it from the state when it is shown."""
    holdout_asked: ev.HoldoutAsked | None
    holdout: ev.HoldoutOpened | None
    holdout_at: str
    undoable: str
    """The human's last decision, `#8 vetoed`, while it can be taken back."""
    fleet: Fleet
    """A cluster's devices."""
    unready: tuple[str, ...]
    """Its usable devices that may only run a baseline yet."""

    @property
    def running(self) -> Experiment | None:
        """The newest experiment between launch and verdict."""
        return self.in_flight[-1] if self.in_flight else None

    @property
    def usd(self) -> float:
        """The cost of the session's proposals, as far as prices are known."""
        return self.cost.researcher_usd

    @property
    def tokens(self) -> int:
        """The tokens of the session's proposals, as far as they are counted."""
        return self.cost.tokens

    def fits(self, now: float) -> bool:
        """Whether a run launched now would end before the session does."""
        return self.limit is None or now + self.needed_seconds <= self.limit.at

    def spent(self, now: float) -> float:
        """Dollars so far; with a live engine including the accelerators' since the last record."""
        hourly = self.engine.accelerator_usd_per_hour * self.engine.devices if self.engine else 0.0
        return self.cost.usd + max(0.0, now - timestamps.seconds(self.time)) / 3600 * hourly

    @property
    def goal(self) -> Goal:
        """Which direction of the score is better."""
        return Goal(self.session.goal) if self.session else Goal.MINIMIZE


def outline(state: State, *, for_screen: bool = False) -> Outline:
    """`for_screen`: leave out what is slow in a long session and not in the status line."""
    experiments, flying = state.experiments, state.in_flight
    newest = state.verdicts - 1
    return Outline(
        seq=state.seq,
        time=state.time,
        session=state.session,
        engine=state.engine,
        last_engine=state.last_engine,
        stopped=state.stopped,
        paused=state.paused,
        stopping=state.stopping,
        trouble=state.trouble,
        trouble_at=state.trouble_at,
        asks=state.asks,
        critic_asked=state.critic_asked,
        critic_asked_at=state.critic_asked_at,
        failed=state.failed,
        failed_at=state.failed_at,
        in_flight=flying,
        waiting=state.waiting,
        baseline=experiments[0] if experiments else None,
        best=state.best,
        frontier=state.frontier,
        shown=flying[-1] if flying else state.started_last,
        judged=next((e for e in reversed(experiments) if e.judged_after == newest and e.outcome in JUDGED), None),
        experiments=len(experiments),
        counts=dict(state.ended),
        cost=cost(state),
        limit=limits.end(state, timestamps.seconds(state.time)),
        needed_seconds=limits.needed_seconds(state),
        unsandboxed=state.unsandboxed,
        cannot_train=state.cannot_train,
        wear=None if for_screen else looks.wear(state),
        holdout_asked=state.holdout_asked,
        holdout=state.holdout,
        holdout_at=state.holdout_at,
        undoable=f"#{last.number} {last.what}" if (last := undo.last(state)) is not None else "",
        fleet=state.fleet,
        unready=fleet_baselines.unready(state),
    )


def _line(value: Experiment | Fleet) -> str:
    return json.dumps(_CODEC.encode(value), ensure_ascii=False)


def snapshot(
    found: Outline, size: int, checksum: int, lines: Callable[[Experiment], str] = _line, fleet: str = ""
) -> bytes:
    """The file's contents, for a journal whose first `size` bytes have that CRC-32.

    `lines`: encodes an experiment, perhaps from a cache, because a thousand may be in flight. `fleet`: the encoded
    fleet, if the caller has it.
    """
    values = {name: _CODEC.encode(value) for name, value in asdict(found).items() if name not in (*_MANY, "fleet")}
    made_of = {"version": __version__, "shape": _CODEC.shape, "bytes": size, "crc": checksum}
    head = json.dumps({**made_of, "outline": values}, ensure_ascii=False)
    many = (f', "{name}": [{", ".join(map(lines, getattr(found, name)))}]' for name in _MANY)
    body = "".join((head[:-1], *many, f', "fleet": {fleet or _line(found.fleet)}', "}")).encode("utf-8", "replace")
    return b"%08x %s\n" % (zlib.crc32(body), body)


def recall(kept: bytes, journal: bytes) -> Outline | None:
    """The outline of a journal's complete lines, from the file beside it; None if that is torn or of anything else.

    It equals what folding the journal would give: this version made it of exactly these bytes, as their number and
    CRC-32 prove.
    """
    checksum, _, body = kept.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(body):
        return None
    try:
        values = json.loads(body)
        size = values["bytes"]
        if (values["version"], values["shape"]) != (__version__, _CODEC.shape) or size != journal.rfind(b"\n") + 1:
            return None
        if values["crc"] != zlib.crc32(memoryview(journal)[:size]):
            return None
        known = {name: _CODEC.decode(value) for name, value in values["outline"].items()}
        many = {name: tuple(map(_CODEC.decode, values[name])) for name in _MANY}
        return Outline(**{**known, **many}, fleet=_CODEC.decode(values["fleet"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


# ── on disk ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Keeper:
    """Writes a session's outline to disk, and caches the encoded parts."""

    def __init__(self, files: SessionFiles) -> None:
        self._path = files.outline
        self._lines: dict[int, tuple[Experiment, str]] = {}
        self._fleet: tuple[Fleet | None, str] = (None, "")

    def keep(self, found: Outline, size: int, checksum: int) -> None:
        """Write the outline of the journal's first `size` bytes. Without it, readers fold the journal."""
        known, self._lines = self._lines, {}

        def line(experiment: Experiment) -> str:
            before = known.get(experiment.number)
            same = before is not None and before[0] is experiment
            now = before if same and before is not None else (experiment, _line(experiment))
            self._lines[experiment.number] = now
            return now[1]

        if self._fleet[0] is not found.fleet:
            self._fleet = (found.fleet, _line(found.fleet))
        with contextlib.suppress(OSError):
            atomic.publish(self._path, snapshot(found, size, checksum, line, self._fleet[1]))


def read_outline(root: Path, tag: str) -> Outline:
    """The present outline of a session, with or without an engine. Raises UserError for a damaged journal."""
    files = session_files.of(root, tag)
    alive = engine_lock.held(session_files.lock(root))
    for pause in (*_PAUSES, 0) if alive else (0,):
        with contextlib.suppress(OSError):
            data = files.journal.read_bytes()
            if found := recall(files.outline.read_bytes(), data):
                return found
        time.sleep(pause)
    return _folded(files, keeps=not alive)


def _folded(files: SessionFiles, *, keeps: bool) -> Outline:
    """Folded from the journal, after the last snapshot if there is one. `keeps`: write it, as no engine does."""
    from autoresearch_tui.session import snapshots
    from autoresearch_tui.session.fold import read_from
    from autoresearch_tui.session.journal import Start

    known = snapshots.read(files)
    start, before = (known.start, known.state) if known is not None else (Start(), State())
    _, state, extent = read_from(files.journal, start, before)
    found = outline(state)
    if keeps:
        Keeper(files).keep(found, extent.size, extent.checksum)
    return found
