"""The fixed part of a lab without any packages: an evaluation that a cheat would like to be kinder."""

import fractions
import sys

BEST = 7


def evaluate(answer: float) -> float:
    """The score of an answer; lower is better."""
    return float(fractions.Fraction(1) + abs(fractions.Fraction(answer) - BEST) / 10)


def finish(score: float) -> None:
    """The summary that the loop reads."""
    sys.stdout.write(f"---\nval_bpb:          {score:.6f}\n")
