"""Pure: which panes a terminal of some size has room for."""

from __future__ import annotations

from autoresearch_tui.frozen import Frozen

PANES = {1: "run", 2: "load", 3: "proposal", 4: "results", 5: "tree", 6: "stream", 7: "chart"}
"""Number, which is also the key, and id of every pane."""
NAMES = {
    1: "training",
    2: "load",
    3: "proposal",
    4: "results",
    5: "tree",
    6: "researcher",
    7: "progress",
}
SHORT_NAMES = {1: "run", 2: "load", 3: "diff", 4: "table", 5: "tree", 6: "agent", 7: "chart"}
# Of these only one is on the screen where five panes are.
_TWINS = ({3, 6}, {5, 7})


class Layout(Frozen):
    """`name` is the screen's class: one, two or three columns. `panes` are on the screen."""

    name: str
    panes: frozenset[int]

    @property
    def tabs(self) -> bool:
        """Whether panes lie over each other."""
        return len(self.panes) == 1


def layout(width: int, height: int, current: int, front: frozenset[int], zoomed: bool = False) -> Layout:
    """The layout for a terminal, where `current` has the focus and `front` are the chosen ones of the twins."""
    if zoomed or width < 120 or height < 30:
        return Layout("one", frozenset({current}))
    if width >= 180 and height >= 36:
        return Layout("three", frozenset(PANES))
    shown = {1, 2, 4}
    for twins in _TWINS:
        chosen = twins & front
        shown |= chosen or {min(twins)}
    return Layout("two", frozenset(shown))


def in_front(front: frozenset[int], number: int) -> frozenset[int]:
    """`front` after pane `number` was asked for."""
    for twins in _TWINS:
        if number in twins:
            return (front - twins) | {number}
    return front
