"""What is known of command-line agents: which files at home are theirs, and which variables hold their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "USER", "LOGNAME", "SHELL",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME",
)  # fmt: skip
"""The variables that every agent sees."""

PROVIDERS = (
    "ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "OPENROUTER_API_KEY", "MISTRAL_API_KEY", "DEEPSEEK_API_KEY",
    "GROQ_API_KEY", "XAI_API_KEY", "OLLAMA_HOST",
)  # fmt: skip
"""The keys of those who sell models; a name that ends in _ stands for all that begin with it."""

_SECRETS = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
_SHORTEST = 6


@dataclass(frozen=True, slots=True)
class Agent:
    """One program. `settings` and `logins` are files below the home folder: it gets copies of the settings, and the
    logins themselves, for they are renewed. `variables` are as in :data:`PROVIDERS`. `folder` is the variable that
    moves its own folder, and that folder's usual name.
    """

    settings: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    variables: tuple[str, ...] = PROVIDERS
    folder: tuple[str, str] = ("", "")


KNOWN: Mapping[str, Agent] = {
    "claude": Agent(
        settings=(".claude.json", ".claude/settings.json", ".claude/CLAUDE.md"),
        logins=(".claude/.credentials.json",),
        variables=("ANTHROPIC_", "CLAUDE_"),
        folder=("CLAUDE_CONFIG_DIR", ".claude"),
    ),
    "codex": Agent(
        settings=(".codex/config.toml", ".codex/AGENTS.md"),
        logins=(".codex/auth.json",),
        variables=("OPENAI_", "CODEX_"),
        folder=("CODEX_HOME", ".codex"),
    ),
    "gemini": Agent(
        settings=(
            ".gemini/settings.json",
            ".gemini/GEMINI.md",
            ".gemini/google_accounts.json",
            ".gemini/installation_id",
            ".gemini/.env",
        ),
        logins=(".gemini/oauth_creds.json",),
        variables=("GEMINI_", "GOOGLE_"),
    ),
    "opencode": Agent(
        settings=tuple(
            f".config/opencode/{name}" for name in ("opencode.json", "opencode.jsonc", "config.json", "AGENTS.md")
        ),
        logins=(".local/share/opencode/auth.json",),
        variables=(*PROVIDERS, "OPENCODE_"),
    ),
    "aider": Agent(
        settings=(".aider.conf.yml", ".aider.model.settings.yml", ".aider.model.metadata.json"),
        logins=(".aider/oauth-keys.env",),
        variables=(*PROVIDERS, "AIDER_"),
    ),
}


def known(command: Sequence[str]) -> Agent | None:
    """The agent that a command starts, by the name of its program; None for a program of the user's own."""
    return KNOWN.get(Path(command[0]).name) if command else None


def environment(command: Sequence[str], environ: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """The part of `environ` that an agent sees: what every program needs, and its own keys.

    `more` are further names. A program that is not known gets those alone, or the keys of every provider where
    there are none.
    """
    agent = known(command)
    own = (*agent.variables, *more) if agent else more or PROVIDERS
    return {name: value for name, value in environ.items() if name in PASSED_ON or _among(name, own)}


def redactor(environ: Mapping[str, str]) -> Callable[[str], str]:
    """A function that takes the keys in `environ` out of a text, which an agent or its API may quote."""
    named = (value.strip() for name, value in environ.items() if name.endswith(_SECRETS))
    # short ones would take words out of every text
    known = sorted({value for value in named if len(value) >= _SHORTEST}, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "[key]")
        return text

    return redact


def place(agent: Agent, name: str, home: Path, environ: Mapping[str, str]) -> Path:
    """Where the file `name` of an agent is, which its own variable or those of XDG may have moved."""
    variable, usual = agent.folder
    moved = {f"{usual}/": environ.get(variable, "")} if variable else {}
    moved |= {".config/": environ.get("XDG_CONFIG_HOME", ""), ".local/share/": environ.get("XDG_DATA_HOME", "")}
    for start, folder in moved.items():
        if name.startswith(start) and folder.startswith("/"):
            return Path(folder) / name.removeprefix(start)
    return home / name


def _among(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(each) if each.endswith("_") else name == each for each in names)
