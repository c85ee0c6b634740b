"""The scripts of docs/hooks.md as they stand there: a phone that is asked by a hook, and answers with a verb."""

from __future__ import annotations

import http.server
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote_plus, urlsplit

import pytest

from tests.history import problems, state_of
from tests.launch.test_verbs import ASK, PLAIN, at_gate, engine
from tests.waiting import wait_for

NewLab = Callable[..., Path]
PAGE = (Path(__file__).parents[2] / "docs/hooks.md").read_text("utf-8")
ANSWERS = PAGE.partition("## Answer from a phone\n")[2].partition("\n## ")[0]
TOKEN, ME = "123:secret", "4711"


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks of a section."""
    section = re.split(r"^### ", ANSWERS, flags=re.MULTILINE)
    (text,) = [each for each in section if each.startswith(heading)] if heading else [section[0]]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class Server(http.server.ThreadingHTTPServer):
    """ntfy and Telegram on loopback: what was posted, and what is to be delivered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.arrived: queue.Queue[tuple[str, dict[str, str], str]] = queue.Queue()
        self._left: list[tuple[str, dict[str, str], str]] = []
        self.lines: queue.Queue[str] = queue.Queue()
        self.updates: list[dict[str, object]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def posted(self, text: str) -> tuple[str, dict[str, str], str]:
        """The first post with this text. An answer and the next question come in any order."""
        while True:
            for post in self._left:
                if text in unquote_plus(post[2]):
                    self._left.remove(post)
                    return post
            self._left.append(self.arrived.get(timeout=60))


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version: ClassVar[str] = "HTTP/1.0"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/my-night-answers":
            self.server.lines.put(body)
        else:
            self.server.arrived.put((self.path, dict(self.headers), body))
        self._reply("{}")

    def do_GET(self) -> None:
        if self.path.endswith("/raw"):
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(f"{self.server.lines.get()}\n".encode())
                self.wfile.flush()
        after = int(parse_qs(urlsplit(self.path).query)["offset"][0])
        wait_for(lambda: len(self.server.updates) >= max(after, 1), 600)
        self._reply(json.dumps({"ok": True, "result": self.server.updates[max(after, 1) - 1 :]}))

    def _reply(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def phone() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `~/answer.sh` is, with the lab as `~/night`, and `autoresearch-tui` and `mail` as commands."""
    folder = tmp_path / "home"
    (folder / "bin").mkdir(parents=True)
    (script,) = blocks("", "sh")
    (folder / "answer.sh").write_text(script)
    programs = {
        "autoresearch-tui": f'exec {sys.executable} -m autoresearch_tui "$@"\n',
        "mail": f'echo "$2 to $3" >> {folder}/mails; cat >> {folder}/mails\n',
    }
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setitem(PLAIN, "PATH", f"{folder}/bin:{os.environ['PATH']}")
    for name, value in {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_ID": ME}.items():
        monkeypatch.setitem(PLAIN, name, value)
    return folder


def asking(new_lab: NewLab, home: Path, heading: str, url: str) -> Path:
    """A lab with the section's hook."""
    (hook,) = blocks(heading, "toml")
    lab = new_lab(settings=f"{ASK}\n{local(hook, url)}")
    (home / "night").symlink_to(lab)
    return lab


def local(text: str, url: str) -> str:
    return text.replace("https://ntfy.sh", url).replace("https://api.telegram.org", url)


@contextmanager
def listening(home: Path, command: list[str]) -> Iterator[None]:
    """The section's script, at work in the background."""
    env = {**PLAIN, "HOME": str(home)}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, 9)


def test_ntfy(new_lab: NewLab, home: Path, phone: Server) -> None:
    lab = asking(new_lab, home, "ntfy", phone.url)
    (script,) = blocks("ntfy", "sh")
    with engine(lab), listening(home, ["sh", "-c", local(script, phone.url)]):
        for number, button, answer in ((1, 0, "#1 approved"), (2, 1, "#2 vetoed")):
            path, headers, text = phone.posted(f"#{number} ")
            assert (path, text[:13]) == ("/my-night", f"decision: #{number} ")
            kind, label, url, body = headers["Actions"].split("; ")[button].split(", ")
            assert (kind, label, url) == ("http", ("approve", "veto")[button], f"{phone.url}/my-night-answers")
            phone.lines.put("")  # as ntfy keeps the line alive
            phone.lines.put("rm -rf ~/night")
            phone.lines.put(body.removeprefix("body="))
            assert phone.posted(f"#{number} ")[2] == answer
        state = at_gate(lab, 3)
        # What was shown has changed since.
        phone.posted("decision: #3 ")
        phone.lines.put("approve 3 0000000")
        assert phone.posted("#3: ")[2].endswith("#3: it changed meanwhile; look at the new diff")
    assert [state.experiments[1].approved_by, state.experiments[2].reason] == ["human", "not from here"]
    assert problems(lab, "t") == []


def test_telegram(new_lab: NewLab, home: Path, phone: Server) -> None:
    lab = asking(new_lab, home, "Telegram", phone.url)
    (script,) = blocks("Telegram", "python")

    def press(sender: str, text: str) -> None:
        message = {"from": {"id": int(sender)}, "text": text}
        phone.updates.append({"update_id": len(phone.updates) + 1, "message": message})

    with engine(lab), listening(home, [sys.executable, "-c", local(script, phone.url)]):
        path, _, body = phone.posted("#1 ")
        asked = {name: value[0] for name, value in parse_qs(body).items()}
        assert (path, asked["chat_id"]) == (f"/bot{TOKEN}/sendMessage", ME)
        approve, veto = json.loads(asked["reply_markup"])["keyboard"][0]
        at_gate(lab, 1)
        press("666", approve)
        press(ME, "hello")
        press(ME, f"{veto} too dear")
        assert parse_qs(phone.posted("#1 ")[2])["text"] == ["#1 vetoed\n"]
    assert state_of(lab, "t").experiments[1].reason == "too dear"
    assert problems(lab, "t") == []


def test_mail(new_lab: NewLab, home: Path) -> None:
    lab, mails = asking(new_lab, home, "Mail", ""), home / "mails"
    (script,) = blocks("Mail", "sh")

    def subject(times: int) -> str:
        wait_for(lambda: mails.exists() and len(mails.read_text().splitlines()) >= 2 * times, what="a mail")
        return mails.read_text().splitlines()[2 * times - 2].removesuffix(" to me@example.org")

    def reply(text: str) -> None:
        mail = f"From: me@example.org\nSubject: Re: {text}\n\n> it waits\nSubject: approve 2 0000000\n"
        env = {**PLAIN, "HOME": str(home)}
        subprocess.run(["sh", "-c", script], input=mail, text=True, env=env, check=True, timeout=120)

    with engine(lab):
        at_gate(lab, 1)
        reply(subject(1))
        assert mails.read_text().splitlines()[2:4] == ["done to me@example.org", "#1 approved"]
        wait_for(lambda: state_of(lab, "t").experiments[1].outcome)
        at_gate(lab, 2)
        reply(f"{subject(3).replace('approve', 'veto')} not tonight")
    assert state_of(lab, "t").experiments[2].reason == "not tonight"
    assert problems(lab, "t") == []
