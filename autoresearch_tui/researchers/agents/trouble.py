"""What an agent's failure means for the loop: pause, wait until a time, or ask again. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from autoresearch_tui.researchers import retry_time
from autoresearch_tui.util.frozen import Frozen

# A refused key or login, an empty account, a model that does not exist: asking again cannot help.
_HOPELESS = re.compile(
    "|".join(
        (
            r"\(401\b",
            r"\b(?:status|code|error|http)\W{0,3}(?:code\W{0,2})?40[13]\b",
            r"\b401\W{1,3}(?:unauthori[sz]ed|authentication)",
            r"authentication_(?:failed|error)|permission_error|billing_error|\binvalid_grant\b|\binsufficient_quota\b",
            r"(?:invalid|incorrect|missing|expired|revoked|no) (?:x-)?api[- ]key",
            r"api key (?:is |was |has )?(?:been )?(?:not (?:valid|set|found)|invalid|missing|expired|required|revoked)",
            r"balance is too low|insufficient (?:credits?|balance|funds)|payment required|out of credits",
            r"quota exceeded\. check your plan",
            r"refresh[ _]token\W+(?:(?:was|has|is|been|already)\W+)*(?:used|reused|expired|revoked|invalid)",
            r"refresh_token_(?:reused|expired|invalidated)",
            r"(?:log|sign) in again|please (?:log|sign) in|not (?:logged|signed) in|please run /login",
            r"run [`'\"]?\w+ (?:auth )?login",
            r"(?:token|session|login|credentials?) (?:has|have|is|are|was)(?: been)? (?:expired|revoked|invalidated)",
            r"could not load (?:the )?(?:default )?credentials",
            r"unknown model|model_not_found|no such model|invalid model|ModelNotFoundError|unsupported model",
            r"models?\b[^\n]{0,80}\b(?:do(?:es)? not exist|may not exist|not found)",
            r"models?\b[^\n]{0,80}\bis not (?:supported|available|valid)",
            r"(?:organization|account|workspace)\b[^\n]{0,40}\b(?:disabled|suspended|deactivated|banned)",
        )
    ),
    re.IGNORECASE,
)
_SHORTEST_WAIT = 1.0  # some ask for milliseconds, less than the start of an agent takes
# Trouble of the network or the server that will pass.
_OUTAGE = re.compile(
    r"overloaded|rate.?limit|\b(?:429|502|503|504|529)\b|ECONN|ETIMEDOUT|ENOTFOUND|ENETUNREACH|EAI_AGAIN|network"
    r"|connection (?:refused|reset|error|closed)|could not resolve|name resolution|unreachable|temporarily unavailable",
    re.IGNORECASE,
)


class Meaning(Frozen):
    """The fields of a `ResearcherError` of the same names."""

    fatal: bool
    retry_after: float | None
    outage: bool


def meaning(words: str, now: datetime | None = None) -> Meaning:
    """The meaning of a message. A time to wait for takes precedence over anything else in it."""
    retry_after = retry_time.seconds_until(words, now or datetime.now().astimezone())
    return Meaning(
        fatal=retry_after is None and hopeless(words),
        retry_after=None if retry_after is None else max(retry_after, _SHORTEST_WAIT),
        outage=bool(_OUTAGE.search(words)),
    )


def hopeless(words: str) -> bool:
    """Whether asking again cannot help."""
    return bool(_HOPELESS.search(words))
