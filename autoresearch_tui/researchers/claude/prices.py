"""The cost of tokens, from the user's own prices, then from genai-prices.

An unknown model has no price rather than a guessed one. Nothing is fetched: prices are as new as the installed package.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen


class Tokens(Frozen):
    """Tokens of requests, as counted by the API; the three kinds of input do not overlap."""

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_read: int = 0

    @property
    def all_input(self) -> int:
        """All tokens sent, cached or not."""
        return self.input + self.cache_write + self.cache_read


class Rates(Frozen):
    """Dollars for a million tokens; `long` applies to a request of more than `over` input tokens."""

    input: float
    output: float
    cache_write: float
    cache_read: float
    over: int = 0
    long: Rates | None = None

    def cost(self, tokens: Tokens) -> float:
        """Dollars for one request."""
        if self.long is not None and tokens.all_input > self.over:
            return self.long.cost(tokens)
        sent = tokens.input * self.input + tokens.cache_write * self.cache_write + tokens.cache_read * self.cache_read
        return (sent + tokens.output * self.output) / 1e6


def load(environ: Mapping[str, str]) -> dict[str, Rates]:
    """The user's own entries. Raises UserError that names the file."""
    config = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    own = Path(config) / "autoresearch-tui" / "prices.toml"
    return _read(own) if own.is_file() else {}


def cost(own: Mapping[str, Rates], model: str, tokens: Tokens) -> float | None:
    """Dollars for one request; None for a model without a price. What is cached is cached for an hour."""
    if model in own:
        return own[model].cost(tokens)
    # Beside the anthropic package, which a request has loaded, this takes about 0.2 s, once.
    from genai_prices import Usage, calc_price

    usage = Usage(
        input_tokens=tokens.all_input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write,
        cache_write_1h_tokens=tokens.cache_write,
    )
    try:
        return float(calc_price(usage, model_ref=model, provider_id="anthropic").total_price)
    except (LookupError, ValueError):
        return None


def _read(path: Path) -> dict[str, Rates]:
    try:
        models = tomllib.loads(path.read_text("utf-8")).get("models", {})
        return {name: _rates(values) for name, values in models.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a table of prices ({error})", "see docs/researcher-claude.md") from None


def _rates(values: Mapping[str, Any]) -> Rates:
    sent, got, kept, read = (float(values[name]) for name in ("input", "output", "cache_write", "cache_read"))
    if min(sent, got, kept, read) < 0:
        raise ValueError("a price below 0")
    more = values.get("long")
    if more is None:
        return Rates(sent, got, kept, read)
    return Rates(sent, got, kept, read, over=int(more["over"]), long=_rates(more))
