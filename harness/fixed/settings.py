"""What an experiment was asked for: a profile, a budget, a data set, from the environment. Standard library only.

Scores compare only where the profile and the data are equal.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn


class Profile(NamedTuple):
    """What an evaluation depends on, fixed for a class of hardware."""

    max_seq_len: int  # tokens of context, in training and in evaluation
    eval_tokens: int  # upper bound on the validation tokens that are scored
    vocab_size: int  # reserved tokens included
    dataset: str  # climbmix | embedded


PROFILES = {
    "reference": Profile(2048, 40 * 524288, 8192, "climbmix"),  # H100, H200: the constants of the reference
    "consumer24": Profile(2048, 10 * 524288, 8192, "climbmix"),  # 24 GB card
    "consumer8": Profile(1024, 4 * 524288, 8192, "climbmix"),  # 8 GB card
    "apple": Profile(1024, 2 * 524288, 4096, "climbmix"),  # Apple silicon
    "cpu": Profile(128, 131072, 4096, "embedded"),  # a few cores
    "demo": Profile(128, 65536, 2048, "embedded"),  # one experiment in a minute on two cores
}
REFEREED_TOKENS = 2**21  # at most so many validation tokens are scored by a referee
REHEARSAL_SEQ_LEN = 256  # at most, in a rehearsal


class NotReadyError(FileNotFoundError):
    """The data of this profile has not been prepared; the message says how to fix it."""


def fail(message: str) -> NoReturn:
    """Print one line on stderr and leave with exit code 2."""
    print(message, file=sys.stderr)
    raise SystemExit(2)


def _number(name: str, default: int) -> float:
    """A number from the environment; whole where it can be, and never negative."""
    raw = os.environ.get(name, "").strip()
    try:
        value = float(raw) if raw else float(default)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        fail(f"{name}={raw}: not a number from zero up; unset it or give one")
    return int(value) if value == int(value) else value


PROFILE_NAME = os.environ.get("AUTORESEARCH_PROFILE") or "reference"
if PROFILE_NAME not in PROFILES:
    fail(f"AUTORESEARCH_PROFILE={PROFILE_NAME}: no such profile; one of {', '.join(PROFILES)}")
PROFILE = PROFILES[PROFILE_NAME]
PREFLIGHT = bool(os.environ.get("AUTORESEARCH_PREFLIGHT"))  # two small steps on made-up data: does the code run?
if PREFLIGHT:
    PROFILE = PROFILE._replace(max_seq_len=min(PROFILE.max_seq_len, REHEARSAL_SEQ_LEN))
MAX_SEQ_LEN = PROFILE.max_seq_len
EVAL_TOKENS = PROFILE.eval_tokens
VOCAB_SIZE = PROFILE.vocab_size
TIME_BUDGET = _number("AUTORESEARCH_TIME_BUDGET", 300)
TOKEN_BUDGET = 1 if PREFLIGHT else int(_number("AUTORESEARCH_TOKEN_BUDGET", 0))
SEED_SHIFT = int(_number("AUTORESEARCH_SEED", 0))  # repeats of a run differ in this alone
DATASET = os.environ.get("AUTORESEARCH_DATA") or PROFILE.dataset
CACHE_DIR = Path(os.environ.get("AUTORESEARCH_CACHE") or "~/.cache/autoresearch").expanduser()
PRIVATE_DIR = CACHE_DIR / "private"  # what is scored, which no run of the loop gets to see
REFEREE_FD = os.environ.get("AUTORESEARCH_REFEREE_FD", "")  # where a run asks to be scored; empty: it scores itself
HANDOVER = os.environ.get("AUTORESEARCH_HANDOVER", "")  # set: the training data comes from there as well
