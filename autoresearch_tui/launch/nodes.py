"""`prepare --nodes`: the progress of each node of the cluster, in the terminal."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from autoresearch_tui.lab.cluster_address import NONE
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.session.cluster_file import NodeProgress
from autoresearch_tui.util.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_WIDTH = 48


def prepare(lab: Lab, address: str, arguments: Sequence[str] = ()) -> tuple[int, int]:
    """Prepares all nodes of the cluster at `address`, or of the lab's. Returns how many are ready, and of how many.

    `arguments` are other options of the command, which nodes do not take. Raises UserError.
    """
    from autoresearch_tui.cluster.prepare_nodes import prepare_nodes

    address = address or lab.settings.cluster.address
    if not address or address == NONE:
        raise UserError(f"{lab.root}: no cluster is named", "set `cluster.address`, or give --cluster host:port")
    if arguments:
        raise UserError(
            f"{arguments[0]}: nodes prepare what the lab's settings say", "set AUTORESEARCH_DATA in `run.env`"
        )
    with contextlib.closing(prepare_nodes(lab, address)) as steps:
        return show(steps)


def show(steps: Iterator[NodeProgress]) -> tuple[int, int]:
    """Draws a bar for each node on stderr, then a line for each that failed. Returns as :func:`prepare`."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[node]}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    last: dict[str, NodeProgress] = {}
    first = list(itertools.islice(steps, 1))  # without a first step, nothing is drawn before the error
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}
        for step in itertools.chain(first, steps):
            _draw(progress, tasks, step)
            last[step.node] = step
    for step in last.values():
        if step.problem:
            sys.stderr.write(f"autoresearch-tui: {step.node}: {step.problem}\n")
    return sum(step.ready for step in last.values()), len(last)


def _draw(progress: Progress, tasks: dict[str, TaskID], step: NodeProgress) -> None:
    if step.node not in tasks:
        tasks[step.node] = progress.add_task("", total=None, node=step.node)
    task = tasks[step.node]
    text = step.problem or step.doing
    description = text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
    progress.update(task, description=description, total=None if step.share is None else 1.0)
    progress.update(task, completed=step.share or 0.0)
    if step.problem or step.ready:
        progress.stop_task(task)
