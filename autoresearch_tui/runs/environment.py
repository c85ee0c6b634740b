"""A run's environment variables, and its command."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoresearch_tui.lab import evaluator
from autoresearch_tui.runs import compile_cache, run_folder
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.secrets import is_secret

if TYPE_CHECKING:
    from autoresearch_tui.lab.paths import Lab

_DRIVER = re.compile(
    r"(?:CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|CUDA_HOME|CUDA_PATH|NVIDIA_\w+|ROCR_\w+|ROCM_PATH"
    r"|HIP_VISIBLE_DEVICES|HSA_OVERRIDE_GFX_VERSION|LD_LIBRARY_PATH)"
)

# Options of `uv run` about making the environment, which already exists; with any other option uv itself is run.
_UV_SWITCHES = re.compile(
    r"-[qvnU]+|--(?:quiet|verbose|frozen|locked|no-sync|offline|isolated|active|no-progress|no-dev|dev|all-extras"
    r"|all-groups|no-default-groups|inexact|exact|no-cache|no-config|no-env-file|no-project|script|managed-python"
    r"|no-managed-python|native-tls)|--[a-z-]+=.*"
)
_UV_VALUES = re.compile(r"-p|--(?:python|extra|no-extra|group|no-group|only-group|cache-dir|color|index-strategy)")


def driver_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's variables that an accelerator's driver needs."""
    return {name: value for name, value in environ.items() if _DRIVER.fullmatch(name)}


def base_environment(
    lab_env: Mapping[str, str],
    *,
    python_bin: Path,
    scratch: Path,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a run, to which the caller adds AUTORESEARCH_*.

    `lab_env`: the lab's `run.env`; `python_bin`: the interpreter; `scratch`: the absolute path of the run's folder for
    HOME and TMPDIR, which :func:`runner.start` makes. Of the user's environment (`inherited`, by default os.environ)
    only what an accelerator's driver needs is passed on, and no secrets of either.
    """
    own = os.environ if inherited is None else inherited
    env = {
        "PATH": f"{python_bin.parent}:{run_folder.SYSTEM_PATH}",
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "USER": "autoresearch",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # glibc gives big tensors back to the system at every step otherwise: 1.7 times slower on a CPU
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "8589934592",
    }
    env |= driver_environment(own)
    env |= lab_env
    return {name: value for name, value in env.items() if not is_secret(name)}


def environment(lab: Lab, scratch: Path, seed: int = 0) -> dict[str, str]:
    """The whole environment of a run: system paths, the lab's `run.env`, the budget, the data cache.

    `seed`: only set for a repeat; labs add it to their own.
    """
    settings = lab.settings.run
    env = base_environment(settings.env, python_bin=Path(sys.executable), scratch=scratch)
    cache = os.environ.get("AUTORESEARCH_CACHE") or str(Path.home() / ".cache" / "autoresearch")
    env["AUTORESEARCH_CACHE"] = str(Path(cache).expanduser().absolute())
    env["AUTORESEARCH_TIME_BUDGET"] = f"{settings.budget_seconds:g}"
    if settings.budget_tokens:
        env["AUTORESEARCH_TOKEN_BUDGET"] = str(settings.budget_tokens)
    if seed:
        env["AUTORESEARCH_SEED"] = str(seed)
    env |= compile_cache.environment(scratch)
    # There is no network: report missing packages and data at once instead of waiting.
    env |= {"UV_OFFLINE": "1", "UV_NO_SYNC": "1", "UV_PYTHON_DOWNLOADS": "never", "HF_HUB_OFFLINE": "1"}
    env["UV_NO_CONFIG"] = "1"  # the user's may hold passwords, and a run cannot read it
    if lab.venv is not None:
        # `uv run` in an exported copy would build a second environment.
        env["UV_PROJECT_ENVIRONMENT"] = str(lab.venv)
        if "PATH" not in settings.env:
            env["PATH"] = f"{lab.venv / 'bin'}{os.pathsep}{env['PATH']}"
    return env


def training_command(lab: Lab) -> tuple[str, ...]:
    """The lab's command; see :func:`lab_command`."""
    return lab_command(lab, lab.settings.run.command)


def interpreter(lab: Lab) -> Path | None:
    """The Python of the training command; None if `uv run` would have to make an environment first."""
    program = training_command(lab)[0]
    if Path(program).name == "uv":
        return lab.venv / "bin" / "python" if lab.venv else None
    if "python" not in Path(program).name:
        return Path(sys.executable)
    path = environment(lab, lab.state_folder)["PATH"]
    found = str(lab.root / program) if "/" in program else shutil.which(program, path=path)
    return Path(found) if found else Path(sys.executable)


def lab_command(lab: Lab, command: Sequence[str]) -> tuple[str, ...]:
    """A command of the lab's settings, with the path of its program.

    With a `.venv`, `uv run` becomes what it would start: under Landlock alone a driver that writes to /proc cannot
    start in uv's child process, and a run has no network to build another environment.
    """
    words = tuple(_in_environment(lab, word) for word in command)
    if lab.venv is not None and words[:2] == ("uv", "run") and (started := _started_by_uv(words[2:], lab.venv / "bin")):
        return started
    if "/" in words[0] or shutil.which(words[0], path=environment(lab, lab.state_folder)["PATH"]):
        return words
    if found := shutil.which(words[0]):
        return (found, *words[1:])
    return words


def _in_environment(lab: Lab, word: str) -> str:
    """The absolute path of a program of an environment in the lab's folder, such as `.venv/bin/python`."""
    path = lab.root / Path(word).expanduser() if "/" in word and not word.startswith("/") else None
    if path is None or path.parent.name not in ("bin", "Scripts") or not path.is_file():
        return word
    return str(path) if (path.parents[1] / "pyvenv.cfg").is_file() or word.startswith("~/") else word


def _started_by_uv(words: tuple[str, ...], programs: Path) -> tuple[str, ...]:
    """What `uv run WORDS` starts in the environment with these `programs`; empty if unclear."""
    python = str(programs / "python")
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "--module"):
        option = rest.pop(0)
        if _UV_VALUES.fullmatch(option):
            rest = rest[1:]
        elif option == "--":
            break
        elif not _UV_SWITCHES.fullmatch(option) or option.startswith(("--with=", "--env-file=", "--directory=")):
            return ()
    if rest[:1] in (["-m"], ["--module"]):
        return (python, "-m", *rest[1:])
    if not rest:
        return ()
    program = rest[0]
    if program.endswith(".py"):
        return (python, *rest)
    if program in ("python", "python3"):
        return (python, *rest[1:])
    return (str(programs / program), *rest[1:]) if (programs / program).is_file() else ()


def _check_referee(lab: Lab) -> None:
    """Check the referee before the first run, which would otherwise be wasted."""
    evaluator.check(lab)
    word = next(iter(lab.settings.metric.referee), "")
    if not word or word in lab.settings.lab.locked or ("/" in word and not word.startswith("/")):
        return
    if shutil.which(word, path=environment(lab, lab.state_folder)["PATH"]) is None:
        raise UserError(
            f"{lab.root}: the referee's command `{word}` is not there",
            "install it, or name another in `metric.referee`",
        )


def check_command(lab: Lab) -> None:
    """Raises UserError if the training command, or the referee's, is missing."""
    command = training_command(lab)[0]
    if "/" in command:
        found = (lab.root / command).is_file()
    else:
        path = environment(lab, lab.state_folder)["PATH"]
        found = shutil.which(command, path=path) is not None
    if not found:
        if command.startswith(".venv/") and lab.venv is None:
            raise UserError(
                f"{lab.root}: no .venv yet, in which `{command}` is to be", "run `autoresearch-tui prepare`, or make it"
            )
        raise UserError(
            f"{lab.root}: the training command `{command}` is not there",
            "install it, or set `run.command` in autoresearch.toml, "
            f'for example ["python", "{lab.settings.lab.editable[0]}"]',
        )
    _check_referee(lab)
    if Path(command).name == "uv" and lab.venv is None and (lab.root / "pyproject.toml").is_file():
        raise UserError(
            f"{lab.root}: no .venv yet, and a run has no network to make it",
            "run `autoresearch-tui prepare` there, or `uv sync`",
        )
