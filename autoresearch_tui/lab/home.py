"""A run's home folder: empty, except for links to the few files of the user that training looks for there.

The reference reads its data in `~/.cache/autoresearch` and loads a kernel from the cache of the Hugging Face hub. A run
sees only the kernels of that cache, as the user's token is beside them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DATA = ".cache/autoresearch"
_HUB = ".cache/huggingface/hub"


def home_links(environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """The links in a run's home: each path relative to the home, and its target."""
    environ = os.environ if environ is None else environ
    found = {}
    if (data := data_folder(environ)).is_dir():
        found[DATA] = data
    for name, folder in kernels(environ).items():
        found[f"{_HUB}/{name}"] = folder
    return found


def data_folder(environ: Mapping[str, str]) -> Path:
    """The folder of data and tokenizer: AUTORESEARCH_CACHE, or where a prepare.py that ignores it puts them."""
    usual = Path.home() / DATA
    chosen = Path(environ.get("AUTORESEARCH_CACHE") or usual).expanduser().absolute()
    return usual if not (chosen / "data").is_dir() and (usual / "data").is_dir() else chosen


def state_folder(environ: Mapping[str, str]) -> Path:
    """This program's state outside of labs: `~/.local/state/autoresearch-tui`. No run sees it."""
    return Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "autoresearch-tui"


def kernels(environ: Mapping[str, str]) -> dict[str, Path]:
    """The downloaded kernels, by their folders' names in the hub's cache; kernels have builds."""
    found: dict[str, Path] = {}
    for hub in _hubs(environ):
        for kind in ("models", "kernels"):
            for build in sorted(hub.glob(f"{kind}--*/snapshots/*/build")):
                found.setdefault(build.parents[2].name, build.parents[2].resolve())
    return found


def link_home(home: Path, links: Mapping[str, Path]) -> None:
    """Make the links in a new home; existing links stay."""
    for place, real in links.items():
        link = home / place
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(real)


def _hubs(environ: Mapping[str, str]) -> list[Path]:
    """The folders that may have kernels, as the hub's own package finds them."""
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    named = [environ.get("KERNELS_CACHE"), environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")]
    return [Path(path).expanduser().absolute() for path in (*named, f"{home}/hub") if path]
