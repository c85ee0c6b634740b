"""The verbs: a session without a screen, steered from other processes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.journal import read
from autoresearch_tui.session.state import Stage, State
from tests import warm
from tests.conftest import SETTINGS, TRAIN, git
from tests.history import problems, state_of
from tests.waiting import wait_for

NewLab = Callable[..., Path]
ASK = SETTINGS.replace('mode = "auto"', 'mode = "ask"')
PLAIN = {**os.environ, "AUTORESEARCH_NO_SANDBOX": "1"}


def verb(*words: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    """A verb's exit code, and its one line: stdout if it was obeyed, else stderr."""
    return answer(warm.run([*map(str, words)], cwd=cwd, env=PLAIN, seconds=300))


def answer(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    said = done.stderr if done.returncode else done.stdout
    assert (done.stdout if done.returncode else done.stderr) == ""
    assert len(said.splitlines()) == 1, said
    return done.returncode, said.strip().removeprefix("autoresearch-tui: ")


@contextmanager
def engine(lab: Path, *words: str) -> Iterator[warm.Started]:
    """A headless engine that has the session `t` and listens; ended at the end."""
    lock = lab / ".autoresearch/engine.lock"
    with warm.start([lab, "--headless", "--tag", "t", *words], env=PLAIN) as process:
        try:
            wait_for(lambda: held(lock) and read_holder(lock).pid == process.pid, what="the engine")
            wait_for(lambda: state_of(lab, "t").engine)
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def at_gate(lab: Path, number: int) -> State:
    """The state once this proposal waits for an answer and nothing trains."""

    def waits() -> bool:
        state = state_of(lab, "t")
        one = state.experiments[number] if number < len(state.experiments) else None
        return one is not None and one.stage is Stage.REVIEW and state.running is None

    wait_for(waits, what=f"the gate of #{number}")
    return state_of(lab, "t")


def test_a_session_is_steered_with_verbs_alone(new_lab: NewLab, tmp_path: Path) -> None:
    lab = new_lab(settings=ASK)
    with engine(lab) as process:
        shown = at_gate(lab, 1).experiments[1].commit
        assert verb("note", "try  the WIDTH", lab) == (0, "the next request to the researcher has your note")
        other = "0" * 7 if shown[0] != "0" else "1" * 7
        assert verb("approve", "1", lab, "--commit", other) == (1, "#1: it changed meanwhile; look at the new diff")
        assert verb("approve", "1", "--commit", shown[:7], "--tag", "t", cwd=lab) == (0, "#1 approved")
        assert verb("approve", "99", lab) == (1, "#99: there is no such experiment")
        wait_for(lambda: state_of(lab, "t").experiments[1].outcome)
        assert verb("approve", "1", lab) == (1, "#1: it is not waiting any more")
        at_gate(lab, 2)
        assert verb("veto", "2", "-m", "too dear", lab) == (0, "#2 vetoed")
        at_gate(lab, 3)
        text = tmp_path / "mine.py"
        text.write_text(TRAIN.replace("RATE = 0.5", "RATE = 0.25"))
        code, said = verb("edit", "3", text, lab, "-m", "RATE to a quarter")
        assert (code, said[:34]) == (0, "#3 edited and approved, as commit ")
        wait_for(lambda: state_of(lab, "t").experiments[3].outcome)
        assert verb("pause", lab) == (0, "paused; the present run continues")
        assert verb("repeat", "0", lab) == (0, f"#0 will run again, as #{len(state_of(lab, 't').experiments) - 1}")
        assert verb("repeat", "0", lab)[1].startswith("#0 is repeated already, as #")
        assert verb("overrule", "3", "-m", "too fragile", lab) == (0, "#3 is a discard now")
        assert verb("overrule", "3", "-m", "after all", lab) == (0, "#3 is kept, and the search continues from it")
        assert verb("continue", "0", lab) == (0, "the search continues from #0")
        assert verb("continue", "0", lab) == (0, "the search continues from #0 already")
        assert verb("resume", lab) == (0, "resumed")
        wait_for(lambda: len(state_of(lab, "t").table) == 4, what="the repeat")
        assert verb("stop", lab) == (0, "the session stops after the present run")
        assert process.wait(60) == 0
    state = state_of(lab, "t")
    assert state.notes == ("try  the WIDTH",)
    assert state.experiments[2].reason == "too dear"
    assert (state.experiments[3].description, state.experiments[3].approved_by) == (
        "RATE to a quarter",
        "human, edited",
    )
    assert state.frontier_number == 0
    assert problems(lab, "t") == []


def test_without_an_engine_a_verb_says_how_to_start_one(new_lab: NewLab) -> None:
    lab = new_lab(settings=ASK)
    assert verb("approve", "1", lab) == (2, f"{lab}: no session yet; `autoresearch-tui {lab}` begins one")
    with engine(lab) as process:
        at_gate(lab, 1)
        assert verb("stop", "--now", lab) == (0, "the session stops now")
        process.wait(60)
    before = read(lab / ".autoresearch/t/journal.jsonl")
    said = f"{lab}: session t has no engine; `autoresearch-tui {lab} --tag t --headless` starts one"
    assert verb("approve", "1", lab) == (1, said)
    assert verb("stop", lab, "--tag", "other")[0] == 2
    with engine(lab):
        at_gate(lab, 1)
    after = read(lab / ".autoresearch/t/journal.jsonl")[len(before) :]
    assert not [record for record in after if isinstance(record.event, ev.ProposalApproved)]


def test_a_killed_engines_session_waits_for_its_successor(new_lab: NewLab) -> None:
    """Nothing is left behind for an engine that comes too late."""
    lab = new_lab(settings=ASK)
    with engine(lab) as process:
        at_gate(lab, 1)
        process.kill()
    code, said = verb("approve", "1", lab)
    assert (code, "has no engine" in said) == (1, True)
    assert [*(lab / ".autoresearch/t/inbox").iterdir()] == []


def test_a_full_disk_is_one_line(new_lab: NewLab) -> None:
    """For the sender: no byte of the command finds room, and nothing is left of it."""
    lab = new_lab(settings=ASK)
    with engine(lab):
        at_gate(lab, 1)
        full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
        command = [sys.executable, "-m", "autoresearch_tui", "note", "a", str(lab)]
        done = subprocess.run(command, env=PLAIN, capture_output=True, text=True, check=False, preexec_fn=full)
        code, said = answer(done)
        inbox = lab / ".autoresearch/t/inbox"
        assert (code, said) == (1, f"{inbox}: cannot be written: File too large; nothing was sent")
        assert [*inbox.iterdir()] == []
    assert state_of(lab, "t").notes == ()


def test_an_engine_in_trouble_takes_a_stop_and_keeps_the_rest(new_lab: NewLab, tmp_path: Path) -> None:
    lab, mine = new_lab(settings=ASK), tmp_path / "train.py"
    mine.write_text(TRAIN.replace("RATE = 0.5", "RATE = 0.25"))
    with engine(lab) as process, ThreadPoolExecutor() as others:
        at_gate(lab, 1)
        git(lab, "checkout", "--quiet", "autoresearch/t")
        assert verb("edit", "1", mine, lab)[0] == 0
        wait_for(lambda: state_of(lab, "t").trouble, what="trouble, for the branch cannot be moved")
        note = others.submit(verb, "note", "when you can", lab)
        wait_for(lambda: [*(lab / ".autoresearch/t/inbox").glob("*.request")], what="the note")
        git(lab, "checkout", "--quiet", "main")
        assert note.result(120) == (0, "the next request to the researcher has your note")
        git(lab, "checkout", "--quiet", "autoresearch/t")
        assert verb("continue", "0", lab)[0] == 0
        wait_for(lambda: state_of(lab, "t").trouble, what="the same again")
        assert verb("stop", "--now", lab)[0] == 0
        assert process.wait(60) == 0
    git(lab, "checkout", "--quiet", "main")
    with engine(lab):
        wait_for(lambda: git(lab, "rev-parse", "autoresearch/t") == state_of(lab, "t").frontier_commit)
    assert problems(lab, "t") == []


@pytest.mark.parametrize(
    "words",
    [
        ["approve"],
        ["approve", "one"],
        ["approve", "1", ".", "--commit", "xyz"],
        ["veto", "1"],
        ["veto", "1", "-m", "  "],
        ["overrule", "1"],
        ["note", ""],
        ["edit", "1"],
        ["edit", "1", "no-such-file.py"],
        ["stop", "--now", "--after-run"],
        ["note", "a", "no-such-lab"],
    ],
)
def test_wrong_usage_is_one_line(lab_folder: Path, words: list[str]) -> None:
    assert verb(*words, cwd=lab_folder)[0] == 2


def test_the_name_of_a_file_says_which_it_replaces(new_lab: NewLab, tmp_path: Path) -> None:
    lab = new_lab(settings=f'[lab]\neditable = ["train.py", "model/layers.py"]\n{ASK}')
    (lab / "model").mkdir()
    (lab / "model/layers.py").write_text("LAYERS = 2\n")
    git(lab, "add", "model")
    git(lab, "commit", "--quiet", "--message=model")
    mine = tmp_path / "mine.py"
    mine.write_text("LAYERS = 3\n")
    layers = tmp_path / "layers.py"
    layers.write_text("LAYERS = 3\n")
    with engine(lab):
        at_gate(lab, 1)
        code, said = verb("edit", "1", mine, lab)
        assert (code, said) == (2, f"{mine}: is it train.py or model/layers.py? give the file that name")
        assert verb("edit", "1", layers, lab)[0] == 0
        assert git(lab, "show", "refs/autoresearch/t/0001:model/layers.py") == "LAYERS = 3"
