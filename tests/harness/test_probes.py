"""The referee's experiments: honest models are not refused, whatever their noise; look-ahead and memory are found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.conftest import THOROUGH

from .conftest import load

VOCAB, LENGTH, ROWS, POOL, EACH = 48, 128, 320, 40, 8
COUNTED = np.arange(VOCAB) > 0
Model = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Text:
    """Rows of a chain that nobody has seen, a pool, and the chances that a good model has learned."""

    rows: np.ndarray
    pool: np.ndarray
    table: np.ndarray


@pytest.fixture(scope="module")
def probes() -> Any:
    return load("fixed.probes")


@pytest.fixture(scope="module")
def text() -> Text:
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.full(VOCAB, 0.3), size=VOCAB)
    tokens = np.zeros((LENGTH + 1, ROWS + POOL), np.int64)
    draws = rng.random(tokens.shape)
    for at in range(1, LENGTH + 1):
        tokens[at] = np.minimum((chances.cumsum(axis=1)[tokens[at - 1]] < draws[at][:, None]).sum(axis=1), VOCAB - 1)
    rows, pool = np.split(tokens.T.astype(np.uint16), [ROWS])
    return Text(rows, pool, np.log(chances + 1e-6))


def table(text: Text, seed: int = 0, error: float = 0.3) -> Model:
    """An honest model that is wrong by so much."""
    logits = text.table + np.random.default_rng(seed).normal(0, error, text.table.shape)
    logits = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return lambda x: logits[x]


def noisy(model: Model, size: float) -> Model:
    """Dropout that was left on: other noise in every answer."""
    rng = np.random.default_rng(0)
    return lambda x: model(x) + rng.normal(0, size, (*x.shape, VOCAB))


def seldom(model: Model, share: float) -> Model:
    """A gate that is noisy, and rarely decides otherwise: then the answer is another one."""
    rng = np.random.default_rng(0)

    def answer(x: np.ndarray) -> np.ndarray:
        logits = model(x)
        other = rng.random(x.shape) < share
        return logits + other[..., None] * rng.normal(0, 2, logits.shape)

    return answer


def batch_statistics(model: Model) -> Model:
    """What is in a question moves all of its answers a little."""
    return lambda x: model(x) * (1 + 0.02 * np.tanh(x.mean() - VOCAB / 3)) + 0.01 * np.bincount(x.ravel() % VOCAB)[0]


def half_precision(model: Model) -> Model:
    """Logits with eight bits, as bf16 has them."""
    return lambda x: np.round(model(x) * 32) / 32


def ensemble(text: Text) -> Model:
    """Of two, which is what averaged weights come to as well."""
    one, other = table(text, 1), table(text, 2)
    return lambda x: np.logaddexp(one(x), other(x))


def leaning(model: Model, boost: float, again: bool) -> Model:
    """Adds a little to what comes next; answers a beginning that it has met `again` as before."""
    seen: dict[bytes, np.ndarray] = {}

    def answer(x: np.ndarray) -> np.ndarray:
        logits = model(x)
        rows, places = np.nonzero(np.ones((len(x), x.shape[1] - 1), bool))
        logits[rows, places, x[rows, places + 1]] += boost
        for own, tokens in zip(logits, x, strict=True):
            for end in range(1, len(tokens) + 1) if again else ():
                own[end - 1] = seen.setdefault(tokens[:end].tobytes(), own[end - 1].copy())
        return logits

    return answer


def in_second_showings(model: Model, boost: float) -> Model:
    """Leans only where a row's beginning has been met."""
    seen: set[bytes] = set()
    cheat = leaning(model, boost, again=False)

    def answer(x: np.ndarray) -> np.ndarray:
        known = np.array([tokens[:9].tobytes() in seen for tokens in x])
        seen.update(tokens[:9].tobytes() for tokens in x)
        return np.where(known[:, None, None], cheat(x), model(x))

    return answer


def quoting(model: Model, order: int) -> Model:
    """Expects what followed the same tokens in an earlier question."""
    known: dict[bytes, int] = {}

    def answer(x: np.ndarray) -> np.ndarray:
        logits = model(x)
        for own, tokens in zip(logits, x, strict=True):
            for end in range(order, len(tokens) + 1):
                if (token := known.get(tokens[end - order : end].tobytes())) is not None:
                    own[end - 1, token] += 3.0
        for tokens in x:
            known.update((tokens[end - order : end].tobytes(), int(tokens[end])) for end in range(order, len(tokens)))
        return logits

    return answer


def learning(model: Model) -> Model:
    """Counts what it is asked, and is the better for it."""
    counts = np.zeros((VOCAB, VOCAB))

    def answer(x: np.ndarray) -> np.ndarray:
        chances = np.exp(model(x))
        logits = np.log(300 * chances / chances.sum(axis=2, keepdims=True) + counts[x])
        np.add.at(counts, (x[:, :-1], x[:, 1:]), 1.0)
        return logits

    return answer


Asked = tuple[Any, np.ndarray, list[np.ndarray]]


def ask(probes: Any, text: Text, model: Model, seed: int) -> Asked:
    plan = probes.draw(text.rows, text.pool, COUNTED, EACH, np.random.default_rng(seed))
    losses = np.empty(plan.targets.shape)
    answers: list[np.ndarray] = []
    for start in range(0, len(plan.questions), EACH):
        logits = np.array(model(plan.questions[start : start + EACH].astype(np.int64)))
        targets = plan.targets[start : start + EACH, :, None].astype(np.int64)
        total = np.log(np.exp(logits).sum(axis=2))
        losses[start : start + EACH] = total - np.take_along_axis(logits, targets, axis=2)[..., 0]
        junctions = plan.junctions_of(start, start + EACH)
        answers += [logits[own.showing - start, own.place][own.others] for own in junctions]
    return plan, losses, answers


@pytest.fixture(scope="module")
def baseline(probes: Any, text: Text) -> np.ndarray:
    plan, losses, _ = ask(probes, text, table(text, 9), 0)
    return np.asarray(plan.first(losses))


HONEST: dict[str, Callable[[Text], Model]] = {
    "plain": table,
    "dropout": lambda text: noisy(table(text), 0.5),
    "a gate": lambda text: seldom(table(text), 3e-5),
    "other kernels": lambda text: noisy(table(text), 1e-4),
    "batch statistics": lambda text: batch_statistics(table(text)),
    "half precision": lambda text: half_precision(table(text)),
    "ensemble": ensemble,
    "bad": lambda text: table(text, error=1.5),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_models_are_not_refused(probes: Any, text: Text, baseline: np.ndarray, kind: str) -> None:
    for seed in range(4 if THOROUGH else 2):
        asked = ask(probes, text, HONEST[kind](text), seed)
        assert probes.find_look_ahead(*asked, COUNTED, baseline if seed % 2 else None) == ""


def test_what_honest_models_show_is_chance(probes: Any, text: Text, baseline: np.ndarray) -> None:
    """The experiments' own scale: a standard deviation of one, around zero or below."""
    sigmas, seeds = [], 12 if THOROUGH else 6
    for seed in range(seeds):
        asked = ask(probes, text, noisy(table(text, seed), 0.2), seed)
        sigmas += [own.sigmas for own in probes.experiments(*asked, COUNTED, baseline if seed % 2 else None)]
    assert len(sigmas) >= 8 * seeds
    assert np.mean(sigmas) < 0.4
    assert 0.7 < np.std(sigmas) < 1.3


CHEATS: dict[str, tuple[Callable[[Text], Model], str]] = {
    "leaning": (lambda text: leaning(table(text), 0.05, again=False), "look-ahead"),
    "leaning, and answering as before": (lambda text: leaning(table(text), 0.1, again=True), "look-ahead"),
    "the same with noise": (lambda text: leaning(noisy(table(text), 0.2), 0.2, again=True), "look-ahead"),
    "leaning in second showings": (lambda text: in_second_showings(table(text), 0.5), "look-ahead"),
    "quoting long texts": (lambda text: quoting(table(text), 8), "memory"),
    "learning from questions": (lambda text: learning(table(text, error=1.0)), "(look-ahead|memory)"),
}


@pytest.mark.parametrize("kind", CHEATS)
def test_models_that_know_too_much_are_refused(probes: Any, text: Text, baseline: np.ndarray, kind: str) -> None:
    make, found = CHEATS[kind]
    for seed in range(2):
        problem = probes.find_look_ahead(*ask(probes, text, make(text), seed), COUNTED, baseline)
        assert re.match(found, problem)


def test_only_the_first_answer_to_a_beginning_counts(probes: Any, text: Text) -> None:
    plan = probes.draw(text.rows, text.pool, COUNTED, EACH, np.random.default_rng(0))
    losses = np.repeat(np.arange(len(plan.questions))[:, None], LENGTH, axis=1).astype(float)  # when it was asked
    first = plan.first(losses)
    for row in range(ROWS):
        cut = plan.cut[row] if plan.probe[row] >= 0 else 0
        assert (first[row, :cut] == plan.probe[row]).all()
        assert (first[row, cut:] == plan.true[row]).all()
        if cut:
            assert plan.true[row] // EACH - plan.probe[row] // EACH >= probes.AHEAD
            assert (plan.questions[plan.probe[row], :cut] == text.rows[row, :cut]).all()
            assert plan.questions[plan.probe[row], cut] != text.rows[row, cut]
        assert (plan.questions[plan.true[row]] == text.rows[row, :-1]).all()


def test_no_probe_shows_what_is_scored(probes: Any, text: Text) -> None:
    """Text of another row may not be in a probe: whoever remembers it would know that row."""
    plan = probes.draw(text.rows, text.pool, COUNTED, EACH, np.random.default_rng(0))
    scored = {own[at : at + 8].tobytes() for own in text.rows for at in range(LENGTH - 7)}
    for row in np.flatnonzero(plan.probe >= 0):
        tail = plan.questions[plan.probe[row], plan.cut[row] :]
        assert not any(tail[at : at + 8].tobytes() in scored for at in range(len(tail) - 7))
