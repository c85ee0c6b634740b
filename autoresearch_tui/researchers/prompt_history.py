"""What a researcher is told about earlier experiments, within a number of characters. Pure.

Every text in here comes from an agent or a log, so it is cleaned, kept on lines that we begin, and fenced.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from autoresearch_tui.researchers.base import Attempt
from autoresearch_tui.text import clean_text, describe

CEILING = 32_000
"""Characters that the history may take at most: about 8,000 tokens."""

RECENT = 30
NEWEST = 10
PLATEAU = 10
NEAR_MISSES = 6
DECIDED = frozenset({"keep", "discard", "crash", "invalid"})

_DIFFS = 3
_DIFF_CHARS = 1_500
_DIFF_SHARE = 0.3
_LOG_LINES = 8

FilesAt = Callable[[str], Mapping[str, str]]


def render(attempts: Sequence[Attempt], goal: str, files_at: FilesAt, limit: int = CEILING) -> str:
    """The table of earlier experiments and the newest kept changes, at most about `limit` characters."""
    if not attempts:
        return "Nothing has been tried yet."
    diffs = kept_changes(attempts, files_at, int(limit * _DIFF_SHARE))
    lines = table(attempts, limit - len(diffs))
    head = f"{len(attempts)} experiments so far; the best score is {_score(best(attempts, goal))}."
    return "\n".join(filter(None, (head, lines, diffs)))


def best(attempts: Sequence[Attempt], goal: str) -> float | None:
    """The best kept score, or None where nothing has been kept."""
    kept = [a.value for a in attempts if a.outcome == "keep" and a.value is not None]
    if not kept:
        return None
    return max(kept) if goal == "maximize" else min(kept)


def table(attempts: Sequence[Attempt], limit: int) -> str:
    """One entry an attempt, oldest first: what matters most is chosen first, the rest is only counted."""
    chosen: dict[int, str] = {}
    room = limit
    for index, text in _wanted(attempts):
        if index not in chosen and len(text) < room:
            chosen[index] = text
            room -= len(text) + 1
    left_out = Counter(a.outcome for i, a in enumerate(attempts) if i not in chosen)
    lines = [chosen[i] for i in sorted(chosen)]
    if left_out:
        counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(left_out.items()))
        lines.insert(0, f"({left_out.total()} older experiments are left out: {counts})")
    return "\n".join(lines)


def earlier(attempts: Sequence[Attempt], limit: int) -> str:
    """One line a result from before the session, oldest first: kept ones are chosen first, then the newest."""
    order = sorted(range(len(attempts)), key=lambda i: (attempts[i].outcome != "keep", -i))
    chosen: dict[int, str] = {}
    room = limit
    for index in order:
        attempt = attempts[index]
        score = "" if attempt.value is None else f" {_score(attempt.value)}"
        line = f"{describe(attempt.outcome, 12)}{score}: {describe(attempt.description, 100)}"
        if len(line) < room:
            chosen[index] = line
            room -= len(line) + 1
    left_out = len(attempts) - len(chosen)
    lines = [chosen[index] for index in sorted(chosen)]
    return "\n".join([f"({left_out} more are left out)", *lines] if left_out and lines else lines)


def _wanted(attempts: Sequence[Attempt]) -> Iterator[tuple[int, str]]:
    """Entries in the order of their worth; a long one is followed by its short form, lest it does not fit."""
    newest_first = list(enumerate(attempts))[::-1]
    for index, attempt in newest_first[:NEWEST]:
        yield index, _entry(attempt, 160, _LOG_LINES, hypothesis=True)
        yield index, _entry(attempt, 100, 1)
    for index, attempt in newest_first[NEWEST:RECENT]:
        yield index, _entry(attempt, 100, 1)
    older = newest_first[RECENT:]
    for index, attempt in older:
        if attempt.outcome in {"keep", "vetoed"}:
            yield index, _entry(attempt, 64)
    for index, attempt in older:
        yield index, _entry(attempt, 64)


def _entry(attempt: Attempt, width: int, log_lines: int = 0, *, hypothesis: bool = False) -> str:
    """One line, and for a failure the last lines of its log. No text in it is wider than `width`."""
    line = f"#{attempt.number} {describe(attempt.outcome, 12)}"
    if attempt.value is not None:
        line += f" {_score(attempt.value)}"
    line += f": {describe(attempt.description, width)}"
    if attempt.outcome == "vetoed":
        line += f" | vetoed because: {describe(attempt.reason, width)}"
    lines = [line]
    if hypothesis and attempt.hypothesis.strip():
        lines.append(f"  | idea: {describe(attempt.hypothesis, width)}")
    if log_lines and attempt.outcome in {"crash", "invalid", "withdrawn"}:
        log = [text.strip() for text in clean_text(attempt.reason).split("\n") if text.strip()]
        lines += [f"  | {text[:width]}" for text in log[-log_lines:]]
    return "\n".join(lines)


def kept_changes(attempts: Sequence[Attempt], files_at: FilesAt, limit: int) -> str:
    """The newest kept changes as diffs, so that what worked can be built on."""
    kept = [a for a in attempts if a.outcome == "keep" and a.base and a.commit != a.base][-_DIFFS:]
    parts: list[str] = []
    room = limit
    for attempt in reversed(kept):
        text = diff(files_at(attempt.base), files_at(attempt.commit), _DIFF_CHARS)
        if not text:
            continue
        part = f"The change of #{attempt.number}:\n{text}"
        if len(part) > room:
            break
        parts.insert(0, part)
        room -= len(part) + 1
    return "\n".join(parts)


def diff(old: Mapping[str, str], new: Mapping[str, str], limit: int) -> str:
    """What changed between two sets of files, each line marked as data, cut at about `limit` characters."""
    lines: list[str] = []
    for path in sorted(new):
        before, after = old.get(path, ""), new[path]
        lines += difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, n=1, lineterm="")
    text = "\n".join(f"  | {line}" for line in clean_text("\n".join(lines)).split("\n") if line)
    if len(text) > limit:
        text = text[:limit].rsplit("\n", 1)[0] + "\n  | (cut here)"
    return text


def on_plateau(attempts: Sequence[Attempt]) -> bool:
    """True where the last ten decided experiments brought no keep."""
    decided = sum(a.outcome in DECIDED for a in attempts)
    return decided > PLATEAU and since_keep(attempts) >= PLATEAU


def since_keep(attempts: Sequence[Attempt]) -> int:
    """Decided experiments since the last keep."""
    outcomes = [a.outcome for a in reversed(attempts) if a.outcome in DECIDED]
    return outcomes.index("keep") if "keep" in outcomes else len(outcomes)


def near_misses(attempts: Sequence[Attempt], goal: str) -> str:
    """The discarded experiments that came closest, best first."""
    scored = [(a.value, a) for a in attempts if a.outcome == "discard" and a.value is not None]
    scored.sort(key=lambda pair: pair[0], reverse=goal == "maximize")
    return "\n".join(_entry(attempt, 100) for _, attempt in scored[:NEAR_MISSES])


def _score(value: float | None) -> str:
    return "not known" if value is None else f"{value:.7g}"
