"""From a lab to the cage of its runs: what they may see, which mechanism holds them, and whether it does."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.cages import cage_check, home, sandbox, scored_data
from autoresearch_tui.engine.cages.environment import training_command
from autoresearch_tui.engine.cages.sandbox import Cage, Kind, Sandbox
from autoresearch_tui.engine.ledger import Ledger
from autoresearch_tui.engine.state import BEARABLE
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab, RunFiles

# Set to 1 by a human who accepts that runs can do whatever the human can.
NO_CAGE = "AUTORESEARCH_NO_CAGE"
PAUSE_REASON = "runs are not confined here"
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
_SHEBANG_BYTES = 256
_PROJECT = ("pyproject.toml", ".python-version")


def mechanism() -> Sandbox:
    """What holds the runs of this process: the strongest that works here, unless the human wants none."""
    if os.environ.get(NO_CAGE) == "1":
        return Sandbox(Kind.NONE, note=f"{NO_CAGE}=1")
    return sandbox.choose()


def of_lab(lab: Lab, ledger: Ledger, env: Mapping[str, str]) -> Cage:
    """What every run of the lab may see, and what none may; `env` is a run's whole environment.

    Readable: interpreters with their packages, the training command, and what the environment names (the data
    cache, the lab's own `run.env`). Raises UserError where that would show what must stay hidden.
    """
    own = (ledger.git_folder, ledger.common_folder, lab.state_folder.resolve())
    hidden = tuple(dict.fromkeys((*own, *scored_data.folders(lab, env))))
    at_home = [path for thing in home.things().values() for path in scored_data.shown(thing, hidden)]
    readable = tuple(dict.fromkeys((*_programs(lab, env), *_named(env, hidden), *at_home)))
    found = Cage(
        writable=(),
        readable=readable,
        devices=sandbox.accelerator_devices(),
        hidden=hidden,
        masked=tuple(
            dict.fromkeys(scored_data.elsewhere(lab, env, (*sandbox.system_paths(), *sandbox.own_paths(), *readable)))
        ),
    )
    try:
        sandbox.wrap((), found, Sandbox(Kind.NONE))
    except ValueError as error:
        raise UserError(f"{lab.root}: {error} to every run; move the lab, or what the path names, elsewhere") from None
    return found


def of_run(whole: Cage, lab: Lab, files: RunFiles, cwd: Path) -> Cage:
    """One run's cage: it writes into its working copy and its scratch, locked files excepted."""
    return Cage(
        writable=(files.work, files.scratch),
        locked=tuple(path for name in lab.settings.lab.locked if (path := cwd / name).is_file()),
        readable=whole.readable,
        devices=whole.devices,
        hidden=whole.hidden,
        masked=whole.masked,
        cwd=cwd,
    )


def check(whole: Cage) -> ev.CageChecked:
    """The self-test from inside the same cage, as an event. About 0.3 s. Raises OSError where it cannot be set up."""
    held = mechanism()
    if held.kind is Kind.NONE:
        return ev.CageChecked(held.kind.value, (), cage_check.NAMES, held.note)
    found = cage_check.self_test(whole, held)
    fails = [each for each in found if not each.holds]
    notes = [held.note, *(f"{each.name}: {each.detail}" for each in fails if each.name not in BEARABLE)]
    return ev.CageChecked(
        kind=held.kind.value,
        holds=tuple(each.name for each in found if each.holds),
        fails=tuple(each.name for each in fails),
        note="; ".join(note for note in notes if note),
    )


def why_not_unattended(checked: ev.CageChecked) -> str:
    """Why runs must not go on with nobody watching, and the remedy; empty where they may."""
    if os.environ.get(NO_CAGE) == "1":
        return ""
    if checked.kind != Kind.NONE.value and BEARABLE.issuperset((*checked.fails, *checked.agent_fails)):
        return ""
    return f"{PAUSE_REASON} ({checked.note}); mend that, watch them in a cockpit, or accept it with {NO_CAGE}=1"


def _programs(lab: Lab, env: Mapping[str, str]) -> Iterator[Path]:
    """Interpreters with their packages, and whatever the training command is."""
    for folder in (lab.root, *lab.root.parents):
        # `uv` looks for its project above the run's folder as well, and stops at a file that it may not read.
        yield from (path for name in _PROJECT if (path := folder / name).is_file())
    pythons = [Path(sys.executable), *([lab.venv / "bin" / "python"] if lab.venv else [])]
    for program in _resolve(lab, env):
        if is_python(program):
            pythons.append(program)
        else:
            yield from sandbox.links(program)
    for python in dict.fromkeys(pythons):
        if python.exists():
            yield from interpreter(python)


def _resolve(lab: Lab, env: Mapping[str, str]) -> Iterator[Path]:
    """The command's program, and the interpreter in its first line where it is a script."""
    word = training_command(lab)[0]
    found = shutil.which(word, path=env.get("PATH")) if "/" not in word else str(lab.root / word)
    if found is None or not Path(found).is_file():
        return
    if Path(word).is_absolute() or "/" not in word:  # a relative one is in the run's own copy
        yield Path(found)
    if words := first_line(Path(found)):
        yield Path(words[0])


def first_line(script: Path) -> list[str]:
    """The words after `#!` in a script's first line; none where it has none."""
    with script.open("rb") as file:
        first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    return [os.fsdecode(word) for word in first[2:].split()] if first.startswith(b"#!") else []


def is_python(program: Path) -> bool:
    """Whether a program is an interpreter of Python, by its name."""
    return _PYTHON.fullmatch(program.name) is not None


@functools.cache
def interpreter(python: Path) -> tuple[Path, ...]:
    """An interpreter with its packages, as far as it can tell."""
    try:
        return sandbox.interpreter_paths(python)
    except (OSError, subprocess.SubprocessError, ValueError):
        return sandbox.links(python)  # a broken one says so itself, in the run


def _named(env: Mapping[str, str], hidden: Iterable[Path]) -> Iterator[Path]:
    """Paths in a run's environment that are there, except those that would lay the user's own open."""
    private = [*hidden, Path.home().resolve()]
    for name, value in env.items():
        for word in value.split(":"):
            path = Path(word)
            if not path.is_absolute() or not path.exists():
                continue
            real = path.resolve()
            inside = any(real.is_relative_to(each) for each in hidden)
            around = any(each.is_relative_to(real) for each in private)
            if name == "AUTORESEARCH_CACHE":
                yield from scored_data.shown(path, hidden)
            elif name != "AUTORESEARCH_DATA" and not (inside or around):  # runs read what was prepared from it
                yield path
