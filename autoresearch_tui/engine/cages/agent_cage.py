"""The cage of a command-line researcher: the network and its own files, but not the data, the accelerator or git.

It works in a throw-away folder and has a throw-away home beside it, with copies of its settings and links to its
logins, the only things of the user's that it may write. What it starts comes from where it is installed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_tui.engine.cages import cage, cage_check, sandbox
from autoresearch_tui.engine.cages.environment import environment
from autoresearch_tui.engine.cages.sandbox import Cage, Kind, Sandbox
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab
from autoresearch_tui.researchers import agents

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
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")
_LARGEST_SETTINGS = 4 << 20
_SCRIPTS = 4  # a script for a program that is a script for ...


@dataclass(frozen=True, slots=True)
class AgentCage:
    """What one lab's agent may see. Its own folder and home are added for each proposal."""

    cage: Cage
    settings: Mapping[str, Path]
    logins: Mapping[str, Path]
    shown: Mapping[str, Path]

    def wrap(self, command: Sequence[str], folder: Path) -> list[str]:
        """The command that runs `command` in the cage, with `folder` to work in and the rest of its parent beside it.

        Makes the throw-away home. Raises OSError.
        """
        mechanism = cage.mechanism()
        if mechanism.kind is Kind.NONE:
            return list(command)
        base = folder.resolve().parent
        home, scratch = base / "home", base / "tmp"
        scratch.mkdir()
        self._furnish(home)
        held = replace(
            self.cage,
            writable=(folder.resolve(), home, scratch, *self.cage.writable),
            readable=(*self.cage.readable, base),
            cwd=folder.resolve(),
        )
        own = [*_unset("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")]
        own += _unset(*(variable for agent in agents.KNOWN.values() if (variable := agent.folder[0])))
        moved = ["/usr/bin/env", *own, f"HOME={home}", f"TMPDIR={scratch}", *command]
        return sandbox.wrap(moved, held, mechanism)

    def check(self) -> tuple[str, ...]:
        """The protections that do not hold, found from inside. About 0.3 s. Raises OSError."""
        mechanism = cage.mechanism()
        if mechanism.kind is Kind.NONE:
            return cage_check.NAMES
        return tuple(each.name for each in cage_check.self_test(self.cage, mechanism) if not each.holds)

    def _furnish(self, home: Path) -> None:
        home.mkdir()
        for name, path in self.settings.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, home / name)
        for name, path in {**self.logins, **self.shown}.items():
            link = home / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path)


def of_lab(lab: Lab, ledger: Ledger, environ: Mapping[str, str]) -> AgentCage:
    """The cage of the lab's command-line researcher. Raises UserError where it would show what must stay hidden."""
    chosen = lab.settings.researcher
    home = Path(environ.get("HOME") or Path.home()).resolve()
    agent = agents.known(chosen.command) or agents.Agent()
    settings = {name: path for name, path in _found(agent.settings, agent, home, environ) if _small(path)}
    logins = dict(_found(agent.logins, agent, home, environ))
    shown = {name: path for name in chosen.home if (path := (home / name).resolve()).exists()}
    data = Path(environment(lab, lab.state_folder)["AUTORESEARCH_CACHE"])
    found = Cage(
        writable=tuple(logins.values()),
        readable=tuple(dict.fromkeys((*_readable(chosen.command, environ, home), *shown.values()))),
        hidden=tuple(dict.fromkeys((ledger.git_folder, ledger.common_folder, lab.state_folder.resolve(), data))),
        network=True,
    )
    try:
        sandbox.wrap((), found, Sandbox(Kind.NONE))
    except ValueError as error:
        raise UserError(
            f"{lab.root}: {error} to the command-line agent; move the lab, or what the path names, elsewhere"
        ) from None
    return AgentCage(found, settings, logins, shown)


def wrapper(lab: Lab, ledger: Ledger, environ: Mapping[str, str]) -> Callable[[Sequence[str], Path], Sequence[str]]:
    """Closes the cage around a call of the agent; made anew for each, as what it needs may have been installed."""
    return lambda command, folder: of_lab(lab, ledger, environ).wrap(command, folder)


def _readable(command: Sequence[str], environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """The program wherever it is installed, what its words name, and what names and certificates are looked up in."""
    words = [str(Path(word).expanduser()) if word.startswith("~/") else word for word in command]
    program = shutil.which(words[0], path=environ.get("PATH"))
    if program is not None:
        yield from _program(Path(program).absolute(), environ, _SCRIPTS)
    named = [*words[1:], *(environ.get(name, "") for name in _CERTIFICATE_VARIABLES)]
    for path in (Path(word) for word in named if word.startswith("/")):
        if path.exists() and not home.is_relative_to(path.resolve()) and not path.is_relative_to("/dev"):
            yield from sandbox.links(path)
    yield from (path for name in _NAMES_AND_CERTIFICATES if (path := Path("/etc", name)).exists())


def _program(program: Path, environ: Mapping[str, str], depth: int) -> Iterator[Path]:
    """A program with what it is linked to, the packages of Node or Python around it, and its interpreter."""
    yield from sandbox.links(program)
    real = program.resolve()
    yield real
    if "node_modules" in real.parts:
        yield Path(*real.parts[: real.parts.index("node_modules") + 1])
    if cage.is_python(program):
        yield from cage.interpreter(program)
    interpreter = _interpreter(real, environ)
    if interpreter is not None and depth:
        yield from _program(interpreter, environ, depth - 1)


def _interpreter(script: Path, environ: Mapping[str, str]) -> Path | None:
    """The program in a script's first line; that which `env` would find, where it is env's."""
    words = cage.first_line(script)
    if not words:
        return None
    if Path(words[0]).name == "env":
        names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        found = shutil.which(names[0], path=environ.get("PATH")) if names else None
    else:
        found = words[0]
    return Path(found).absolute() if found and Path(found).is_file() else None


def _found(
    names: Sequence[str], agent: agents.Agent, home: Path, environ: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    for name in names:
        path = agents.place(agent, name, home, environ).resolve()
        if path.is_file() and os.access(path, os.R_OK):
            yield name, path


def _small(path: Path) -> bool:
    return path.stat().st_size <= _LARGEST_SETTINGS


def _unset(*names: str) -> Iterator[str]:
    for name in names:
        yield from ("-u", name)
