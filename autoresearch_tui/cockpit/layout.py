"""Pure: which panes a terminal of some size has room for."""

from __future__ import annotations

from autoresearch_tui.util.frozen import Frozen

PANES = {1: "run", 2: "load", 3: "proposal", 4: "results", 5: "tree", 6: "stream", 7: "chart"}
"""Number, which is also the key, and id of every pane."""
NAMES = {1: "run", 2: "load", 3: "diff", 4: "results", 5: "tree", 6: "researcher", 7: "chart"}
"""What titles, tabs, help and documents call them. They fit a row of tabs of 60 columns."""
LETTERS = {1: "a", 2: "s", 3: "d", 4: "f", 5: "g", 6: "h", 7: "j"}
"""Of jump mode: the row of keys where the fingers are, in the order of the panes."""
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


def signposts(shown: frozenset[int]) -> dict[int, list[int]]:
    """The panes whose letters stand on each pane in sight: its own, and of those that would come in its place."""
    posts: dict[int, list[int]] = {number: [] for number in sorted(shown)}
    for number in PANES:
        twins = next((twins & shown for twins in _TWINS if number in twins), set())
        posts[number if number in shown else min(twins or shown)].append(number)
    return posts
