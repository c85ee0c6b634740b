"""Pure: the branch as a tree. Kept commits are the trunk; all others branch off at the commit they are based on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from itertools import chain
from typing import overload

from msgspec.structs import replace

from autoresearch_tui.cockpit.all_sessions import Together
from autoresearch_tui.cockpit.widgets.cells import cells, cut
from autoresearch_tui.cockpit.widgets.painted import Cells, Row
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.session import draws
from autoresearch_tui.session.badges import marking
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.format import FRONTIER, MARKS, front
from autoresearch_tui.session.prior_results import furthest
from autoresearch_tui.session.questions import ADVANCED
from autoresearch_tui.session.sequence import Chunk, Experiments
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

# Folding a keep hides its leaves with one of these outcomes.
_FOLDED = frozenset(Outcome) - {Outcome.KEEP}
_ROOT = "root"
_QUIET = _FOLDED - {Outcome.INVALID} | {_ROOT}
_TONES: dict[str, str] = {
    **dict.fromkeys(map(str, Outcome), "dim"),
    Outcome.KEEP: "good",
    Outcome.CRASH: "bad",
    Outcome.INVALID: "bad",
    Outcome.STOPPED: "warn",
    **dict.fromkeys(map(str, Stage), "accent-strong"),
}
# As wide as the longest outcome, so that scores and outcomes share a column.
_FIGURES = max(map(len, Outcome)) + 1
# Deeper side branches are drawn at this depth; a phone has 60 columns.
_DEPTH = 8


class Node(Frozen):
    """One row. `number` is None for the root, the commit that the session began from."""

    number: int | None
    prefix: str
    status: str
    star: str  # the mark of the best or of the frontier, else empty
    value: float | None
    delta: float | None
    better: bool
    commit: str
    text: str
    marks: str = ""
    folded: int = 0
    """The number of leaves folded under it."""
    matches: bool = True
    """Whether it passes the filter, rather than being an ancestor of one that does."""
    name: str = ""
    """Its name in place of the number, if all sessions are shown."""

    @property
    def glyph(self) -> str:
        return self.star or MARKS.get(self.status, ("◆", ""))[0]


def parents(experiments: Experiments) -> list[int | None]:
    """For each experiment the one whose commit it is based on; None: the session's base."""
    return experiments.known(_links, _parents)


def _links(chunk: Chunk) -> tuple[tuple[str, str, bool, bool], ...]:
    """The facts that the shape of the tree depends on."""
    columns = zip(*map(chunk.column, ("base", "commit", "outcome", "advanced")), strict=True)
    return tuple((base, commit, outcome == Outcome.KEEP, advanced) for base, commit, outcome, advanced in columns)


def _parents(parts: Sequence[tuple[tuple[str, str, bool, bool], ...]]) -> list[int | None]:
    at: dict[str, int] = {}
    kept: list[bool] = []
    found: list[int | None] = []
    for number, (base, commit, keep, _) in enumerate(chain.from_iterable(parts)):
        found.append(at.get(base))
        kept.append(keep)
        holder = at.get(commit)
        # A repeat shares its commit with the first run: the kept one stays the parent.
        if holder is None or (keep and not kept[holder]):
            at[commit] = number
    return found


def trunk(state: State, parent: Sequence[int | None]) -> set[int]:
    """The experiments from the frontier back to the session's base."""
    found: set[int] = set()
    number = state.frontier_number
    while number is not None and number not in found:
        found.add(number)
        number = parent[number]
    return found


class Rows(Sequence[Node]):
    """All rows, newest at the top and the root at the bottom; each is made on demand."""

    def __init__(self, state: State, parent: list[int | None], order: list[tuple[int, str]]) -> None:
        """`order`: the experiments with their prefixes, oldest first."""
        self.parent, self.order = parent, order
        self._state = state
        self._marks = marking(state)
        self.shown: Collection[int] | None = None
        self.away: Mapping[int | None, int] = {}
        self.frontier_number: int | None = -1
        """The end of the trunk; -1 if something is folded or left out."""
        self.numbers: Sequence[int] = [number for number, _ in reversed(order)]

    @property
    def folded(self) -> int:
        """The number of folded leaves."""
        return sum(self.away.values())

    def of(self, state: State) -> Rows:
        """The same rows for another state whose tree has the same shape."""
        rows = copy(self)
        rows._state, rows._marks = state, marking(state)
        return rows

    def __len__(self) -> int:
        return len(self.order) + (self._state.session is not None)

    @overload
    def __getitem__(self, row: int) -> Node: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, row: int | slice) -> Node | tuple[Node, ...]:
        if isinstance(row, slice):
            return tuple(self[at] for at in range(*row.indices(len(self))))
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        at = len(self.order) - 1 - row % len(self)
        return self._root() if at < 0 else self._node(*self.order[at])

    def _root(self) -> Node:
        return replace(_root(self._state), folded=self.away.get(None, 0))

    def _node(self, number: int, prefix: str) -> Node:
        state, up = self._state, self.parent[number]
        experiments = state.experiments
        base = draws.beside(experiments[number], experiments[up]) if up is not None else None
        star = "★" if number == state.best_number else FRONTIER if number == state.frontier_number else ""
        node = _node(experiments[number], prefix, base, state.goal, star)
        several = len(state.heads) > 1 or number != state.frontier_number
        if several and (names := [front(f) for f, at in sorted(state.heads.items()) if at == number]):
            node = replace(node, star=star or FRONTIER, text=f"{', '.join(names)} · {node.text}")
        marks, matches = self._marks.of(experiments[number]), self.shown is None or number in self.shown
        return replace(node, marks=marks, folded=self.away.get(number, 0), matches=matches)


def build(
    state: State,
    *,
    shown: Collection[int] | None = None,
    folded: Collection[int | None] = (),
    before: Rows | None = None,
) -> Rows:
    """The rows of `shown` and their ancestors, or of all. `folded` are keeps whose finished leaves are hidden; None:
    the root's.

    `before`: the rows of an earlier state, which are reused if the tree has the same shape.
    """
    experiments = state.experiments
    parent = parents(experiments)
    plain = shown is None and not folded
    if plain and before is not None and before.parent is parent and before.frontier_number == state.frontier_number:
        return before.of(state)
    main = _main_children(experiments, parent, trunk(state, parent))
    visible = None if shown is None else _with_ancestors(shown, parent)
    if visible is not None:
        main = {up: number for up, number in main.items() if number in visible}
    children: list[list[int]] = [[] for _ in parent]
    roots: list[int] = []
    for number, up in enumerate(parent):
        if visible is None or number in visible:
            (roots if up is None else children[up]).append(number)
    away = _fold(experiments, roots, children, folded)
    rows = Rows(state, parent, _walk(roots, children, main))
    rows.shown, rows.away = None if shown is None else frozenset(shown), away
    rows.frontier_number = state.frontier_number if plain else -1
    return rows


def named(nodes: Sequence[Node], whole: Together) -> tuple[Node, ...]:
    """The rows of all sessions, numbered as in their own session, with the tags of the others."""
    found, marked = [], {part.tag: marking(part.state) for part in whole.parts}
    for node in nodes:
        if node.number is None:
            found.append(replace(node, commit="", text=f"where the sessions began · {whole.summary}"))
            continue
        part = whole.part_of(node.number)
        number = node.number - part.first
        marks = marked[part.tag].of(part.state.experiments[number])
        text = node.text if part is whole.own else f"{part.tag}: {node.text}"
        found.append(replace(node, name=f"#{number}", text=text, marks=marks))
    return tuple(found)


def _with_ancestors(numbers: Collection[int], parent: Sequence[int | None]) -> set[int]:
    found: set[int] = set()
    for number in numbers:
        up: int | None = number
        while up is not None and up not in found:
            found.add(up)
            up = parent[up]
    return found


def _fold(
    experiments: Sequence[Experiment], roots: list[int], children: list[list[int]], folded: Collection[int | None]
) -> dict[int | None, int]:
    """Removes the finished leaves of folded keeps from `roots` and `children`; returns how many, by parent."""
    away: dict[int | None, int] = {}
    for number in folded:
        below = roots if number is None else children[number] if number < len(children) else []
        stays = [n for n in below if children[n] or experiments[n].outcome not in _FOLDED]
        if len(stays) < len(below):
            away[number] = len(below) - len(stays)
            below[:] = stays
    return away


def _main_children(experiments: Experiments, parent: Sequence[int | None], trunk: set[int]) -> dict[int | None, int]:
    """The child that continues its parent's column: the one on the trunk, or else the last kept one."""
    main: dict[int | None, int] = {}
    for number in sorted(trunk.union(experiments.numbers(ADVANCED, True))):
        if number in trunk or main.get(parent[number], -1) not in trunk:
            main[parent[number]] = number
    return main


def _walk(roots: list[int], children: list[list[int]], main: Mapping[int | None, int]) -> list[tuple[int, str]]:
    """Every experiment with its prefix, oldest first. Not recursive, because chains are long."""
    rows: list[tuple[int, str]] = []
    pending: list[tuple[int, str, str]] = _plan(roots, main.get(None), "")
    while pending:
        number, column, connector = pending.pop()
        rows.append((number, column + connector))
        if children[number]:
            # Children are in the column of their parent, or one further in if a connector leads to it.
            inner = column + {"├─": "│ ", "┌─": "  "}.get(connector, "") if len(column) < 2 * _DEPTH else column
            pending += _plan(children[number], main.get(number), inner)
    return rows


def _plan(numbers: list[int], main: int | None, column: str) -> list[tuple[int, str, str]]:
    """The children of one node as a stack: the oldest leaf is on top, the main child at the bottom."""
    leaves = [number for number in numbers if number != main]
    plan = [(main, column, "")] if main is not None else []
    for place, number in enumerate(reversed(leaves)):
        last = place == 0 and main is None
        plan.append((number, column, "┌─" if last else "├─"))
    return plan


def _root(state: State) -> Node:
    session = state.session
    assert session is not None
    earlier = f" · {len(state.prior)} prior results" if state.prior else ""
    if state.prior_left_out:
        earlier += f", {state.prior_left_out:,} left out"
    if state.shared:
        earlier += f" · {len(state.shared)} shared by other labs"
    further = furthest(state.prior, state.goal)
    mine = state.best.value if state.best is not None else None
    if further is not None and further.value is not None and (mine is None or state.goal.better(further.value, mine)):
        earlier += f" · {clean_line(further.session)} reached {further.value:.6f}: --new --from best"
    return Node(None, "", _ROOT, "", None, None, False, session.base, clean_line(session.branch) + earlier)


def _node(experiment: Experiment, prefix: str, base: float | None, goal: Goal, star: str) -> Node:
    value = experiment.value
    delta = value - base if value is not None and base is not None else None
    return Node(
        number=experiment.number,
        prefix=prefix,
        status=experiment.status,
        star=star,
        value=value,
        delta=delta,
        better=value is not None and base is not None and goal.better(value, base),
        commit=experiment.commit,
        text=clean_line(experiment.description),
    )


def row(node: Node, width: int, head: Row, digits: int = 6) -> Row:
    """`head` is what the list puts before a row."""
    room = width - sum(cells(text) for text, _ in head)
    name, figures, text, commit = columns(node, room, digits)
    tone = "good-strong" if node.star else _TONES.get(node.status, "dim")
    quiet = node.status in _QUIET or not node.matches
    figure = "dim" if node.status == Outcome.DISCARD else "good" if node.better else tone
    text_tone = "good-strong" if node.star else "dim" if quiet else "text"
    marks = len(node.marks)
    made: list[Cells] = [*head, (node.prefix, "faint"), (name[len(node.prefix) :], tone), (figures, figure)]
    made += [(text[:marks], "warn"), (text[marks:], text_tone)]
    gap = room - cells(name + figures + text + commit)
    return [*made, (" " * max(gap, 0), ""), (commit, "faint")]


def columns(node: Node, width: int, digits: int = 6) -> tuple[str, str, str, str]:
    """A row's head (prefix, glyph, number), figures, text and hash, to fit `width`."""
    number = "" if node.number is None else f"{node.name or f'#{node.number}'} "
    # Trunk and leaves have their figures in one column, up to four digits.
    head = f"{node.prefix}{node.glyph} {number}".ljust(10 if number else 0)
    figures = _figures(node, width, digits)
    commit = f" {node.commit[:7]}" if width >= 60 else ""
    text = f"{node.marks} {node.text}" if node.marks else node.text
    if node.folded:
        text = f"{node.marks}{' ' if node.marks else ''}+{node.folded} folded · {node.text}"
    return head, figures, cut(text, max(width - cells(head + figures + commit), 0)), commit


def _figures(node: Node, width: int, digits: int) -> str:
    if node.number is None:
        return ""
    result = node.status if node.value is None else f"{node.value:.{digits}f}"
    if width < 72:
        return f"{result} ".ljust(_FIGURES)
    change = f" {node.delta:+.{digits}f}" if node.delta is not None else ""
    return f"{result}{change}  ".ljust(2 * digits + 8)
