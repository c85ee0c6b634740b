"""The user's labs: each that had a session leaves a file with its path, which `ls` reads.

One small file per lab, named after the path, so that engines may write at the same time, and a reader may remove one.
If a file is lost, `ls` in another folder does not list that lab.
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
    """Remember a lab, if the home can be written."""
    # RuntimeError: there is no home.
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
