"""How many requests for proposals are to be in the making at once. Pure."""

from __future__ import annotations

import math

SLACK = 1.25
"""By how much an answer may take longer than the median, where several devices wait."""


def at_once(devices: int, thinking: float | None, running: float | None, most: int = 0) -> int:
    """So many that each device finds a proposal when its run ends, at least 1.

    `thinking` and `running` are the median seconds of an answer and of a run; None: not measured yet, when each device
    counts as one. `most`: the human's limit; 0: one more than there are devices, and one for a single device: the human
    has not asked for answers that cost twice as much at a time.

    Runs that begin together end together, and then as many proposals are wanted as there are devices; within one run
    a stream gives as many as there are whole thoughts in it.
    """
    limit = most or (devices + 1 if devices > 1 else 1)
    if not thinking or not running:
        return max(1, min(devices, limit))
    slow = thinking * (SLACK if devices > 1 else 1.0)
    answers = math.floor(running / slow)
    needed = math.ceil(devices / answers) if answers else math.ceil(devices * slow / running)
    return max(1, min(needed, limit))


def wants_another(making: int, waiting: int, may_wait: int, most: int) -> bool:
    """Whether to ask for one more beside those in the making and those that wait for a run.

    `may_wait`: how many may wait; `most`: how many may be in the making. Where a thought takes longer than a run there
    are more in the making than may wait.
    """
    return making < most and waiting < may_wait and making + waiting < max(may_wait, most)
