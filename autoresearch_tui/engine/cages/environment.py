"""What a run may see of the world through its environment, and whether its command is there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.engine.running import compiled, run_folder
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab

_SECRET = re.compile(r"(?:^|_|[A-Z])(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)")
_DRIVER = re.compile(
    r"(?:CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|CUDA_HOME|CUDA_PATH|NVIDIA_\w+|ROCR_\w+|ROCM_PATH"
    r"|HIP_VISIBLE_DEVICES|HSA_OVERRIDE_GFX_VERSION|LD_LIBRARY_PATH)"
)


def is_secret(name: str) -> bool:
    """Whether a variable of this name is kept from every run: keys, tokens, secrets, passwords."""
    return _SECRET.search(name.upper()) is not None


def base_environment(
    lab_env: Mapping[str, str],
    *,
    python_bin: Path,
    scratch: Path,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a run, to which the caller adds AUTORESEARCH_*.

    `lab_env` is what the lab asks for, `python_bin` the interpreter, `scratch` a folder of this run (an
    absolute path) for HOME and TMPDIR; :func:`runner.start` makes them where they are inside the run's folder. Of the
    user's own environment (`inherited`, by default os.environ) only what an accelerator's driver needs is
    passed on; secrets are passed on from neither.
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
    env |= {name: value for name, value in own.items() if _DRIVER.fullmatch(name)}
    env |= lab_env
    return {name: value for name, value in env.items() if not is_secret(name)}


def environment(lab: Lab, scratch: Path, seed: int = 0) -> dict[str, str]:
    """What a run may see: system paths, the lab's `run.env`, the budget, the data cache. Never the user's own.

    `seed` is set for a repeat alone: what it is added to is the lab's.
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
    env |= compiled.environment(scratch)
    # There is no network: what is not there already is said to be missing, and not waited for.
    env |= {"UV_OFFLINE": "1", "UV_NO_SYNC": "1", "UV_PYTHON_DOWNLOADS": "never", "HF_HUB_OFFLINE": "1"}
    env["UV_NO_CONFIG"] = "1"  # of the user's; it may hold passwords, and a run may not read it
    if lab.venv is not None:
        # `uv run` in an exported copy would build a second environment.
        env["UV_PROJECT_ENVIRONMENT"] = str(lab.venv)
        if "PATH" not in settings.env:
            env["PATH"] = f"{lab.venv / 'bin'}{os.pathsep}{env['PATH']}"
    return env


def training_command(lab: Lab) -> tuple[str, ...]:
    """The lab's command, its program named where the user has it; without `uv`, what `uv run` would come to."""
    words = lab.settings.run.command
    if "/" in words[0] or shutil.which(words[0], path=environment(lab, lab.state_folder)["PATH"]):
        return words
    if found := shutil.which(words[0]):
        return (found, *words[1:])
    script = next((place for place, word in enumerate(words) if word.endswith(".py")), None)
    if words[:2] == ("uv", "run") and lab.venv is not None and script is not None:
        return (str(lab.venv / "bin" / "python"), *words[script:])
    return words


def _check_referee(lab: Lab) -> None:
    """A referee that is not there would be found out after the first run only."""
    word = next(iter(lab.settings.metric.referee), "")
    if not word or word in lab.settings.lab.locked or ("/" in word and not word.startswith("/")):
        return
    if shutil.which(word, path=environment(lab, lab.state_folder)["PATH"]) is None:
        raise UserError(
            f"{lab.root}: the referee's command `{word}` is not there; install it, or name another in `metric.referee`"
        )


def check_command(lab: Lab) -> None:
    """Raises UserError where the training command, or the referee's, is not there."""
    command = training_command(lab)[0]
    if "/" in command:
        found = (lab.root / command).is_file()
    else:
        path = environment(lab, lab.state_folder)["PATH"]
        found = shutil.which(command, path=path) is not None
    if not found:
        raise UserError(
            f"{lab.root}: the training command `{command}` is not there; install it, "
            f'or set `run.command` in autoresearch.toml, for example ["python", "{lab.settings.lab.editable[0]}"]'
        )
    _check_referee(lab)
    if Path(command).name == "uv" and lab.venv is None and (lab.root / "pyproject.toml").is_file():
        raise UserError(
            f"{lab.root}: no .venv yet, and a run has no network to make it; "
            "run `autoresearch-tui prepare` there, or `uv sync`"
        )
