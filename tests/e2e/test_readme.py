"""Every command of the README is run; one that is not known here fails. So do the links, and the generated page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import checkouts, warm
from tests.conftest import make_lab
from tests.e2e.terminal import Terminal
from tests.history import state_of

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"^```(?:sh|console)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
IN_BLOCKS = [line.partition(" #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
IN_TABLES = [
    row.replace("\\|", "|") for row in re.findall(r"^\| `((?:autoresearch-tui|…) ?[^`]*)` \|", README, re.MULTILINE)
]


def tool(*words: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui`, which has to end well."""
    done = warm.run(words, cwd=cwd, env=env, seconds=300)
    assert done.returncode == 0, done.stderr
    return done


def look(lab: Path, *words: str) -> None:
    """A screen that opens, shows the session, and is left."""
    with Terminal(*words) as terminal:
        terminal.wait("kept of 3", 60)
        terminal.press("q")
        assert terminal.ended() == 0
    assert lab.is_dir()


def made(target: str, folder: Path) -> list[str]:
    """What a target of make runs, as make itself tells it."""
    # Nothing of a make that runs the tests: its flags would add lines about folders.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", f"PYTHON={sys.executable}", target],
        cwd=CHECKOUT, env=outside, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert folder.is_dir()
    return shlex.split(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a session of three rows."""
    lab = make_lab(tmp_path_factory.mktemp("played") / "lab")
    tool(str(lab), "--headless", "--experiments", "3", cwd=lab)
    return lab


@pytest.fixture
def night(played: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(played, tmp_path / "lab", symlinks=True)


# ── what each command of the README has to do ───────────────────────────────────────────────────────────────────


def make_demo(folder: Path, cache: Path) -> None:
    """`make demo` runs the command, and the command trains, with nothing but what is installed."""
    words = made("demo", folder)
    assert Path(words[0]).name == "autoresearch-tui"
    with Terminal(*words[1:], str(folder / "demo"), env={"AUTORESEARCH_CACHE": str(cache)}) as terminal:
        terminal.wait("training #0", 120)
        terminal.press("Q")
        terminal.wait("End the session")
        terminal.press("x")
        assert terminal.ended() == 0


def make_test(folder: Path, _cache: Path) -> None:
    words = made("test", folder)
    assert words[words.index("-m") + 1] == "pytest"


def prepare_a_checkout(folder: Path, _cache: Path) -> None:
    env = fresh(folder)
    assert "Done!" in tool("prepare", cwd=folder / "checkout", env=env).stdout


def open_a_checkout(folder: Path, _cache: Path) -> None:
    env = fresh(folder)
    tool("prepare", cwd=folder / "checkout", env=env)
    with Terminal(str(folder / "checkout"), env={**env, "ANTHROPIC_API_KEY": "", "ANTHROPIC_BASE_URL": ""}) as terminal:
        terminal.wait("ANTHROPIC_API_KEY", 60)
        terminal.press("q")
        assert terminal.ended() == 0


def fresh(folder: Path) -> dict[str, str]:
    """A checkout of the reference as cloned, a home without anything, and a stand-in for `uv`."""
    checkouts.make(folder / "checkout", checkouts.Fork(kernels=False))
    (folder / "home").mkdir()
    return checkouts.environ(folder / "home", checkouts.install_uv(folder / "tools"))


def options(lab: Path) -> None:
    """Each choice that the row names, in sessions of their own."""
    session = ["--headless", "--new", "--budget", "1", "--experiments", "2"]
    tool(str(lab), *session, "--tag", "T", "--researcher", "search", "--review", "auto", cwd=lab)
    assert len(state_of(lab, "T").table) == 2
    agent = ["sh", "-c", "sed -i 's/RATE = 0.5/RATE = 0.4/' train.py; echo lower the rate"]
    text = (lab / "autoresearch.toml").read_text()
    quoted = ", ".join(f"'''{word}'''" for word in agent)
    (lab / "autoresearch.toml").write_text(text.replace("[researcher]\n", f"[researcher]\ncommand = [{quoted}]\n"))
    tool(str(lab), *session, "--tag", "U", "--researcher", "command", cwd=lab)
    assert state_of(lab, "U").experiments[1].description == "lower the rate"
    words = [str(lab), *session, "--researcher", "claude", "--review", "ask"]
    done = warm.run(words, cwd=lab, env=checkouts.environ(lab))
    assert "ANTHROPIC_API_KEY" in done.stderr


def init(lab: Path) -> None:
    for template in ("gpt", "sine", "sort", "kernel", "strategy", "prompt", "skill"):
        tool("init", f"new-{template}", "--template", template, cwd=lab.parent)
        assert (lab.parent / f"new-{template}" / "program.md").is_file()


def prepare(lab: Path) -> None:
    (lab / "prepare.py").write_text("import sys\n# AUTORESEARCH_PROFILE\nprint('{}', sys.argv)\n")
    tool("prepare", str(lab), cwd=lab)
    for choice in ("climbmix", "embedded", str(lab)):
        tool("prepare", str(lab), "--data", choice, cwd=lab)


def report(lab: Path) -> None:
    tool("report", str(lab), cwd=lab)
    assert "report.md" in tool("report", str(lab), "-o", str(lab.parent / "out"), cwd=lab).stdout


def status(lab: Path) -> None:
    assert ": finished" in tool("status", str(lab), cwd=lab).stdout
    assert '"state": "finished"' in tool("status", "--json", cwd=lab).stdout
    assert len(tool("status", str(lab), "--line", cwd=lab).stdout.splitlines()) == 1


def experiment(lab: Path) -> None:
    assert "#2" in tool("experiment", "2", str(lab), cwd=lab).stdout
    assert '"number": 2' in tool("experiment", "2", "--json", cwd=lab).stdout
    assert "+++ b/train.py" in tool("experiment", "2", "--diff", cwd=lab).stdout
    assert "val_bpb:" in tool("experiment", "2", "--log", cwd=lab).stdout


def from_best(lab: Path) -> None:
    tool(str(lab), "--headless", "--from", "best", "--tag", "u", "--experiments", "1", cwd=lab)
    best = state_of(lab, lab_tag(lab)).best
    assert best is not None
    assert state_of(lab, "u").experiments[0].commit == best.commit


def lab_tag(lab: Path) -> str:
    return next(each.name for each in (lab / ".autoresearch").iterdir() if each.is_dir() and each.name != "u")


def log(lab: Path) -> None:
    assert "val_bpb:" in tool("log", str(lab), cwd=lab).stdout
    ours, theirs = os.pipe()
    process = warm.start(["log", lab, "-f"], out=theirs)
    os.close(theirs)
    with os.fdopen(ours) as printed:
        assert printed.readline().startswith("==> #2 ")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def ls(lab: Path) -> None:
    assert "finished" in tool("ls", cwd=lab).stdout
    assert f'"lab": "{lab}"' in tool("ls", "--json", cwd=lab).stdout


def export(lab: Path) -> None:
    for form in ("csv", "jsonl"):
        tool("export", str(lab), "--to", form, "-o", str(lab.parent / form), cwd=lab)
        assert any((lab.parent / form).iterdir())
    assert tool("export", str(lab), "--to", "csv", "--all", cwd=lab).stdout


def doctor(lab: Path) -> None:
    tool("doctor", str(lab), cwd=lab)
    assert '"items"' in tool("doctor", str(lab), "--json", "--repair", cwd=lab).stdout


def opened(lab: Path) -> None:
    with Terminal(str(lab), "--new") as terminal:
        terminal.wait("Start from there? [y/N]", 60)
        terminal.press("\r")
        terminal.wait("kept of", 60)
        terminal.press("Q")
        terminal.wait("End the session")
        terminal.press("x")
        assert terminal.ended() == 0


BLOCK_COMMANDS: dict[str, Callable[[Path, Path], None]] = {
    "make demo": make_demo,
    "make test": make_test,
    "autoresearch-tui prepare": prepare_a_checkout,
    "autoresearch-tui": open_a_checkout,
}
TABLE_COMMANDS: dict[str, Callable[[Path], None]] = {
    "autoresearch-tui [LAB]": opened,
    "… --headless": lambda lab: assert_events(tool(str(lab), "--headless", "--experiments", "4", cwd=lab).stdout),
    "… --tag T --new --researcher claude|command|search --review ask|auto --budget SECONDS --experiments N": options,
    "… --from best": from_best,
    "autoresearch-tui init DIR [--template gpt|sine|sort|kernel|strategy|prompt|skill]": init,
    "autoresearch-tui prepare [LAB] [--data climbmix|embedded|PATH]": prepare,
    "autoresearch-tui status [LAB] [--json|--line]": status,
    "autoresearch-tui experiment N [LAB] [--json|--diff|--log|--files]": experiment,
    "autoresearch-tui log [LAB] [-f]": log,
    "autoresearch-tui ls [--json]": ls,
    "autoresearch-tui watch [LAB]": lambda lab: look(lab, "watch", str(lab)),
    "autoresearch-tui replay [LAB] [--speed X]": lambda lab: look(lab, "replay", str(lab), "--speed", "9"),
    "autoresearch-tui report [LAB] [-o DIR] [--tag T | --all]": report,
    "autoresearch-tui export [LAB] --to parquet|csv|jsonl|wandb|tensorboard [-o DIR] [--tag T | --all]": export,
    "autoresearch-tui doctor [LAB] [--json] [--repair]": doctor,
    "autoresearch-tui demo [DIR]": lambda lab: assert_help(
        tool("demo", "--help", cwd=lab).stdout
    ),  # run by `make demo`
}


def assert_events(text: str) -> None:
    assert '"type":"engine_started"' in text


def assert_help(text: str) -> None:
    assert "autoresearch-demo" in text or "dir" in text


@pytest.mark.parametrize("command", IN_BLOCKS)
def test_a_command_to_copy(command: str, tmp_path: Path, cache: Path) -> None:
    BLOCK_COMMANDS[command](tmp_path, cache)


@pytest.mark.parametrize("command", IN_TABLES)
def test_a_command_of_the_table(command: str, night: Path) -> None:
    TABLE_COMMANDS[command](night)


def test_nothing_is_left_over() -> None:
    assert set(BLOCK_COMMANDS) == set(IN_BLOCKS)
    assert set(TABLE_COMMANDS) == set(IN_TABLES)


def test_every_measured_command_is_there() -> None:
    for script in re.findall(r"`python (benchmarks/[\w/]+\.py)", README):
        compile((CHECKOUT / script).read_text(), script, "exec")


@pytest.mark.parametrize("page", sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")]), ids=lambda p: p.name)
def test_no_link_is_dead(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_configuration_page_is_written_from_the_code(tmp_path: Path) -> None:
    script = tmp_path / "configuration.py"
    script.write_text((CHECKOUT / "docs" / "configuration.py").read_text())
    subprocess.run([sys.executable, str(script)], cwd=CHECKOUT, check=True)
    assert (tmp_path / "configuration.md").read_text() == (CHECKOUT / "docs" / "configuration.md").read_text(), (
        "make docs"
    )


def test_the_arguments_of_make_test_are_not_those_of_a_make_demo_that_a_test_starts(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tmp_path / ".venv" / "ready").touch()
    for name, script in (("python", "exec make demo"), ("autoresearch-tui", 'echo "the command got: $*"')):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["make", "test", "ARGS=-k loop -x"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert "the command got: demo\n" in done.stdout
