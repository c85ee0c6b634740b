"""Pure: what each of several researchers should look at, so that their answers differ.

Directions have only our own words, names of constants and numbers of experiments; nothing that an agent wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from autoresearch_tui.engine.gate import BASELINE, REPEAT
from autoresearch_tui.python_source import setting
from autoresearch_tui.python_source.constants import MODULE
from autoresearch_tui.session.ends import Outcome
from autoresearch_tui.session.state import Experiment, State

_LATELY = 200  # experiments that count as having varied a value
_NAMES = 3  # values that one direction names
_LONGEST = 40  # characters of such a name
STRUCTURE = "its structure, and not a value"
SIMPLER = "what can go: simpler, or faster, for the same result"


def choose(state: State, files: Mapping[str, str], taken: Collection[str], turn: int) -> str:
    """A direction that is not `taken`, if there are enough; another one each `turn`."""
    found = directions(state.experiments[-_LATELY:], files)
    found = found[turn % len(found) :] + found[: turn % len(found)]
    counts = {each: sum(each == other for other in taken) for each in found}
    return min(found, key=lambda each: counts[each])


def directions(experiments: Sequence[Experiment], files: Mapping[str, str]) -> list[str]:
    """All directions for a lab's files, in order of use."""
    own = [e for e in experiments if e.author not in (BASELINE, REPEAT)]
    descriptions = " ".join(e.description for e in own)
    names = _names(files)
    untried = _several([name for name in names if name not in descriptions])
    varied = _several([name for name in names if name in descriptions])
    found = [STRUCTURE, *(f"values that nothing has varied lately: {each}" for each in untried[:1])]
    kept = next((e for e in reversed(own) if e.outcome == Outcome.KEEP), None)
    if kept is not None:
        found.append(f"further along what #{kept.number} began, which was kept")
    found += [f"values that were varied, by another size or the other way: {each}" for each in varied[:1]]
    missed = [e for e in own if e.outcome == Outcome.DISCARD and e.value is not None]
    if len(missed) > 1:
        found.append(f"what #{missed[-1].number} and #{missed[-2].number} tried: corrected, or put together")
    found.append(SIMPLER)
    found += [f"values that nothing has varied lately: {each}" for each in untried[1:]]
    return found + [f"values that were varied, by another size or the other way: {each}" for each in varied[1:]]


def _names(files: Mapping[str, str]) -> list[str]:
    """The names of the files' constants, in order, without repetitions."""
    readings = (setting.reading(path, text) for path, text in files.items() if path.endswith(".py"))
    knobs = (knob for reading in readings if reading is not None for knob in reading.knobs)
    named = (knob.name for knob in knobs if knob.reach == MODULE and knob.name.isidentifier())
    return list(dict.fromkeys(name for name in named if len(name) <= _LONGEST))


def _several(names: Sequence[str]) -> list[str]:
    return [", ".join(names[at : at + _NAMES]) for at in range(0, len(names), _NAMES)]
