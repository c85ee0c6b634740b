"""The files that a program needs to start: links, packages around it, the targets of shims and scripts, version
managers.

Shims are read, not run. What their text does not reveal shows when the agent is started once in its sandbox.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from autoresearch_tui.sandbox import for_runs, known_agents, policy

_DEEPEST = 8  # a script for a program that is a script for ...
_SCRIPT_BYTES = 64 * 1024
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")
_SCRIPT_SUFFIXES = (".js", ".mjs", ".cjs", ".py", ".sh", ".bash", ".jar", ".exe", ".bin")
_ASSIGNED = re.compile(r"^\s*(?:export\s+|local\s+|readonly\s+)?([A-Za-z_]\w*)=(.*)$")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*|0)(?:\[0\])?(?::?-([^{}]*))?\}|([A-Za-z_]\w*|0))")
_STARTS = ("exec", "command", "env", "nohup", "then", "else", "do", "&&", "||", ";", "|", "if", "!")
_UNKNOWN = "\0"
# Folders shared by many programs: never shown whole.
_COMMON = frozenset((".local", ".config", ".cache", "snap", "go", "bin", "src", "Applications"))
_MANAGERS = {
    "volta-shim": ("VOLTA_HOME", ".volta"),
    "mise": ("MISE_DATA_DIR", ".local/share/mise"),
    "asdf": ("ASDF_DATA_DIR", ".asdf"),
    "pyenv": ("PYENV_ROOT", ".pyenv"),
    "nodenv": ("NODENV_ROOT", ".nodenv"),
    "proto-shim": ("PROTO_HOME", ".proto"),
}
_CHOICES = (".tool-versions", ".config/mise/config.toml", ".nvmrc", ".node-version", ".python-version", ".default-npm")


class Search(Struct):
    """Finds everything that a program needs to start. `hidden` must not be shown because of it."""

    environ: Mapping[str, str]
    home: Path
    hidden: Sequence[Path] = ()
    _seen: set[Path] = field(default_factory=set)

    def named(self, word: str) -> Iterator[Path]:
        """The program that a command begins with."""
        found = shutil.which(word, path=self.environ.get("PATH"))
        if found is not None:
            yield from self.reach(Path(found).absolute())

    def reach(self, program: Path, depth: int = 0) -> Iterator[Path]:
        """A program and all that it leads to."""
        if program in self._seen or depth > _DEEPEST:
            return
        self._seen.add(program)
        yield from policy.links(program)
        real = program.resolve()
        yield real
        if "node_modules" in real.parts:
            yield Path(*real.parts[: real.parts.index("node_modules") + 1])
        if for_runs.is_python(program):
            yield from for_runs.interpreter(program)
        else:
            yield from self._around(real)
        yield from self._manager(program, real)
        for other in self._leads_to(real, program):
            yield from self.reach(other, depth + 1)

    def _around(self, real: Path) -> Iterator[Path]:
        """The folder that a program was unpacked into, if it has one of its own."""
        folder = real.parent.parent if real.parent.name in ("bin", "libexec", "shims") else real.parent
        if self._its_own(folder):
            yield folder

    def _its_own(self, folder: Path) -> bool:
        """Whether a folder belongs to one program, and not to the user, to many programs, or to an agent's logins."""
        if any(each.resolve().is_relative_to(folder) for each in (*self.hidden, self.home)):
            return False
        if folder.is_relative_to(self.home):
            parts = folder.relative_to(self.home).parts
            deep = 3 if parts[0] in _COMMON else 1 if parts[0].startswith(".") else 2
            own = (known_agents.place(agent, name, self.home, self.environ) for agent, name in _private())
            return len(parts) >= deep and not any(path.resolve().is_relative_to(folder) for path in own)
        return folder.is_relative_to("/opt") and len(folder.parts) > 2

    def _manager(self, program: Path, real: Path) -> Iterator[Path]:
        """Everything that a version manager has installed, because it chooses when it starts."""
        roots = [program.parent.parent] if program.parent.name == "shims" else []
        if (known := _MANAGERS.get(real.name)) is not None:
            roots.append(Path(self.environ.get(known[0]) or self.home / known[1]))
        found = [root for root in roots if root.is_dir() and self._its_own(root.resolve())]
        yield from found
        if found:
            yield from (path for name in _CHOICES if (path := self.home / name).is_file())

    def _leads_to(self, real: Path, program: Path) -> Iterator[Path]:
        """The interpreter of a script, and the programs that a shell script names."""
        words = for_runs.first_line(real)
        if words:
            names = [word for word in words if not word.startswith("-") and "=" not in word]
            if Path(names[0]).name == "env":
                names = names[1:]
            for name in names[:1]:
                found = shutil.which(name, path=self.environ.get("PATH"))
                if found is not None:
                    yield Path(found).absolute()
            if not names or Path(names[0]).name not in _SHELLS:
                return
        yield from _Script(real, program, self.environ, self.home).programs()


class _Script(Struct):
    """The text of a shell script, as far as it can be understood without running it."""

    path: Path
    called: Path
    environ: Mapping[str, str]
    home: Path

    def programs(self) -> Iterator[Path]:
        """The programs that it starts, and the files that it sources."""
        with self.path.open("rb") as file:
            data = file.read(_SCRIPT_BYTES + 1)
        if len(data) > _SCRIPT_BYTES or b"\0" in data:
            return
        values = {**self.environ, "HOME": str(self.home), "0": str(self.called), "BASH_SOURCE": str(self.called)}
        for line in os.fsdecode(data).replace("\\\n", " ").splitlines():
            if line.lstrip().startswith("#"):
                continue
            known = _expand(line, values)
            if (assigned := _ASSIGNED.match(known)) is not None:
                # the first known value counts: later ones are often for other systems
                value = " ".join(_words(assigned[2])[:1])
                if value and _UNKNOWN not in value:
                    values[assigned[1]] = value
            yield from self._of_line(_words(known))

    def _of_line(self, words: Sequence[str]) -> Iterator[Path]:
        starts = True
        for word in words:
            if "/" in word and _UNKNOWN not in word:
                path = Path(word) if word.startswith("/") else self.called.parent / word
                if path.is_file() and (starts or os.access(path, os.X_OK) or path.suffix in _SCRIPT_SUFFIXES):
                    yield Path(os.path.normpath(path))
            elif starts and re.fullmatch(r"[\w.+-]+", word) and word not in _STARTS:
                found = shutil.which(word, path=self.environ.get("PATH"))
                if found is not None:
                    yield Path(found).absolute()
            starts = word in (*_STARTS, ".", "source") or (starts and ("=" in word or word.startswith("-")))


def _private() -> Iterator[tuple[known_agents.Agent, str]]:
    for agent in known_agents.KNOWN.values():
        for name in (*agent.logins, *agent.settings):
            yield agent, name


def _expand(line: str, values: Mapping[str, str]) -> str:
    """Replaces variables, and common expressions for the script's own folder; marks the unknown."""
    line = re.sub(r"`([^`]*)`", r"$(\1)", line)
    line = re.sub(r"(?<![\w/])~(?=/)", values["HOME"], line)
    for _ in range(3):  # a default may hold variables
        line = _VARIABLE.sub(lambda found: _value(found, values), line)
    for _ in range(_DEEPEST):
        line, count = _SUBSTITUTION.subn(lambda found: _answer(found[1]), line)
        if not count:
            break
    return line


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    return values.get(found[1] or found[3]) or found[2] or _UNKNOWN


def _answer(command: str) -> str:
    """The output of a command that prints a folder; the mark for the unknown for any other."""
    words = _words(command)
    paths = [word for word in words[1:] if not word.startswith("-") and _UNKNOWN not in word]
    match words[:1], paths:
        case ["dirname"], [path, *_]:
            return str(Path(path).parent)
        case ["readlink" | "realpath"], [path, *_]:
            return str(Path(path).resolve())
        case ["cd" | "echo" | "command"], [path, *_] if "/" in path:
            return os.path.normpath(path)
    return _UNKNOWN


def _words(text: str) -> list[str]:
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        return list(lexer)
    except ValueError:
        return text.split()
