"""Pure: what leaves a lab, by the words of `--include` and `--exclude`.

`kept`, `tried`, `crashed`: experiments by outcome. `7`, `nov21#7`: one experiment. `nov21`: a session. `program`,
`notes`: the human's own texts, which leave only if they are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.nearest import nearest

KINDS = {
    "kept": frozenset({Outcome.KEEP}),
    "tried": frozenset({Outcome.DISCARD, Outcome.GIVEN_UP}),
    "crashed": frozenset({Outcome.CRASH, Outcome.INVALID, Outcome.STOPPED}),
}
TEXTS = ("program", "notes")
DEFAULT = ("kept", "tried")
_NUMBER = re.compile(r"(?:(?P<tag>[^#]+)#|#)?(?P<number>[0-9]{1,6})")


class Selection(Frozen):
    """The chosen sessions, and the words that select within them."""

    sessions: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def experiments(self, tag: str, state: State) -> list[Experiment]:
        """The selected experiments of a session that ran and are no repeats."""
        ran = [e for e in state.experiments if e.outcome in KINDS["kept"] | KINDS["tried"] | KINDS["crashed"]]
        first = [e for e in ran if e.proposal.repeat_of is None and not e.proposal.scale]
        return [e for e in first if _matches(self.include, tag, e) and not _matches(self.exclude, tag, e)]

    @property
    def texts(self) -> tuple[str, ...]:
        """Which of the human's own texts leave."""
        return tuple(text for text in TEXTS if text in self.include and text not in self.exclude)


def select(tags: Sequence[str], chosen: Sequence[str], include: Iterable[str], exclude: Iterable[str]) -> Selection:
    """From the words of the command line; `chosen`: the sessions that its options name. Raises UserError."""
    include, exclude = _words(include, tags), _words(exclude, tags)
    named = [word for word in include if word in tags]
    named += [found["tag"] for word in include if (found := _NUMBER.fullmatch(word)) and found["tag"]]
    sessions = [tag for tag in tags if tag in (named or chosen) and tag not in exclude]
    what = [word for word in include if word not in tags]
    if not [word for word in what if word not in TEXTS]:
        what += DEFAULT
    return Selection(tuple(sessions), tuple(what), tuple(exclude))


def _words(given: Iterable[str], tags: Sequence[str]) -> list[str]:
    words = [word.strip() for each in given for word in each.split(",") if word.strip()]
    for word in words:
        number = _NUMBER.fullmatch(word)
        if number and (not number["tag"] or number["tag"] in tags):
            continue
        if word not in (*KINDS, *TEXTS, *tags):
            known = (*KINDS, *TEXTS, *tags)
            hint = f"did you mean {meant}?" if (meant := nearest(word, known)) else f"there are {', '.join(known)}"
            raise UserError(f"{word}: neither a kind nor a session nor an experiment's number", hint)
    return words


def _matches(words: Sequence[str], tag: str, experiment: Experiment) -> bool:
    for word in words:
        if word in KINDS and experiment.status in KINDS[word]:
            return True
        found = _NUMBER.fullmatch(word)
        if found and int(found["number"]) == experiment.number and found["tag"] in (None, tag):
            return True
    return False
