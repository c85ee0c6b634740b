"""Secrets are known by the names of their variables, and none is quoted."""

import pytest

from autoresearch_tui.util.secrets import is_api_key, is_secret, passwords, redactor


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("ANTHROPIC_API_KEY", True),
        ("OPENAI_APIKEY", True),
        ("hf_token", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("SECRET_SAUCE", True),
        ("DB_PASSWORD", True),
        ("TOKENIZERS_PARALLELISM", False),
        ("MAX_TOKENS", False),
        ("KEYBOARD", False),
        ("PATH", False),
    ],
)
def test_secrets_are_known_by_name(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ANTHROPIC_AUTH_TOKEN", True),
        ("ANTHROPIC_CUSTOM_HEADERS", True),
        ("CLAUDE_CODE_OAUTH_TOKEN", True),
        ("OPENAI_API_KEY", True),
        ("AZURE_OPENAI_API_KEY", True),
        ("AWS_BEARER_TOKEN_BEDROCK", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("SOME_NEW_PROVIDERS_API_KEY", True),
        ("openrouter_apikey", True),
        ("NTFY_TOKEN", False),
        ("SMTP_PASSWORD", False),
        ("OPENAI_BASE_URL", False),
        ("CAPI_KEYBOARD", False),
    ],
)
def test_what_pays_for_a_model_is_told_from_other_secrets(name: str, key: bool) -> None:
    assert is_api_key(name) is key


def test_values_are_taken_out_the_longest_first() -> None:
    redact = redactor(["sk-short", "sk-short-and-longer", "abc", ""])
    assert redact("sk-short-and-longer, sk-short, abc") == "[key], [key], abc"


def test_the_password_of_an_address_as_written_and_as_meant() -> None:
    assert passwords("http://me:p%40ssword@proxy:8080") == ["p%40ssword", "p@ssword"]
    assert passwords("http://proxy:8080") == []
    assert passwords("http://[broken") == []
