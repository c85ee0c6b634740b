"""The versions of training packages, as one JSON object. Run by the training interpreter, which need not have our
package.

python -I training_probe.py. It imports none of the packages: torch takes seconds, and memory of the accelerator.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import runpy
import sys
from importlib import metadata
from pathlib import Path

# The versions of other packages do not matter for training.
PACKAGES = ("torch", "jax", "triton", "flash-attn", "flash-attn-3", "flash-attn-4")


def probe() -> dict[str, str]:
    """Versions by name; missing packages are left out."""
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
    """torch's own version with the build (`2.13.0+cu130`), which its distribution's metadata may lack."""
    try:
        spec = importlib.util.find_spec("torch")
        folder = next(iter(spec.submodule_search_locations or ()), "") if spec is not None else ""
        return str(runpy.run_path(str(Path(folder, "version.py"))).get("__version__", "")) if folder else ""
    except Exception:  # anything that a half-installed one raises
        return ""


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(probe()) + "\n")
