"""The sandbox of a command-line researcher: the network and its own files, but no data, accelerator or git.

The agent works in a throw-away folder and has a throw-away home beside it, with copies of its settings and logins. A
login that it renews is brought back; nothing else of the user's is written. Programs that it starts are read where they
are installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from autoresearch_tui.lab import ray_files
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.sandbox import for_runs, known_agents, logins, policy, ports, self_test
from autoresearch_tui.sandbox.policy import Kind, Mechanism, Policy
from autoresearch_tui.sandbox.programs import Search
from autoresearch_tui.util import scratch
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line

_NAMES_AND_CERTIFICATES = (
    "resolv.conf",
    "hosts",
    "host.conf",
    "gai.conf",
    "services",
    "protocols",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "crypto-policies",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
)
_LARGEST_SETTINGS = 4 << 20
_START_SECONDS = 30.0
_LONGEST_LINE = 300


NOT_STARTED = (125, 126, 127)
"""The launcher's exit code if the sandbox fails, and the shell's if a program cannot be started."""

START_REMEDY = (
    "name the program itself in `researcher.command` in place of a shim, "
    "or what it needs of your home folder in `researcher.home`"
)


class AgentSandbox(Frozen):
    """The sandbox of one lab's agent. Its own folder and home are added for each proposal."""

    allowed: Policy
    settings: Mapping[str, Path]
    logins: Mapping[str, Path]
    shown: Mapping[str, Path]

    def wrap(self, command: Sequence[str], folder: Path) -> list[str]:
        """The command that runs `command` in the sandbox, in the folder `folder`.

        Makes the throw-away home. Raises OSError.
        """
        mechanism = for_runs.mechanism()
        if mechanism.kind is Kind.NONE:
            return list(command)
        base = folder.resolve().parent
        home, temporary = base / "home", base / "tmp"
        temporary.mkdir()
        self._make_home(home)
        held = dataclasses.replace(
            self.allowed,
            writable=(folder.resolve(), home, temporary),
            readable=(*self.allowed.readable, base),
            cwd=folder.resolve(),
        )
        own = [*_unset("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")]
        own += _unset(*(variable for agent in known_agents.KNOWN.values() if (variable := agent.folder[0])))
        moved = ["/usr/bin/env", *own, f"HOME={home}", f"TMPDIR={temporary}", *command]
        return policy.wrap(moved, held, mechanism)

    def check(self) -> tuple[str, ...]:
        """The protections that do not hold, tested from inside. Takes about 0.3 s. Raises OSError."""
        mechanism = for_runs.mechanism()
        if mechanism.kind is Kind.NONE:
            return self_test.NAMES
        return tuple(each.name for each in self_test.self_test(self.allowed, mechanism) if not each.holds)

    def _make_home(self, home: Path) -> None:
        home.mkdir()
        for name, path in self.settings.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, home / name)
        logins.lend(home.parent, home, self.logins)
        for name, path in self.shown.items():
            link = home / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path)


def of_lab(lab: Lab, repo: GitRepo, environ: Mapping[str, str]) -> AgentSandbox:
    """The sandbox of the lab's command-line researcher. Raises UserError if it would show what must stay hidden."""
    chosen = lab.settings.researcher
    home = Path(environ.get("HOME") or Path.home()).resolve()
    agent = known_agents.known(chosen.command) or known_agents.Agent()
    settings = {name: path for name, path in _found(agent.settings, agent, home, environ) if _small(path)}
    clouds = [name for cloud in known_agents.clouds_of(agent, environ) for name in cloud.files]
    shown = {name: path for name in (*chosen.home, *clouds) if (path := (home / name).resolve()).exists()}
    seen = known_agents.environment(chosen.command, environ, chosen.env)
    data = Path(environment(lab, lab.state_folder)["AUTORESEARCH_CACHE"])
    own = (repo.git_folder, repo.common_folder, lab.state_folder.resolve(), data, *ray_files.private(environ))
    hidden = tuple(dict.fromkeys(own))
    programs = [*dict.fromkeys(_readable(chosen.command, Search(seen, home, hidden)))]
    found = Policy(
        writable=(),
        readable=tuple(dict.fromkeys((*programs, *shown.values()))),
        hidden=hidden,
        network=True,
        ports=ports.allowed(chosen.command, seen, chosen.network, settings.values()),
    )
    try:
        policy.wrap((), found, Mechanism(Kind.NONE))
    except ValueError as error:
        raise UserError(
            f"{lab.root}: {error} to the command-line agent", "move the lab, or what the path names, elsewhere"
        ) from None
    return AgentSandbox(
        found, settings, dict(_found(agent.logins, agent, home, environ)), {**_at_home(programs, home), **shown}
    )


def _at_home(programs: Sequence[Path], home: Path) -> dict[str, Path]:
    """Programs below the home folder, by their names in it, so that a shim that uses `$HOME` finds them."""
    below = policy.outermost([path for path in programs if path.is_relative_to(home) and path != home])
    return {str(path.relative_to(home)): path for path in below}


def start_problem(lab: Lab, repo: GitRepo, environ: Mapping[str, str]) -> tuple[str, bool]:
    """Why the lab's agent does not start in its sandbox, and whether that rules it out; empty if it starts.

    Runs `PROGRAM --version`; an unknown program gets neither keys nor network for that, as it may do anything. Raises
    UserError as :func:`of_lab`, OSError.
    """
    found, command = of_lab(lab, repo, environ), lab.settings.researcher.command
    if for_runs.mechanism().kind is Kind.NONE:
        return "", False
    known = known_agents.known(command) is not None
    env = known_agents.environment(command, environ, lab.settings.researcher.env if known else ("PATH",))
    held = found if known else replace(found, allowed=dataclasses.replace(found.allowed, network=False))
    with scratch.folder("start") as root:
        (root / "work").mkdir()
        program = str(Path(command[0]).expanduser())
        code, output = _started(held.wrap([program, "--version"], root / "work"), root / "work", env)
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    text = f"{command[0]} does not start in its sandbox ({how}): {output or 'it printed nothing'}"
    if code in NOT_STARTED or code < 0:
        return text, True
    return (text if code and known else ""), False


def check_start(lab: Lab, repo: GitRepo, environ: Mapping[str, str]) -> None:
    """Raises UserError if the lab's agent cannot be started in its sandbox."""
    if lab.settings.researcher.kind != "command":
        return
    try:
        problem, rules_out = start_problem(lab, repo, environ)
    except OSError as error:
        raise UserError(f"the agent's sandbox cannot be tried: {error}") from None
    if rules_out:
        raise UserError(problem, START_REMEDY)


def _started(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and last line of output; 0 for a program that takes very long, since it did start."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            return 0, ""
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    return process.returncode, clean_line(lines[-1])[:_LONGEST_LINE] if lines else ""


def wrapper(lab: Lab, repo: GitRepo, environ: Mapping[str, str]) -> Callable[[Sequence[str], Path], Sequence[str]]:
    """Wraps each call of the agent in a new sandbox, since programs may have been installed meanwhile."""
    return lambda command, folder: of_lab(lab, repo, environ).wrap(command, folder)


def _readable(command: Sequence[str], search: Search) -> Iterator[Path]:
    """The program, the files that its arguments name, and those for name resolution and certificates."""
    words = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in command]
    yield from search.named(words[0])
    named = [*words[1:], *(search.environ.get(name, "") for name in known_agents.FILE_VARIABLES)]
    for path in (Path(word) for word in named if word.startswith("/")):
        if path.exists() and not search.home.is_relative_to(path.resolve()) and not path.is_relative_to("/dev"):
            yield from (policy.links(path) if path.is_dir() else search.reach(path))
    yield from (path for name in _NAMES_AND_CERTIFICATES if (path := Path("/etc", name)).exists())


def _found(
    names: Sequence[str], agent: known_agents.Agent, home: Path, environ: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    for name in names:
        path = known_agents.place(agent, name, home, environ).resolve()
        if path.is_file() and os.access(path, os.R_OK):
            yield name, path


def _small(path: Path) -> bool:
    return path.stat().st_size <= _LARGEST_SETTINGS


def _unset(*names: str) -> Iterator[str]:
    for name in names:
        yield from ("-u", name)
