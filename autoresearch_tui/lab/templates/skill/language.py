"""Fixed: reads a skill and follows its steps. Nobody changes this file.

A skill is a Markdown file: a heading, one or more lines `Use when the request says "…".`, and numbered steps. The steps
work on one value, *it*: a text, a list, a row of a table, a number or a date. program.md lists them.
"""

import calendar
import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_STEPS = 60
LONGEST = 10_000  # characters of a text, items of a list
_STEP = re.compile(r"^\s*\d+[.)]\s+(.+?)\s*$")
_WHEN = re.compile(r"^\s*(?:[-*]\s+)?use (?:it )?when the request says (.+?)\.?\s*$", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]*)"')
_IF = re.compile(r'if the ([\w ]+?) is (not )?"([^"]*)", (.+)', re.IGNORECASE)

Fields = Mapping[str, Any]  # of a task: what the request is about


class Failed(Exception):
    """A step that cannot be followed. `line` is its number in the file."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line


class NotMine(Failed):
    """A check says that this skill is the wrong one."""


@dataclass
class Skill:
    """`when`: lists of phrases; the skill is for a request that has all phrases of one list. `steps`: line, text."""

    name: str
    when: list[list[str]] = field(default_factory=list)
    steps: list[tuple[int, str]] = field(default_factory=list)

    def fits(self, request: str) -> int:
        """How many letters of the request the skill names; 0 if it is not for this request."""
        text = request.lower()
        found = (sum(map(len, phrases)) for phrases in self.when if all(each in text for each in phrases))
        return max(found, default=0)


def read(name: str, text: str) -> Skill:
    """A skill from its file's text."""
    skill = Skill(name)
    for number, line in enumerate(text.splitlines(), 1):
        if found := _WHEN.match(line):
            skill.when += [_QUOTED.findall(part.lower()) for part in re.split(r'(?<=")\s*(?:,\s*)?or\s+', found[1])]
        elif found := _STEP.match(line):
            skill.steps.append((number, found[1].rstrip(".")))
    skill.when = [[each for each in phrases if each] for phrases in skill.when]
    skill.when = [phrases for phrases in skill.when if phrases]
    return skill


def choose(skills: Sequence[Skill], request: str) -> list[Skill]:
    """The skills for a request, the one that names most of it first; of equals, by name."""
    fitting = [skill for skill in skills if skill.fits(request)]
    return sorted(fitting, key=lambda skill: (-skill.fits(request), skill.name))


def follow(skill: Skill, fields: Fields) -> Any:
    """What the skill answers. Raises Failed, with the line."""
    if len(skill.steps) > MOST_STEPS:
        raise Failed(f"more than {MOST_STEPS} steps", skill.steps[MOST_STEPS][0])
    it: Any = None
    for number, text in skill.steps:
        try:
            step = _wanted(text, fields)
            if step.lower() == "answer it":
                return it
            it = _step(step, it, fields) if step else it
            if isinstance(it, str | list) and len(it) > LONGEST:
                raise Failed("the result is too long")
        except Failed as failure:
            raise type(failure)(f"{text}: {failure}", number) from None
        except (ArithmeticError, ValueError, OverflowError) as error:
            raise Failed(f"{text}: {error}", number) from None
    raise Failed("there is no step `Answer it.`", skill.steps[-1][0] if skill.steps else 1)


def known(text: str) -> bool:
    """Whether there is such a step."""
    step = found[4] if (found := _IF.fullmatch(text)) else text
    return step.lower() == "answer it" or any(pattern.fullmatch(step) for pattern, _ in _STEPS)


def _wanted(text: str, fields: Fields) -> str:
    """The step itself; empty if its condition does not hold."""
    found = _IF.fullmatch(text)
    if not found:
        return text
    same = str(fields.get(found[1].lower(), "")) == found[3]
    return found[4] if same != bool(found[2]) else ""


def _step(text: str, it: Any, fields: Fields) -> Any:
    for pattern, act in _STEPS:
        if found := pattern.fullmatch(text):
            return act(it, fields, *found.groups())
    raise Failed("unknown step")


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _text(it: Any) -> str:
    if not isinstance(it, str):
        raise Failed(f"it is {_kind(it)}, no text")
    return it


def _list(it: Any) -> list[str]:
    if not isinstance(it, list) or (it and not isinstance(it[0], str)):
        raise Failed(f"it is {_kind(it)}, no list")
    return it


def _number(it: Any) -> float:
    if isinstance(it, str) and re.fullmatch(r"-?\d+(\.\d+)?", it.strip()):
        return float(it)
    if not isinstance(it, float):
        raise Failed(f"it is {_kind(it)}, no number")
    return it


def _date(it: Any) -> datetime.date:
    if isinstance(it, str):
        return datetime.date.fromisoformat(it)
    if not isinstance(it, datetime.date):
        raise Failed(f"it is {_kind(it)}, no date")
    return it


def _kind(it: Any) -> str:
    names = {str: "a text", list: "a list or a table", dict: "a row", float: "a number", datetime.date: "a date"}
    return names.get(type(it), "nothing yet")


def _field(fields: Fields, name: str) -> Any:
    if name.lower() not in fields:
        raise Failed(f"the request has no {name}; it has {', '.join(fields)}")
    return fields[name.lower()]


def _amount(fields: Fields, word: str) -> float:
    """A number as written, or `the NAME`, a field."""
    return _number(str(_field(fields, word[4:])) if word.lower().startswith("the ") else word)


def _word(fields: Fields, word: str) -> str:
    """A quoted text, or `the NAME`, a field."""
    return word[1:-1] if word.startswith('"') else str(_field(fields, word[4:]))


# ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _later(it: Any, fields: Fields, amount: str, unit: str) -> datetime.date:
    date, count = _date(it), int(_amount(fields, amount))
    if unit.lower().startswith("month"):
        month = date.month - 1 + count
        year, month = date.year + month // 12, month % 12 + 1
        return date.replace(year=year, month=month, day=min(date.day, calendar.monthrange(year, month)[1]))
    return date + datetime.timedelta(days=count * (7 if unit.lower().startswith("week") else 1))


def _row(it: Any, fields: Fields, column: str, word: str) -> dict[str, str]:
    if not isinstance(it, list) or not it or not isinstance(it[0], dict):
        raise Failed(f"it is {_kind(it)}, no table")
    wanted = _word(fields, word)
    rows = [row for row in it if row.get(column.lower()) == wanted]
    if not rows:
        raise Failed(f"no row has {wanted!r} as its {column}")
    return rows[0]


def _cell(it: Any, _: Fields, column: str) -> str:
    if not isinstance(it, dict):
        raise Failed(f"it is {_kind(it)}, no row")
    return str(_field(it, column))


def _checked(it: Any, _: Fields, what: str) -> Any:
    known: dict[str, Callable[[Any], object]] = {"number": _number, "date": _date, "list": _list, "text": _text}
    if what.startswith("not"):
        if it in ("", [], None):
            raise NotMine("it is empty")
        return it
    try:
        known[what.rsplit(maxsplit=1)[-1].lower()](it)
    except (Failed, ValueError) as error:
        raise NotMine(str(error)) from None
    return it


def _ordered(it: Any) -> list[str]:
    return sorted(_list(it), key=_number)


_N = r"(-?\d+(?:\.\d+)?|the [\w ]+?)"
_T = r'("[^"]{0,200}"|the [\w ]+?)'
_STEPS = [
    (re.compile(pattern, re.IGNORECASE), act)
    for pattern, act in (
        (r"take the ([\w ]+)", lambda _it, fields, name: _field(fields, name)),
        (r"take its ([\w ]+)", _cell),
        (rf"find the row where ([\w ]+?) is {_T}", _row),
        (r"make it upper case", lambda it, _: _text(it).upper()),
        (r"make it lower case", lambda it, _: _text(it).lower()),
        (r"trim it", lambda it, _: _text(it).strip()),
        (rf"replace {_T} with {_T}", lambda it, f, a, b: _text(it).replace(_word(f, a) or "\0", _word(f, b))),
        (rf"split it at {_T}", lambda it, f, at: _text(it).split(_word(f, at) or None)),
        (rf"join it with {_T}", lambda it, f, by: _word(f, by).join(_list(it))),
        (rf"keep the first {_N} letters?", lambda it, f, n: _text(it)[: int(_amount(f, n))]),
        (rf"keep the first {_N} letters? of each item", lambda it, f, n: [x[: int(_amount(f, n))] for x in _list(it)]),
        (rf"keep the first {_N} items?", lambda it, f, n: _list(it)[: int(_amount(f, n))]),
        (rf"keep the last {_N} items?", lambda it, f, n: _list(it)[-int(_amount(f, n)) or len(it) :]),
        (r"drop the first item", lambda it, _: _list(it)[1:]),
        (r"drop the last item", lambda it, _: _list(it)[:-1]),
        (r"drop repeats", lambda it, _: list(dict.fromkeys(_list(it)))),
        (rf"drop the items that are {_T}", lambda it, f, word: [x for x in _list(it) if x != _word(f, word)]),
        (r"sort it", lambda it, _: sorted(_list(it))),
        (r"sort it as numbers", lambda it, _: _ordered(it)),
        (r"reverse it", lambda it, _: it[::-1] if isinstance(it, str) else _list(it)[::-1]),
        (rf"add {_N} (days?|weeks?|months?)", _later),
        (rf"add {_N}", lambda it, f, n: _number(it) + _amount(f, n)),
        (rf"subtract {_N}", lambda it, f, n: _number(it) - _amount(f, n)),
        (rf"multiply by {_N}", lambda it, f, n: _number(it) * _amount(f, n)),
        (rf"divide by {_N}", lambda it, f, n: _number(it) / _amount(f, n)),
        (rf"round to {_N} digits?", lambda it, f, n: float(round(_number(it), int(_amount(f, n))))),
        (r"check that it is ((?:a )?(?:number|date|list|text)|not empty)", _checked),
    )
]
