"""The TCP ports that an agent may connect to: HTTPS, DNS, and those the user has named."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

ALWAYS = (53, 443)
_BY_SCHEME = {"http": 80, "ws": 80, "https": 443, "wss": 443} | dict.fromkeys(
    ("socks", "socks4", "socks5", "socks5h"), 1080
)
_BY_VARIABLE = {"OLLAMA_HOST": 11_434}
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")
_URL = re.compile(r"[a-z][a-z0-9]*://[^\s\"'`<>,]+", re.IGNORECASE)


def allowed(
    command: Sequence[str], environ: Mapping[str, str], named: Sequence[str], settings: Iterable[Path]
) -> tuple[int, ...]:
    """The ports, ascending: from the addresses in `named`, in the agent's environment and command, and from those
    with an explicit port in its `settings`."""
    found = {*ALWAYS}
    for word in named:
        found.update([int(word)] if word.isdigit() else _of(word))
    for name, value in environ.items():
        found.update(_of(value) or ({_BY_VARIABLE[name]} if value and name in _BY_VARIABLE else ()))
    for word in command:
        found.update(_of(word))
    for path in settings:
        with contextlib.suppress(OSError):
            # most addresses there are of documents; an explicit port indicates a server
            found.update(_urls(path.read_text("utf-8", "replace"), defaults=False))
    return tuple(sorted(port for port in found if 0 < port < 65_536))


def _of(text: str) -> set[int]:
    """The port of an address that is all of `text`, or of the URLs in it."""
    if (address := _ADDRESS.fullmatch(text.strip())) is not None:
        return {int(address[1])}
    return set(_urls(text, defaults=True))


def _urls(text: str, *, defaults: bool) -> Iterator[int]:
    for url in _URL.findall(text):
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            port = parts.port or (_BY_SCHEME.get(parts.scheme.lower()) if defaults else None)
            if port:
                yield port
