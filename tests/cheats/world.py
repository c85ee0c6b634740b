"""A user's account with a lab in it, and two ways to run a train.py there: as everybody does, and as we do."""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_tui.engine import startup
from autoresearch_tui.engine.experiments import Runs
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.logs.score_search import find_score
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import Stage
from tests.conftest import git

ZOO = Path(__file__).with_name("zoo")
PLAIN = "import prepare\n\nprepare.finish(prepare.evaluate(5.0))\n"
HONEST_VALUE = 1.2
# The interpreter under any virtual environment: unlike that one, it looks for packages at home.
PYTHON = getattr(sys, "_base_executable", sys.executable)
SETTINGS = f"""\
[lab]
locked = ["prepare.py", "targets.py"]

[run]
command = ["{PYTHON}", "train.py"]
timeout_seconds = 30

[researcher]
kind = "search"
"""
PATTERN = r"^val_bpb:\s+(\S+)"


@dataclass(frozen=True)
class Outcome:
    """One run as its reader sees it; verdict and reason only where somebody judged."""

    log: str
    value: float | None
    verdict: str = ""
    reason: str = ""
    seconds: float = 0.0
    doubts: tuple[str, ...] = ()


class World:
    """Home, data cache, sockets, a process of somebody else's, and the lab that knows where they all are."""

    python = PYTHON

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root, self.home, self.cache, self.lab = root, root / "home", root / "cache", root / "lab"
        self.token = f"autoresearch-{secrets.token_hex(8)}"
        self.nap = f"97.{secrets.randbelow(10**9):09d}"
        (self.home / ".ssh").mkdir(parents=True)
        (self.home / ".ssh" / "id").write_text("private")
        (self.cache / "data").mkdir(parents=True)
        (self.cache / "data" / "shard").write_text("text")
        (self.cache / "tokenizer.json").write_text("{}")
        self.tcp = _listener(stack, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.udp = _listener(stack, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.named = _listener(stack, socket.AF_UNIX, socket.SOCK_STREAM, str(root / "s"))
        self.agent, self.tmux = (
            _listener(stack, socket.AF_UNIX, socket.SOCK_STREAM, str(self._folder(place) / name))
            for place, name in (("ssh-a", "agent.1"), ("tmux-0", "default"))
        )
        self.datagrams = _listener(stack, socket.AF_UNIX, socket.SOCK_DGRAM, str(root / "d"))
        self.abstract = _listener(stack, socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.token}")
        self.key = f"sk-{self.token}"
        somebody = subprocess.Popen(["sleep", "600"], env={"ANTHROPIC_API_KEY": self.key})
        stack.callback(_end, somebody)
        stack.callback(self._clean)
        self.victim = somebody
        self._make_lab()

    def _folder(self, name: str) -> Path:
        """A new one in the world's root."""
        folder = self.root / name
        folder.mkdir()
        return folder

    @property
    def session(self) -> Path:
        """What the loop knows, and a run must not."""
        return self.lab / ".autoresearch" / "t"

    @property
    def records(self) -> list[Path]:
        """Files that say how runs went."""
        past = [self.session / "journal.jsonl", self.session / "results.tsv", self.lab / "results.tsv"]
        return [*past, self.session / "runs" / "0000" / "score.json", self.session / "runs" / "0001" / "exit.json"]

    @property
    def private(self) -> list[Path]:
        """What nobody but the user and the engine is to read."""
        past = [self.session / "journal.jsonl", self.session / "runs" / "0000"]
        return [*past, self.lab / ".git", self.lab / ".env", self.home]

    def train(self, env: dict[str, str], log: Path) -> None:
        """`python train.py` in the lab, its output in a file that it knows."""
        with log.open("ab") as file:
            file.truncate(0)
            command = [self.python, "train.py"]
            subprocess.run(command, cwd=self.lab, env=env, stdout=file, stderr=file, timeout=120, check=False)

    def napping(self) -> list[int]:
        """The processes that a cheat has left behind."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.nap.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def _make_lab(self) -> None:
        (self.session / "runs" / "0000").mkdir(parents=True)
        (self.session / "inbox").mkdir()
        (self.session / "runs" / "0000" / "score.json").write_text("{}")
        (self.lab / ".env").write_text("not in git")
        facts: dict[str, object] = {
            "TOKEN": self.token,
            "NAP": self.nap,
            "HOME": str(self.home),
            "CACHE": str(self.cache),
            "LAB": str(self.lab),
            "TMP": "/tmp",
            "SHM": "/dev/shm",
            "RECORDS": [str(path) for path in self.records],
            "PRIVATE": [str(path) for path in self.private],
            "INBOX": str(self.session / "inbox"),
            "LOGS": [str(self.session / "runs/0001/run.log"), str(self.lab / "run.log"), "/proc/self/fd/1"],
            "TCP": self.tcp.getsockname()[1],
            "UDP": self.udp.getsockname()[1],
            "SOCKET": str(self.root / "s"),
            "DATAGRAMS": str(self.root / "d"),
            "AGENT": str(self.root / "ssh-a" / "agent.1"),
            "TMUX": str(self.root / "tmux-0" / "default"),
            "ABSTRACT": f"\0{self.token}",
            "VICTIM": self.victim.pid,
            "BOMB": 100,
            "FLOOD": 80 << 20,
            "DISK": 512 << 20,
        }
        (self.lab / "targets.py").write_text("".join(f"{name} = {value!r}\n" for name, value in facts.items()))
        shutil.copy(Path(__file__).with_name("prepare.py"), self.lab)
        (self.lab / "train.py").write_text(PLAIN)
        (self.lab / "program.md").write_text("# Program\n")
        (self.lab / "autoresearch.toml").write_text(SETTINGS)
        git(self.lab, "init", "--quiet", "--initial-branch=main")
        git(self.lab, "add", "train.py", "prepare.py", "targets.py", "program.md", "autoresearch.toml")
        git(self.lab, "commit", "--quiet", "--message=lab")

    def _clean(self) -> None:
        for pid in self.napping():
            os.kill(pid, 9)
        for place in ("/tmp", "/dev/shm"):
            Path(place, self.token).unlink(missing_ok=True)


def naive(world: World, source: str) -> Outcome:
    """As most loops do it: in the user's own checkout, with the user's environment and rights."""
    (world.lab / "train.py").write_text(source)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(world.home),
        "AUTORESEARCH_CACHE": str(world.cache),
        "AUTORESEARCH_TIME_BUDGET": "0.2",
        "AUTORESEARCH_PROFILE": "demo",
    }
    began = time.monotonic()
    log = world.lab / "run.log"
    world.train(env, log)
    seconds = time.monotonic() - began
    if (checkpoint := world.lab / "checkpoint.pkl").exists():
        load = "import pickle; pickle.load(open('checkpoint.pkl', 'rb'))"
        subprocess.run([world.python, "-c", load], cwd=world.lab, env=env, check=False)
        checkpoint.unlink()
    text = log.read_text(errors="replace")
    return Outcome(text, find_score(text, PATTERN, "val_bpb").value, seconds=seconds)


class Guarded:
    """As we do it: a commit on the baseline, launched, followed and judged by the engine's own parts."""

    def __init__(
        self,
        world: World,
        honest: float = HONEST_VALUE,
        clock: tuple[float, float, float] | None = None,
        seconds: float = 1.0,
        log: str = "",
    ) -> None:
        """Of the baseline: `clock` is when it had its data, when it asked to be scored, and how long it answered;
        `seconds` its wall time, `log` what it printed."""
        self._scores: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.session = Session(labs.find(world.lab), "t")
        startup.start(self.session, headless=False)
        self.runs = Runs(self.session, self._scores.put)
        base = self.session.repo.head()
        self.session.append(self.session.commits.baseline(0, base, "", None, 0))
        self.session.append(ev.RunStarted(0, base, 1))
        ready, asked, answers = clock or (None, None, 0.0)
        self.session.append(ev.RunEnded(0, "finished", 0, seconds, asked_seconds=asked, ready_seconds=ready))
        if log:
            files = self.session.files.run(0)
            files.folder.mkdir(parents=True, exist_ok=True)
            files.log.write_text(log)
        self.session.append(ev.RunScored(0, honest, 0.0, "self-reported", answer_seconds=answers))
        self.session.append(ev.VerdictGiven(0, "keep", honest, 0.0, "the baseline"))
        self._base = base

    def __call__(self, world: World, source: str) -> Outcome:
        """The next experiment."""
        session, number = self.session, len(self.session.state.experiments)
        commit = session.repo.commit(self._base, {"train.py": source.encode()}, f"{number}\n", session.now())
        session.append(ev.ProposalMade(number, commit, self._base, "cheat", "", "test", "", 1, 1))
        session.append(ev.ProposalApproved(number, commit, "auto"))
        self.runs.launch(session.state.experiments[number], "")
        deadline = time.monotonic() + 180
        while session.state.experiments[number].stage is not Stage.DONE:
            assert time.monotonic() < deadline, session.state.experiments[number]
            if session.state.experiments[number].stage is Stage.APPROVED:  # put back: once more, as the loop does
                self.runs.launch(session.state.experiments[number], "")
            if not self.runs.step():
                time.sleep(0.03)
            while not self._scores.empty():
                self.runs.take_score(self._scores.get())
        self.runs.tidy()
        done = session.state.experiments[number]
        log = session.files.run(number).log.read_text(errors="replace")
        seconds, doubts = done.run.seconds if done.run else 0.0, done.score.doubts if done.score else ()
        return Outcome(log, done.value, done.outcome, done.reason, seconds, doubts)


@contextmanager
def made(root: Path, kind: type[World] = World) -> Any:
    """A world, and everything in it ended afterwards."""
    with ExitStack() as stack:
        yield kind(root, stack)


def reached(end: socket.socket) -> bool:
    """Whether something has arrived at a socket of the world's."""
    try:
        if end.type is socket.SOCK_STREAM:
            end.accept()[0].close()
            return True
        return bool(end.recv(512))
    except OSError:
        return False


def _listener(stack: ExitStack, family: int, kind: int, address: Any) -> socket.socket:
    end = stack.enter_context(socket.socket(family, kind))
    end.bind(address)
    if kind == socket.SOCK_STREAM:
        end.listen(4)
    end.setblocking(False)
    return end


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
