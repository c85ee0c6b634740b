"""The runs of each device, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from autoresearch_tui.report.page import Block, Bullets, Grid, Heading
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.ends import FAILED, Outcome
from autoresearch_tui.session.fleet_baselines import BASELINE
from autoresearch_tui.session.questions import DEVICE
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.text import clean_line


def several(state: State) -> bool:
    """Whether a session ran on more than one device, or on a cluster."""
    if state.fleet.devices or state.fleet.refused:
        return True
    return len(state.experiments.values(DEVICE) - {""}) > 1


def section(state: State, records: Iterable[ev.Record]) -> Iterator[Block]:
    """A table of the devices, and why nodes were not used; nothing if there was one device."""
    if not several(state):
        return
    lost: dict[str, int] = {}
    where: dict[int, str] = {}
    for record in records:
        match record.event:
            case ev.RunStarted(number=number, device=device):
                where[number] = device
            case ev.RunRequeued(number=number) if number in where:
                lost[where[number]] = lost.get(where[number], 0) + 1
    names = dict.fromkeys((*state.fleet.devices, *sorted(state.experiments.values(DEVICE) - {""})))
    rows = tuple(_row(state, name, list(state.experiments.having(DEVICE, name)), lost.get(name, 0)) for name in names)
    header = ("device", "", "baseline", "runs", "kept", "failed", "run again", "hours", "")
    yield Heading(2, "Devices")
    yield Grid(header, rows, frozenset(range(2, 8)))
    refused = []
    for node, each in state.fleet.refused.items():
        why = " — ".join(filter(None, (each.reason, each.remedy)))
        refused.append(clean_line(f"{node} was not used: {why}"))
    if refused:
        yield Bullets(tuple(refused))


def _row(state: State, name: str, ran: Sequence[Experiment], lost: int) -> tuple[str, ...]:
    device = state.fleet.devices.get(name)
    baselines = [e.value for e in ran if e.author == BASELINE and e.value is not None]
    left = f"left: {device.left}" if device is not None and device.left else ""
    aside = f"set aside: {device.set_aside}" if device is not None and device.set_aside else ""
    return (
        clean_line(name),
        clean_line(device.model) if device is not None else "",
        f"{baselines[-1]:.6f}" if baselines else "",
        str(len(ran)),
        str(sum(e.outcome == Outcome.KEEP for e in ran)),
        str(sum(e.outcome in FAILED for e in ran)),
        str(lost or ""),
        f"{sum(e.run.seconds for e in ran if e.run is not None) / 3600:.1f}",
        clean_line("; ".join(filter(None, (aside, left)))),
    )
