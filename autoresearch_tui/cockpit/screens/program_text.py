"""Pure: which experiments ran under which version of the program, and how good they were."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from rich.table import Table
from rich.text import Text

from autoresearch_tui.engine.state import TABLED, State


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the program, and what came of it."""

    version: str
    first: int
    last: int
    tried: int
    kept: int
    best: float | None
    best_number: int | None


def versions(state: State) -> tuple[Version, ...]:
    """The versions that experiments were proposed under, the newest first."""
    found: dict[str, Version] = {}
    for experiment in state.experiments:
        name = experiment.program
        before = found.get(name) or Version(name, experiment.number, experiment.number, 0, 0, None, None)
        best, number = before.best, before.best_number
        value = experiment.value if experiment.outcome in ("keep", "discard") else None
        if value is not None and (best is None or _better(state, value, best)):
            best, number = value, experiment.number
        found[name] = Version(
            version=name,
            first=before.first,
            last=experiment.number,
            tried=before.tried + (experiment.outcome in TABLED),
            kept=before.kept + (experiment.outcome == "keep"),
            best=best,
            best_number=number,
        )
    return tuple(sorted(found.values(), key=lambda one: -one.last))


def _better(state: State, value: float, than: float) -> bool:
    return value > than if state.session and state.session.goal == "maximize" else value < than


def uses(state: State, version: str) -> str:
    """Who has this version now: the running experiment, those that wait, the request that is out."""
    parts = []
    running = state.running
    if running is not None and running.program == version:
        parts.append(f"#{running.number} runs under it")
    waiting = [f"#{e.number}" for e in state.waiting if e.program == version]
    if waiting:
        parts.append(f"{', '.join(waiting)} {'waits' if len(waiting) == 1 else 'wait'}")
    if state.asked is not None and state.program == version:
        parts.append(f"#{state.asked.number} is being proposed")
    return ", ".join(parts)


def next_line(state: State, on_disk: str) -> str:
    """What the next experiment will be proposed under."""
    number = len(state.experiments)
    if state.asked is not None:
        asked = f"#{state.asked.number} is being proposed under {state.program[:7] or 'an unknown version'}"
        if state.program == on_disk:
            return asked
        return f"{asked}; #{state.asked.number + 1} will have {on_disk[:7]}"
    return f"the next experiment, #{number}, will have {on_disk[:7]}"


def history(state: State, on_disk: str, quiet: Style) -> Table:
    """The table of versions with the best score under each."""
    grid = Table(box=None, expand=True, padding=(0, 1), show_edge=False, header_style=quiet)
    grid.add_column("version", no_wrap=True)
    grid.add_column("experiments", no_wrap=True)
    grid.add_column("kept", justify="right", no_wrap=True)
    grid.add_column("best", no_wrap=True)
    grid.add_column("now", ratio=1, style=quiet)
    rows = versions(state)
    if on_disk and all(row.version != on_disk for row in rows):
        grid.add_row(Text(on_disk[:7], style="bold"), Text("none yet"), "", "", Text("on disk"))
    for row in rows:
        best = "-" if row.best is None else f"{row.best:.6f} by #{row.best_number}"
        star = "★ " if state.frontier is not None and row.best_number == state.frontier else ""
        now = ["on disk"] if row.version == on_disk else []
        used = uses(state, row.version)
        grid.add_row(
            Text(row.version[:7] or "unknown", style="bold" if row.version == on_disk else ""),
            Text(f"#{row.first}-{row.last}" if row.last > row.first else f"#{row.first}"),
            Text(f"{row.kept}/{row.tried}"),
            Text(star + best),
            Text(", ".join([*now, *([used] if used else [])])),
        )
    return grid
