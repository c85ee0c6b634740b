"""A command-line agent in its cage: it reaches its API and its files, and nothing else of the user's."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autoresearch_tui import lab as labs
from autoresearch_tui.engine.cages import agent_cage, cage_launcher, sandbox
from autoresearch_tui.engine.cages.sandbox import Kind, Sandbox
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab
from autoresearch_tui.researchers import choose
from autoresearch_tui.researchers.base import Brief, ResearcherError
from tests.conftest import SETTINGS
from tests.history import state_of
from tests.researchers.test_command import BRIEF, EXPECTED, documented, stand_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no cage outside Linux")
KEY, OTHER = "sk-ant-its-own-key", "ghp_another-key"

AGENT = """#!/usr/bin/env {interpreter}
import json, os, pathlib, socket, subprocess, sys, tempfile, urllib.request

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + "/node_modules/helper")
import helper

got = []

def tries(name, attempt):
    try:
        if attempt() is not False:
            got.append(name)
    except Exception as error:
        print(name, type(error).__name__, error)

plan = json.load(open({plan!r}))
read = lambda path: pathlib.Path(path).read_bytes()
for name, path in plan["read"].items():
    tries("read " + name, lambda: os.listdir(path) if os.path.isdir(path) else read(path))
for name, path in plan["write"].items():
    try:
        open(path, "a").write("x")  # in a cage it may succeed in a copy: whoever looks outside will see
    except OSError:
        pass

def another_key():
    mine = any({other!r} in value for value in os.environ.values())
    theirs = False
    for process in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            theirs = theirs or {other!r}.encode() in process.read_bytes()
        except OSError:
            pass
    return mine or theirs

def unix_socket():
    socket.socket(socket.AF_UNIX).connect(plan["socket"])

tries("another key", another_key)
tries("unix socket", unix_socket)
tries("own key", lambda: os.environ["ANTHROPIC_API_KEY"] == {key!r})
tries("network", lambda: urllib.request.urlopen(plan["url"], timeout=10).read() == b"hello")
tries("names", lambda: bool(socket.getaddrinfo("localhost", 80)))
tries("settings", lambda: "opus" in (pathlib.Path.home() / ".claude/settings.json").read_text())
tries("login", lambda: open(pathlib.Path.home() / ".claude/.credentials.json", "w").write("renewed"))
tries("scratch", lambda: tempfile.NamedTemporaryFile().write(b"x"))
tries("home", lambda: (pathlib.Path.home() / ".claude.lock").write_text("x"))
tries("prompt", lambda: "Lower the loss." in open("/dev/stdin").read())
tries("programs", lambda: subprocess.run(["ls", "-l"], capture_output=True).returncode == 0)
path = pathlib.Path("train.py")
path.write_text(path.read_text().replace("RATE = 0.5", "RATE = 0.25"))
with open(os.environ["AUTORESEARCH_RESULT"], "w") as file:
    json.dump({{"description": "halve RATE", "hypothesis": " | ".join(got)}}, file)
"""

ALLOWED = "own key | network | names | settings | login | scratch | home | prompt | programs"


@pytest.fixture(params=["bubblewrap", "landlock"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    found = sandbox.choose()
    if request.param == "bubblewrap" and found.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {found.note}")
    if request.param == "landlock":
        if cage_launcher.landlock_abi() < 6:
            pytest.skip(f"Landlock {cage_launcher.landlock_abi()} of this kernel cannot keep abstract sockets out")
        found = sandbox.landlock_only()
    monkeypatch.setattr(sandbox, "choose", lambda: found)
    return found


@pytest.fixture
def url() -> Iterator[str]:
    """An API that answers."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


Here = tuple[Lab, dict[str, str]]


@pytest.fixture
def here(new_lab: Callable[..., Path], tmp_path: Path, url: str) -> Iterator[Here]:
    """A lab whose agent, installed below a home folder as npm does it, tries everything it can."""
    home = tmp_path / "user"
    files = {
        "diary": "private",
        ".ssh/id_ed25519": "private",
        ".claude/settings.json": '{"model": "opus"}',
        ".claude/.credentials.json": "old",
        ".claude/projects/another/notes": "private",
        "cache/data/shard.parquet": "validation",
        ".config/other/token": OTHER,
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    settings = SETTINGS.replace('kind = "search"', 'kind = "command"\ncommand = ["claude", "-p"]')
    lab = labs.find(new_lab(settings=settings))
    (lab.root / ".autoresearch" / "t").mkdir(parents=True)
    (lab.root / ".autoresearch" / "t" / "journal.jsonl").write_text("")
    plan = {
        "read": {
            "git": str(lab.root / ".git" / "HEAD"),
            "journal": str(lab.root / ".autoresearch" / "t"),
            "lab": str(lab.root / "train.py"),
            "data": str(home / "cache/data/shard.parquet"),
            "home": str(home / "diary"),
            "ssh": str(home / ".ssh/id_ed25519"),
            "history": str(home / ".claude/projects/another/notes"),
            "token": str(home / ".config/other/token"),
            "device": "/dev/nvidiactl" if Path("/dev/nvidiactl").exists() else "/dev/kmsg",
        },
        "write": {
            "settings": str(home / ".claude/settings.json"),
            "lab": str(lab.root / "new"),
            "ours": str(tmp_path / "ours"),
        },
        "socket": str(tmp_path / "socket"),
        "url": url,
    }
    package = home / ".nvm/lib/node_modules/claude"
    (package / "node_modules/helper").mkdir(parents=True)
    (package / "node_modules/helper/helper.py").write_text("")
    (package / "plan.json").write_text(json.dumps(plan))
    python = Path(sys.executable).resolve()
    program = package / "cli.js"
    program.write_text(
        AGENT.format(interpreter=python.name, plan=str(package / "plan.json"), key=KEY, other=OTHER), "utf-8"
    )
    program.chmod(0o755)
    (home / ".nvm/bin").mkdir()
    (home / ".nvm/bin/claude").symlink_to("../lib/node_modules/claude/cli.js")
    environ = {
        "PATH": f"{home}/.nvm/bin:{python.parent}:/usr/bin:/bin",
        "HOME": str(home),
        "ANTHROPIC_API_KEY": KEY,
        "GITHUB_TOKEN": OTHER,
        "AUTORESEARCH_CACHE": str(home / "cache"),
    }
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(plan["socket"])
        end.listen()
        yield lab, environ


def propose(lab: Lab, environ: dict[str, str]) -> tuple[str, dict[str, str]]:
    """What the agent got at, and its files."""
    wrap = agent_cage.wrapper(lab, Ledger(lab.root), environ)
    brief = Brief(
        number=1,
        base="abc",
        program="Lower the loss.",
        files={"train.py": "RATE = 0.5\n"},
        locked={"prepare.py": "MAX_SEQ_LEN = 8\n"},
        metric="val_bpb",
        goal="minimize",
        budget_seconds=5,
        history=(),
    )
    said: list[str] = []
    # The other key is in the environment of a process that the agent could look at, too.
    with subprocess.Popen(["sleep", "60"], env={"OTHER": OTHER}) as bystander:
        try:
            proposal = choose.make(lab.settings, environ, wrap=wrap).propose(brief, said.append, threading.Event())
        finally:
            bystander.kill()
    assert proposal is not None, "".join(said)
    return proposal.hypothesis, dict(proposal.files)


def test_it_has_the_network_its_key_and_its_files_and_nothing_else(
    here: Here, mechanism: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, environ = here
    monkeypatch.setenv("AUTORESEARCH_CACHE", environ["AUTORESEARCH_CACHE"])
    got, files = propose(lab, environ)
    assert got == ALLOWED
    assert files == {"train.py": "RATE = 0.25\n"}
    home = Path(environ["HOME"])
    assert (home / ".claude/.credentials.json").read_text() == "renewed"
    assert (home / ".claude/settings.json").read_text() == '{"model": "opus"}'
    assert not [path for path in (home / ".claude.lock", lab.root / "new", home.parent / "ours") if path.exists()]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_documented_lines_work_in_the_cage(name: str, here: Here, mechanism: Sandbox) -> None:
    """Stand-ins of those names."""
    lab, environ = here
    command = documented()[name]
    program = Path(environ["HOME"]) / ".local/bin" / command[0]
    program.parent.mkdir(parents=True)
    program.write_text(stand_in(name))
    program.chmod(0o755)
    environ["PATH"] = f"{program.parent}:{environ['PATH']}"
    researcher = replace(lab.settings.researcher, command=tuple(command))
    lab = replace(lab, settings=replace(lab.settings, researcher=researcher))
    wrap = agent_cage.wrapper(lab, Ledger(lab.root), environ)
    proposal = choose.make(lab.settings, environ, wrap=wrap).propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and proposal.files == {"train.py": "LR = 0.02\nDEPTH = 8\n"}


def test_a_limit_names_the_agent_and_not_its_cage(here: Here, mechanism: Sandbox) -> None:
    lab, environ = here
    researcher = replace(lab.settings.researcher, command=("sleep", "60"), silence_seconds=0.3)
    lab = replace(lab, settings=replace(lab.settings, researcher=researcher))
    wrap = agent_cage.wrapper(lab, Ledger(lab.root), environ)
    with pytest.raises(ResearcherError, match=r"^sleep was stopped: it printed nothing for 0\.3 s$"):
        choose.make(lab.settings, environ, wrap=wrap).propose(BRIEF, lambda _: None, threading.Event())


def test_without_a_cage_it_gets_at_everything(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "choose", lambda: Sandbox(Kind.NONE))
    lab, environ = here
    got, _ = propose(lab, environ)
    for name in ("read git", "read data", "read ssh", "another key", "unix socket"):
        assert name in got, "the agent does not even get out without a cage"
    assert (lab.root / "new").exists()


def test_what_the_human_names_is_shown_too(here: Here, mechanism: Sandbox) -> None:
    lab, environ = here
    researcher = replace(lab.settings.researcher, home=(".config/other",))
    got, _ = propose(replace(lab, settings=replace(lab.settings, researcher=researcher)), environ)
    assert "read token" in got and "read ssh" not in got
    assert (Path(environ["HOME"]) / ".config/other/token").read_text() == OTHER


def test_what_must_stay_hidden_cannot_be_shown(here: Here) -> None:
    lab, environ = here
    (Path(environ["HOME"]) / "labs").symlink_to(lab.root)
    researcher = replace(lab.settings.researcher, home=("labs",))
    with pytest.raises(UserError, match=r"\.git is to be hidden"):
        agent_cage.of_lab(
            replace(lab, settings=replace(lab.settings, researcher=researcher)), Ledger(lab.root), environ
        )


def test_every_protection_but_the_network_holds(here: Here, mechanism: Sandbox) -> None:
    lab, environ = here
    fails = agent_cage.of_lab(lab, Ledger(lab.root), environ).check()
    assert fails == (("locked files",) if mechanism.kind is Kind.LANDLOCK else ())


def test_the_journal_says_what_holds_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, environ = here
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (lab.root / ".autoresearch" / "t" / "journal.jsonl").unlink()
    agent = choose.make(lab.settings, os.environ)
    assert Engine(Session(lab, "t"), agent, headless=True, rows=1).run() == "finished"
    state = state_of(lab.root, "t")
    assert state.cage is not None
    assert state.cage.agent == state.cage.kind == sandbox.choose().kind.value
