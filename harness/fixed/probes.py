"""Which questions a referee asks, in which order, and what the answers say about look-ahead and memory. Fixed.

A model may know what stands before a position, and nothing else: neither what follows, nor what was asked before. Each
experiment below draws something by lot which an honest model cannot know. Given its answers, the lot has a known
distribution, so the rate of false alarms is set by construction and does not depend on the model.

  Probes       Some rows, drawn by lot, are shown first with another continuation: true up to a random cut, from there
               on text of a pool that is never scored. Only later is the whole row shown.
  Scoring      Every answer counts that was given the first time its beginning was shown. Repeated answers, and what a
               run learns from a row's first showing, do not change the score.
  Junctions    At the cut, and again every few tokens, a probe continues with what followed the same few tokens at a
               place in the pool that is drawn by lot. The token that comes must not be more likely than those that
               could have come.
  Twins        Some rows of the pool are asked twice, with different openings, and here and there with another token, by
               lot. What one of them shows must not be more likely there than in the other. Which of them is asked first
               is drawn by lot, too: the later one must not be easier.
  Arms         Rows are probed or not by lot: both kinds must be answered alike, before the cut and after it.
  Cuts         The cut's place in its row is drawn by lot: the answer there must be like the others of the row.
  Order        The order of the rows is drawn by lot: what two rows share must not be easier in the later one.
  Repetition   The answers to a beginning that is shown twice must not become better.

Losses are compared after subtraction of the baseline's at the same token, where they are known: that removes most of
their scatter, and so makes small effects visible.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

PROBES = 384  # at most
SHARE = 0.35  # of the rows that are probed
TWINS = 64  # pairs at most, and one for ten rows
OPENING = 6  # tokens at the beginning of twins that have nothing in common
EVEN = np.array([0.5, 0.5])
AHEAD = 2  # questions that a run may have seen beyond the one that it answers, and one more
EVERY = 4  # tokens from a junction to the next, on average, in rows of 128; in proportion in longer ones
ORDERS = (3, 2, 1)  # tokens before a junction that the two texts share, the longest first
PATIENCE = 6  # tokens to wait for a place where more than one token is shared
OCCURRENCES = 4096  # at most so many places to continue from

SIGMAS = 4.5  # one false alarm in 290,000, for each experiment
LEAST = 0.003  # nats: a smaller effect is not worth a refusal
ONE_GAIN = 0.75  # nats, at one position that is answered twice
FLOOR = 12.0  # nats below the likeliest alternative: less likely counts as this
FEW = 8  # answers in a row: with fewer it says nothing of itself
SHARED = 16  # rows at most that share three tokens, for these to be compared


@dataclass(frozen=True)
class Junction:
    """A place where the shown token was drawn from `others` by `chances`."""

    showing: int
    place: int  # of the answer, one before the token
    shown: int
    others: np.ndarray
    chances: np.ndarray
    twin: int = -1  # number of the place, where twins part there


@dataclass(frozen=True)
class Plan:
    """Showings in the order in which they are asked, and the rows they are of."""

    questions: np.ndarray  # (showings, T) tokens
    targets: np.ndarray  # (showings, T) the row's true next tokens, also beyond a cut
    row: np.ndarray  # (showings,) index of the row, -1 for a twin, -2 for filling
    junctions: tuple[Junction, ...]
    tokens: np.ndarray  # (rows, T + 1)
    probe: np.ndarray  # (rows,) the showing with another continuation, -1 for none
    true: np.ndarray  # (rows,) the showing of the whole row
    cut: np.ndarray  # (rows,) first token that a probe shows otherwise; also of rows that are not probed, -1 for none
    possible: np.ndarray  # (rows, T) answers from which the cut was drawn
    twins: np.ndarray  # (pairs, 2) showings of the same text
    usual: np.ndarray  # (vocab,) logarithm of how often each token is in the pool

    def first(self, losses: np.ndarray) -> np.ndarray:
        """(rows, T): what was answered the first time that each beginning was shown, out of (showings, T)."""
        early = np.arange(losses.shape[1]) < np.where(self.probe < 0, 0, self.cut)[:, None]
        found: np.ndarray = np.where(early, losses[self.probe], losses[self.true])
        return found

    def junctions_of(self, start: int, stop: int) -> Sequence[Junction]:
        """Those of some showings, in the order of their showings."""
        first, last = (bisect_left(self.junctions, showing, key=lambda own: own.showing) for showing in (start, stop))
        return self.junctions[first:last]


class Pool:
    """Text to continue with: where each few tokens stand in it, and what follows them there."""

    def __init__(self, rows: np.ndarray) -> None:
        self.flat = rows.reshape(-1).astype(np.int64)
        self.text: list[int] = self.flat.tolist()  # a number from a list is had sooner than one from an array
        self.keys: dict[int, np.ndarray] = {}  # of each place's last tokens, sorted
        self.nexts: dict[int, np.ndarray] = {}  # where the token behind them stands, in the order of the keys
        self.behind: dict[int, np.ndarray] = {}  # that token
        for order in ORDERS:
            places = np.arange(len(self.flat))
            places = places[places % rows.shape[1] >= order]
            keys = sum(self.flat[places - back - 1] << (16 * back) for back in range(order))
            ranks = np.argsort(keys, kind="stable")
            self.keys[order], self.nexts[order] = keys[ranks], places[ranks]
            self.behind[order] = self.flat[self.nexts[order]]

    def partings(self, rows: np.ndarray) -> np.ndarray:
        """(N, T + 1) whether at least two other tokens could stand there."""
        tokens, found = rows.astype(np.int64), np.zeros(rows.shape, bool)
        for order in ORDERS:
            pairs = np.unique(self.keys[order] << 16 | self.behind[order])
            contexts, kinds = np.unique(pairs >> 16, return_counts=True)
            keys = np.zeros(tokens.shape, np.int64)
            for back in range(order):
                keys[:, order:] |= tokens[:, order - back - 1 : -back - 1] << (16 * back)
            at = np.minimum(np.searchsorted(contexts, keys), len(contexts) - 1)
            count = np.where(contexts[at] == keys, kinds[at], 0) - np.isin(keys << 16 | tokens, pairs)
            found[:, order:] |= count[:, order:] >= 2
        return found

    def find(self, before: list[int], avoid: int, rng: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray]:
        """How many tokens are shared, the most that leave a choice; the places of what could follow; its tokens.

        None of them is `avoid`. Shares 0 tokens where there is no choice.
        """
        for order in ORDERS:
            if len(before) < order:
                continue
            key = sum(token << (16 * back) for back, token in enumerate(before[: -order - 1 : -1]))
            first, last = self.keys[order].searchsorted((key, key + 1))  # keys are whole numbers
            if last - first < 2:
                continue
            found, tokens = self.nexts[order][first:last], self.behind[order][first:last]
            if len(found) > OCCURRENCES:
                found = rng.choice(found, OCCURRENCES, replace=False)
                tokens = self.flat[found]
            if avoid >= 0:
                others = tokens != avoid
                found, tokens = found[others], tokens[others]
            if len(tokens) and (tokens != tokens[0]).any():
                return order, found, tokens
        return 0, self.flat[:0], self.flat[:0]

    def continued(
        self, row: np.ndarray, cut: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple[int, int, np.ndarray, np.ndarray]]]:
        """The row with another continuation from `cut`, and its junctions: place, shown, others, chances."""
        content, junctions = row.tolist(), []
        usual = EVERY * max(1, len(row) // 128) - 1
        text = self.text
        at, source, waited, due = cut, 0, 0, 0
        while at < len(content):
            due -= 1
            if due <= 0:
                before, avoid = content[max(0, at - ORDERS[0]) : at], content[at] if at == cut else -1
                shared, found, tokens = self.find(before, avoid, rng)
                waited += 1
                if shared > 1 or (shared and (waited > PATIENCE or at == cut)):
                    which = int(rng.integers(len(found)))
                    source = int(found[which])
                    others, counts = _counted(tokens)
                    junctions.append((at - 1, int(tokens[which]), others, counts / len(tokens)))
                    waited, due = 0, int(rng.geometric(1 / usual))
            content[at] = text[source % len(text)]
            at, source = at + 1, source + 1
        return np.array(content), junctions

    def twins(self, row: np.ndarray, opening: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
        """(2, width) two versions of a row, one of them with another opening, and where they part."""
        text, width = row.tolist(), len(row)
        both, places, at, waited = np.stack((text, text)), [], OPENING + ORDERS[0], 0
        both[1, 1:OPENING] = opening[1:OPENING]
        while at < 2 * width // 3:  # the rest is the same: memory of many tokens shows there
            shared, _, tokens = self.find(text[at - ORDERS[0] : at], text[at], rng)
            if shared > 1 or (shared and waited > PATIENCE):
                both[rng.integers(2), at] = tokens[rng.integers(len(tokens))]
                places.append(at)
                at, waited = at + ORDERS[0] + int(rng.integers(EVERY * max(1, width // 128))), 0
            else:
                at, waited = at + 1, waited + 1
        return both, places


def _counted(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kinds of tokens, in their order, and how many there are of each: np.unique takes longer for so few."""
    ranked = np.sort(tokens)
    starts = np.concatenate(([0], np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, [len(ranked)]))
    return ranked[starts[:-1]], starts[1:] - starts[:-1]


def draw(rows: np.ndarray, pool: np.ndarray, counted: np.ndarray, each: int, rng: np.random.Generator) -> Plan:
    """A plan for `rows` of (N, T + 1) tokens, with continuations from `pool`, rows of the same length.

    counted: (vocab,) whether a token counts in the score. each: rows in a question.
    """
    pool = pool if len(pool) else rows
    source = Pool(pool)
    width = rows.shape[1] - 1
    possible = source.partings(rows) & counted[rows]
    possible[:, 0] = possible[:, width] = False
    cut = np.array([int(rng.choice(np.flatnonzero(own))) if own.any() else -1 for own in possible])
    wanted, pairs = _sizes(len(rows))
    pairs = min(pairs, len(pool))
    order = _order(len(rows), pairs, rng.permutation(np.flatnonzero(cut > 0))[:wanted], each, rng)
    total = -(-len(order) // each) * each
    questions = np.full((total, width), rows[0, 0], rows.dtype)  # BOS, where the last question has room left
    targets = np.zeros((total, width), rows.dtype)
    owner, probe, true = np.full(total, -2), np.full(len(rows), -1), np.full(len(rows), -1)
    texts = [source.twins(pool[i], pool[i - 1], rng) for i in rng.permutation(len(pool))[:pairs]]
    twins = np.zeros((pairs, 2), int)
    junctions: list[Junction] = []
    for at, (row, is_probe) in enumerate(order):
        if row >= len(rows):
            pair, version = divmod(row - len(rows), 2)
            (both, places), twins[pair, version] = texts[pair], at
            owner[at], targets[at], questions[at] = -1, both[version, 1:], both[version, :-1]
            junctions += [
                Junction(at, place - 1, int(both[version, place]), np.sort(both[:, place]), EVEN, pair * width + place)
                for place in places
            ]
            continue
        owner[at], targets[at], questions[at] = row, rows[row, 1:], rows[row, :-1]
        if is_probe:
            probe[row] = at
            questions[at], found = source.continued(rows[row, :-1], cut[row], rng)
            junctions += [Junction(at, *junction) for junction in found]
        else:
            true[row] = at
    usual = np.log(np.bincount(source.flat, minlength=len(counted)) + 1.0)
    return Plan(questions, targets, owner, tuple(junctions), rows, probe, true, cut, possible[:, 1:], twins, usual)


def _sizes(rows: int) -> tuple[int, int]:
    """Probes and pairs of twins for so many rows."""
    return min(PROBES, round(SHARE * rows)), min(TWINS, rows // 10)


def number_of_showings(rows: int) -> int:
    """At most, for so many rows that are scored."""
    probed, pairs = _sizes(rows)
    return rows + probed + 2 * pairs


def _order(scored: int, pairs: int, probed: np.ndarray, each: int, rng: np.random.Generator) -> list[tuple[int, bool]]:
    """Rows and whether they are probes, in the order of asking: the first showings in an order drawn by lot, the
    second ones at random times after them. A row whose two showings come too close together is not probed.
    Behind the scored rows come the twins, two by two; those of a pair are kept apart, for memory to show."""
    rows = scored + 2 * pairs
    gap = (AHEAD + 1) * each / rows
    first = (rng.permutation(rows) + rng.random(rows)) / rows
    for pair in first[scored:].reshape(-1, 2):
        while abs(pair[0] - pair[1]) < gap:
            pair[:] = rng.random(2)
    second = first + gap + rng.random(rows) * np.maximum(1 - first, 0) + rng.random(rows) * gap
    while True:
        times = np.concatenate((first, second[probed]))
        which = np.concatenate((np.arange(rows), probed))
        ranks = np.argsort(times)
        places = np.empty(len(times), int)
        places[ranks] = np.arange(len(times))
        apart = places[rows:] // each - places[probed] // each >= AHEAD
        if apart.all():
            break
        probed = probed[apart]
    chosen = np.isin(np.arange(rows), probed)
    return [(int(which[i]), bool(i < rows and chosen[i])) for i in ranks]


# ---------------------------------------------------------------------------
# What the answers say
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Experiment:
    """What was looked for, the size of the effect in nats, and by how many standard deviations it is no chance."""

    claim: str
    effect: float
    sigmas: float

    @property
    def found(self) -> bool:
        """Whether this can be neither chance nor harmless."""
        return self.sigmas > SIGMAS and self.effect > LEAST


def find_look_ahead(
    plan: Plan,
    losses: np.ndarray,
    answers: Sequence[np.ndarray],
    counted: np.ndarray,
    baseline: np.ndarray | None = None,
) -> str:
    """How the answers show that the model knew what it could not know, or an empty string.

    losses: (showings, T) nats of `plan.targets`. answers: for each junction the logits of its `others`. baseline:
    (rows, T) nats of another model, which were there before this plan was drawn.
    """
    if problem := _repetition(plan, losses, counted):
        return problem
    for experiment in experiments(plan, losses, answers, counted, baseline):
        if experiment.found:
            return f"{experiment.claim} ({experiment.effect:.3f} nats, {experiment.sigmas:.1f} sigma)"
    return ""


def experiments(
    plan: Plan,
    losses: np.ndarray,
    answers: Sequence[np.ndarray],
    counted: np.ndarray,
    baseline: np.ndarray | None = None,
) -> list[Experiment]:
    """Each experiment that there is enough to judge by."""
    rest = _remainders(plan.first(losses), counted[plan.tokens[:, 1:]], baseline)
    shown, hidden = _junctions(plan, answers), _cuts(plan, rest)
    found = [shown, hidden, _together(shown, hidden), *_twins(plan, losses, answers, counted)]
    found += [*_arms(plan, rest), *_later(plan, rest)]
    return [experiment for experiment in found if experiment is not None]


def _remainders(losses: np.ndarray, counts: np.ndarray, baseline: np.ndarray | None) -> np.ndarray:
    """(rows, T) what the baseline does not explain, around zero, without extremes; NaN where a token does not count."""
    rest = np.where(counts, losses, np.nan)
    if baseline is not None:
        known = baseline - baseline[counts].mean()
        rest = rest - known * float((known[counts] * rest[counts]).sum() / max(float((known[counts] ** 2).sum()), 1e-9))
    rest -= np.nanmean(rest)
    limit = 6 * float(np.nanstd(rest))
    return np.clip(rest, -limit, limit)


def _junctions(plan: Plan, answers: Sequence[np.ndarray]) -> Experiment | None:
    """The tokens shown at junctions against those that could have been shown, in logits.

    What the chances and the tokens' frequencies say of the logits is taken off: that is the same whatever was shown.
    """
    both = [(own, found) for own, found in zip(plan.junctions, answers, strict=True) if own.twin < 0]
    if len(both) < 64:
        return None
    sizes = np.array([len(own.others) for own, _ in both])  # what follows holds all junctions, one behind the other
    starts = np.cumsum(sizes) - sizes
    others, chances = (np.concatenate([getattr(own, name) for own, _ in both]) for name in ("others", "chances"))
    logits = np.concatenate([found for _, found in both]).astype(np.float64)
    logits = np.maximum(logits - np.repeat(np.maximum.reduceat(logits, starts), sizes), -FLOOR)
    columns = np.stack((np.log(chances), plan.usual[others], logits))
    columns -= np.repeat(np.add.reduceat(chances * columns, starts, axis=1), sizes, axis=1)
    known, logits = columns[:2], columns[2]
    weighted = known * chances * np.repeat(1 / (np.add.reduceat(chances * logits**2, starts) + 1.0), sizes)
    rest = logits - np.linalg.solve(weighted @ known.T + np.eye(2) * 1e-6, weighted @ logits) @ known
    total = float(rest[others == np.repeat([own.shown for own, _ in both], sizes)].sum())
    variance = float((chances * rest**2).sum())
    scale = len(both) - float((chances**2).sum())
    if not variance:
        return None
    claim = "look-ahead: the tokens that came next were expected too often to be chance"
    return Experiment(claim, total / scale, total / math.sqrt(variance))


def _together(one: Experiment | None, other: Experiment | None) -> Experiment | None:
    """What two independent experiments say of the same thing, each too weakly."""
    if one is None or other is None:
        return None
    claim = "look-ahead: what came next was expected, and what did not come was not, too often to be chance"
    return Experiment(claim, min(one.effect, other.effect), (one.sigmas + other.sigmas) / math.sqrt(2))


def _twins(plan: Plan, losses: np.ndarray, answers: Sequence[np.ndarray], counted: np.ndarray) -> Iterator[Experiment]:
    """What one of two twins shows against what the other does, and the later one against the earlier."""
    seen: dict[int, tuple[int, float]] = {}
    gains = []
    for junction, logits in zip(plan.junctions, answers, strict=True):
        if junction.twin < 0:
            continue
        lead = float(np.clip(float(logits[0]) - float(logits[1]), -FLOOR, FLOOR))
        if junction.twin in seen:
            shown, before = seen[junction.twin]
            gains.append((lead - before) / 2 * (1 if junction.shown < shown else -1))
        else:
            seen[junction.twin] = junction.shown, lead
    if len(gains) >= 64 and any(gains):
        claim = "look-ahead: a token was expected more where it came next than where another did"
        yield Experiment(claim, sum(gains) / len(gains), sum(gains) / math.sqrt(sum(gain**2 for gain in gains)))
    one, two = plan.twins.T
    same = (plan.targets[one] == plan.targets[two]) & counted[plan.targets[one]]
    same[:, : OPENING + ORDERS[0]] = False
    apart = _means(losses[one] - losses[two], same) * np.where(one < two, 1, -1)
    apart = apart[~np.isnan(apart) & (apart != 0)]
    if len(apart) >= 16:
        better = int((apart > 0).sum())
        chance = sum(math.comb(len(apart), number) for number in range(better, len(apart) + 1)) / 2 ** len(apart)
        claim = "memory: a text was answered better the second time that it was shown"
        yield Experiment(claim, float(apart.mean()), -NormalDist().inv_cdf(min(chance, 1 - 1e-9)))


def _means(rest: np.ndarray, side: np.ndarray) -> np.ndarray:
    """(rows,) means of some places that count, or NaN where these are few."""
    side = side & ~np.isnan(rest)
    sizes = side.sum(axis=1)
    return np.where(sizes >= FEW, np.where(side, rest, 0).sum(axis=1) / np.maximum(sizes, 1), np.nan)


def _arms(plan: Plan, rest: np.ndarray) -> Iterator[Experiment]:
    """Rows that were probed against rows that might have been: before the cut, and after it."""
    place = np.arange(rest.shape[1])
    for claim, sign, side in (
        ("look-ahead: rows were answered worse where they went on otherwise", 1, place < plan.cut[:, None] - 1),
        ("look-ahead or memory: rows were answered better the second time", -1, place >= plan.cut[:, None]),
    ):
        means = _means(rest, side)
        own = (plan.cut > 0) & ~np.isnan(means)
        means = means[own]
        arm = plan.probe[own] >= 0
        if min(arm.sum(), (~arm).sum()) >= 16 and means.std():
            effect = sign * float(means[arm].mean() - means[~arm].mean())
            error = float(means.std(ddof=1)) * math.sqrt(1 / arm.sum() + 1 / (~arm).sum())
            yield Experiment(claim, effect, effect / error)


def _cuts(plan: Plan, rest: np.ndarray) -> Experiment | None:
    """The answers at the cuts, before the true continuation was shown, against those where a cut might have been."""
    effect = variance = 0.0
    probed = np.flatnonzero(plan.probe >= 0)
    for row in probed:
        others = rest[row, plan.possible[row]]
        effect += float(rest[row, plan.cut[row] - 1] - others.mean())
        variance += float(others.var())
    if len(probed) < 16 or not variance:
        return None
    claim = "look-ahead: answers were worse wherever what follows had not been shown"
    return Experiment(claim, effect / len(probed), effect / math.sqrt(variance))


def _later(plan: Plan, rest: np.ndarray) -> Iterator[Experiment]:
    """Rows that were shown late against rows that were shown early."""
    fresh = np.where(plan.probe < 0, rest.shape[1], plan.cut)[:, None] > np.arange(rest.shape[1])
    fresh &= ~np.isnan(rest)
    rank = np.argsort(np.argsort(np.where(plan.probe < 0, plan.true, plan.probe)))
    means = _means(rest, fresh)
    growth = np.sqrt(rank[~np.isnan(means)])  # what is learned from questions is learned early
    means = means[~np.isnan(means)]
    if len(means) >= 32 and means.std() and growth.std():
        slope = -float(np.cov(growth, means)[0, 1] / growth.var(ddof=1))
        sigmas = -float(np.corrcoef(growth, means)[0, 1]) * math.sqrt(len(means) - 1)
        effect = slope * float(growth.mean() - growth.min())
        yield Experiment("memory: answers became better with every question that was asked", effect, sigmas)
    first, second, weight = _shared(plan.tokens, fresh)
    if len(first) < 32:
        return
    known = rest.reshape(-1)
    width = rest.shape[1]
    differences = np.zeros((len(rest), len(rest)))  # [i, j]: by how much i is answered worse than j what they share
    np.add.at(differences, (first // width, second // width), weight * (known[first] - known[second]))
    differences -= differences.T
    signs = np.sign(rank[None, :] - rank[:, None])  # 1 where i comes first
    total = float((signs * differences).sum()) / 2
    # an order drawn by lot: signs of pairs with one row in common correlate by a third
    variance = (float((differences**2).sum()) / 2 + float((differences.sum(axis=1) ** 2).sum())) / 3
    if variance:
        claim = "memory: words were answered better after an earlier row had shown them"
        yield Experiment(claim, total / float(weight.sum()), total / math.sqrt(variance))


def _shared(tokens: np.ndarray, fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of answers in different rows with the same two tokens before and the same one behind, and their weights."""
    own = tokens.astype(np.int64)
    keys = own[:, :-2] << 32 | own[:, 1:-1] << 16 | own[:, 2:]
    rows, places = np.nonzero(fresh[:, 1:])
    width = fresh.shape[1]
    found = keys[rows, places]
    ranks = np.lexsort((rows, found))
    new = (np.diff(found[ranks], prepend=-1) != 0) | (np.diff(rows[ranks], prepend=-1) != 0)
    at = ranks[new]  # once in a row, where it comes first
    answers = rows[at] * width + places[at] + 1
    starts = np.flatnonzero(np.diff(found[at], prepend=-1))
    sizes = np.diff(starts, append=len(at))
    pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for size in range(2, SHARED + 1):
        groups = answers[starts[sizes == size][:, None] + np.arange(size)]
        one, other = np.triu_indices(size, 1)
        left, right = groups[:, one].reshape(-1), groups[:, other].reshape(-1)
        pairs.append((left, right, np.full(len(left), 1 / (size - 1))))
    left, right, weight = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return left, right, weight


def _repetition(plan: Plan, losses: np.ndarray, counted: np.ndarray) -> str:
    """Answers to the same beginning before and after the true continuation was shown."""
    rows = np.flatnonzero(plan.probe >= 0)
    if not len(rows):
        return ""
    gains = losses[plan.probe[rows]] - losses[plan.true[rows]]
    before = (np.arange(losses.shape[1]) < plan.cut[rows, None]) & counted[plan.tokens[rows, 1:]]
    noise = 1.4826 * float(np.median(np.abs(gains[before])))
    limit = max(ONE_GAIN, 10 * noise)
    better, worse = int((gains[before] > limit).sum()), int((gains[before] < -limit).sum())
    # A few may be noise that comes seldom, as a gate's; that does not come at the cuts alone.
    sudden = int((gains[np.arange(len(rows)), plan.cut[rows] - 1] > limit).sum())
    alone = sudden >= 2 and sudden == better + worse
    if alone or better - worse > SIGMAS * math.sqrt(better + worse):
        return f"look-ahead: {better} answers got better by more than {limit:.2f} nats once the rest had been shown"
    gain = gains[np.arange(len(rows)), plan.cut[rows] - 1]
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
    if mean > max(LEAST, SIGMAS * error):
        return f"look-ahead: answers got better by {mean:.3f} nats on average once the rest had been shown"
    return ""
