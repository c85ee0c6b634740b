"""The labs of this machine's user: each that had a session leaves a file with its path, which `ls` reads.

One small file a lab, named after the path: engines of any number may write at the same time, and a reader that clears
one away takes nothing else with it. A lost file costs no more than that `ls` in another folder does not list the lab.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.lab import home, session_files
from autoresearch_tui.util import atomic


def remember(root: Path, environ: Mapping[str, str]) -> None:
    """Remember a lab. A home that cannot be written is no trouble."""
    # Without a home (RuntimeError) there is nowhere to remember it.
    with contextlib.suppress(OSError, RuntimeError):
        name, folder = os.fsencode(root), _folder(environ)
        folder.mkdir(parents=True, exist_ok=True)
        atomic.publish(folder / f"{zlib.crc32(name):08x}{len(name):04x}", name + b"\n")


def known(environ: Mapping[str, str]) -> list[Path]:
    """The labs that still have a session, sorted by path; the files of others are removed."""
    found = set()
    with contextlib.suppress(OSError, RuntimeError):
        for entry in _folder(environ).iterdir():
            with contextlib.suppress(OSError, ValueError):
                root = Path(os.fsdecode(entry.read_bytes().removesuffix(b"\n")))
                if session_files.tags(root):
                    found.add(root)
                elif not entry.name.startswith("."):
                    entry.unlink()
    return sorted(found)


def _folder(environ: Mapping[str, str]) -> Path:
    return home.state_folder(environ) / "labs"
