"""Duplicates: an idea in nearly the same words, a setting in other writing; and all that only looks alike."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing.duplicates import alike, idea, key, message, nearest
from autoresearch_tui.python_source.setting import read
from autoresearch_tui.researchers.base import Attempt

# A hundred descriptions of which 22 repeat an earlier one to the letter. Written by hand for this test, in the manner
# and with the counts of public tables of such loops; the other 78 stand close together on purpose.
TABLE = Path(__file__).parent / "data" / "ideas.tsv"


def attempt(number: int, description: str, outcome: str = "discard", value: float | None = 0.9981) -> Attempt:
    return Attempt(number, f"c{number}", "c0", description, "", outcome, value, "")


def table() -> list[tuple[Attempt, bool]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(attempt(int(row["number"]), row["description"]), bool(row["repeats"])) for row in rows]


def test_of_a_hundred_ideas_all_22_exact_repeats_are_found_and_no_other_is_held_up() -> None:
    rows = table()
    texts = [a.description for a, _ in rows]
    assert len(rows) == 100
    assert [repeat for _, repeat in rows] == [text in texts[:index] for index, text in enumerate(texts)]
    assert sum(repeat for _, repeat in rows) == 22
    earlier: list[Attempt] = []
    for row, repeat in rows:
        found = nearest(row.description, reversed(earlier))
        assert (found is not None) == repeat, (row.description, found)
        if found is not None:
            assert found.description == row.description
        earlier.append(row)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Increase FINAL_LR_FRAC from 0.04 to 0.06", "raise FINAL_LR_FRAC 0.04 → 6e-2"),
        ("Increase FINAL_LR_FRAC from 0.04 to 0.06", "Raise the final learning rate fraction from .04 to 0.060"),
        ("TOTAL_BATCH_SIZE 2**19 -> 2**18", "Set TOTAL_BATCH_SIZE from 524288 to 262,144"),
        ("Replace squared ReLU with SwiGLU in the MLP", "Replace the squared ReLU with SwiGLU in MLPs"),
        ("Remove the logit soft-cap", "Drop logit soft-cap"),
        ("halve the batch", "Halved the batch."),
        ("train for longer", "Train longer"),
        ("把学习率降低", "把学习率降低"),
    ],
)
def test_the_same_idea_in_other_words(one: str, two: str) -> None:
    assert alike(idea(one), idea(two))
    assert alike(idea(two), idea(one))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Increase FINAL_LR_FRAC from 0.04 to 0.06", "Increase FINAL_LR_FRAC from 0.04 to 0.08"),
        ("Set LR from 0.04 to 0.06", "Set LR from 0.06 to 0.04"),
        ("Raise the learning rate", "Lower the learning rate"),
        ("Raise the embedding LR from 0.6 to 0.8", "Raise the unembedding LR from 0.6 to 0.8"),
        ("Norm before the output projection", "Norm after the output projection"),
        ("Adam for embeddings and SGD for matrices", "SGD for embeddings and Adam for matrices"),
        ("adam for embeddings, sgd for matrices", "sgd for embeddings, adam for matrices"),
        ("Increase depth to 12", "Increase depth to 12 and halve the batch"),
        ("Increase depth to 12", "Increase depth to 12 with value embeddings in all layers"),
        ("beta1 = 0.9", "beta2 = 0.9"),
        ("Done.", "Done."),
        ("no description given", "no description given"),
        ("", ""),
    ],
)
def test_another_idea_in_nearly_the_same_words(one: str, two: str) -> None:
    assert not alike(idea(one), idea(two))


def test_the_newest_is_named_and_what_never_ran_does_not_count() -> None:
    text = "Increase DEPTH from 8 to 10"
    earlier = [attempt(1, text), attempt(2, text), attempt(3, text, "withdrawn")]
    assert nearest(text, reversed(earlier)) == earlier[1]
    assert nearest(text, reversed(earlier), skip={2}) == earlier[0]
    assert nearest(text, [earlier[2]]) is None


def test_what_is_alike_has_one_key() -> None:
    """Of a long session nothing but what has the key is compared."""
    texts = [row.description for row, _ in table()]
    pairs = [(one, two) for one in texts for two in texts if alike(idea(one), idea(two))]
    assert len(pairs) > len(texts)
    assert all(key(one) == key(two) for one, two in pairs)
    assert len({*map(key, texts)}) > len({*texts}) / 2


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("LR = 0.04\n", "LR = 4e-2  # peak\n", True),
        ("BATCH = 2**19\n", 'BATCH = 524_288\n"""said otherwise"""\n', True),
        ("DEPTH = 8\n", "DEPTH = 8.0\n", True),
        ("LR = 0.04\n", "LR = 0.05\n", False),
        ("FAST = True\n", "FAST = 1\n", False),
        ("LR = 0.04\nWD = 0.1\n", "LR = 0.1\nWD = 0.04\n", False),
        ("LR = 0.04\nprint(LR)\n", "LR = 0.04\nprint(-LR)\n", False),
    ],
)
def test_a_setting_is_its_values_and_not_how_they_are_written(one: str, two: str, same: bool) -> None:
    assert (read({"train.py": one}).digest == read({"train.py": two}).digest) == same


@pytest.mark.parametrize(("path", "text", "values"), [("notes.txt", "LR = 1", [1]), ("train.py", "def f(:", [])])
def test_what_is_not_python_is_its_text_and_its_numbers(path: str, text: str, values: list[int]) -> None:
    assert list(read({path: text}).values.values()) == values
    assert read({path: text}).digest == read({path: f"{text}\n"}).digest != read({path: f"{text}2"}).digest


def test_the_researcher_is_told_the_earlier_result_and_that_it_may_insist() -> None:
    text = message(attempt(12, "Increase DEPTH\nfrom 8"), "nearly the same idea as")
    assert 'experiment 12, "Increase DEPTH from 8", which ended as discard with 0.9981' in text
    assert "send this again" in text
    assert "\n" not in text
    assert "which has no result yet." in message(attempt(3, "x", "waiting", None), "nearly the same idea as")
