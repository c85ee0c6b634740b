"""The journal of lessons: an entry an experiment, once; the human's words stay and come first."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autoresearch_tui.engine.proposing import lessons
from autoresearch_tui.engine.proposing.briefing import SourceCache
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.researchers import prompt
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.sequence import Experiments
from autoresearch_tui.session.state import State
from tests.conftest import TRAIN
from tests.engine.making import experiment, state
from tests.engine.test_loop import Script, running, turn

pytestmark = pytest.mark.usefixtures("unconfined")

FIRST = state(
    experiment(0, "keep", 1.0, description="baseline"),
    experiment(1, "keep", 0.99, description="LR 0.04 → 0.06", hypothesis="It is\ntoo slow."),
    experiment(2, "discard", 0.995),
    experiment(3, "crash", reason="crashed: NameError: x"),
    experiment(4, ""),
)
MORE = state(*FIRST.experiments[:4], experiment(4, "invalid", reason="prepare.py was changed"))


def updated(text: str, now: State) -> str:
    return lessons.update(text, lessons.entries(now, lessons.noted(text)), now.rows)


def excerpt(text: str, now: State, limit: int = lessons.LIMIT) -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        return lessons.Lessons(Path(file.name)).recall(now, limit)


def test_an_entry_says_what_was_tried_what_came_of_it_and_what_it_taught() -> None:
    text = updated("", FIRST)
    assert text.startswith("# What the experiments taught\n")
    assert (
        "\n## #1 keep: LR 0.04 → 0.06\n0.990000, 0.010000 better than #0.\nLesson: it held: It is too slow.\n" in text
    )
    assert "\n## #2 discard: idea 2\n0.995000, 0.005000 worse than #1.\nLesson: it did not hold here" in text
    assert "\n## #3 crash: idea 3\nNo score.\nLesson: nothing about the idea, for it failed (crashed: Name" in text
    assert "#4" not in text


def test_a_higher_score_may_be_the_better_one() -> None:
    up = state(experiment(0, "keep", 1.0), experiment(1, "keep", 1.5), goal="maximize")
    assert "0.500000 better than #0" in lessons.entries(up)[1]


def test_writing_twice_changes_nothing_and_a_new_verdict_adds_one_entry() -> None:
    once = updated("", FIRST)
    assert updated(once, FIRST) == once
    twice = updated(once, MORE)
    assert twice.count("## #") == 5
    assert twice.replace("5 verdicts noted", "4 verdicts noted").startswith(once.partition("<!--")[0])


def test_what_the_human_wrote_changed_and_deleted_stays() -> None:
    text = updated("", FIRST)
    text = text.replace("Lesson: it held: It is too slow.", "Lesson: only at depth 8!")
    start, end = text.index("## #2 "), text.index("## #3 ")
    text = "My own opening.\n\n" + text[:start] + text[end:] + "\nAnd a remark at the end.\n"
    after = updated(text, MORE)
    assert after.startswith("My own opening.\n")
    assert "only at depth 8!" in after and "And a remark at the end." in after
    assert "## #2 " not in after
    assert after.count("## #4 invalid") == 1
    assert updated(after, MORE) == after


def test_without_its_mark_only_missing_entries_come_back() -> None:
    text = updated("", FIRST).partition("<!--")[0].replace("## #1 keep: LR", "## #1 keep: my LR")
    after = updated(text, FIRST)
    assert after.count("## #1 ") == 1 and "my LR" in after


def test_room_goes_to_the_human_first_then_to_keeps_then_to_the_newest() -> None:
    many = state(
        experiment(0, "keep", 1.0), *(experiment(n, "keep" if n == 5 else "discard", 0.9) for n in range(1, 300))
    )
    text = "Never touch the tokenizer.\n\n" + updated("", many)
    text = text.replace("because of 3\n", "because of 3, said the human\n")
    said = excerpt(text, many, 1500)
    assert len(said) <= 1600
    assert "Never touch the tokenizer." in said and "said the human" in said
    assert "## #5 keep" in said and "## #299 discard" in said and "## #100 " not in said
    assert "entries are left out)" in said and "What the experiments taught" not in said
    assert said.index("## #3 ") < said.index("## #5 ") < said.index("## #299 ")


def test_what_is_given_to_a_request_hardly_grows() -> None:
    def size(count: int) -> int:
        now = state(*(experiment(n, "discard" if n else "keep", 1.0, hypothesis="x" * 80) for n in range(count)))
        return len(excerpt(updated("", now), now))

    assert size(500) <= 1.05 * size(50) <= 1.05 * lessons.LIMIT + 100


def test_the_file_is_read_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "t" / "lessons.md"
    assert lessons.Lessons(path).recall(FIRST) == ""
    lessons.Lessons(path).keep(state())
    assert not path.exists()
    lessons.Lessons(path).keep(FIRST)
    assert "## #1 keep" in lessons.Lessons(path).recall(FIRST)
    assert sorted(p.name for p in path.parent.iterdir()) == ["lessons.md", "lessons.sums"]


@pytest.mark.parametrize("data", [None, b"", b"abc", b"\0" * 8, b"\xff" * 400])
def test_what_was_written_is_known_without_its_sums(tmp_path: Path, data: bytes | None) -> None:
    """Deleted, cut or damaged, they cost time alone."""
    path = tmp_path / "lessons.md"
    lessons.Lessons(path).keep(FIRST)
    path.write_text(path.read_text().replace("it held: It is", "only at depth 8: It is"))
    sums, told = path.with_suffix(".sums"), lessons.Lessons(path).recall(FIRST, 250)
    if data is None:
        sums.unlink()
    else:
        sums.write_bytes(data)
    again = lessons.Lessons(path).recall(FIRST, 250)
    assert "only at depth 8" in told and "only at depth 8" in again
    assert again == told


@given(st.lists(st.sampled_from(["verdict", "end", "beginning", "delete", "change", "mark", "nothing"]), max_size=8))
def test_what_is_remembered_of_the_file_is_what_it_has(moves: list[str]) -> None:
    """Whatever the human does to it between two requests, or while entries are added."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lessons.md")
        kept, count = lessons.Lessons(path), 3
        for move in ["verdict", *moves]:
            count += move == "verdict"
            now = state(*(experiment(n, "keep" if n % 3 == 0 else "discard", 1.0 - n / 100) for n in range(count)))
            kept.keep(now)
            text = path.read_text()
            match move:
                case "end":
                    path.write_text(f"{text}\nA remark.\n")
                case "beginning":
                    path.write_text(f"An opening.\n{text}")
                case "delete":
                    path.write_text(re.sub(r"## #1 .*?(?=## |<!--|$)", "", text, flags=re.DOTALL))
                case "change":
                    path.write_text(text.replace("Lesson: it", "Lesson: perhaps it"))
                case "mark":
                    path.write_text(text.partition("<!--")[0])
            assert kept.recall(now, 700) == lessons.Lessons(path).recall(now, 700)


@pytest.mark.parametrize("data", [b"caf\xe9\n", b"\xff\xfe\x00"])
def test_a_file_that_is_not_utf8_is_left_as_the_human_has_it(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lessons.md"
    path.write_bytes(data)
    lessons.Lessons(path).keep(FIRST)
    assert path.read_bytes() == data
    lessons.Lessons(path).recall(FIRST)


def test_a_sealed_score_reaches_no_request(lab_folder: Path) -> None:
    """It is there for the human alone: an agent that saw it would fit it."""
    sealed, shown = 7.654321, 0.987654
    summary = {"val_bpb": str(shown), "sealed_bpb": str(sealed)}
    scored = [
        replace(e, score=ev.RunScored(e.number, e.value, 1.0, "referee", summary=summary, sealed=sealed))
        for e in (experiment(0, "keep", 1.0), experiment(1, "discard", 1.01), experiment(2, "crash", reason="no luck"))
    ]
    told = state(*scored, sent_notes=("try less",))
    lab = labs.find(lab_folder)
    repo = GitRepo(lab.root)
    head = repo.head()
    told = replace(
        told,
        experiments=Experiments.of(
            replace(e, proposal=replace(e.proposal, commit=head, base=head)) for e in told.experiments
        ),
    )
    taught = lessons.Lessons(lab_folder / "lessons.md")
    taught.keep(told)
    brief = replace(SourceCache(lab, repo).brief(told, 3, head), lessons=taught.recall(told), fixes=2)
    for answer in ("tool", "folder"):
        text = prompt.build(brief, answer).text  # type: ignore[arg-type]
        assert "try less" in text and "no luck" in text
        assert str(sealed) not in text and "sealed" not in text


def test_what_the_human_writes_into_the_lessons_reaches_the_next_request(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.5"))
    script = Script(turn("RATE", 0.25), turn("WIDTH", 12), turn("RATE", 0.2))
    file = folder / ".autoresearch/t/lessons.md"
    with running(folder, script, rows=4) as driver:
        driver.wait(lambda s: file.exists() and "## #0 " in file.read_text())
        # While the next one trains, nothing is added: as an editor does, the file is written whole.
        file.write_text(
            "Mind the width.\n\n" + file.read_text().replace("this is where the search starts", "start here")
        )
        driver.join()
    text = file.read_text()
    assert all(words in text for words in ("Mind the width.", "start here", "## #1 ", "## #2 "))
    assert "where the search starts" not in text
    assert script.briefs[-1].lessons.startswith("Mind the width.") and "start here" in script.briefs[-1].lessons
