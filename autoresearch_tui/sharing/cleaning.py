"""What no shared text and no shared code may have in it: keys, and the paths of this machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.sandbox.known_agents import redactor
from autoresearch_tui.util.secrets import is_api_key, keys_in, passwords

PATH = "[path]"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
# An absolute path of two names at least, one below a home, and one of Windows.
_PATH = re.compile(r"(?<![\w.:/~])(?:~[\w-]*)?/(?:[\w.@+-]+/)+[\w.@+-]*|(?<![\w.:/])~/[\w.@+-]+|\b[A-Za-z]:\\[^\s\"']+")
_ASSIGNED = re.compile(r"""(?m)^\s*([A-Za-z_]\w*)\s*(?::\s*str\s*)?=\s*[rb]?(["'])([^"'\n]{6,})\2""")


class Cleaner:
    """For the texts and the code of one lab. `environ`: whose secrets must not leave."""

    def __init__(self, environ: Mapping[str, str], lab: Path) -> None:
        self._redact = redactor(environ)
        home = environ.get("HOME", "").rstrip("/")
        # Shorter ones, such as / or /root, are in every text.
        self._places = [place for place in (str(lab), home) if len(place) > len("/root")]

    def text(self, text: str) -> str:
        """A text without them."""
        text = self._redact(text)
        for secret in _secrets(text):
            text = text.replace(secret, "[key]")
        for place in self._places:
            text = re.sub(rf"{re.escape(place)}[\w.@+/-]*", PATH, text)
        return _PATH.sub(PATH, text)

    def problem(self, code: str) -> str:
        """Why this code cannot leave, for it must not be changed; empty if it may."""
        named = any(is_api_key(found[1]) for found in _ASSIGNED.finditer(code))
        if named or self._redact(code) != code or _secrets(code):
            return "a key"
        return "a path of this machine" if any(place in code for place in self._places) else ""


def _secrets(text: str) -> list[str]:
    addressed = [word for found in _ADDRESS.findall(text) for word in passwords(found)]
    return sorted({*keys_in(text), *addressed}, key=len, reverse=True)
