"""Which questions a referee asks, in which order, and what the answers say about looking ahead. Fixed.

A model may know what stands before a position and nothing else. So some rows are shown first with another
continuation: true up to a random place, from there on text that followed the same token elsewhere. Whatever is asked
there has to be answered before the true continuation was ever shown. A run cannot tell which showing is which: rows
that are shown once are mixed in, some rows are shown three times or more, and the order is drawn anew for every run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PROBES = 512
AHEAD = 2  # questions that a run may have seen beyond the one that it answers, and one more
OCCURRENCES = 4096  # at most so many places to take another continuation from

# Limits: how much better an answer may become once the true continuation was shown. False alarms are worse than misses.
ONE_GAIN = 0.75  # nats, at any position; more where answers are noisy
MEAN_GAIN = 0.01  # nats, over the probes
MEMORY_GAIN = 0.3  # nats, probed positions against all others
SIGMAS = 6.0


@dataclass(frozen=True)
class Probe:
    """A row that is true up to `cut`; `others` and `chances` are what could have stood there instead, by chance."""

    row: int
    cut: int
    shown: int  # the token at `cut`
    others: np.ndarray
    chances: np.ndarray


@dataclass(frozen=True)
class Plan:
    """Showings in the order in which they are asked. Arrays of one entry, or one row, for each."""

    questions: np.ndarray  # (showings, T) tokens
    targets: np.ndarray  # (showings, T) the row's true next tokens, also beyond a cut
    row: np.ndarray  # index of the row, -1 for filling
    probe: np.ndarray  # index into `probes`, -1 for a true row
    probes: tuple[Probe, ...]

    @property
    def cut(self) -> np.ndarray:
        """The last position, exclusive, whose answer means something for the row."""
        whole = self.questions.shape[1]
        cuts = np.array([probe.cut for probe in self.probes] + [whole])
        return np.where(self.row < 0, 0, cuts[self.probe])


def draw(rows: np.ndarray, probed: int, counted: np.ndarray, each: int, rng: np.random.Generator) -> Plan:
    """A plan for `rows` of (N, T + 1) tokens, the first `probed` of which may be probed.

    counted: (vocab,) whether a token counts in the score. each: rows in a question. Raises ValueError where there are
    too few rows to hide a probe among.
    """
    probes, contents = _draw_probes(rows, probed, counted, rng)
    groups = [sorted((p.cut, i) for i, p in enumerate(probes) if p.row == row) for row in range(len(rows))]
    places = _places([len(group) + 1 for group in groups], each, rng)
    total = -(-(len(rows) + len(probes)) // each) * each
    width = rows.shape[1] - 1
    plan = Plan(
        questions=np.zeros((total, width), rows.dtype),
        targets=np.zeros((total, width), rows.dtype),
        row=np.full(total, -1),
        probe=np.full(total, -1),
        probes=tuple(probes),
    )
    plan.questions[:] = rows[0, 0]  # BOS, where the last question has room left
    for row, (group, where) in enumerate(zip(groups, places, strict=True)):
        for at, probe in zip(where, [*(i for _, i in group), -1], strict=True):
            plan.questions[at] = rows[row, :-1] if probe < 0 else contents[probe]
            plan.targets[at] = rows[row, 1:]
            plan.row[at], plan.probe[at] = row, probe
    return plan


def _draw_probes(
    rows: np.ndarray, probed: int, counted: np.ndarray, rng: np.random.Generator
) -> tuple[list[Probe], list[np.ndarray]]:
    """Probes at positions drawn evenly, and what they show. A row may get none, one or several."""
    length = rows.shape[1]
    flat = rows.reshape(-1)
    by_token = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[by_token], np.arange(len(counted) + 1))
    wanted = min(PROBES, probed)
    eligible = np.flatnonzero(counted[rows[:probed]] & (np.arange(length) >= 1) & (np.arange(length) < length - 1))
    probes: list[Probe] = []
    contents: list[np.ndarray] = []
    for place in rng.permutation(eligible):
        row, cut = divmod(int(place), length)
        before, true = int(flat[place - 1]), int(flat[place])
        found = by_token[starts[before] : starts[before + 1]]
        if len(found) > OCCURRENCES:
            found = rng.choice(found, OCCURRENCES, replace=False)
        found = found[(found // length != row) & (found % length != length - 1)]
        found = found[flat[found + 1] != true]
        if not len(found):
            continue
        start = int(rng.choice(found)) + 1
        others, counts = np.unique(flat[found + 1], return_counts=True)
        content = rows[row, :-1].copy()
        content[cut:] = np.resize(np.concatenate((flat[start : start + length], flat[:length])), len(content) - cut)
        probes.append(Probe(row, cut, int(flat[start]), others, counts / counts.sum()))
        contents.append(content)
        if len(probes) == wanted:
            break
    return probes, contents


def _places(sizes: list[int], each: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Places in a random order for groups of showings; within a group ascending, and far enough apart that no answer is
    given when the next showing may have been seen."""
    places = np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])
    single = [own for own in places if len(own) == 1]
    for own in places:
        own.sort()
        for _ in range(1000):
            close = np.flatnonzero(np.diff(own // each) < AHEAD)
            if not len(close):
                break
            other = single[rng.integers(len(single))] if single else own
            which = close[0] + rng.integers(2)
            own[which], other[0] = other[0], own[which]
            own.sort()
        else:
            raise ValueError("too few rows to ask for what a model cannot know")
    return places


def find_look_ahead(plan: Plan, losses: np.ndarray, vectors: dict[int, np.ndarray], counted: np.ndarray) -> str:
    """How the answers show that the model knew what comes, or an empty string.

    losses: (showings, T) nats of `plan.targets`. vectors: the logits at the cut of each showing that is a probe.
    """
    true = np.full(plan.row.max() + 1, -1)
    true[plan.row[(plan.probe < 0) & (plan.row >= 0)]] = np.flatnonzero((plan.probe < 0) & (plan.row >= 0))
    shown = np.flatnonzero(plan.probe >= 0)
    if not len(shown):
        return ""
    cut = plan.cut[shown]
    gains = losses[shown] - losses[true[plan.row[shown]]]
    before = (np.arange(losses.shape[1]) < cut[:, None]) & counted[plan.targets[shown]]
    noise = 1.4826 * float(np.median(np.abs(gains[before])))
    limit = max(ONE_GAIN, 10 * noise)
    many = int((gains[before] > limit).sum())
    if many:
        return f"look-ahead: {many} answers got better by more than {limit:.2f} nats once the rest had been shown"
    at = cut - 1
    gain = gains[np.arange(len(shown)), at]
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
    if mean > max(MEAN_GAIN, SIGMAS * error):
        return f"look-ahead: answers got better by {mean:.3f} nats on average once the rest had been shown"
    sigmas = _foresight([plan.probes[plan.probe[i]] for i in shown], [vectors[i] for i in shown])
    if sigmas > SIGMAS:
        return f"look-ahead: what was shown next was expected too often to be chance ({sigmas:.1f} sigma)"
    return _memory(plan, losses, counted, true, shown)


def _foresight(probes: list[Probe], vectors: list[np.ndarray]) -> float:
    """Standard deviations by which the tokens shown at the cuts were expected more than the others were.

    What was shown was drawn by `chances`, so for a model that cannot see it, its rank has a known distribution.
    """
    total = variance = 0.0
    for probe, logits in zip(probes, vectors, strict=True):
        order = np.argsort(-logits[probe.others], kind="stable")
        chances = probe.chances[order]
        surprise = -np.log(np.cumsum(chances) - chances / 2)
        mean = float((chances * surprise).sum())
        total += float(surprise[np.flatnonzero(probe.others[order] == probe.shown)[0]]) - mean
        variance += float((chances * surprise**2).sum()) - mean**2
    return total / math.sqrt(variance) if variance > 0 else 0.0


def _memory(plan: Plan, losses: np.ndarray, counted: np.ndarray, true: np.ndarray, shown: np.ndarray) -> str:
    """Answers at places that were asked for early against all others: what is only known later must not show."""
    rows = np.unique(plan.row[shown])
    rest = counted[plan.targets[true[: plan.row[shown].max() + 1]]].copy()
    rest[:, 0] = False
    rest[plan.row[shown], plan.cut[shown] - 1] = False
    others = losses[true[: len(rest)]][rest]
    asked = losses[shown, plan.cut[shown] - 1]
    if len(rows) < 8 or not len(others):
        return ""
    worse = float(asked.mean() - others.mean())
    error = math.sqrt(float(others.var()) / len(asked))
    if worse > max(MEMORY_GAIN, SIGMAS * error):
        return f"look-ahead: {worse:.2f} nats worse wherever it was asked before the rest had been shown"
    return ""
