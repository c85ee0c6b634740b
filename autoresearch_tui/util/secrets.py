"""Recognises secrets by the names of the variables and files that hold them, and keys by their form; takes them out of
text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote, urlsplit

_SECRET = re.compile(r"(?:^|_|[A-Z])(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)")
# Compiled by `re` with their first use: most commands need none of them.
_API_KEY = (
    r"API_?KEY|^(?:ANTHROPIC|AWS|AZURE|CLAUDE|CODEX|COHERE|DEEPSEEK|FIREWORKS|GEMINI|GOOGLE|GROQ|HF|HUGGING_?FACE|MISTRAL"
    r"|NVIDIA|OPENAI|OPENROUTER|REPLICATE|TOGETHER|XAI)_"
)
# As the providers of models, code and clouds make them.
_KEY = (
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|(?:ghp|gho|ghs|ghu)_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{30,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_SECRET_FILE = (
    r"\.env(?:\..*)?|.*\.(?:pem|key|p12|pfx|kdbx|gpg|asc|jks|keystore|ovpn)|id_(?:rsa|dsa|ecdsa|ed25519).*|[._]?netrc"
    r"|\.(?:pypirc|npmrc|pgpass|htpasswd|dockercfg|git-credentials|aws|ssh|gnupg|kube|azure|docker)|kaggle\.json"
    r"|(?:.*[._-])?(?:credentials?|secrets?|passw(?:or)?ds?|(?:api|private)[._-]?keys?|service[._-]?account)(?:[._-].*)?"
    r"|\.?(?:.*[._-])?(?:(?:access|auth|hf|refresh|stored|api|bot|github|gh|bearer)[._-]?)?token(?:\.(?:json|txt))?"
    r"|(?:.*[._-])?(?:access|auth|hf|refresh|stored|api|bot|github|gh|bearer)[._-]tokens(?:\.(?:json|txt))?"
)
# A shorter one would take words out of every text.
_SHORTEST = 6


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a key, a token, a secret or a password."""
    return _SECRET.search(name.upper()) is not None


def is_secret_file(name: str) -> bool:
    """Whether a file or folder of this name is kept from every run: keys, credentials, `.env`."""
    return re.fullmatch(_SECRET_FILE, name, re.IGNORECASE) is not None


def is_api_key(name: str) -> bool:
    """Whether a variable of this name gives access to a model: any API key, any secret of a provider."""
    name = name.upper()
    return (is_secret(name) or name.endswith("_HEADERS")) and re.search(_API_KEY, name) is not None


def keys_in(text: str) -> list[str]:
    """What in a text has the form of a key."""
    return re.findall(_KEY, text)


def passwords(url: str) -> list[str]:
    """The password in an address, as it is written and decoded; empty if there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return []
    return [password, unquote(password)] if password else []


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces these values in a text by `[key]`."""
    # The longest first: one may contain another.
    known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "[key]")
        return text

    return redact
