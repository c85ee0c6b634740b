"""Approximates sin x by a polynomial, fitted by gradient descent in plain Python. Yours to change.

`python train.py` trains for the budget (AUTORESEARCH_TIME_BUDGET, 10 seconds by default) and prints the score.
"""

import math
import random
import sys
import time

from prepare import MAX_DEGREE, POINT_BUDGET, TIME_BUDGET, evaluate_mse, load_points, save

DEGREE = 5  # of the polynomial
LEARNING_RATE = 0.02
MOMENTUM = 0.5
BATCH_SIZE = 32  # points a step
WARMDOWN_RATIO = 0.1  # the part of the budget in which the learning rate falls to nothing

if DEGREE > MAX_DEGREE:
    raise ValueError(f"DEGREE = {DEGREE}: the scorer takes no more than {MAX_DEGREE}")

started = time.perf_counter()
random.seed(0)
points = load_points()
coefficients = [0.0] * (DEGREE + 1)
velocity = [0.0] * (DEGREE + 1)


def gradient(batch):
    """The mean squared error of a batch, and its slope along each coefficient."""
    loss = 0.0
    slopes = [0.0] * len(coefficients)
    for u, target in batch:
        powers = [1.0]
        for _ in range(DEGREE):
            powers.append(powers[-1] * u)
        error = sum(c * p for c, p in zip(coefficients, powers, strict=True)) - target
        loss += error * error
        for index, power in enumerate(powers):
            slopes[index] += 2 * error * power
    return loss / len(batch), [slope / len(batch) for slope in slopes]


def show(step, done, loss, rate, seconds):
    """One progress line, in place of the last."""
    seen = step * BATCH_SIZE
    print(
        f"\rstep {step:05d} ({100 * done:.1f}%) | loss: {loss:.6f} | lrm: {rate:.2f} "
        f"| dt: {1000 * seconds / max(step, 1):.0f}ms | tok/sec: {seen / max(seconds, 1e-9):,.0f} | mfu: 0.0% "
        f"| epoch: {1 + seen // len(points)} | remaining: {seconds * (1 / max(done, 1e-9) - 1):.0f}s    ",
        end="",
        flush=True,
    )


step = 0
done = 0.0
smooth_loss = 0.5
next_shown = 0.0
training_started = time.perf_counter()
while done < 1:
    rate = min(1.0, (1 - done) / WARMDOWN_RATIO) if WARMDOWN_RATIO else 1.0
    loss, slopes = gradient(random.sample(points, min(BATCH_SIZE, len(points))))
    if math.isnan(loss) or loss > 100:
        print("\nFAIL")
        sys.exit(1)
    for index, slope in enumerate(slopes):
        velocity[index] = MOMENTUM * velocity[index] - LEARNING_RATE * rate * slope
        coefficients[index] += velocity[index]
    step += 1
    smooth_loss += 0.02 * (loss - smooth_loss)
    seconds = time.perf_counter() - training_started
    done = min(1.0, step * BATCH_SIZE / POINT_BUDGET if POINT_BUDGET else seconds / TIME_BUDGET)
    if done >= next_shown or done == 1:
        show(step, done, smooth_loss, rate, seconds)
        next_shown = done + 0.01

save(coefficients)
print("\n---")
print(f"METRIC:mse={evaluate_mse(coefficients):.9f}")
print(f"training_seconds: {seconds:.1f}")
print(f"total_seconds:    {time.perf_counter() - started:.1f}")
print(f"num_steps:        {step}")
print(f"degree:           {DEGREE}")
