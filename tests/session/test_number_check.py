"""Numbers of a text against a journal: what is in it is found however it is rounded, what is not is marked."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.session import events as ev
from autoresearch_tui.session.number_check import Facts, Known, check, known, numbers
from autoresearch_tui.session.state import State
from tests.engine.making import experiment, state

SCORED = {"total_tokens_M": "499.6", "num_steps": "953", "mfu_percent": "39.8"}


def night() -> State:
    run = ev.RunEnded(1, "finished", 0, 325.8)  # type: ignore[arg-type]
    score = ev.RunScored(1, 0.9712, 45.06, "log", summary=SCORED, losses=(3.1, 2.7), sealed=0.9654321)
    return state(
        experiment(0, "keep", 0.9979, commit="c0"),
        experiment(1, "keep", 0.9712, run=run, score=score, added=3, removed=2),
        experiment(2, "discard", 0.98765),
        experiment(3, "crash", None),
    )


KNOWN = known(night(), {1: "MATRIX_LR = 0.04\nMATRIX_LR = 0.02\nBATCH = 2**19\n", 2: "WD = 1e-3\n"}, "DEPTH = 8\n")


def missing(text: str) -> tuple[str, ...]:
    return check(text, KNOWN).missing


@pytest.mark.parametrize(
    "text",
    [
        "#1 reached 0.9712, better than the baseline's 0.9979 by 0.0267 (2.7 %).",
        "0.971 and 0.97 are the same score, rounded",
        "#1 took 325.8 s (326s, or 5:25) for 953 steps and 499.6M tokens at 39.8 % MFU, 45.1 GiB",
        "MATRIX_LR 0.04→0.02, batch 524,288 = 2^19, weight decay 0.001, depth 8",
        "2 kept of 4, 1 discarded, 50 % kept",
        "experiment 2 came to 0.98765; experiments 1 and #3",
        "the 1st, the 2nd; in 5-minute budgets of 300 s",
        "1. first\n2. second\n17) third",
        "h100, val_bpb2, float16 and x2 are names",
        "no numbers, or three in words",
        "−0.0267 has no sign here",
    ],
)
def test_what_the_journal_has_is_found(text: str) -> None:
    assert check(text, KNOWN).text == text and missing(text) == ()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("it reached 0.95.", ("0.95",)),
        ("0.9713", ("0.9713",)),
        ("#9 was best", ("#9",)),
        ("experiment 12 was", ("experiment 12",)),
        ("a gain of 7 %", ("7 %",)),
        ("37 were kept", ("37",)),
        ("#1 reached 0.98765", ("0.98765",)),  # that was #2
        ("the sealed split says 0.9654321", ("0.9654321",)),  # is nobody's to tell
        ("at 03:17 on 2026-01-02", ("03:17", "2026-01-02")),
        ("3e-4 and 2**18", ("3e-4", "2**18")),
        ("1e999 or " + "9" * 400, ("1e999", "9" * 400)),
        ("#" + "1" * 5000, ("#" + "1" * 5000,)),
    ],
)
def test_what_it_has_not_is_marked(text: str, wanted: tuple[str, ...]) -> None:
    found = check(text, KNOWN)
    assert found.missing == wanted
    assert all(f"{one}?" in found.text for one in wanted)


@given(st.text(alphabet=st.sampled_from("0123456789.,#-+e*^% \nkMx:_a→"), max_size=80) | st.text(max_size=80))
def test_a_mark_is_all_that_changes(text: str) -> None:
    found = check(text, KNOWN)
    assert len(found.text) == len(text) + len(found.missing)
    at = 0
    for character in text:  # what was there is there, in its order
        at = found.text.index(character, at) + 1
    assert found.numbers >= len(found.missing)


def fact(*measured: float, exact: tuple[float, ...] = ()) -> Known:
    return Known(Facts(frozenset(exact), tuple(sorted(measured))), {})


@given(st.floats(0.01, 1e6), st.integers(0, 6))
def test_a_measured_fact_is_found_however_it_is_rounded(value: float, decimals: int) -> None:
    text = f"{value:.{decimals}f}"
    digits = text.replace(".", "").lstrip("0")
    assert bool(check(text, fact(value)).missing) == (len(digits) < 2 and not math.isclose(float(text), value))


@given(st.floats(0.1, 10), st.integers(2, 6), st.integers(1, 1000))
def test_a_number_further_off_than_its_last_digit_is_marked(value: float, decimals: int, steps: int) -> None:
    off = round(value, decimals) + steps * 10.0**-decimals
    assert check(f"{off:.{decimals}f}", fact(value)).missing


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_count_is_itself_or_marked(count: int, said: int) -> None:
    assert bool(check(str(said), fact(exact=(count,))).missing) == (said != count)
    assert check(f"{count:,}", fact(exact=(count,))).missing == ()


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=1e-12, max_value=1e12))
def test_a_constant_is_read_as_it_is_written(value: float) -> None:
    text = repr(value)
    assert [*numbers(f"X = {text}")] == [value]
    assert math.isclose(next(numbers(re.sub("e-0?", "e-", text))), value)
