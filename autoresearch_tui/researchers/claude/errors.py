"""Translates errors of the API, its package and the network into what the loop should do."""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Callable, Mapping

from autoresearch_tui.researchers.base import ResearcherError
from autoresearch_tui.researchers.claude.client import NO_KEY
from autoresearch_tui.util.text import describe

LONGEST_WAIT = 3_600.0
_PARAMETERS = re.compile(
    r"cache_control|thinking|output_config|effort|ttl|extra (inputs|fields)|unknown (field|parameter)|unsupported"
    r"|unrecognized|not (supported|permitted)|valid string|content.*string",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"prompt is too long|context (length|window|size)|too many tokens|exceed\w* .*context", re.IGNORECASE
)
_NO_CREDIT = re.compile(r"credit balance|billing|spend(ing)? limit", re.IGNORECASE)


class TooLong(ResearcherError):
    """The request does not fit the model's context."""


class UnknownParameter(ResearcherError):
    """The server does not know a parameter of the request."""


def translate(error: Exception, model: str, host: str, redact: Callable[[str], str]) -> ResearcherError:
    """The error to raise instead of `error`, which came from the package or below it.

    `redact` removes secrets before texts are shortened, because half a key is still too much of it.
    """
    import anthropic

    if isinstance(error, ResearcherError):
        return error
    if isinstance(error, anthropic.APIStatusError):
        return _status(error, model, host, redact)
    if isinstance(error, anthropic.CredentialsError) or (
        isinstance(error, TypeError) and "authentication" in str(error)
    ):
        return ResearcherError(NO_KEY, fatal=True)
    if isinstance(error, anthropic.APITimeoutError):
        return ResearcherError(f"{host} did not answer in time", outage=True)
    if isinstance(error, anthropic.APIConnectionError):
        cause = error.__cause__ or error
        return ResearcherError(
            f"cannot reach {host}: {describe(redact(str(cause)) or type(cause).__name__)}", outage=True
        )
    if isinstance(error, ValueError | LookupError | TypeError | AttributeError):
        return ResearcherError(f"{host} sent broken data: {describe(redact(str(error)), 120)}")
    return ResearcherError(f"the answer from {host} was cut off: {type(error).__name__}", outage=True)


def _status(error: object, model: str, host: str, redact: Callable[[str], str]) -> ResearcherError:
    """From a status, or from an error event in mid-stream, which comes with status 200."""
    kind = str(getattr(error, "type", "") or "")
    status = int(getattr(error, "status_code", 0))
    words = describe(redact(str(getattr(error, "api_message", None) or getattr(error, "message", ""))))
    code = str(getattr(error, "error_code", "") or "")
    named = f"({status})" if status != 200 else f"({kind or 'in mid-stream'})"
    if status == 402 or kind == "billing_error" or "spend_limit" in code or _NO_CREDIT.search(words):
        return ResearcherError(f"a spend limit or the end of the credit {named}: {words}", fatal=True)
    if status == 401 or kind == "authentication_error":
        return ResearcherError(f"the API refused the key {named}; check ANTHROPIC_API_KEY: {words}", fatal=True)
    if status == 403 or kind == "permission_error":
        return ResearcherError(f"the key has no permission for this {named}: {words}", fatal=True)
    if status == 404 or kind == "not_found_error":
        return ResearcherError(f"{host} has no model {model!r} {named}; set researcher.model: {words}", fatal=True)
    if status == 413 or _TOO_LONG.search(words):
        return TooLong(f"the request is too long for {model} {named}: {words}", fatal=True)
    if status in {400, 422} or kind == "invalid_request_error":
        refused = UnknownParameter if _PARAMETERS.search(words) else ResearcherError
        return refused(f"the API refused the request {named}: {words}", fatal=True)
    if 400 <= status < 500 and status not in {408, 409, 425, 429, 499}:
        return ResearcherError(f"the API refused the request {named}: {words}", fatal=True)
    what = {429: "too many requests", 529: "the API is overloaded"}.get(status, "the API failed")
    if kind == "overloaded_error":
        what = "the API is overloaded"
    response = getattr(error, "response", None)
    return ResearcherError(
        f"{what} {named}: {words}", retry_after=retry_after(getattr(response, "headers", {})), outage=True
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait, at most an hour; None if it names none, or nonsense."""
    seconds = _number(headers.get("retry-after-ms"), 1e-3) or _number(headers.get("retry-after"), 1.0)
    if seconds is None:
        try:
            at = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
            seconds = at.timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _number(text: str | None, scale: float) -> float | None:
    try:
        value = float(text or "") * scale
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
