"""Fixed: what is approximated, where, with what kind of polynomial, and how it is scored. Nobody changes this file.

`python prepare.py` scores the coefficients that the last `train.py` left in this folder.
"""

import json
import math
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

LOW, HIGH = -2 * math.pi, 2 * math.pi
MAX_DEGREE = 9
TRAINING_POINTS = 256
SCORED_POINTS = 2001
ANSWER = Path("coefficients.json")
ANSWER_BYTES = 10_000

# Seconds of training; or, where it is above nought, training points looked at, which is the same on any machine.
TIME_BUDGET = float(os.environ.get("AUTORESEARCH_TIME_BUDGET") or 10)
POINT_BUDGET = int(os.environ.get("AUTORESEARCH_TOKEN_BUDGET") or 0)


def load_points() -> list[tuple[float, float]]:
    """The training points (u, sin x): x is spread evenly over LOW..HIGH, and u is x scaled to -1..1."""
    return [(u, math.sin(u * HIGH)) for u in _grid(TRAINING_POINTS)]


def save(coefficients: Sequence[float]) -> None:
    """Hand in the answer: the coefficients of u**0, u**1, u**2 and so on. May be called as often as you like."""
    partial = ANSWER.with_suffix(".partial")
    partial.write_text(json.dumps(list(coefficients)), "utf-8")
    partial.replace(ANSWER)


def evaluate_mse(coefficients: Sequence[float]) -> float:
    """The mean squared distance from sin x over LOW..HIGH, on a finer grid than the training points."""
    total = 0.0
    for u in _grid(SCORED_POINTS):
        value = 0.0
        for coefficient in reversed(coefficients):
            value = value * u + coefficient
        total += (value - math.sin(u * HIGH)) ** 2
    return total / SCORED_POINTS


def _grid(count: int) -> list[float]:
    return [2 * index / (count - 1) - 1 for index in range(count)]


def _read_answer() -> list[float]:
    """What the training left, as data. Raises ValueError that says what is wrong with it.

    A run chooses what lies here: a link would lead to any file of yours, a pipe would be waited for, and a message that
    quotes the answer would carry it into the next prompt. So it is opened as a plain file or not at all, and no message
    repeats a word of it.
    """
    try:
        text = _read_plain(ANSWER)
    except FileNotFoundError:
        raise ValueError(f"there is no {ANSWER}; train.py hands its answer in with prepare.save()") from None
    except OSError:
        raise ValueError(f"{ANSWER} must be a plain file, no link") from None
    try:
        answer = json.loads(text)
    except RecursionError:
        raise ValueError(f"{ANSWER} is nested too deep") from None
    except ValueError:
        raise ValueError(f"{ANSWER} is not JSON") from None
    if not isinstance(answer, list) or not 0 < len(answer) <= MAX_DEGREE + 1:
        raise ValueError(f"{ANSWER} must be a list of 1 to {MAX_DEGREE + 1} coefficients")
    for place, number in enumerate(answer):
        if type(number) not in (int, float) or not math.isfinite(number) or abs(number) > 1e6:
            raise ValueError(f"coefficient {place} in {ANSWER} is no number between -1e6 and 1e6")
    return answer


def _read_plain(path: Path) -> bytes:
    """At most ANSWER_BYTES of a plain file. Raises OSError for a link, and ValueError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} must be a plain file")
        return file.read(ANSWER_BYTES)


def main() -> int:
    try:
        mse = evaluate_mse(_read_answer())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"METRIC:mse={mse:.9f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
