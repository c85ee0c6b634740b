"""`fetch-shared`: fetches others' sessions within limits, and makes prior results of them, each with its origin."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import tags
from autoresearch_tui.session import comparing
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.sharing import records, remote
from autoresearch_tui.sharing.outgoing import session_name
from autoresearch_tui.sharing.store import FOLDER, Shared, Store
from autoresearch_tui.util.errors import Refused

MOST_SESSIONS, MOST_OF_ONE = 500, 20
"""The most sessions to fetch: of everybody, and of one person."""
LIMIT = 1000
"""The most results for a session: of all people in turn, each one's best first."""


def fetch(lab: Lab, named: str) -> list[str]:
    """Fetch what is new. Returns a line for each new session, and one on what was left out. Raises UserError,
    OSError."""
    try:
        repo = GitRepo(lab.root)
        where = remote.find(repo, named)
        store = Store.of(lab.state_folder, repo)
        with store.alone():
            return _fetch(lab, store, where)
    except GitError as error:
        anew = f"if {lab.state_folder / FOLDER} is damaged, remove it: it is made anew"
        raise Refused(f"{lab.root}: git refuses: {error}", anew) from None


def _fetch(lab: Lab, store: Store, where: remote.Remote) -> list[str]:
    there, cut = remote.shared_refs(where, store)
    left_out: Counter[str] = Counter()
    wanted = _wanted(there, own_names(lab), left_out)
    known = store.refs(records.PREFIX)
    new = [ref for ref in wanted if known.get(ref) != there[ref]]
    refused = remote.fetch(where, store, new) if new else {}
    sessions, unusable = store.sessions(lab.editable)
    came = [each for each in sessions if records.ref_of(each.who, each.name) in new and each.who not in refused]
    left_out += unusable
    for each in came:
        left_out += each.left_out
    lines = [_line(each) for each in came]
    if not came:
        lines.append(f"nothing new at {where.shown}" if there else f"nobody shares anything at {where.shown}")
    omissions = [f"{count:,} for {why}" for why, count in left_out.items()]
    omissions += [f"all of {who}, for {why}" for who, why in refused.items()]
    omissions += ["what is beyond 8 MiB of names"] if cut else []
    return [*lines, f"left out: {'; '.join(omissions)}"] if omissions else lines


def _wanted(there: Mapping[str, str], own: frozenset[str], left_out: Counter[str]) -> list[str]:
    """The refs to fetch: of all people in turn, with a limit for each, so that nobody crowds out others."""
    by_who: dict[str, list[str]] = {}
    for ref in sorted(there):
        if (named := records.parts(ref)) is None:
            left_out["an odd name"] += 1
        elif named[1] not in own:
            by_who.setdefault(named[0], []).append(ref)
    in_turn = [ref for row in itertools.zip_longest(*by_who.values()) for ref in row if ref is not None]
    place = Counter[str]()
    kept: list[str] = []
    for ref in in_turn:
        who = ref.removeprefix(records.PREFIX).partition("/")[0]
        place[who] += 1
        if place[who] > MOST_OF_ONE or len(kept) == MOST_SESSIONS:
            left_out["sessions beyond the limit"] += 1
        else:
            kept.append(ref)
    return kept


def own_names(lab: Lab) -> frozenset[str]:
    """The shared names of this lab's own sessions, which every remote gives back."""
    return frozenset(session_name(lab.session(tag), tag) for tag in tags(lab.root))


def _line(each: Shared) -> str:
    kept = [e for e in each.experiments if e.outcome == Outcome.KEEP and e.value is not None]
    best = each.session.goal.best(e.value for e in kept if e.value is not None)
    says = f", best {best:.6g} {each.session.metric} by its own word" if best is not None else ""
    on = f", on {each.session.hardware}" if each.session.hardware else ""
    return f"{each.who}/{each.name}: {len(each.experiments)} experiments, {len(kept)} kept{says}{on}"


def results(lab: Lab, store: Store, now: comparing.Measured) -> tuple[tuple[PriorResult, ...], int]:
    """Others' results for a session that measures like `now`; and how many are left out.

    Raises GitError.
    """
    own = own_names(lab)
    by_who: dict[str, list[PriorResult]] = {}
    for each in store.sessions(lab.editable)[0]:
        if each.name not in own:
            by_who.setdefault(each.who, []).extend(_of_one(each, now, lab.settings.metric.range))
    goal = Goal(now.session.goal)
    for found in by_who.values():
        found.sort(key=lambda one: _worth(one, goal))
    in_turn = [one for row in itertools.zip_longest(*by_who.values()) for one in row if one is not None]
    return tuple(in_turn[:LIMIT]), max(0, len(in_turn) - LIMIT)


def _worth(one: PriorResult, goal: Goal) -> tuple[bool, bool, float]:
    """A sort key for one person's results: keeps judged by our rules come first, the best first."""
    return (one.status != Outcome.KEEP, not one.judged_alike, 0.0 if one.value is None else goal.sort_key(one.value))


def _of_one(each: Shared, now: comparing.Measured, possible: Sequence[float]) -> Iterable[PriorResult]:
    otherwise = records.differences(each.session, now)
    alike = records.judged_alike(each.session, now)
    for one in each.experiments:
        # A score that the lab's own settings rule out does not count.
        impossible = one.value is not None and bool(possible) and not possible[0] <= one.value <= possible[1]
        yield PriorResult(
            name=f"{each.who}/{each.name}#{one.number}",
            value=None if impossible else one.value,
            memory_gb=one.memory_gb,
            status=one.outcome,
            description=_numbered(one.description, each.who),
            flags=(*otherwise, "no run of this lab could have its score") if impossible else otherwise,
            number=one.number,
            reason=_numbered(one.reason, each.who),
            origin=each.who,
            code=each.codes.get(one.number, ""),
            hypothesis=_numbered(one.hypothesis, each.who),
            judged_alike=alike and not impossible,
        )


def _numbered(text: str, who: str) -> str:
    """Name the person in references to experiments: their #3 is not ours."""
    return re.sub(r"(?<![\w.-])#(?=[0-9])", f"{who}#", text)
