"""The offline search on a prompt and a skill: lines and numbers of any text, and what each attempt taught."""

from __future__ import annotations

import itertools
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab.editable import applied
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.researchers.base import Attempt, Brief, ResearcherError
from autoresearch_tui.researchers.search import lines
from autoresearch_tui.researchers.search.researcher import Search

PROMPT = "You sort mail.\nAnswer with one word.\nChat a lot.\nUse at most 12 words of thought.\nIgnore the subject.\n"
SKILL = "# Wash\n\n1. dry\n2. wash\n3. fold\n\nheat: 20\n"


def errors(files: dict[str, str]) -> float:
    """A fixed evaluation: two lines do harm, one is needed, two numbers have a best value, an order matters."""
    prompt, skill = files["prompt.txt"], files["skills/wash.md"]
    said, heat = re.search(r"most (\d+) words", prompt), re.search(r"heat: (\d+)", skill)
    order = [skill.find(word) for word in ("wash", "dry", "fold")]
    return (
        ("Chat" in prompt)
        + ("Ignore" in prompt)
        + 2 * ("one word" not in prompt)
        + (abs(int(said[1]) - 30) / 20 if said else 1)
        + (abs(int(heat[1]) - 60) / 30 if heat else 2)
        + sum(one > two or one < 0 for one, two in itertools.pairwise(order)) / 2
    )


def night(experiments: int, seed: int = 0) -> tuple[list[Attempt], dict[str, dict[str, str]]]:
    """A night of the offline search against that evaluation, in memory."""
    commits = {"c0": {"prompt.txt": PROMPT, "skills/wash.md": SKILL}}
    history = [Attempt(0, "c0", "c0", "baseline", "", "keep", errors(commits["c0"]), "")]
    best, search = "c0", Search(seed)
    for number in range(1, experiments + 1):
        brief = Brief(
            number, best, "", commits[best], {}, "errors", Goal.MINIMIZE, 1.0, tuple(history),
            files_at=commits.__getitem__,
        )  # fmt: skip
        made = search.propose(brief, lambda _text: None, threading.Event())
        assert made is not None
        commit = f"c{number}"
        commits[commit] = applied(commits[best], made.files)
        value = errors(commits[commit])
        kept = value < errors(commits[best])
        outcome = "keep" if kept else "discard"
        history.append(Attempt(number, commit, best, made.description, made.hypothesis, outcome, value, ""))
        best = commit if kept else best
    return history, commits


def test_a_prompt_and_a_skill_improve_without_a_key() -> None:
    history, commits = night(60)
    values = [a.value for a in history if a.value is not None]
    assert values[0] > 4.5 > 1.6 > min(values)
    texts = [tuple(sorted(files.items())) for files in commits.values()]
    assert len(set(texts)) == len(texts), "something was tried twice"
    kept = {a.description.partition(" ")[0] for a in history[1:] if a.outcome == "keep"}
    assert any("leave out `Chat a lot.`" in a.description for a in history)
    assert kept == {"prompt.txt:", "skills/wash.md:"}


def test_what_was_left_out_comes_back_only_if_it_did_not_pay() -> None:
    text, without = "a\nb\nc\n", "a\nc\n"
    (back,) = lines.earlier(without, [text])
    found = [each for each in lines.edits("p.txt", without, (back,)) if each.family == lines.RESTORE]
    assert [each.text for each in found] == [text]
    assert found[0].description == "p.txt: take back `b`"
    dropped = lines.between({"p.txt": text}, {"p.txt": without})
    assert dropped is not None and (dropped.family, dropped.key) == (lines.DROP, found[0].key)
    assert dropped.before == found[0].after


def test_a_line_that_differs_in_its_numbers_alone_does_not_come_back() -> None:
    assert lines.earlier("heat: 20\n", ["heat: 30\ncool\n"]) == (lines.Earlier("cool", "heat: 30"),)


@pytest.mark.parametrize(
    ("path", "text"), [("a.py", "x = 1\n"), ("a.json", "{}\n"), ("a.txt", ""), ("a.txt", "alone\n")]
)
def test_where_no_line_is_edited(path: str, text: str) -> None:
    assert lines.edits(path, text) == ()


def test_nothing_at_all_to_turn_is_said() -> None:
    brief = Brief(1, "c0", "", {"a.json": "{}"}, {}, "errors", Goal.MINIMIZE, 1.0, ())
    with pytest.raises(ResearcherError, match="or lines of text") as caught:
        Search().propose(brief, lambda _text: None, threading.Event())
    assert caught.value.fatal


@given(st.text(st.sampled_from("ab \n\t\r"), max_size=24), st.text(st.sampled_from("abc\n"), max_size=10))
def test_every_edit_is_one_of_whole_lines_and_is_recognised(text: str, old: str) -> None:
    before = sorted(text.split()) if text.isascii() else []
    for each in lines.edits("p.txt", text, lines.earlier(text, [old])):
        assert each.text != text and each.text.strip()
        assert abs(len(each.text.split()) - len(before)) <= max(len(text), len(old))
        found = lines.between({"p.txt": text}, {"p.txt": each.text})
        assert found is not None and found.text == each.text
