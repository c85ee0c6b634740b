"""Labs that share, and a stranger who does not play by the rules. Real git, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from autoresearch_tui import cli
from tests.conftest import git
from tests.night import BEGAN, Night

EVALUATOR = "e" * 64
Content = bytes | tuple[str, str]
"""Of a file, or mode and object of an entry."""


def tool(capsys, *words: str | Path) -> tuple[int, list[str]]:  # type: ignore[no-untyped-def]
    """A command's exit code and its lines: stdout if it is obeyed, else stderr."""
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr()
    assert (said.out if code else said.err) == ""
    return code, (said.err if code else said.out).replace("autoresearch-tui: ", "").splitlines()


def peers(folder: Path, *labs: Path) -> Path:
    """The bare repository between labs, which is their origin."""
    remote = folder / "peers.git"
    git(folder, "init", "--quiet", "--bare", str(remote))
    for lab in labs:
        git(lab, "remote", "add", "origin", str(remote))
    return remote


def night(folder: Path, *verdicts: tuple[str, float | None], tag: str = "nov20", days: int = 0) -> Night:
    """A lab with a session of these experiments, all of them commits."""
    made = Night(folder, tag=tag, repository=True, start=BEGAN + timedelta(days=days))
    for verdict, value in verdicts:
        made.experiment(verdict, value)
    made.settle()
    return made


def shared(remote: Path) -> dict[str, str]:
    """The refs that a remote has."""
    lines = git(remote, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in lines)


class Stranger:
    """Who writes into the remote whatever git lets them."""

    def __init__(self, remote: Path) -> None:
        self._remote = remote

    def git(self, *words: str, stdin: bytes = b"") -> str:
        who = {f"GIT_{role}_{key}": "eve" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", *words], cwd=self._remote, input=stdin, capture_output=True, check=True, env={**os.environ, **who}
        )
        return done.stdout.decode().strip()

    def tree(self, files: Mapping[str, Content]) -> str:
        """A tree of blobs, or of `(mode, object)`."""
        found: dict[str, tuple[str, str]] = {}
        folders: dict[str, dict[str, Content]] = {}
        for path, content in files.items():
            name, _, rest = path.partition("/")
            if rest:
                folders.setdefault(name, {})[rest] = content
            else:
                found[name] = content if isinstance(content, tuple) else ("100644", self.blob(content))
        found |= {name: ("40000", self.tree(inside)) for name, inside in folders.items()}
        kinds = {"40000": "tree", "160000": "commit"}
        lines = "".join(f"{m} {kinds.get(m, 'blob')} {o}\t{n}\n" for n, (m, o) in sorted(found.items()))
        return self.git("mktree", "--missing", stdin=lines.encode())

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def push(self, ref: str, files: Mapping[str, Content]) -> str:
        commit = self.git("commit-tree", self.tree(files), "-m", "mine")
        self.git("update-ref", ref, commit)
        return commit


def session(**fields: object) -> bytes:
    """A session.json."""
    usual = {"format": 1, "metric": "val_bpb", "goal": "minimize", "budget_seconds": 300, "evaluator": EVALUATOR}
    return json.dumps({**usual, **fields}).encode()


def line(number: object = 1, **fields: object) -> bytes:
    """A line of experiments.jsonl."""
    usual = {"number": number, "outcome": "keep", "value": 0.9, "memory_gb": 1.0, "description": f"idea {number}"}
    return json.dumps({**usual, **fields}).encode() + b"\n"
