"""The earlier experiments in a brief, within a number of characters. Pure.

Every text here comes from an agent or a log, so it is cleaned, kept on lines that we begin, and fenced.
"""

from __future__ import annotations

import difflib
import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.researchers.base import RAN, Attempt, RunFacts
from autoresearch_tui.session.ends import TO_EXPLAIN, Outcome
from autoresearch_tui.session.format import front
from autoresearch_tui.util.text import clean_text, describe

CEILING = 32_000
"""Characters that the history may take at most: about 8,000 tokens."""

RECENT = 30
NEWEST = 10
PLATEAU = 10
NEAR_MISSES = 6

_FILLS = CEILING // 10  # entries that surely fill the room
_DIFFS = 3
_DIFF_CHARS = 1_500
_DIFF_SHARE = 0.3
_LOG_LINES = 8

_SESSIONS = 8
_SHORT = {"waiting": "never run"}
_PRIOR_SHARES: tuple[tuple[Collection[str], float], ...] = (
    ({Outcome.KEEP}, 0.35),
    ({Outcome.VETOED}, 0.15),
    ({Outcome.CRASH, Outcome.STOPPED, Outcome.INVALID}, 0.1),
    ({"waiting", Outcome.WITHDRAWN}, 0.1),
    ({"repeat"}, 0.05),
    ((), 0.25),
)
"""Shares of the room for prior results, by outcome; the last is for all others."""
_SHORTEST = 20  # characters of a line
_COLUMN = 40  # characters of a column's name
_NOTE = 30  # characters of the line that counts those left out

FilesAt = Callable[[str], Mapping[str, str]]


def render(
    attempts: Sequence[Attempt], goal: Goal, files_at: FilesAt, limit: int = CEILING, continued: int | None = None
) -> str:
    """The table of earlier experiments and the newest kept changes, at most about `limit` characters.

    `continued`: the frontier, if it is not the best.
    """
    if not attempts:
        return "Nothing has been tried yet."
    diffs = kept_changes(attempts, files_at, int(limit * _DIFF_SHARE))
    course = frontier_losses(attempts, goal, continued)
    lines = table(attempts, limit - len(diffs) - len(course))
    head = f"{len(attempts)} experiments so far; the best score is {_score(best(attempts, goal))}."
    return "\n".join(filter(None, (head, course, lines, diffs)))


def frontier_losses(attempts: Sequence[Attempt], goal: Goal, continued: int | None = None) -> str:
    """The loss curve of the frontier's run, for comparison; empty if its log has none."""
    value = best(attempts, goal)
    found = next((a for a in reversed(attempts) if a.outcome == Outcome.KEEP and a.value == value), None)
    if continued is not None:
        found = next((a for a in attempts if a.number == continued), None)
    if found is None or found.run is None or not found.run.losses:
        return ""
    what = "the frontier" if continued is not None else "the best"
    return f"Training loss of #{found.number}, {what}, at each tenth of the budget: {_losses(found.run)}"


def best(attempts: Sequence[Attempt], goal: Goal) -> float | None:
    """The best kept score; None if nothing is kept."""
    return goal.best(a.value for a in attempts if a.outcome == Outcome.KEEP and a.value is not None)


def table(attempts: Sequence[Attempt], limit: int) -> str:
    """One entry an attempt, oldest first: the most important are chosen first, the rest is only counted."""
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


def prior(attempts: Sequence[Attempt], goal: Goal, limit: int) -> str:
    """One line for each result from before the session, oldest first, after a line for each earlier session of the lab.

    Each kind has a share of the room, newest first; unused room goes to the kinds in their order.
    """
    heads = _sessions(attempts, goal)
    room = limit - sum(len(head) + 1 for head in heads) - _NOTE
    chosen: dict[int, str] = {}
    for rest in (False, True):
        for kind, (_, share) in enumerate(_PRIOR_SHARES):
            its = room if rest else min(room, int(limit * share))
            for index in range(len(attempts) - 1, -1, -1):
                if its < _SHORTEST:
                    break
                if index in chosen or _kind(attempts[index].outcome) != kind:
                    continue
                line = _prior_line(attempts[index])
                if len(line) < its:
                    chosen[index] = line
                    its -= len(line) + 1
                    room -= len(line) + 1
    left_out = len(attempts) - len(chosen)
    note = [f"({left_out} more are left out)"] if left_out and chosen else []
    return "\n".join([*heads, *note, *(chosen[index] for index in sorted(chosen))])


def shared(attempts: Sequence[Attempt], limit: int) -> str:
    """One line for each result of another lab, the most valuable first, as many as fit."""
    lines: list[str] = []
    room = limit - _NOTE
    for attempt in attempts:
        score = f" {_score(attempt.value)}" if attempt.value is not None else ""
        line = f"{describe(attempt.origin, 40)} #{attempt.number} {describe(attempt.outcome, 12)}{score}: "
        line += describe(attempt.description, 100)
        if attempt.value is None and attempt.reason:
            line += f" | {describe(attempt.reason, 100)}"
        if len(line) >= room:
            break
        lines.append(line)
        room -= len(line) + 1
    left_out = len(attempts) - len(lines)
    return "\n".join([*lines, *([f"({left_out} more are left out)"] if left_out and lines else [])])


def _sessions(attempts: Sequence[Attempt], goal: Goal) -> list[str]:
    """A line for each of the lab's earlier sessions, newest last, as many as fit a page."""
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.session:
            found.setdefault(attempt.session, []).append(attempt)
    lines = []
    for session, its in [*found.items()][-_SESSIONS:]:
        counts = Counter(_SHORT.get(a.outcome, a.outcome) for a in its)
        tally = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
        lines.append(f"Session {describe(session, 40)}: {tally}; the best kept score is {_score(best(its, goal))}.")
    return lines


def _kind(outcome: str) -> int:
    """Its index in _PRIOR_SHARES."""
    named = (place for place, (outcomes, _) in enumerate(_PRIOR_SHARES) if outcome in outcomes)
    return next(named, len(_PRIOR_SHARES) - 1)


def _prior_line(attempt: Attempt) -> str:
    outcome = _SHORT.get(attempt.outcome, describe(attempt.outcome, 12))
    score = "" if attempt.value is None else f" {_score(attempt.value)}"
    name = f"{describe(attempt.session, 40)} #{attempt.number} " if attempt.session else ""
    line = f"{name}{outcome}{score}: {describe(attempt.description, 100)}"
    if attempt.outcome == Outcome.VETOED:
        return line + f" | vetoed because: {describe(attempt.reason or 'no reason given', 100)}"
    if attempt.outcome in TO_EXPLAIN and attempt.reason:
        return line + f" | {describe(attempt.reason, 100)}"
    return line


def _wanted(attempts: Sequence[Attempt]) -> Iterator[tuple[int, str]]:
    """Entries by importance; a long one is followed by its short form, in case it does not fit."""
    for index, attempt in islice(_newest_first(attempts), RECENT):
        if len(attempts) - index <= NEWEST:
            yield index, _entry(attempt, 160, _LOG_LINES, hypothesis=True)
        yield index, _entry(attempt, 100, 1)
    older = islice(_newest_first(attempts), RECENT, None)
    first = ((index, attempt) for index, attempt in older if attempt.outcome in (Outcome.KEEP, Outcome.VETOED))
    rest = islice(_newest_first(attempts), RECENT, None)
    for index, attempt in chain(islice(first, _FILLS), islice(rest, _FILLS)):
        yield index, _entry(attempt, 64)


def _newest_first(attempts: Sequence[Attempt]) -> Iterator[tuple[int, Attempt]]:
    return zip(range(len(attempts) - 1, -1, -1), reversed(attempts), strict=True)


def _entry(attempt: Attempt, width: int, log_lines: int = 0, *, hypothesis: bool = False) -> str:
    """One line, and for a failure the last lines of its log. No text in it is wider than `width`."""
    line = f"#{attempt.number} {describe(attempt.outcome, 12)}"
    if attempt.value is not None:
        line += f" {_score(attempt.value)}"
    line += f": {describe(attempt.description, width)}"
    if attempt.leads or attempt.front:
        line += f" | {front(attempt.front)}{', which stands here since' if attempt.leads else ''}"
    if scaled := attempt.transfer or (attempt.reason if attempt.outcome == Outcome.SCALED else ""):
        line += f" | {describe(scaled, width)}"
    if attempt.edited:
        newest = "the human edited this proposal before it ran; what ran is not what was proposed"
        line += f" | {newest if hypothesis else 'edited by the human'}"
    if attempt.outcome in (Outcome.VETOED, Outcome.STOPPED):
        who = attempt.vetoed_by if attempt.outcome == Outcome.VETOED else "the human"
        line += f" | {attempt.outcome} by {who}, because: {describe(attempt.reason or 'no reason given', width)}"
    elif attempt.objection:
        line += f" | a critic objected before it ran: {describe(attempt.objection, width)}"
    if attempt.outcome == Outcome.GIVEN_UP:
        line += f" | {describe(attempt.reason, width)}"
    lines = [line]
    if hypothesis and attempt.hypothesis.strip() and not attempt.edited:
        lines.append(f"  | idea: {describe(attempt.hypothesis, width)}")
    if hypothesis and attempt.run is not None:
        lines += _run(attempt.run)
    if log_lines and attempt.outcome in (Outcome.CRASH, Outcome.INVALID, Outcome.WITHDRAWN):
        log = [text.strip() for text in clean_text(attempt.reason).split("\n") if text.strip()]
        lines += [f"  | {text[:width]}" for text in log[-log_lines:]]
    return "\n".join(lines)


def _run(run: RunFacts) -> list[str]:
    """The run's figures and its losses: two lines at most."""
    facts = (
        (run.steps, "{:,.0f} steps"),
        (run.tokens_per_second, "{:,.0f} tokens/s"),
        (run.mfu_percent, "MFU {:.1f} %"),
        (run.memory_gb, "{:.1f} GiB"),
        (run.seconds_before, "{:.0f} s before training"),
        (run.seconds_after, "{:.0f} s after it"),
    )
    figures = [words.format(number) for number, words in facts if number is not None]
    figures += [f"{describe(name, _COLUMN)} {number:g}" for name, number in run.columns.items()]
    lines = [f"  | run: {', '.join(figures)}"] if figures else []
    return lines + ([f"  | loss: {_losses(run)}"] if run.losses else [])


def _losses(run: RunFacts) -> str:
    return " ".join(f"{loss:.4g}" for loss in run.losses)


def kept_changes(attempts: Sequence[Attempt], files_at: FilesAt, limit: int) -> str:
    """The newest kept changes as diffs, to build on, and the human's edits of proposals."""
    changed = ((place, a) for place, a in _newest_first(attempts) if a.edited and _changes(a))
    kept = ((place, a) for place, a in _newest_first(attempts) if a.outcome == Outcome.KEEP and _changes(a))
    shown = dict([*islice(changed, _DIFFS), *islice(kept, _DIFFS)])
    parts: list[str] = []
    room = limit
    for attempt in (shown[place] for place in sorted(shown, reverse=True)):
        text = diff(files_at(attempt.base), files_at(attempt.commit), _DIFF_CHARS)
        if not text:
            continue
        edited = ", as the human edited it" if attempt.edited else ""
        part = f"The change of #{attempt.number}{edited}:\n{text}"
        if len(part) > room:
            break
        parts.insert(0, part)
        room -= len(part) + 1
    return "\n".join(parts)


def _changes(attempt: Attempt) -> bool:
    return bool(attempt.base) and attempt.commit != attempt.base


def diff(old: Mapping[str, str], new: Mapping[str, str], limit: int) -> str:
    """The changes between two sets of files, each line marked as data, cut at about `limit` characters."""
    lines: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, ""), new.get(path, "")
        what = " (new file)" if path not in old else " (removed)" if path not in new else ""
        lines += difflib.unified_diff(before.splitlines(), after.splitlines(), path, f"{path}{what}", n=1, lineterm="")
    text = "\n".join(f"  | {line}" for line in clean_text("\n".join(lines)).split("\n") if line)
    if len(text) > limit:
        text = text[:limit].rsplit("\n", 1)[0] + "\n  | (cut here)"
    return text


def on_plateau(attempts: Sequence[Attempt]) -> bool:
    """Whether none of the last ten decided experiments was kept."""
    decided = islice((a for a in reversed(attempts) if a.outcome in RAN), PLATEAU + 1)
    return sum(1 for _ in decided) > PLATEAU and since_keep(attempts) >= PLATEAU


def since_keep(attempts: Sequence[Attempt]) -> int:
    """The number of decided experiments since the last keep."""
    decided = (a for a in reversed(attempts) if a.outcome in RAN)
    return sum(1 for _ in takewhile(lambda a: a.outcome != Outcome.KEEP, decided))


def near_misses(attempts: Sequence[Attempt], goal: Goal) -> str:
    """The discarded experiments that came closest, best first."""
    scored = ((a.value, a) for a in attempts if a.outcome == Outcome.DISCARD and a.value is not None)
    closest = heapq.nsmallest(NEAR_MISSES, scored, key=lambda pair: goal.sort_key(pair[0]))
    return "\n".join(_entry(attempt, 100) for _, attempt in closest)


def _score(value: float | None) -> str:
    return "not known" if value is None else f"{value:.7g}"
