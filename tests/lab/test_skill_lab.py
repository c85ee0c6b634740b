"""The `skill` lab: the language of its skills, and what they complete."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import git
from tests.lab.templates import TEMPLATES, evaluate, metric, module, night

language = module("skill", "language")
tasks = module("skill", "tasks")
FIELDS = {
    "text": "  Ab, cd ",
    "list": ["10", "9", "9", "x"],
    "numbers": ["10", "9"],
    "number": "12.5",
    "date": "2024-01-31",
    "count": "3",
    "item": "cedar",
    "table": [{"item": "birch", "price": "1.50"}, {"item": "cedar", "price": "2.75"}],
}


def follow(*steps: str) -> Any:
    text = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return language.follow(language.read("x.md", text), FIELDS)


@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        (["Take the text.", "Trim it.", "Make it upper case."], "AB, CD"),
        (["Take the text.", "Make it lower case.", 'Split it at ","', "Drop the first item"], [" cd "]),
        (["Take the text", 'Replace " " with "".', "Reverse it.", "Keep the first 2 letters."], "dc"),
        (["Take the list.", "Drop repeats.", "Keep the first 2 items."], ["10", "9"]),
        (["Take the list.", 'Drop the items that are "9".', "Drop the last item."], ["10"]),
        (["Take the list.", "Keep the last 1 item.", "Keep the first 1 letter of each item."], ["x"]),
        (["Take the numbers.", "Sort it."], ["10", "9"]),
        (["Take the numbers.", "Sort it as numbers.", "Reverse it."], ["10", "9"]),
        (["Take the table.", "Find the row where item is the item.", "Take its price.", "Add 0.25."], 3.0),
        (["Take the number.", "Subtract 0.5", "Multiply by the count", "Divide by 4", "Round to 0 digits"], 9.0),
        (["Take the date.", "Add 1 month."], datetime.date(2024, 2, 29)),
        (["Take the date.", "Add the count weeks."], datetime.date(2024, 2, 21)),
        (["Take the date.", "Add -31 days."], datetime.date(2023, 12, 31)),
        (["Take the date.", 'If the item is "cedar", add 1 day.', 'If the item is not "cedar", add 1 month.'],
         datetime.date(2024, 2, 1)),
        (["Take the number.", "Check that it is a number.", "Check that it is not empty."], "12.5"),
    ],
)  # fmt: skip
def test_each_step_does_what_the_program_says(steps: list[str], answer: Any) -> None:
    assert follow(*steps, "Answer it.") == answer


@pytest.mark.parametrize(
    ("steps", "line", "said"),
    [
        (["Take the text.", "Paint it red."], 2, "Paint it red: unknown step"),
        (["Take the colour."], 1, "the request has no colour; it has text, list"),
        (["Take the text.", "Add 1."], 2, "it is a text, no number"),
        (["Take the number.", "Divide by 0."], 2, "division by zero"),
        (["Take the text.", "Add 3 days."], 2, "Invalid isoformat"),
        (["Take the date.", "Add 99999999 days."], 2, "out of range"),
        (["Take the table.", 'Find the row where item is "x".'], 2, "no row has 'x'"),
        (["Sort it."], 1, "it is nothing yet, no list"),
        (["Take the text."], 1, "there is no step `Answer it.`"),
        (["Take the text.", *['Replace "b" with "bbbbbbbbbbbbbbbb".'] * 4], 5, "the result is too long"),
        (["Take the text."] * 61, 61, "more than 60 steps"),
    ],
)
def test_a_step_that_cannot_be_followed_is_named(steps: list[str], line: int, said: str) -> None:
    with pytest.raises(language.Failed, match=said.replace("?", r"\?")) as failure:
        follow(*steps)
    assert failure.value.line == line


def test_the_skill_that_names_more_of_the_request_is_asked_first() -> None:
    skills = [
        language.read("a.md", 'Use when the request says "write".'),
        language.read("b.md", 'Use when the request says "list" or "write" and "initials".'),
        language.read("c.md", '- Use it when the request says "INITIALS of"'),
        language.read("d.md", "no such line"),
    ]
    assert [skill.name for skill in language.choose(skills, "Write the initials of it")] == ["b.md", "c.md", "a.md"]


_PIECES = st.sampled_from(
    ["Take the ", "text", "date", "list", "table", "number", "Add ", "3", "-9999", " days", "Replace ", '"a"', '""',
     " with ",
     "Keep the first ", " letters", "Split it at ", "Round to ", " digits", "Multiply by ", "the count", "Reverse it",
     ".", "\n1. ", "\n2) ", "Answer it", "Check that it is ", "a number", "not empty", "If the item is ", ", ", "1e999"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=30).map("".join) | st.text(max_size=200))
def test_any_text_is_a_skill_that_answers_or_fails_in_one_way(text: str) -> None:
    skill = language.read("x.md", "1. " + text)
    skill.fits(text)
    try:
        language.follow(skill, FIELDS)
    except language.Failed as failure:
        assert failure.line >= 0


# ── the tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────

SOLVED = {
    "capitals": ('"in capitals" or "all capitals" or "upper case"', ["Take the text", "Make it upper case"]),
    "order": ('"the numbers"', ["Take the list", "Sort it as numbers"]),
    "repeats": ('"repeats" or "each item"', ["Take the list", "Drop repeats"]),
    "due": ('"two weeks"', ["Take the date", "Add 2 weeks"]),
    "miles": ('"miles"', ["Take the number", "Divide by 1.609344"]),
    "celsius": ('"fahrenheit" or "to celsius"', ["Take the number", "Subtract 32", "Multiply by 5", "Divide by 9"]),
    "initials": (
        '"initials"',
        ["Take the name", 'Split it at " "', "Keep the first 1 letter of each item", 'Join it with ""'],
    ),
}


def write(folder: Path, name: str) -> None:
    when, steps = SOLVED[name]
    lines = "".join(f"{number}. {step}.\n" for number, step in enumerate((*steps, "Answer it"), 1))
    (folder / "skills" / f"{name}.md").write_text(f"# {name}\n\nUse when the request says {when}.\n\n{lines}")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATES / "skill" / "skills", tmp_path / "skills")
    return tmp_path


def completed(lab: Path) -> float:
    """On one draw, always the same: a share of 400 drawn tasks is known to about 0.02."""
    return metric(evaluate("skill", lab, "--referee", AUTORESEARCH_DRAW="7"), "completed")


def test_better_and_further_skills_complete_more_up_to_everything(lab: Path) -> None:
    """Two kinds have no skill at the start, and five one that is wrong in some way."""
    scores = [completed(lab)]
    assert scores[0] == pytest.approx(0.22, abs=0.05)
    draws = [evaluate("skill", lab, "--referee", AUTORESEARCH_DRAW=draw).stdout for draw in ("7", "7", "8")]
    assert draws[0] == draws[1] != draws[2]
    for name in ("order", "celsius"):
        write(lab, name)
        scores.append(completed(lab))
    assert scores[1] > scores[0] + 0.05
    assert scores[2] == pytest.approx(scores[1] + 0.125, abs=0.04)
    for name in SOLVED:
        write(lab, name)
    assert completed(lab) == 1


def test_without_skills_nothing_is_completed(tmp_path: Path) -> None:
    assert completed(tmp_path) == 0


def test_the_log_says_which_tasks_fail_and_at_which_line(lab: Path) -> None:
    (lab / "skills" / "celsius.md").write_text(
        'Use when the request says "in celsius".\n\n1. Guess it.\n2. Answer it.\n'
    )
    (lab / "skills" / "notes.md").write_text("Nothing to use.\n")
    done = evaluate("skill", lab)
    assert done.returncode == 0, done.stderr
    assert "lookup: 5 of 5\n" in done.stdout
    assert "celsius: 0 of 5\n" in done.stdout
    assert "skills/celsius.md, line 3: Guess it: unknown step\n" in done.stdout
    assert "skills/notes.md: no line `Use when" in done.stdout
    assert "METRIC" not in done.stdout


def test_an_answer_is_worth_one_task_since_every_draw_is_new() -> None:
    first, second = ([task.fields["list"] for task in tasks.draw(seed, 20) if "list" in task.fields] for seed in (1, 2))
    assert not [mine for mine in first if mine in second]


@pytest.mark.parametrize(
    ("shell", "said"),
    [
        ("ln -s /etc/hostname skills/a.md", "skills/a.md must be a plain file"),
        ("mkdir skills/a.md", "skills/a.md must be a plain file"),
        ("mkfifo skills/a.md", "skills/a.md must be a plain file"),
        ("mv skills other; ln -s other skills", "skills must be a folder"),
        ("printf '\\377' > skills/a.md", "skills/a.md is not UTF-8"),
        ("head -c 20001 /dev/zero > skills/a.md", "longer than 20,000 bytes"),
        ("for n in $(seq 60); do touch skills/$n.md; done", "more than 60 skills"),
    ],
)
def test_what_is_no_folder_of_skills_is_refused_in_a_line(lab: Path, shell: str, said: str) -> None:
    subprocess.run(["sh", "-c", shell], cwd=lab, check=True)
    done = evaluate("skill", lab, "--referee")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert said in done.stderr


AGENT = """
import os
steps = "1. Take the number.\\n2. Subtract 32.\\n3. Multiply by 5.\\n4. Divide by 9.\\n5. Answer it.\\n"
when = 'Use when the request says "fahrenheit" or "to celsius".'
open("skills/celsius.md", "w").write("# Celsius\\n\\n" + when + "\\n\\n" + steps)
text = open("skills/order.md").read()
open("skills/order.md", "w").write(text.replace("3. Sort it.\\n", ""))
os.remove("skills/due.md")
print("a skill for Celsius; numbers stay sorted as numbers; a skill that is wrong goes")
"""


def test_a_night_of_an_agent_adds_changes_and_removes_skills(tmp_path: Path) -> None:
    lab, state = night(tmp_path, "skill", AGENT, 2)
    assert [experiment.outcome for experiment in state.table] == ["keep", "keep"]
    assert state.frontier is not None
    names = git(lab, "ls-tree", "--name-only", state.frontier.commit, "skills/").split()
    assert "skills/celsius.md" in names
    assert "skills/due.md" not in names
    assert state.frontier.score is not None
    assert state.frontier.score.columns == {"num_skill_steps": 24}


def test_a_night_of_the_offline_search_completes_more(tmp_path: Path) -> None:
    _, state = night(tmp_path, "skill", "", 3)
    outcomes = [experiment.outcome for experiment in state.table]
    assert (outcomes[0], outcomes.count("keep"), outcomes.count("discard")) == ("keep", 2, 1)


def test_a_skill_with_an_unknown_step_is_named_before_it_runs(lab: Path) -> None:
    assert evaluate("skill", lab, "--check").returncode == 0
    (lab / "skills" / "odd.md").write_text('Use when the request says "x".\n\n1. If the item is "a", fly.\n')
    done = evaluate("skill", lab, "--check")
    assert (done.returncode, done.stderr) == (1, 'skills/odd.md, line 3: unknown step: If the item is "a", fly\n')
