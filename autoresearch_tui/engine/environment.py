"""What a run may see of the world through its environment, and whether its command is there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from autoresearch_tui.engine import compiled, runner
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab


def environment(lab: Lab, scratch: Path, seed: int = 0) -> dict[str, str]:
    """What a run may see: system paths, the lab's `run.env`, the budget, the data cache. Never the user's own.

    `seed` is set for a repeat alone: what it is added to is the lab's.
    """
    settings = lab.settings.run
    env = runner.base_environment(settings.env, python_bin=Path(sys.executable), scratch=scratch)
    cache = os.environ.get("AUTORESEARCH_CACHE") or str(Path.home() / ".cache" / "autoresearch")
    env["AUTORESEARCH_CACHE"] = str(Path(cache).expanduser().absolute())
    env["AUTORESEARCH_TIME_BUDGET"] = f"{settings.budget_seconds:g}"
    if settings.budget_tokens:
        env["AUTORESEARCH_TOKEN_BUDGET"] = str(settings.budget_tokens)
    if seed:
        env["AUTORESEARCH_SEED"] = str(seed)
    env |= compiled.environment(scratch)
    venv = lab.root / ".venv"
    if venv.is_dir():
        # `uv run` in an exported copy would build a second environment, over the network.
        env |= {"UV_PROJECT_ENVIRONMENT": str(venv), "UV_NO_SYNC": "1", "UV_OFFLINE": "1"}
    return env


def check_command(lab: Lab) -> None:
    """Raises UserError where the training command is not there."""
    command = lab.settings.run.command[0]
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
