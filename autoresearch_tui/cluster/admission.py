"""What a node is admitted by: whatever could make its scores differ from those of the session's class."""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch_tui import __version__
from autoresearch_tui.lab.paths import Lab


def look(lab: Lab) -> dict[str, str]:
    """What this node has, by name."""
    return {"version": __version__, "command": lab.settings.run.command[0]}


def refusal(wanted: Mapping[str, str], found: Mapping[str, str], accelerator: str) -> tuple[str, str] | None:
    """How a node differs from the session's class, and the remedy; None if it does not. `wanted` is empty at first."""
    if wanted and found["version"] != wanted["version"]:
        version = wanted["version"]
        return f"autoresearch-tui {found['version']}, here {version}", f"install autoresearch-tui=={version} there"
    if accelerator and found.get("model", accelerator) != accelerator:
        return f"its accelerator is {found['model']}, not {accelerator}", "name its model in `cluster.accelerator`"
    return None
