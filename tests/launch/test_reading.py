"""`experiment`, `log` and `ls`: what a script and a human get of a session that others drive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pexpect
import pytest

from autoresearch_tui.session import events as ev
from autoresearch_tui.util.columns import cells
from tests import warm
from tests.conftest import SETTINGS, TRAIN, make_lab
from tests.night import DIFF, Night, real_night
from tests.waiting import wait_for

NASTY = "\x1b]0;owned\x07\x1b[2Jwide 学習率 \x9b31m"


def words(*more: str | Path) -> list[str]:
    return [sys.executable, "-m", "autoresearch_tui", *map(str, more)]


def tool(*more: str | Path, cwd: Path | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"XDG_STATE_HOME": str(home)} if home else {})}
    return warm.run([*map(str, more)], cwd=cwd, env=env)


def terminal(*more: str | Path) -> pexpect.spawn:
    return pexpect.spawn(sys.executable, words(*more)[1:], dimensions=(24, 80), timeout=60, encoding="utf-8")


def on_terminal(*more: str | Path) -> str:
    """The command's whole output on a terminal of 80 columns."""
    child = terminal(*more)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return str(child.before)


def printable(text: str) -> bool:
    """Whether nothing in it steers a terminal, line ends and what we erase a line with aside."""
    return text.replace("\r\n", "").replace("\r\x1b[K", "").isprintable()


@pytest.fixture
def night(tmp_path: Path) -> Night:
    made = Night(tmp_path / "lab")
    made.experiment("keep", 1.0)
    made.experiment("keep", 0.99, description=NASTY)
    made.experiment("crash", description="a " + "very " * 40 + "long description")
    made.experiment("vetoed")
    return made


# ── experiment ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_experiment_is_told_in_80_columns(night: Night) -> None:
    done = tool("experiment", "1", night.files.folder.parents[1])
    assert done.returncode == 0
    assert done.stdout.startswith("★ #1 best  val_bpb 0.990000  ▼ 0.010000 vs its base #0\n")
    assert "学習率" in done.stdout
    for number in range(4):
        done = tool("experiment", f"#{number}", night.files.folder.parents[1])
        assert done.returncode == 0
        assert printable(done.stdout.replace("\n", ""))
        assert max(map(cells, done.stdout.splitlines())) <= 80


def test_an_experiment_is_one_object_for_a_script(night: Night) -> None:
    done = tool("experiment", "1", "--json", night.files.folder.parents[1])
    found = json.loads(done.stdout)
    assert (found["number"], found["commit"], found["outcome"], found["value"]) == (1, night.commit(1), "keep", 0.99)
    assert found["description"] == NASTY
    assert (found["run"]["reason"], found["score"]["source"]) == ("finished", "self-reported")
    assert found["is_best"] and found["is_frontier"]
    assert Path(found["folder"], "run.log").is_file()
    open_one = json.loads(tool("experiment", "3", "--json", night.files.folder.parents[1]).stdout)
    assert (open_one["outcome"], open_one["run"]) == ("vetoed", None)


def test_a_diff_is_gits_byte_for_byte_and_harmless_on_a_terminal(night: Night) -> None:
    root = night.files.folder.parents[1]
    assert tool("experiment", "1", "--diff", root).stdout == DIFF
    assert tool("experiment", "0", "--diff", root).stdout == ""
    nasty = DIFF + "+# \x1b[2J\x9b\n"
    night.files.run(1).diff.write_text(nasty)
    assert tool("experiment", "1", root, "--diff").stdout == nasty
    shown = on_terminal("experiment", "1", "--diff", root)
    assert printable(shown) and "+MATRIX_LR = 0.02" in shown


def test_the_log_of_an_experiment(night: Night) -> None:
    root = night.files.folder.parents[1]
    night.log(1, f"{NASTY}\n")
    assert tool("experiment", "1", "--log", root).stdout == night.files.run(1).log.read_text()
    shown = on_terminal("experiment", "1", "--log", root)
    assert printable(shown) and "wide 学習率" in shown
    done = tool("experiment", "3", "--log", root)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "autoresearch-tui: #3: there is no log: it has not run\n"


def test_the_files_that_are_kept_of_an_experiment(night: Night) -> None:
    root, run = night.files.folder.parents[1], night.files.run(1)
    (run.kept / "out").mkdir(parents=True)
    for name in ("model.pt", "out/a\x1b[2J.pt"):
        (run.kept / name).touch()
    (run.kept / "link.pt").symlink_to("/etc/passwd")
    done = tool("experiment", "1", "--files", root)
    assert done.stdout.splitlines()[0] == str(run.kept / "model.pt")
    assert len(done.stdout.splitlines()) == 2 and printable(done.stdout.replace("\n", ""))
    found = json.loads(tool("experiment", "1", "--json", root).stdout)["kept_files"]
    assert found == [str(run.kept / "model.pt"), str(run.kept / "out/a\x1b[2J.pt")]
    done = tool("experiment", "0", "--files", root)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("autoresearch-tui: #0: no files of it are kept; `run.keep` names")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["99"], "there is no #99; the session nov20 has #0 to #3"),
        (["-1"], "-1"),
        (["1e3"], "must be an experiment's number"),
        (["９"], "must be an experiment's number"),
        (["1", "--diff", "--json"], "not allowed with"),
        ([], "required"),
        (["1", "--tag", "no"], "no such session"),
    ],
)
def test_wrong_usage_of_experiment_is_one_line(night: Night, more: Sequence[str], said: str) -> None:
    done = tool("experiment", *more, cwd=night.files.folder.parents[1])
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_any_experiment_of_a_long_night(tmp_path: Path) -> None:
    made = real_night(tmp_path / "lab", experiments=1000, devices=2, open_ones=True)
    for number in (0, 500, len(made.state.experiments) - 1):
        found = json.loads(tool("experiment", str(number), "--json", tmp_path / "lab").stdout)
        assert (found["commit"], found["outcome"]) == (made.commit(number), made.state.experiments[number].outcome)


# ── log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_is_the_latest_runs(night: Night) -> None:
    root = night.files.folder.parents[1]
    assert tool("log", root).stdout == night.files.run(2).log.read_text()
    assert on_terminal("log", root).startswith("==> #2 a very very")
    number = night.proposal("#[red] next")
    night.launch(number)
    night.log(number, "step 1\rstep 2\r")
    assert tool("log", root).stdout == "step 1\nstep 2\n"  # as this test reads a carriage return
    shown = on_terminal("log", root)
    assert shown.splitlines()[0] == "==> #4 #[red] next <=="
    assert shown.endswith("step 2\r\n")


def test_log_before_any_run_is_refused(tmp_path: Path) -> None:
    Night(tmp_path / "lab")
    done = tool("log", tmp_path / "lab")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no run has started yet" in done.stderr and len(done.stderr.splitlines()) == 1


class Following:
    """`log -f` on a pipe, read while it continues."""

    def __init__(self, root: Path) -> None:
        self.end, theirs = os.pipe()
        self.process = warm.start(["log", "-f", root], out=theirs)
        os.close(theirs)
        os.set_blocking(self.end, False)
        self.text = ""

    def sees(self, what: str) -> None:
        def there() -> bool:
            with suppress(BlockingIOError):
                self.text += os.read(self.end, 1 << 20).decode()
            return what in self.text

        wait_for(there, what=f"{what!r} in the log")


def test_following_goes_on_over_runs_until_it_is_interrupted(night: Night) -> None:
    following = Following(night.files.folder.parents[1])
    following.sees("==> #2 a very very")
    number = night.proposal("one more")
    night.launch(number)
    night.log(number, "first\n")
    following.sees("==> #4 one more <==\nfirst\n")
    night.log(number, "no line end")
    following.sees("no line end")
    night.end(number, "discard", 1.2)
    for text in ("short", "last"):
        number = night.proposal(text)
        night.launch(number)
        night.log(number, f"{text} run\n")
        night.end(number, "discard", 1.2)
    following.sees("last run\n")
    assert "no line end\n==> #5" in following.text
    assert following.text.index("short run") < following.text.index("last run")
    following.process.send_signal(signal.SIGINT)
    assert following.process.wait(60) == 130


def test_following_ends_when_its_reader_goes_although_the_run_is_silent(night: Night) -> None:
    following = Following(night.files.folder.parents[1])
    following.sees("==> #2")
    os.close(following.end)
    assert following.process.wait(60) == 0


def test_following_on_a_terminal_is_harmless(night: Night) -> None:
    root = night.files.folder.parents[1]
    number = night.proposal("live")
    night.launch(number)
    night.log(number, f"{NASTY}\nstep 1 {'x' * 200}\r")
    child = pexpect.spawn(
        sys.executable, words("log", "-f", root)[1:], dimensions=(24, 80), timeout=60, encoding="utf-8"
    )
    child.expect("step 1")
    night.log(number, "step 2\r")
    child.expect("step 2")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_the_log_of_an_engine_at_work(tmp_path: Path) -> None:
    root = make_lab(tmp_path / "lab", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 0.4"))
    engine = warm.start([root, "--headless", "--tag", "t", "--experiments", "4"])
    journal = root / ".autoresearch/t/journal.jsonl"
    wait_for(lambda: journal.exists() and '"run_started"' in journal.read_text(), what="the first run")
    following = Following(root)
    for number in range(4):
        following.sees(f"==> #{number} ")
    assert engine.wait(120) == 0
    wait_for(lambda: following.sees("val_bpb") is None, what="scores")
    following.process.send_signal(signal.SIGINT)
    assert following.process.wait(60) == 130


# ── ls ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sessions_of_this_machine(tmp_path: Path, new_lab: Callable[..., Path]) -> None:
    home = tmp_path / "state"
    assert tool("ls", home=home, cwd=tmp_path).stdout == ""
    labs = [new_lab("größer"), new_lab("b c")]
    for lab in labs:
        assert tool(lab, "--headless", "--tag", "t", "--experiments", "2", home=home).returncode == 0
    assert tool(labs[0], "--headless", "--tag", "u", "--experiments", "1", home=home).returncode == 0
    found = json.loads(tool("ls", "--json", home=home).stdout)
    assert [(each["lab"], each["tag"], each["state"]) for each in found] == [
        (str(labs[1]), "t", "finished"),
        (str(labs[0]), "t", "finished"),
        (str(labs[0]), "u", "finished"),
    ]
    rows = tool("ls", home=home).stdout.splitlines()
    assert rows[0].split() == ["STATE", "BEST", "KEPT", "OF", "LAST", "SESSION", "LAB"]
    assert len(rows) == 4 and rows[1].endswith("b c")
    # A lab that is gone is forgotten; the one here is listed though nobody remembered it.
    subprocess.run(["rm", "-r", labs[1]], check=True)
    assert len(json.loads(tool("ls", "--json", home=home).stdout)) == 2
    assert len(list((home / "autoresearch-tui/labs").iterdir())) == 1
    here = Night(tmp_path / "here")
    here.experiment("keep", 1.0)
    assert len(json.loads(tool("ls", "--json", home=home, cwd=tmp_path / "here").stdout)) == 3


def test_a_damaged_session_and_strange_files_are_no_trouble_to_ls(tmp_path: Path, lab_folder: Path) -> None:
    home = tmp_path / "state"
    assert tool(lab_folder, "--headless", "--tag", "t", "--experiments", "1", home=home).returncode == 0
    journal = lab_folder / ".autoresearch/t/journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"baseline", b"bathline", 1))
    for name, text in (("x", b"\0\xff"), ("y", b""), (".half.partial", b"/")):
        (home / "autoresearch-tui/labs" / name).write_bytes(text)
    (home / "autoresearch-tui/labs/folder").mkdir()
    (found,) = json.loads(tool("ls", "--json", home=home).stdout)
    assert (found["state"], found["tag"]) == ("damaged", "t")
    assert "doctor --repair" in found["reason"]
    assert "damaged" in tool("ls", home=home).stdout


def test_a_home_that_cannot_be_written_costs_nothing(tmp_path: Path, lab_folder: Path) -> None:
    (tmp_path / "file").touch()
    done = tool(lab_folder, "--headless", "--tag", "t", "--experiments", "1", home=tmp_path / "file")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(tool("ls", "--json", home=tmp_path / "file", cwd=lab_folder).stdout)) == 1


def test_a_read_only_session_is_read(night: Night) -> None:
    night.add(ev.EngineStopped("detached"))
    root = night.files.folder.parents[1]
    for path in (night.files.folder, root / ".autoresearch", root):
        path.chmod(0o555)
    try:
        assert tool("status", root, "--line").stdout.startswith("nov20 stopped")
    finally:
        for path in (root, root / ".autoresearch", night.files.folder):
            path.chmod(0o755)
