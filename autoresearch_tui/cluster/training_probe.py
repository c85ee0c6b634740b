"""What trains here, as one JSON object: run by the interpreter that trains, which need not have our package.

python -I training_probe.py. Imports nothing of what it looks for: torch takes seconds, and memory of the accelerator.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import runpy
import sys
from importlib import metadata
from pathlib import Path

# Of other packages it does not matter which version trains.
PACKAGES = ("torch", "jax", "triton", "flash-attn", "flash-attn-3", "flash-attn-4")


def probe() -> dict[str, str]:
    """Versions by name; a package that is not there is not named."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if version := _torch():
        found["torch"] = version
    return found


def _torch() -> str:
    """As torch itself says it, with the build (`2.13.0+cu130`), which its distribution's name does not always have."""
    try:
        spec = importlib.util.find_spec("torch")
        folder = next(iter(spec.submodule_search_locations or ()), "") if spec is not None else ""
        return str(runpy.run_path(str(Path(folder, "version.py"))).get("__version__", "")) if folder else ""
    except Exception:  # whatever a half-installed one raises
        return ""


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(probe()) + "\n")
