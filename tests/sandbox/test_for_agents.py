"""A command-line agent in its sandbox: it reaches its API and its files, and nothing else of the user's."""

from __future__ import annotations

import http.server
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.engine import startup
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.researchers import factory
from autoresearch_tui.researchers.base import Brief, ResearcherError
from autoresearch_tui.sandbox import for_agents, launcher, policy
from autoresearch_tui.sandbox.policy import Kind, Mechanism
from autoresearch_tui.session.inbox import make_folder
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS
from tests.history import state_of
from tests.researchers.agents.test_researcher import BRIEF, EXPECTED, documented, stand_in
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox outside Linux")
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
        open(path, "a").write("x")  # in a sandbox it may succeed in a copy: whoever looks outside will see
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
tries("login", lambda: open(pathlib.Path.home() / ".claude/.credentials.json", "w").write('{{"token": "renewed"}}'))
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
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Mechanism:
    found = policy.choose()
    if request.param == "bubblewrap" and found.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {found.note}")
    if request.param == "landlock":
        if launcher.landlock_abi() < 6:
            pytest.skip(f"Landlock {launcher.landlock_abi()} of this kernel cannot keep abstract sockets out")
        found = policy.landlock_only()
    monkeypatch.setattr(policy, "choose", lambda: found)
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
        ".claude/.credentials.json": '{"token": "old"}',
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
    inbox = lab.session("t").inbox
    make_folder(inbox)
    plan = {
        "read": {
            "git": str(lab.root / ".git" / "HEAD"),
            "journal": str(lab.root / ".autoresearch" / "t"),
            "inbox": str(inbox),
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
            "inbox": str(inbox / "0.request"),
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
        "ANTHROPIC_BASE_URL": url,
        "GITHUB_TOKEN": OTHER,
        "AUTORESEARCH_CACHE": str(home / "cache"),
    }
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(plan["socket"])
        end.listen()
        yield lab, environ


def propose(lab: Lab, environ: dict[str, str]) -> tuple[str, dict[str, str]]:
    """What the agent got at, and its files."""
    wrap = for_agents.wrapper(lab, GitRepo(lab.root), environ)
    brief = Brief(
        number=1,
        base="abc",
        program="Lower the loss.",
        files={"train.py": "RATE = 0.5\n"},
        locked={"prepare.py": "MAX_SEQ_LEN = 8\n"},
        metric="val_bpb",
        goal=Goal.MINIMIZE,
        budget_seconds=5,
        history=(),
    )
    said: list[str] = []
    # The other key is in the environment of a process that the agent could look at, too.
    with subprocess.Popen(["sleep", "60"], env={"OTHER": OTHER}) as bystander:
        try:
            proposal = factory.make(lab.settings, environ, wrap=wrap).propose(brief, said.append, threading.Event())
        finally:
            bystander.kill()
    assert proposal is not None, "".join(said)
    return proposal.hypothesis, dict(proposal.files)


def test_it_has_the_network_its_key_and_its_files_and_nothing_else(
    here: Here, mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, environ = here
    monkeypatch.setenv("AUTORESEARCH_CACHE", environ["AUTORESEARCH_CACHE"])
    got, files = propose(lab, environ)
    assert got == ALLOWED
    assert files == {"train.py": "RATE = 0.25\n"}
    home = Path(environ["HOME"])
    assert (home / ".claude/.credentials.json").read_text() == '{"token": "renewed"}'
    assert (home / ".claude/settings.json").read_text() == '{"model": "opus"}'
    assert not [path for path in (home / ".claude.lock", lab.root / "new", home.parent / "ours") if path.exists()]
    assert [*lab.session("t").inbox.iterdir()] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_the_documented_lines_work_in_the_sandbox(name: str, here: Here, mechanism: Mechanism) -> None:
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
    wrap = for_agents.wrapper(lab, GitRepo(lab.root), environ)
    proposal = factory.make(lab.settings, environ, wrap=wrap).propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and proposal.files == {"train.py": "LR = 0.02\nDEPTH = 8\n"}


def test_a_limit_names_the_agent_and_not_its_sandbox(here: Here, mechanism: Mechanism) -> None:
    lab, environ = here
    researcher = replace(lab.settings.researcher, command=("sleep", "60"), silence_seconds=0.3)
    lab = replace(lab, settings=replace(lab.settings, researcher=researcher))
    wrap = for_agents.wrapper(lab, GitRepo(lab.root), environ)
    with pytest.raises(ResearcherError, match=r"^sleep was stopped: it printed nothing for 0\.3 s$"):
        factory.make(lab.settings, environ, wrap=wrap).propose(BRIEF, lambda _: None, threading.Event())


def test_without_a_sandbox_it_gets_at_everything(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "choose", lambda: Mechanism(Kind.NONE))
    lab, environ = here
    got, _ = propose(lab, environ)
    for name in ("read git", "read data", "read ssh", "another key", "unix socket"):
        assert name in got, "the agent does not even get out without a sandbox"
    assert (lab.root / "new").exists()


LOGINS = {
    "claude": ".claude/.credentials.json",
    "codex": ".codex/auth.json",
    "gemini": ".gemini/oauth_creds.json",
    "opencode": ".local/share/opencode/auth.json",
}
RENEWS = {
    "in place": "open(login, 'w').write(new)",
    "by a rename": "open(login + '.tmp', 'w').write(new); os.rename(login + '.tmp', login)",
    "where it really is": (
        "real = os.path.realpath(login); open(real + '.tmp', 'w').write(new); os.replace(real + '.tmp', real)"
    ),
    "anew": "os.remove(login); open(login, 'x').write(new)",
}
LOGIN_AGENT = """#!{python}
import os, sys, time
login, new = os.path.expanduser("~/{name}"), '{{"token": "renewed"}}'
{renews}
open("train.py", "w").write("LR = 1\\n")
print("done", flush=True)
time.sleep({seconds})
"""
OLD, RENEWED = '{"token": "old"}', '{"token": "renewed"}'


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where throw-away folders lie; its path is short, for sockets have to fit in."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def logged_in(here: Here, agent: str, renews: str, seconds: float = 0) -> tuple[Lab, dict[str, str], Path]:
    """A lab with an agent of this name that renews its login, and the login's place."""
    lab, environ = here
    home = Path(environ["HOME"])
    login, program = home / LOGINS[agent], home / ".local/bin" / agent
    for path in (login, program):
        path.parent.mkdir(parents=True, exist_ok=True)
    login.write_text(OLD)
    login.chmod(0o600)
    program.write_text(
        LOGIN_AGENT.format(python=sys.executable, name=LOGINS[agent], renews=renews, seconds=seconds), "utf-8"
    )
    program.chmod(0o755)
    environ["PATH"] = f"{program.parent}:{environ['PATH']}"
    researcher = replace(lab.settings.researcher, command=(agent,))
    return replace(lab, settings=replace(lab.settings, researcher=researcher)), environ, login


def asked(lab: Lab, environ: dict[str, str], cancelled: threading.Event | None = None) -> str:
    """What was said while the lab's agent was asked once."""
    wrap, said = for_agents.wrapper(lab, GitRepo(lab.root), environ), list[str]()
    researcher = factory.make(lab.settings, environ, wrap=wrap)
    researcher.propose(BRIEF, said.append, cancelled or threading.Event())
    return "".join(said)


@pytest.mark.parametrize("agent", LOGINS)
@pytest.mark.parametrize("renews", RENEWS)
def test_a_renewed_login_comes_back(agent: str, renews: str, here: Here, mechanism: Mechanism) -> None:
    lab, environ, login = logged_in(here, agent, RENEWS[renews])
    said = asked(lab, environ)
    assert login.read_text() == RENEWED, said
    assert stat.S_IMODE(login.stat().st_mode) == 0o600
    assert [path.name for path in login.parent.iterdir() if "tmp" in path.name or "partial" in path.name] == []


def test_the_machine_keeps_its_name(here: Here, mechanism: Mechanism) -> None:
    lab, environ, _ = logged_in(here, "gemini", "import socket; print('on ' + socket.gethostname())")
    assert f"on {socket.gethostname()}\n" in asked(lab, environ)


@pytest.mark.parametrize(
    "leaves",
    [
        "pass",
        "os.remove(login)",
        "os.remove(login); os.symlink('/etc/passwd', login)",
        "os.remove(login); os.mkfifo(login)",
        "open(login, 'w').close()",
        "open(login, 'w').write(new[:8])",
        "open(login, 'w').write(new + ' ' * 2_000_000)",
        "d = os.path.dirname(login); os.rename(d, d + '.old'); os.symlink('/etc', d)",
    ],
)
def test_what_is_no_renewed_login_does_not(leaves: str, here: Here, mechanism: Mechanism) -> None:
    lab, environ, login = logged_in(here, "claude", leaves)
    before = login.stat()
    asked(lab, environ)
    assert login.read_text() == OLD and login.stat().st_mtime_ns == before.st_mtime_ns


def test_a_login_is_there_while_the_agent_still_works_and_the_humans_own_reaches_it(
    here: Here, mechanism: Mechanism
) -> None:
    waits = "\n".join(
        (
            RENEWS["by a rename"],
            "while 'human' not in open(login).read(): time.sleep(0.05)",
        )
    )
    lab, environ, login = logged_in(here, "claude", waits)
    thread = threading.Thread(target=asked, args=(lab, environ))
    thread.start()
    wait_for(lambda: login.read_text() == RENEWED)
    login.write_text('{"token": "human"}')
    thread.join(60)
    assert not thread.is_alive() and login.read_text() == '{"token": "human"}'


@pytest.mark.parametrize("agent", LOGINS)
@pytest.mark.parametrize("newer", ["the agent's", "the human's"])
def test_a_login_comes_back_after_a_kill(
    agent: str, newer: str, here: Here, mechanism: Mechanism, temporary: Path
) -> None:
    """The next start finds it in the folder that was left."""
    lab, environ, login = logged_in(here, agent, RENEWS["by a rename"])
    root = temporary / "autoresearch-tmp-agent-left"
    (root / "work").mkdir(parents=True)
    subprocess.run(
        for_agents.of_lab(lab, GitRepo(lab.root), environ).wrap([agent], root / "work"),
        cwd=root / "work",
        env={name: environ[name] for name in ("PATH", "HOME")},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert login.read_text() == OLD
    if newer == "the human's":
        login.write_text('{"token": "human"}')
    startup.start(Session(lab, "t"), headless=True)
    assert login.read_text() == (RENEWED if newer == "the agent's" else '{"token": "human"}')
    assert not root.exists()


def test_what_the_human_names_is_shown_too(here: Here, mechanism: Mechanism) -> None:
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
        for_agents.of_lab(
            replace(lab, settings=replace(lab.settings, researcher=researcher)), GitRepo(lab.root), environ
        )


def test_every_protection_but_the_network_holds(here: Here, mechanism: Mechanism) -> None:
    lab, environ = here
    fails = for_agents.of_lab(lab, GitRepo(lab.root), environ).check()
    assert fails == (("locked files",) if mechanism.kind is Kind.LANDLOCK else ())


REACHES = """#!{python}
import socket
for port in {ports}:
    with socket.socket() as client:
        client.settimeout(5)
        try:
            client.connect(("127.0.0.1", port))
            print(port, "open")
        except PermissionError:
            print(port, "closed")
open("train.py", "w").write("LR = 1\\n")
"""


@pytest.mark.skipif(launcher.landlock_abi() < 4, reason="this kernel's Landlock knows no ports")
@pytest.mark.parametrize("by", ["setting", "variable", "its settings", "word"])
def test_only_named_ports_are_open(by: str, here: Here, mechanism: Mechanism) -> None:
    lab, environ = here
    home = Path(environ["HOME"])
    with socket.create_server(("127.0.0.1", 0)) as named, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [end.getsockname()[1] for end in (named, other)]
        program = home / ".local/bin/codex"
        program.parent.mkdir(parents=True)
        program.write_text(REACHES.format(python=sys.executable, ports=ports))
        program.chmod(0o755)
        environ["PATH"] = f"{program.parent}:{environ['PATH']}"
        address = f"localhost:{ports[0]}"
        researcher = replace(lab.settings.researcher, command=("codex",))
        if by == "setting":
            researcher = replace(researcher, network=(address,))
        elif by == "variable":
            environ["ALL_PROXY"] = f"socks5://me:secret@{address}"
        elif by == "word":
            researcher = replace(researcher, command=("codex", "--api-base", f"http://{address}/v1"))
        else:
            (home / ".codex").mkdir()
            (home / ".codex/config.toml").write_text(f'base_url = "http://{address}/v1"\n')
        said = asked(replace(lab, settings=replace(lab.settings, researcher=researcher)), environ)
    assert said.splitlines()[:2] == [f"{ports[0]} open", f"{ports[1]} closed"]


@pytest.mark.skipif(launcher.landlock_abi() < 4, reason="this kernel's Landlock knows no ports")
def test_a_named_port_80_opens_the_metadata_service_and_that_is_said(here: Here, mechanism: Mechanism) -> None:
    lab, environ = here
    environ["HTTP_PROXY"] = "http://proxy.example"
    assert "metadata service" in for_agents.of_lab(lab, GitRepo(lab.root), environ).check()


def test_the_journal_says_what_holds_it(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, environ = here
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (lab.root / ".autoresearch" / "t" / "journal.jsonl").unlink()
    agent = factory.make(lab.settings, os.environ)
    assert Engine(Session(lab, "t"), agent, headless=True, rows=1).run() == "finished"
    state = state_of(lab.root, "t")
    assert state.sandbox is not None
    assert state.sandbox.agent == state.sandbox.kind == policy.choose().kind.value
