"""Agents as they are installed: shims, scripts that start another, version managers. Each is started in its sandbox."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from autoresearch_tui.doctor import lab_checks
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.launch.headless import make_engine
from autoresearch_tui.researchers import factory
from autoresearch_tui.sandbox import for_agents, launcher, policy
from autoresearch_tui.sandbox.policy import Kind
from autoresearch_tui.util.errors import UserError
from tests.conftest import SETTINGS
from tests.researchers.agents.test_researcher import BRIEF

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox outside Linux")

# Needs what lies beside it, as most do.
AGENT = """#!/bin/sh
. "$(dirname "$(readlink -f "$0")")/../lib/words"
test "$1" = "--version" && echo "agent 1.0" && exit
echo "LR = 1" > train.py
echo "$WORDS"
"""
WHERE = ".local/share/agent/1.0"

SHIMS = {
    "exec from home": (".local/bin/claude", '#!/bin/sh\nexec "$HOME/.local/share/agent/1.0/bin/agent" "$@"\n'),
    "with braces": ("bin/claude", '#!/usr/bin/env bash\nexec "${HOME}"/.local/share/agent/1.0/bin/agent "$@"\n'),
    "a variable": (
        ".local/bin/claude",
        '#!/bin/sh\nset -e\nROOT="${AGENT_ROOT:-$HOME/.local/share/agent}"\nVERSION=1.0\n'
        'exec "$ROOT/$VERSION/bin/agent" "$@"\n',
    ),
    "its own folder": (
        ".local/share/shims-of-mine/claude",
        '#!/bin/bash\nhere="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"\nexec "$here/agent/1.0/bin/agent" "$@"\n',
    ),
    "as pnpm": (
        ".local/share/claude",
        '#!/bin/sh\nbasedir=$(dirname "$(echo "$0" | sed -e \'s,\\\\,/,g\')")\n\n'
        'case `uname` in\n    *CYGWIN*) basedir=`cygpath -w "$basedir"`;;\nesac\n\n'
        'exec "$basedir/agent/1.0/bin/agent" "$@"\n',
    ),
    "through another": (
        ".local/bin/claude",
        '#!/bin/sh\nif [ -x "$HOME/bin/second" ]; then\n  exec "$HOME/bin/second" "$@"\nfi\nexit 1\n',
    ),
    "a manager's": (
        ".manager/shims/claude",
        '#!/bin/sh\nname=${0##*/}\nroot=$(dirname "$(dirname "$0")")\n'
        'exec "$root/versions/$(cat "$root/version")/bin/$name" "$@"\n',
    ),
}


@pytest.fixture(params=["bubblewrap", "landlock"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    found = policy.choose()
    if request.param == "bubblewrap" and found.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {found.note}")
    if request.param == "landlock":
        if launcher.landlock_abi() < 6:
            pytest.skip(f"Landlock {launcher.landlock_abi()} of this kernel is too old")
        found = policy.landlock_only()
    monkeypatch.setattr(policy, "choose", lambda: found)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


Installed = Callable[[str, str], tuple[Lab, dict[str, str]]]


@pytest.fixture
def installed(new_lab: Callable[..., Path], tmp_path: Path) -> Installed:
    """A lab whose agent is a shim with this text, at this place of a home folder with the agent and with secrets."""

    def installed(place: str, text: str) -> tuple[Lab, dict[str, str]]:
        home = tmp_path / "user"
        for root in (home / WHERE, home / ".manager/versions/7"):
            written(root / "bin/agent", AGENT)
            written(root / "lib/words", 'WORDS="found"\n')
        written(home / ".manager/versions/7/bin/claude", AGENT)
        written(home / ".manager/version", "7")
        written(home / "bin/second", f'#!/bin/sh\nexec {home}/{WHERE}/bin/agent "$@"\n')
        written(home / ".ssh/id_ed25519", "private")
        shim = written(home / place, text)
        settings = SETTINGS.replace('kind = "search"', 'kind = "command"\ncommand = ["claude"]')
        environ = {"PATH": f"{shim.parent}:/usr/bin:/bin", "HOME": str(home)}
        return labs.find(new_lab(settings=settings)), environ

    return installed


@pytest.mark.usefixtures("mechanism")
@pytest.mark.parametrize("kind", SHIMS)
def test_what_a_shim_leads_to_is_found(kind: str, installed: Installed) -> None:
    lab, environ = installed(*SHIMS[kind])
    assert for_agents.start_problem(lab, GitRepo(lab.root), environ) == ("", False)
    wrap = for_agents.wrapper(lab, GitRepo(lab.root), environ)
    shown = for_agents.of_lab(lab, GitRepo(lab.root), environ).allowed.readable
    home = Path(environ["HOME"])
    assert not [path for path in shown if (home / ".ssh").is_relative_to(path) or home == path]
    proposal = factory.make(lab.settings, environ, wrap=wrap).propose(BRIEF, lambda _: None, threading.Event())
    assert proposal is not None and proposal.description == "found"


BROKEN = {
    "a word that nobody can foresee": 'exec "$(printf "%s" "$HOME/else")/where/agent" "$@"',
    "nothing there": 'exec "$HOME/gone/agent" "$@"',
    "another machine's": "exit 126",
}


@pytest.mark.usefixtures("mechanism")
@pytest.mark.parametrize("kind", BROKEN)
def test_an_agent_that_does_not_start_is_said_before_the_session_and_by_doctor(
    kind: str, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, environ = installed(".local/bin/claude", f"#!/bin/sh\n{BROKEN[kind]}\n")
    written(Path(environ["HOME"]) / "else/where/agent", AGENT)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    item = lab_checks.agent_sandbox(lab, os.environ)
    assert item.status == "problem" and "claude does not start in its sandbox (exit code 12" in item.found
    with pytest.raises(UserError, match=r"claude does not start in its sandbox \(exit code 12.*researcher\.home"):
        make_engine(lab, "t", {}, factory.make, headless=True)


@pytest.mark.usefixtures("mechanism")
def test_a_program_that_is_not_known_is_started_without_keys_and_network(installed: Installed) -> None:
    lab, environ = installed(
        ".local/bin/mine",
        f'#!/bin/sh\ntest -n "$ANTHROPIC_API_KEY" && exit 126\nexec {sys.executable} -S -c '
        "'import socket; socket.create_connection((\"127.0.0.1\", 9))' 2>/dev/null",
    )
    researcher = replace(lab.settings.researcher, command=("mine", "--version"))
    lab = replace(lab, settings=replace(lab.settings, researcher=researcher))
    environ["ANTHROPIC_API_KEY"] = "sk-ant-mine"
    assert for_agents.start_problem(lab, GitRepo(lab.root), environ) == ("", False)
