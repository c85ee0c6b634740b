"""A Ray cluster's files on this machine that no run may see: its token, and the folders of its sockets and logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

TOKEN_FILE = "RAY_AUTH_TOKEN_PATH"
_SOCKETS = Path("/proc/net/unix")
_SOCKET = re.compile(r" (/.+)/session_[^/]+/sockets/[^/]+$", re.MULTILINE)


def token_file(environ: Mapping[str, str]) -> Path:
    """Where Ray looks for its token, unless that is in the environment."""
    return Path(environ.get(TOKEN_FILE) or Path(environ.get("HOME") or Path.home(), ".ray", "auth_token"))


def temporary(environ: Mapping[str, str]) -> Path:
    """Ray's default folder."""
    return Path(environ.get("RAY_TMPDIR") or environ.get("TMPDIR") or "/tmp", "ray")


def private(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The existing ones. Ray's folders are found by its sockets in use, wherever they are."""
    try:
        used = _SOCKET.findall(_SOCKETS.read_text("utf-8", "replace"))
    except OSError:
        used = []
    found = (token_file(environ), temporary(environ), Path("/tmp/ray"), *map(Path, used))
    return tuple(dict.fromkeys(path.resolve() for path in found if path.exists()))
