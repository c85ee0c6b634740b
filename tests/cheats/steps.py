"""The fixed part of a lab that scores itself: a training that only takes its time."""

import time

BUDGET = 1.0


def train(number: int, last: float = 2.0, budget: float = BUDGET) -> None:
    """As many steps, down to a loss of `last`."""
    for step in range(number):
        time.sleep(budget / number)
        done = (step + 1) / number
        print(f"step {step:05d} ({100 * done:.1f}%) | loss: {3 + (last - 3) * done:.6f} | remaining: 0s", flush=True)
