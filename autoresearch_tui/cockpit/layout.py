"""Pure: which panes a terminal has room for."""

from __future__ import annotations

from autoresearch_tui.util.frozen import Frozen

PANES = {1: "run", 2: "load", 3: "proposal", 4: "results", 5: "tree", 6: "stream", 7: "chart"}
"""The id of each pane, by its number, which is also its key."""
NAMES = {1: "run", 2: "load", 3: "diff", 4: "results", 5: "tree", 6: "researcher", 7: "chart"}
"""The names in titles, tabs, help and documents. They fit a row of tabs in 60 columns."""
LETTERS = {1: "a", 2: "s", 3: "d", 4: "f", 5: "g", 6: "h", 7: "j"}
"""The keys of jump mode: the home row, in the order of the panes."""
# In the layout with two columns, one pane of each pair is on the screen.
_TWINS = ({3, 6}, {5, 7})


class Layout(Frozen):
    """`panes` are on the screen; `name` is the screen's class: one, two or three columns."""

    name: str
    panes: frozenset[int]

    @property
    def tabs(self) -> bool:
        """Whether the other panes are behind tabs."""
        return len(self.panes) == 1


def layout(width: int, height: int, current: int, front: frozenset[int], zoomed: bool = False) -> Layout:
    """`current` is the focused pane, `front` the chosen pane of each pair of twins."""
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
    """`front` after pane `number` was chosen."""
    for twins in _TWINS:
        if number in twins:
            return (front - twins) | {number}
    return front


def signposts(shown: frozenset[int]) -> dict[int, list[int]]:
    """For each visible pane, the panes that a letter on it leads to: itself, and those that would replace it."""
    posts: dict[int, list[int]] = {number: [] for number in sorted(shown)}
    for number in PANES:
        twins = next((twins & shown for twins in _TWINS if number in twins), set())
        posts[number if number in shown else min(twins or shown)].append(number)
    return posts
