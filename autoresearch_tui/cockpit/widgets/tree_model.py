"""Pure: the session's experiments as the rows of a branch tree, newest first, as `git log --graph` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autoresearch_tui.cockpit.marks import marking
from autoresearch_tui.cockpit.widgets.cells import cut
from autoresearch_tui.cockpit.words import MARKS
from autoresearch_tui.engine.state import Experiment, State
from autoresearch_tui.text import clean_line

# Deeper side branches are drawn at this depth; a phone has 60 columns.
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Node:
    """One row. `number` is None for the root, the commit that the session began from."""

    number: int | None
    prefix: str
    status: str
    best: bool
    value: float | None
    delta: float | None
    better: bool
    commit: str
    text: str
    marks: str = ""

    @property
    def glyph(self) -> str:
        """The mark that says how it went; the frontier has its own."""
        return "★" if self.best else MARKS.get(self.status, ("◆", ""))[0]


def parents(experiments: Sequence[Experiment]) -> list[int | None]:
    """For each experiment the one whose commit it is based on; None: the session's base."""
    at: dict[str, int] = {}
    found: list[int | None] = []
    for experiment in experiments:
        found.append(at.get(experiment.base))
        holder = at.get(experiment.commit)
        # A repeat shares its commit with the first: what was kept stays the parent.
        if holder is None or (experiment.outcome == "keep" and experiments[holder].outcome != "keep"):
            at[experiment.commit] = experiment.number
    return found


def trunk(state: State, parent: Sequence[int | None]) -> set[int]:
    """The way from the frontier back to the session's base."""
    way: set[int] = set()
    number = state.frontier
    while number is not None and number not in way:
        way.add(number)
        number = parent[number]
    return way


def build(state: State) -> tuple[Node, ...]:
    """All rows, the newest at the top and the root at the bottom."""
    experiments = state.experiments
    parent = parents(experiments)
    main = _main_children(experiments, parent, trunk(state, parent))
    children: list[list[int]] = [[] for _ in experiments]
    roots: list[int] = []
    for number, up in enumerate(parent):
        (roots if up is None else children[up]).append(number)
    maximize = state.session is not None and state.session.goal == "maximize"
    marked = marking(state)
    rows = [_root(state)] if state.session else []
    for number, prefix in _walk(roots, children, main):
        up = parent[number]
        base = experiments[up].value if up is not None else None
        node = _node(experiments[number], prefix, base, maximize, number == state.frontier)
        rows.append(replace(node, marks=marks) if (marks := marked.of(experiments[number])) else node)
    return tuple(reversed(rows))


def _main_children(
    experiments: Sequence[Experiment], parent: Sequence[int | None], way: set[int]
) -> dict[int | None, int]:
    """The child that goes on in its parent's column: the trunk's, or else the last kept one."""
    main: dict[int | None, int] = {}
    for number, up in enumerate(parent):
        kept = experiments[number].outcome == "keep"
        if number in way or (kept and main.get(up, -1) not in way):
            main[up] = number
    return main


def _walk(roots: list[int], children: list[list[int]], main: Mapping[int | None, int]) -> list[tuple[int, str]]:
    """Every experiment with its prefix, oldest first; without recursion, for chains are long."""
    rows: list[tuple[int, str]] = []
    pending: list[tuple[int, str, str]] = _plan(roots, main.get(None), "")
    while pending:
        number, column, connector = pending.pop()
        rows.append((number, column + connector))
        if children[number]:
            # Its children hang in its own column: one further in, where a connector leads to it.
            inner = column + {"├─": "│ ", "┌─": "  "}.get(connector, "") if len(column) < 2 * _DEPTH else column
            pending += _plan(children[number], main.get(number), inner)
    return rows


def _plan(numbers: list[int], main: int | None, column: str) -> list[tuple[int, str, str]]:
    """The children of one node as a stack, the first to come out being the oldest leaf, the last the main child."""
    leaves = [number for number in numbers if number != main]
    plan = [(main, column, "")] if main is not None else []
    for place, number in enumerate(reversed(leaves)):
        last = place == 0 and main is None
        plan.append((number, column, "┌─" if last else "├─"))
    return plan


def _root(state: State) -> Node:
    session = state.session
    assert session is not None
    earlier = f" · {len(state.earlier)} earlier results" if state.earlier else ""
    return Node(None, "", "root", False, None, None, False, session.base, clean_line(session.branch) + earlier)


def _node(experiment: Experiment, prefix: str, base: float | None, maximize: bool, best: bool) -> Node:
    value = experiment.value
    delta = value - base if value is not None and base is not None else None
    return Node(
        number=experiment.number,
        prefix=prefix,
        status=experiment.outcome or experiment.stage.value,
        best=best,
        value=value,
        delta=delta,
        better=delta is not None and (delta > 0) is maximize and delta != 0,
        commit=experiment.commit,
        text=clean_line(experiment.description),
    )


def columns(node: Node, width: int) -> tuple[str, str, str, str]:
    """A row's head (prefix, glyph, number), figures, text and hash, to fit `width`."""
    number = "" if node.number is None else f"#{node.number} "
    # Trunk and leaves have their figures in one column, up to four digits.
    head = f"{node.prefix}{node.glyph} {number}".ljust(10 if number else 0)
    figures = _figures(node, width)
    commit = f" {node.commit[:7]}" if width >= 60 else ""
    room = max(width - len(head) - len(figures) - len(commit), 0)
    text = f"{node.marks} {node.text}" if node.marks else node.text
    return head, figures, cut(text, room), commit


def _figures(node: Node, width: int) -> str:
    if node.number is None:
        return ""
    if node.value is None:
        return f"{node.status:<10}" + (" " * 10 if width >= 72 else "")
    value = f"{node.value:.6f} "
    if width < 72:
        return value
    return value + (f"{node.delta:+.6f}  " if node.delta is not None else " " * 11)
