"""The command line: what a script, or a person who mistypes, gets."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import warm
from tests.conftest import SETTINGS, TRAIN, git, make_lab
from tests.history import problems
from tests.waiting import wait_for


def run(*words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, without a terminal."""
    return warm.run(words, cwd=cwd, env={**os.environ, **(env or {})})


def test_headless_prints_the_journal_and_ends_by_itself(lab_folder: Path) -> None:
    done = run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "5")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(event["time"].endswith("Z") and event["type"] == event["type"].lower() for event in events)
    assert done.stdout == (lab_folder / ".autoresearch/t/journal.jsonl").read_text()
    table = (lab_folder / "results.tsv").read_text().splitlines()
    assert len(table) == 6
    assert table[1].split("\t")[3:] == ["keep", "baseline"]
    scored = [line.split("\t") for line in table[1:] if line.split("\t")[3] == "keep"]
    best = min(scored, key=lambda row: float(row[1]))
    assert git(lab_folder, "rev-parse", "--short=7", "autoresearch/t") == best[0]
    assert problems(lab_folder, "t") == []


def test_the_help_lists_every_command_with_what_it_does_in_80_columns() -> None:
    done = run("--help", env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    listed = [line.split()[0] for line in done.stdout.partition("other commands:")[2].splitlines() if line[:2] == "  "]
    assert {"init", "status", "approve", "continue"} < set(listed)
    for name in listed:
        told = run(name, "--help")
        assert told.returncode == 0 and told.stdout.startswith(f"usage: autoresearch-tui {name} ")


def test_a_second_start_goes_on_and_a_new_session_begins_afresh(lab_folder: Path) -> None:
    assert run(str(lab_folder), "--headless", "--experiments", "2").returncode == 0
    again = run("--headless", "--experiments", "3", cwd=lab_folder)
    assert again.returncode == 0
    assert '"seq":1,' not in again.stdout.splitlines()[0]
    assert run(str(lab_folder), "--headless", "--new", "--experiments", "1").returncode == 0
    folders = sorted(path.parent.name for path in lab_folder.glob(".autoresearch/*/journal.jsonl"))
    assert len(folders) == 2
    assert folders[1] == f"{folders[0]}-2"
    assert len((lab_folder / "results.tsv").read_text().splitlines()) == 2


def test_overrides_hold_for_the_session(lab_folder: Path) -> None:
    done = run(str(lab_folder), "--headless", "--tag", "t", "--budget", "7.5", "--experiments", "1")
    assert done.returncode == 0
    again = run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "2")
    assert again.returncode == 0
    started = [json.loads(line) for line in again.stdout.splitlines() if '"engine_started"' in line]
    assert started[0]["overrides"] == {"budget": "7.5", "experiments": "2"}
    assert "training_seconds: 7.5" in (lab_folder / ".autoresearch/t/runs/0001/run.log").read_text()


def test_the_run_sees_nothing_of_the_users_environment(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN + "print(dict(os.environ))\n")
    secret = {"ANTHROPIC_API_KEY": "sk-very-secret", "SOMETHING": "of-mine", "CUDA_VISIBLE_DEVICES": "1"}
    assert run(str(folder), "--headless", "--tag", "t", "--experiments", "1", env=secret).returncode == 0
    log = (folder / ".autoresearch/t/runs/0000/run.log").read_text()
    assert "'CUDA_VISIBLE_DEVICES': '1'" in log
    assert "sk-very-secret" not in log
    assert "of-mine" not in log
    everything = b"".join(path.read_bytes() for path in (folder / ".autoresearch").rglob("*") if path.is_file())
    assert b"sk-very-secret" not in everything


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_another_user_is_told_with_what_git_wants(lab_folder: Path, tmp_path: Path) -> None:
    for path in (lab_folder, *lab_folder.rglob("*")):
        os.chown(path, 1234, 1234)
    home = {"HOME": str(tmp_path)}
    refused = run(str(lab_folder), "--headless", "--experiments", "1", env=home)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    remedy = refused.stderr.split("`")[1]
    subprocess.run(["sh", "-c", remedy], check=True, env={**os.environ, **home})
    assert run(str(lab_folder), "--headless", "--experiments", "1", env=home).returncode == 0


def test_a_repository_with_longer_hashes(new_lab: Callable[..., Path]) -> None:
    folder = new_lab()
    shutil.rmtree(folder / ".git")
    git(folder, "init", "--quiet", "--object-format=sha256")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=lab")
    done = run(str(folder), "--headless", "--tag", "t", "--experiments", "4")
    assert done.returncode == 0, done.stderr
    assert problems(folder, "t") == []


def test_a_path_that_git_cannot_tell_is_refused(tmp_path: Path) -> None:
    refused = run(str(make_lab(tmp_path / "two\nlines")), "--headless", "--experiments", "1")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "rename that folder" in refused.stderr


def broken(kind: str, folder: Path) -> Path:
    """A lab, or what somebody took for one, with one thing wrong."""
    if kind == "no git":
        folder.mkdir()
        return folder
    make_lab(folder)
    settings = folder / "autoresearch.toml"
    match kind:
        case "no train.py":
            (folder / "train.py").unlink()
        case "unknown key":
            settings.write_text("[run]\nbudget_secnds = 1\n")
        case "program not utf-8":
            (folder / "program.md").write_bytes(b"# \xff\xfe\n")
        case "no command":
            settings.write_text(SETTINGS.replace('"python"', '"no-such-trainer"'))
        case "no key":
            settings.write_text(SETTINGS.replace('"search"', '"claude"'))
        case "no referee":
            settings.write_text(SETTINGS + '[metric]\nreferee = ["no-such-judge"]\n')
        case "merge":
            (folder / "train.py").write_text("<<<<<<< HEAD\nA = 1\n=======\nA = 2\n>>>>>>> other\n")
        case "no tokenizer":
            text = "import sys\n# AUTORESEARCH_PROFILE\nsys.exit('no tokenizer: run `autoresearch-tui prepare`')\n"
            (folder / "prepare.py").write_text(text)
        case "link":
            (folder / "train.py").unlink()
            (folder / "train.py").symlink_to("prepare.py")
    return folder


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no git", ("git repository", "init")),
        ("no train.py", ("train.py", "restore")),
        ("unknown key", ("run.budget_secnds", "did you mean `run.budget_seconds`")),
        ("program not utf-8", ("program.md", "not UTF-8 at byte 2")),
        ("no command", ("no-such-trainer", "run.command")),
        ("no referee", ("no-such-judge", "metric.referee")),
        ("no key", ("ANTHROPIC_API_KEY", "search")),
        ("no tokenizer", ("no tokenizer", "autoresearch-tui prepare")),
        ("link", ("train.py", "plain file")),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path: Path, kind: str, words: tuple[str, ...]) -> None:
    folder = broken(kind, tmp_path / "lab")
    before = sorted(path.name for path in folder.iterdir())
    without_key = {"ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": "", "HOME": str(tmp_path)}
    done = run(str(folder), "--headless", env=without_key)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_merge_that_is_not_finished_begins_no_session(tmp_path: Path) -> None:
    folder = broken("merge", tmp_path / "lab")
    done = run(str(folder), "--headless", "--experiments", "1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "train.py: has conflict markers; finish the merge" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(folder.glob(".autoresearch/*/journal.jsonl")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "no such folder"),
        (("--tag", "a/b", "LAB", "--headless"), "branch's name"),
        (("--tag", "..", "LAB", "--headless"), "branch's name"),
        (("LAB",), "needs a terminal"),
        (("watch", "LAB"), "no session yet"),
        (("report", "LAB"), "no session yet"),
        (("init", "LAB"), "not empty"),
        (("--experiments", "0", "LAB"), "--experiments: must be a whole number above 0, not '0'"),
        (("--budget", "nan", "LAB"), "--budget: must be a number above 0, not 'nan'"),
        (("--budget", "30", "LAB", "--headless"), "--budget 30: a run is killed after 30 s; raise"),
        (("--review", "no", "LAB"), "choose from 'ask', 'auto'"),
        (("--devices", "x", "LAB"), "is not a device"),
        (("--head", "LAB"), "unrecognized arguments: --head"),
        (("LAB", "b"), "unrecognized arguments: b; `autoresearch-tui --help`"),
        (("replay", "LAB", "--speed", "0"), "--speed: must be a number above 0"),
        (("prepare", "LAB", "--num-shards", "x"), "--num-shards: must be a whole number above 0"),
        (("init",), "DIR; `autoresearch-tui init --help`"),
        (("init", "new", "--template", "x"), "choose from 'gpt', 'sine', 'sort'"),
        (("--tag", "", "LAB", "--headless"), "--tag: is empty"),
        (("--tag", "a\nb", "LAB", "--headless"), "branch's name"),
        (("--tag", "a" * 300, "LAB", "--headless"), "longer than"),
        (("no\x1b[31mthing",), "no such folder"),
        (("wacth",), "wacth: no such command, and no such folder; did you mean `autoresearch-tui watch`?"),
        (("Doctor", "--json"), "did you mean `autoresearch-tui doctor`?"),
        (("prepair", "LAB"), "did you mean `autoresearch-tui prepare`?"),
        (("./wacth",), "wacth: no such folder; `autoresearch-tui init"),
        (("LAB", "--headles"), "did you mean `--headless`?"),
        (("replay", "LAB", "--sped", "2"), "did you mean `--speed`?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(lab_folder: Path, words: tuple[str, ...], said: str) -> None:
    done = run(*(str(lab_folder) if word == "LAB" else word for word in words), cwd=lab_folder.parent)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


GIT = {
    "old": "#!/bin/sh\necho 'error: unknown option' >&2\nexit 129\n",
    "broken": "#!/bin/sh\nexit 1\n",
    "no program": "",
}


@pytest.mark.parametrize("kind", sorted(GIT))
def test_a_git_that_does_not_work_is_one_line(lab_folder: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(GIT[kind])
    (tmp_path / "bin/git").chmod(0o755 if GIT[kind] else 0o644)
    done = run(str(lab_folder), "--headless", "--experiments", "1", env={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 2
    assert "git" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (lab_folder / ".autoresearch").exists()


SHELL_WORDS = f"exec {sys.executable} -m autoresearch_tui"


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full"])
def test_closed_and_full_streams_cost_nothing(lab_folder: Path, streams: str) -> None:
    """Nothing that is opened later takes the place of a closed one: the journal is no output of ours."""
    words = f"{SHELL_WORDS} {lab_folder} --headless --tag t --experiments 2 {streams}"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert problems(lab_folder, "t") == []
    assert len((lab_folder / "results.tsv").read_text().splitlines()) == 3


@pytest.mark.parametrize("command", ["doctor --json", "report", "prepare"])
def test_output_that_cannot_be_written_is_one_line(lab_folder: Path, command: str) -> None:
    assert run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0
    for streams, code, lines in ((">&-", 0, 0), ("> /dev/full", 1, 1)):
        words = f"{SHELL_WORDS} {command} {streams}"
        done = subprocess.run(
            ["sh", "-c", words], cwd=lab_folder, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == lines, done.stderr


def test_an_encoding_that_lacks_letters_is_no_trouble(new_lab: Callable[..., Path]) -> None:
    folder = new_lab("größer")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    assert run(str(folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0
    command = [sys.executable, "-m", "autoresearch_tui", "report", str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfer" in done.stdout


@pytest.mark.parametrize("name", ["train.py", "program.md"])
def test_a_file_that_no_request_can_carry_is_named(lab_folder: Path, name: str) -> None:
    (lab_folder / name).write_text("# far too much\n" * 100_000)
    done = run(str(lab_folder), "--headless", "--experiments", "1")
    assert done.returncode == 2
    assert f"{name}: larger than 1 MiB" in done.stderr


@pytest.mark.parametrize("command", ["watch", "replay"])
def test_a_screen_without_a_terminal_is_refused_and_not_waited_for(lab_folder: Path, command: str) -> None:
    assert run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0
    done = run(command, str(lab_folder))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "needs a terminal" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("branch", ["autoresearch", "autoresearch/t/mine"])
def test_a_branch_that_leaves_no_room_for_the_sessions_own_is_named(lab_folder: Path, branch: str) -> None:
    git(lab_folder, "branch", branch)
    done = run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1")
    assert done.returncode == 2
    assert f"branch {branch} is in the way" in done.stderr
    assert "git branch -m" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    git(lab_folder, "branch", "-m", branch, "moved")
    assert run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0


def test_a_damaged_journal_is_named_and_not_touched(lab_folder: Path) -> None:
    assert run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0
    journal = lab_folder / ".autoresearch/t/journal.jsonl"
    damaged = journal.read_bytes().replace(b"baseline", b"bathline", 1)
    journal.write_bytes(damaged)
    done = run(str(lab_folder), "--headless", "--tag", "t")
    assert done.returncode == 2
    assert "doctor --repair" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert journal.read_bytes() == damaged


def test_a_state_folder_that_cannot_be_written_is_one_line(lab_folder: Path) -> None:
    (lab_folder / ".autoresearch").write_text("in the way")
    done = run(str(lab_folder), "--headless", "--tag", "t")
    assert done.returncode == 2
    assert ".autoresearch" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_session_that_cannot_begin_says_so_in_its_journal(lab_folder: Path) -> None:
    words = (str(lab_folder), "--headless", "--tag", "t", "--experiments", "1")
    done = run(*words, env={"AUTORESEARCH_CACHE": str(lab_folder)})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    last = json.loads((lab_folder / ".autoresearch/t/journal.jsonl").read_text().splitlines()[-1])
    assert (last["type"], last["why"]) == ("engine_stopped", "failed")
    assert last["detail"] in done.stderr
    assert run(*words).returncode == 0
    assert problems(lab_folder, "t") == []


def test_a_reader_of_the_output_that_stands_still_does_not_stop_the_loop(lab_folder: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "autoresearch_tui",
        str(lab_folder),
        "--headless",
        "--tag",
        "t",
        "--experiments",
        "3",
    ]
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(words, stdout=writer)
    os.close(writer)
    journal = lab_folder / ".autoresearch/t/journal.jsonl"
    wait_for(lambda: journal.exists() and '"engine_stopped"' in journal.read_text(), what="the end, which nobody read")
    with os.fdopen(reader) as output:
        assert output.read() == journal.read_text()
    assert process.wait(60) == 0


def test_a_branch_that_is_checked_out_is_not_moved(lab_folder: Path) -> None:
    assert run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0
    git(lab_folder, "checkout", "--quiet", "autoresearch/t")
    done = run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "2")
    assert done.returncode == 2
    assert "checked out" in done.stderr


def test_a_baseline_that_fails_ends_a_headless_session_with_1(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train="raise SystemExit('no luck')\n")
    done = run(str(folder), "--headless", "--tag", "t")
    assert done.returncode == 1
    assert "no luck" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupt_stops_the_run_and_exits_with_130(new_lab: Callable[..., Path]) -> None:
    import signal

    folder = new_lab(train=TRAIN.replace("PAUSE = 0.0", "PAUSE = 60"))
    process = subprocess.Popen(
        [sys.executable, "-m", "autoresearch_tui", str(folder), "--headless", "--tag", "t"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"run_started"' in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(60) == 130
    assert '"run_requeued"' in rest
    assert (folder / ".autoresearch/t/runs/0000/exit.json").exists()


def test_data_that_was_prepared_is_trained_on(lab_folder: Path, tmp_path: Path) -> None:
    """A choice of data holds from then on, by its whole path, wherever it was made from."""
    (lab_folder / "prepare.py").write_text("import os\n# AUTORESEARCH_PROFILE\n")
    (lab_folder / "train.py").write_text("import os\nprint('val_bpb:  1.0', os.environ['AUTORESEARCH_DATA'])\n")
    (tmp_path / "texts").mkdir()
    done = run("prepare", "lab", "--data", "texts", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "from now on" in done.stdout
    assert run(str(lab_folder), "--headless", "--tag", "t", "--experiments", "1").returncode == 0
    assert f"1.0 {tmp_path}/texts" in (lab_folder / ".autoresearch/t/runs/0000/run.log").read_text()


@pytest.mark.parametrize("template", ["sine", "sort"])
def test_a_lab_without_data_is_not_to_be_prepared(tmp_path: Path, template: str) -> None:
    """Its `prepare.py`, if it has one, scores what a run has left."""
    made = run("init", "lab", "--template", template, cwd=tmp_path)
    assert "prepare" not in made.stdout.splitlines()[-1]
    done = run("prepare", "lab", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing else to prepare" in done.stdout


def test_a_baseline_without_a_score_is_a_failure_even_where_the_table_is_full(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(train=TRAIN.replace('FAIL = ""', 'FAIL = "no luck"'))
    done = run(str(folder), "--headless", "--experiments", "1", "--tag", "t")
    assert done.returncode == 1
    assert "the baseline gave no score" in done.stdout
    again = run(str(folder), "--headless", "--experiments", "1", "--tag", "t")
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1), again.stderr


def test_starting_again_without_a_screen_is_a_resume_of_what_the_engine_paused(new_lab: Callable[..., Path]) -> None:
    """What stopped it may be mended; there is no other way to say so where there is no screen."""
    broken = SETTINGS.replace("[run]", '[run]\nenv = { BROKEN = "yes" }')
    folder = new_lab(settings=broken, train=TRAIN.replace('FAIL = ""', 'FAIL = os.environ.get("BROKEN", "")'))
    words = (str(folder), "--headless", "--experiments", "2", "--tag", "t")
    done = run(*words)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    (folder / "autoresearch.toml").write_text(SETTINGS)
    assert run(*words).returncode == 0
    rows = (folder / "results.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[3:] for row in rows] == [["crash", "baseline"], ["keep", "baseline"]]


def test_a_folder_of_that_name_is_a_lab(lab_folder: Path) -> None:
    lab_folder.rename(lab_folder.parent / "wacth")
    done = run("wacth", "--headless", "--experiments", "1", cwd=lab_folder.parent)
    assert done.returncode == 0


SLOW_CHECK = """
import os, pathlib, sys, time
pathlib.Path("half").write_text(str(os.getpid()))
os.rename("half", "checking")
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--tag", "old"), "old"), (("--budget", "30"), "--budget 30: a run is killed after 30 s")],
)
def test_a_start_that_is_refused_leaves_no_process(lab_folder: Path, words: tuple[str, ...], said: str) -> None:
    git(lab_folder, "branch", "autoresearch/old")
    (lab_folder / "prepare.py").write_text(f"# AUTORESEARCH_PROFILE\n{SLOW_CHECK}")
    git(lab_folder, "commit", "-qam", "slow")
    done = run(str(lab_folder), "--headless", "--new", *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
    if (lab_folder / "checking").exists():
        assert not Path("/proc", (lab_folder / "checking").read_text()).exists()


def test_a_timeout_that_no_run_survives_is_said_before_the_first(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=SETTINGS.replace("timeout_seconds = 30", "timeout_seconds = 4"))
    done = run(str(lab), "--headless", "--experiments", "1")
    first = done.stderr.splitlines()[0]
    assert "a run is killed after 4 s (`run.timeout_seconds`), before its budget of 5 s (`run.budget_seconds`)" in first


def test_a_path_that_is_not_utf8_is_refused_in_one_line(new_lab: Callable[..., Path], tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    new_lab().rename(os.fsdecode(odd))
    done = subprocess.run(
        [sys.executable, "-m", "autoresearch_tui", odd, "--headless", "--experiments", "1"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"the path is not UTF-8; rename that folder" in done.stderr
    assert done.stderr.count(b"\n") == 1
