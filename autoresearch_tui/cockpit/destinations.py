"""Pure: what `:` can go to: an experiment, the next of a kind, a session of the lab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Stage, State
from autoresearch_tui.session.status import title
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.nearest import nearest
from autoresearch_tui.util.text import clean_line

KINDS = (*map(str, Outcome), *(str(stage) for stage in Stage if stage is not Stage.DONE))


class Destination(Frozen):
    """One of the fields is set; `missing` says in one line why there is no destination."""

    number: int | None = None
    kind: str = ""
    session: str = ""
    missing: str = ""


def destination(typed: str, state: State, sessions: Sequence[str]) -> Destination:
    """The destination that `typed` names: a number, a kind or a session, or an unambiguous prefix of one."""
    typed = clean_line(typed).strip()
    if _is_number(typed):
        return _experiment(typed, state)
    names = [*KINDS, *sessions]
    exact = next((name for name in names if name.lower() == typed.lower()), "")
    found = [exact] if exact else completions(typed, state, sessions)
    if len(found) > 1:
        return Destination(missing=f"`{typed}` can be {', '.join(found[:-1])} or {found[-1]}")
    if not found:
        close = nearest(typed, names)
        meant = f"; did you mean `{close}`?" if close else ""
        return Destination(missing=f"there is no experiment, kind or session `{typed}`{meant}")
    if found[0] not in KINDS:
        return Destination(session=found[0])
    if found[0] not in _counts(state):
        return Destination(missing=f"no experiment is `{found[0]}`")
    return Destination(kind=found[0])


def completions(typed: str, state: State, sessions: Sequence[str]) -> list[str]:
    """The existing kinds, then the sessions, newest first, that begin with `typed`."""
    names = [*_counts(state), *reversed(sessions)]
    return [name for name in names if name.lower().startswith(typed.strip().lower())]


def preview(typed: str, state: State, sessions: Sequence[str]) -> str:
    """One line: the experiment `typed` names, the possible completions, or why there are none."""
    typed = clean_line(typed).strip()
    last = len(state.experiments) - 1
    if typed == "#" and last >= 0:
        return f"#0 to #{last}"
    if _is_number(typed):
        found = _experiment(typed, state)
        if found.number is None:
            return found.missing
        experiment = state.experiments[found.number]
        return f"{experiment.status}: {title(experiment, 200)}"
    counts = _counts(state)
    words = [f"{name} {counts[name]}" if name in counts else name for name in completions(typed, state, sessions)]
    if not typed and last >= 0:
        words.insert(0, f"#0 to #{last}")
    return " · ".join(words) or destination(typed, state, sessions).missing


def _experiment(typed: str, state: State) -> Destination:
    digits, last = typed.lstrip("#"), len(state.experiments) - 1
    if digits.isascii() and digits.isdecimal() and len(digits) < 10 and int(digits) <= last:
        return Destination(number=int(digits))
    name = f"#{digits}"
    known = f": they are #0 to #{last}" if last >= 0 else " yet"
    return Destination(missing=f"there is no experiment {name}{known}")


def _is_number(typed: str) -> bool:
    return typed.startswith("#") or typed.isdecimal()


def _counts(state: State) -> Counter[str]:
    """The number of experiments of each kind, in the order of KINDS."""
    found = Counter(str(experiment.status) for experiment in state.experiments)
    return Counter({kind: found[kind] for kind in KINDS if found[kind]})
