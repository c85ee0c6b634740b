"""Pure: what a session costs, researcher and accelerators together.

A device with a price (`limits.accelerator_usd_per_hour`) costs money as long as an engine is at work, with or without a
run, like a rented machine. Without an engine, only devices whose run continues do, until it ends.
"""

from __future__ import annotations

from autoresearch_tui.session import events as ev
from autoresearch_tui.session import limits
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.frozen import Frozen


class Cost(Frozen):
    """Dollars, as far as prices are known. `critic_usd`: the part of `researcher_usd` spent on second opinions.

    `device_hours`: of all priced devices together. `per_keep`: per kept improvement; None if there is none.
    `projected`: at the requested end (`--until`, `--hours`, `--experiments`); None without one, or before the first run
    has finished. `max_usd`: 0 for no limit.
    """

    researcher_usd: float
    accelerator_usd: float
    tokens: int
    device_hours: float
    per_keep: float | None
    projected: float | None
    max_usd: float
    critic_usd: float = 0.0

    @property
    def usd(self) -> float:
        return self.researcher_usd + self.accelerator_usd


def cost(state: State, now: float | None = None) -> Cost:
    """As of the last record; with a live engine as of `now` (seconds since 1970)."""
    engine = state.last_engine
    moment = timestamps.seconds(state.time) if now is None else now
    running = 0.0
    if state.engine is not None and state.engine.accelerator_usd_per_hour:
        running = max(0.0, moment - timestamps.seconds(state.time)) * state.engine.devices
    improved = improvements(state)
    spent = limits.spent(state, moment)
    return Cost(
        researcher_usd=state.usd,
        accelerator_usd=spent - state.usd,
        tokens=state.tokens,
        device_hours=(state.device_seconds + running) / 3600,
        per_keep=spent / improved if improved and spent else None,
        projected=_projected(state, moment),
        max_usd=engine.max_usd if engine is not None else 0.0,
        critic_usd=state.critic_usd,
    )


def improvements(state: State) -> int:
    """How many experiments were kept, the baseline not counted."""
    first = state.experiments[0] if state.experiments else None
    return state.ended[Outcome.KEEP] - (first is not None and first.outcome == Outcome.KEEP)


def _projected(state: State, now: float) -> float | None:
    """The total at the end, if each run needs as much of the researcher and the devices as those so far."""
    engine, took, done = state.engine, limits.usual_seconds(state), state.rows
    hour, rows = limits.until(state), int(state.overrides.get("experiments", "0"))
    if engine is None or took is None or not done or (hour is None and not rows):
        return None
    runs = float("inf") if not rows else max(0.0, rows - done)
    if hour is not None:
        runs = min(runs, max(0.0, hour - now) * engine.devices / took)
    for_devices = runs * took / 3600 * engine.accelerator_usd_per_hour
    total = limits.spent(state, now) + runs * state.usd / done + for_devices
    return min(total, engine.max_usd) if engine.max_usd else total


def in_words(cost: Cost, *, ahead: bool = True) -> str:
    """`$9.72 of $20 · about $14.00 at the end`; `ahead`: include the projection."""
    words = f"${cost.usd:.2f}" + (f" of ${cost.max_usd:g}" if cost.max_usd else "")
    return f"{words} · about ${cost.projected:.2f} at the end" if ahead and cost.projected is not None else words


def paid(state: State, event: ev.Event, time: str) -> dict[str, float]:
    """The devices' cost after one more record: of all devices while an engine lives, else of those that run."""
    engine = state.engine
    if engine is None or not engine.accelerator_usd_per_hour or isinstance(event, ev.EngineStarted):
        return {}
    seconds = timestamps.between(state.time, time) * engine.devices
    if isinstance(event, ev.RunEnded) and event.reason != "lost":  # it is unknown when a lost run ended
        start = timestamps.seconds(state.experiments[event.number].started_at)
        for gone, back in state.away:
            alone = min(start + event.seconds, timestamps.seconds(back)) - max(start, timestamps.seconds(gone))
            seconds += max(0.0, alone)
    usd = seconds / 3600 * engine.accelerator_usd_per_hour
    return {"device_seconds": state.device_seconds + seconds, "device_usd": state.device_usd + usd}
