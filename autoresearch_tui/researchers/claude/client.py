"""The client of the Messages API, its credentials, and their removal from messages."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autoresearch_tui.researchers.base import ResearcherError
from autoresearch_tui.util.secrets import passwords
from autoresearch_tui.util.secrets import redactor as secret_redactor

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

NO_KEY = "no API key: set ANTHROPIC_API_KEY, or choose --researcher search"
STAND_IN = "stand-in"
"""In place of an address in ANTHROPIC_BASE_URL: selects the stand-in in this process."""

_API = "api.anthropic.com"
_CONNECT = 15.0
_SECRETS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_IDENTITY_TOKEN")
_OTHER_CREDENTIALS = ("ANTHROPIC_PROFILE", "ANTHROPIC_CONFIG_DIR", "ANTHROPIC_FEDERATION_RULE_ID")


def has_credentials(environ: Mapping[str, str]) -> bool:
    """Whether a request could be made: with a key, a token, a profile, or the user's own server."""
    names = ("ANTHROPIC_BASE_URL", *_SECRETS, *_OTHER_CREDENTIALS)
    return any(environ.get(name, "").strip() for name in names) or _profiles(environ).is_dir()


def _profiles(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME", "~")).expanduser() / ".config" / "anthropic" / "configs"


def connect(environ: Mapping[str, str], seconds: float) -> AsyncAnthropic:
    """A client for one proposal, without retries. Imports the package, which takes a second or more."""
    if not has_credentials(environ):
        raise ResearcherError(NO_KEY, fatal=True)
    key, token = (environ.get(name, "").strip() or None for name in _SECRETS[:2])
    for name, value in zip(_SECRETS, (key, token), strict=False):
        if value and not (value.isascii() and value.isprintable()):
            raise ResearcherError(f"{name} has characters that a key cannot have; copy it again", fatal=True)
    base = environ.get("ANTHROPIC_BASE_URL", "").strip() or None
    if base and urlsplit(base).scheme not in {"http", "https"}:
        raise ResearcherError("ANTHROPIC_BASE_URL must begin with http:// or https://", fatal=True)
    if base and not key and not token:
        # local servers require a key but do not check it
        key = "none"
    from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient, Timeout

    timeout = Timeout(seconds, connect=min(_CONNECT, seconds))
    # a key takes precedence over a token, as in the package
    token = None if key else token
    try:
        return AsyncAnthropic(
            api_key=key,
            auth_token=token,
            base_url=base,
            max_retries=0,
            timeout=timeout,
            # without retries, a connection closed by the server would cost a proposal
            default_headers={"connection": "close"},
            http_client=DefaultAsyncHttpxClient(verify=_certificates(), timeout=timeout),
        )
    except Exception as error:  # for a broken profile or address, the package raises many kinds
        raise ResearcherError(f"the API's client cannot be set up: {error}", fatal=True) from None


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """The trusted certificates, read once, because that takes most of the time to make a client."""
    import httpx2

    return httpx2.create_ssl_context()


def host(environ: Mapping[str, str]) -> str:
    """The server's name and port, without a path, a user or a password."""
    try:
        parts = urlsplit(environ.get("ANTHROPIC_BASE_URL", "").strip())
        name, port = parts.hostname, parts.port
    except ValueError:
        return "the address in ANTHROPIC_BASE_URL"
    if not name:
        return _API
    return f"{name}:{port}" if port else name


def redactor(environ: Mapping[str, str]) -> Callable[[str], str]:
    """A function that removes the secrets of `environ` from text."""
    secrets = {environ.get(name, "").strip() for name in _SECRETS}
    for line in environ.get("ANTHROPIC_CUSTOM_HEADERS", "").split("\n"):
        secrets.add(line.partition(":")[2].strip())
    secrets.update(passwords(environ.get("ANTHROPIC_BASE_URL", "").strip()))
    return secret_redactor(secrets)
