"""The known command-line agents: their files in the home folder, and the variables with their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.secrets import is_secret, passwords
from autoresearch_tui.util.secrets import redactor as secret_redactor

PASSED_ON = (
    "PATH", "HOME", "LANG", "LC_ALL", "USER", "LOGNAME", "SHELL", "TZ",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE",
    "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME",
    "VOLTA_HOME", "PYENV_ROOT", "PYENV_VERSION", "ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "NVM_DIR", "NODENV_ROOT",
    "PROTO_HOME", "FNM_DIR", "BUN_INSTALL", "PNPM_HOME", "NODE_PATH",
)  # fmt: skip
"""The variables that every agent sees."""

PROVIDERS = (
    "ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "OPENROUTER_API_KEY", "MISTRAL_API_KEY", "DEEPSEEK_API_KEY",
    "GROQ_API_KEY", "XAI_API_KEY", "OLLAMA_HOST",
)  # fmt: skip
"""Variables with keys of model providers; a name that ends in _ is a prefix."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")

FILE_VARIABLES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip
"""Variables whose values are files, which an agent that sees the variable may read."""

_OFF = ("", "0", "false", "no", "off")


class Cloud(Frozen):
    """A cloud through which an agent reaches its models.

    `switches` are the variables that select it; `variables` and `files` (files or folders below the home folder) are
    then needed, read-only.
    """

    switches: tuple[str, ...]
    variables: tuple[str, ...]
    files: tuple[str, ...] = ()


_BEDROCK = Cloud(
    ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_MANTLE", "CLAUDE_CODE_USE_ANTHROPIC_AWS"),
    ("AWS_",),
    (".aws/config", ".aws/credentials", ".aws/sso/cache", ".aws/cli/cache", ".aws/login/cache"),
)
_VERTEX_FILES = (
    ".config/gcloud/application_default_credentials.json",
    ".config/gcloud/active_config",
    ".config/gcloud/configurations",
)
_VERTEX = Cloud(
    ("CLAUDE_CODE_USE_VERTEX",),
    ("CLOUD_ML_REGION", "VERTEX_", "GOOGLE_", "GCLOUD_PROJECT", "CLOUDSDK_"),
    _VERTEX_FILES,
)
_FOUNDRY = Cloud(("CLAUDE_CODE_USE_FOUNDRY",), ("AZURE_",), (".azure",))
_GOOGLE = Cloud(("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA"), ("GCLOUD_PROJECT", "CLOUDSDK_"), _VERTEX_FILES)


class Agent(Frozen):
    """One program.

    `settings` and `logins` are files below the home folder: the agent gets copies, and a login that it renews is
    brought back. `variables` are as in :data:`PROVIDERS`. `folder` is the variable that moves its own folder, and the
    folder's usual name. `clouds` are those that it can be switched to.
    """

    settings: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()
    variables: tuple[str, ...] = PROVIDERS
    folder: tuple[str, str] = ("", "")
    clouds: tuple[Cloud, ...] = ()


KNOWN: Mapping[str, Agent] = {
    "claude": Agent(
        settings=(".claude.json", ".claude/settings.json", ".claude/CLAUDE.md"),
        logins=(".claude/.credentials.json",),
        variables=("ANTHROPIC_", "CLAUDE_"),
        folder=("CLAUDE_CONFIG_DIR", ".claude"),
        clouds=(_BEDROCK, _VERTEX, _FOUNDRY),
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
        logins=(".gemini/oauth_creds.json", ".gemini/gemini-credentials.json"),
        variables=("GEMINI_", "GOOGLE_"),
        clouds=(_GOOGLE,),
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
    """The agent that a command starts, by the name of its program; None for any other program."""
    return KNOWN.get(Path(command[0]).name) if command else None


def environment(command: Sequence[str], environ: Mapping[str, str], more: Sequence[str] = ()) -> dict[str, str]:
    """The part of `environ` that an agent sees: common variables, its own keys, and `more`.

    An unknown program gets `more` in place of keys, or the keys of every provider if `more` is empty.
    """
    agent = known(command)
    clouds = [name for cloud in clouds_of(agent, environ) for name in cloud.variables]
    own = (*agent.variables, *clouds, *more) if agent else more or PROVIDERS
    return {name: value for name, value in environ.items() if name in PASSED_ON or _among(name, own)}


def clouds_of(agent: Agent | None, environ: Mapping[str, str]) -> tuple[Cloud, ...]:
    """The clouds that an agent is switched to."""
    return tuple(
        cloud
        for cloud in (agent.clouds if agent else ())
        if any(environ.get(name, "").strip().lower() not in _OFF for name in cloud.switches)
    )


def redactor(environ: Mapping[str, str]) -> Callable[[str], str]:
    """A function that removes the keys in `environ` from text, since an agent or its API may quote them."""
    named = [value.strip() for name, value in environ.items() if is_secret(name) and name not in FILE_VARIABLES]
    named += [word for name in PROXIES for word in passwords(environ.get(name, ""))]
    return secret_redactor(named)


def place(agent: Agent, name: str, home: Path, environ: Mapping[str, str]) -> Path:
    """The path of an agent's file `name`, which the agent's own variable or those of XDG may have moved."""
    variable, usual = agent.folder
    moved = {f"{usual}/": environ.get(variable, "")} if variable else {}
    moved |= {".config/": environ.get("XDG_CONFIG_HOME", ""), ".local/share/": environ.get("XDG_DATA_HOME", "")}
    for start, folder in moved.items():
        if name.startswith(start) and folder.startswith("/"):
            return Path(folder) / name.removeprefix(start)
    return home / name


def _among(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(each) if each.endswith("_") else name == each for each in names)
