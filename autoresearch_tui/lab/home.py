"""A run's home folder: empty, but for links to the little of the user's own that training looks for there.

The reference reads its data in `~/.cache/autoresearch` and loads a kernel from the cache of the Hugging Face hub. Of
that cache a run sees the kernels alone: the folder beside them has the user's token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DATA = ".cache/autoresearch"
_HUB = ".cache/huggingface/hub"


def home_links(environ: Mapping[str, str] | None = None) -> dict[str, Path]:
    """What a run finds in its home: each link's path relative to the home, and its target."""
    environ = os.environ if environ is None else environ
    found = {}
    if (data := data_folder(environ)).is_dir():
        found[DATA] = data
    for name, folder in kernels(environ).items():
        found[f"{_HUB}/{name}"] = folder
    return found


def data_folder(environ: Mapping[str, str]) -> Path:
    """Where data and tokenizer are: in AUTORESEARCH_CACHE, or where a prepare.py that does not know it puts them."""
    usual = Path.home() / DATA
    chosen = Path(environ.get("AUTORESEARCH_CACHE") or usual).expanduser().absolute()
    return usual if not (chosen / "data").is_dir() and (usual / "data").is_dir() else chosen


def state_folder(environ: Mapping[str, str]) -> Path:
    """This program's own, apart from the labs: `~/.local/state/autoresearch-tui`. No run sees it."""
    return Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "autoresearch-tui"


def kernels(environ: Mapping[str, str]) -> dict[str, Path]:
    """The downloaded kernels, by their folders' names in the hub's cache. A kernel is known by its builds."""
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
    """Where kernels may be, as the hub's own package looks for it."""
    home = environ.get("HF_HOME") or str(Path(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    named = [environ.get("KERNELS_CACHE"), environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")]
    return [Path(path).expanduser().absolute() for path in (*named, f"{home}/hub") if path]
