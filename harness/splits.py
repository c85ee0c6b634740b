"""Which text trains, which validates and which is sealed for the human alone. Fixed, like prepare.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import prepare

VAL_NAME = f"val_{prepare.VAL_SHARD:05d}"
SEALED_NAME = f"sealed_{prepare.SEALED_SHARD:05d}"
SEALED_FILENAME = f"shard_{prepare.SEALED_SHARD:05d}.parquet"
# Modules that training never imports: their text is scored, and a run does not see it.
STDLIB_VAL = ("aifc", "asynchat", "asyncore", "cgi", "ftplib", "mailbox", "nntplib", "poplib", "smtpd", "telnetlib")
STDLIB_VAL += ("tkinter", "turtle", "wsgiref", "xmlrpc")
STDLIB_SEALED = ("imaplib", "modulefinder", "plistlib", "smtplib", "trace")


def split_documents(documents: Iterable[tuple[str, str]], side: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """("train", "val" or "sealed", text): `side` of its group; exact duplicates and tiny texts vanish."""
    seen = set()
    for group, text in documents:
        digest = hashlib.sha1(text.encode()).digest()
        if len(text) >= 64 and digest not in seen:
            seen.add(digest)
            yield side(group), text


def side_by_name(group: str) -> str:
    """Of the embedded corpus."""
    return "val" if group in STDLIB_VAL else "sealed" if group in STDLIB_SEALED else "train"


def side_by_hash(group: str) -> str:
    """Of the user's texts: one in twenty for validation, a quarter as many sealed."""
    number = int(hashlib.sha1(group.encode()).hexdigest(), 16) % 80
    return "val" if number % 20 == 0 else "sealed" if number == 1 else "train"
