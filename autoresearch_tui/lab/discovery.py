"""A checkout of the reference, or of a fork, that has no settings of its own: what its own files say about running it.

What a fork does otherwise it tells its agent in `program.md` (the command, the metric, the file to edit), and its code
has the budget. All of it is read and nothing executed; what is not clear is a :class:`Doubt`. A key in
`autoresearch.toml` takes the place of what would be read for that key, and of nothing else.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.lab import instructions, settings_reading
from autoresearch_tui.lab.editable import is_pattern
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.settings import FILE_NAME, LabSettings, MetricSettings, RunSettings, Settings
from autoresearch_tui.python_source.values import Module, Modules, Unknown
from autoresearch_tui.util.errors import in_line
from autoresearch_tui.util.frozen import Frozen

OURS = "AUTORESEARCH_TIME_BUDGET"
# The harness's own interface; a prepare.py without it (the reference's, a fork's) is left alone.
INTERFACE = "AUTORESEARCH_PROFILE"
_CODE = (".py", ".jl", ".rs", ".cu", ".cpp", ".c", ".h", ".go", ".js", ".ts", ".java", ".sh")
_BUDGETS = ("TIME_BUDGET", "TIME_BUDGET_SECONDS", "TIME_BUDGET_S", "TRAIN_TIME_BUDGET", "TRAINING_BUDGET_SECONDS")
_LONGEST = 1e7
_NO_TRAINING = re.compile(
    r"(?:prepare|setup|download|collect|fetch|analy[sz]|plot|dashboard|monitor|ingest|test)", re.I
)
_HEADER = re.compile(r"^\W*commit\s*[\t|,]\s*`?([A-Za-z]\w*)`?\s*[\t|,]", re.MULTILINE)
_PRINTED = re.compile(r"([A-Za-z]\w*)\s*[:=]")


class Doubt(Frozen):
    """Something that the checkout's files leave open. `needed`: a run without it would be wasted."""

    key: str
    text: str
    remedy: str
    needed: bool = False


class Reading(Frozen):
    """What a checkout's files ask for; `sources` has, for each key that was read, where."""

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()


def files(folder: Path) -> LabSettings | None:
    """The program, the editable and the locked files: by the reference's names, near ones, or as the program says."""
    program = _nearest(folder, "program", ".md")
    if program is None:
        return None
    told, fixed = _told(folder, (folder / program).read_text("utf-8", "replace"))
    prepare = _nearest(folder, "prepare", ".py")
    train = _nearest(folder, "train", ".py")
    editable = tuple(name for name in told if name != prepare) or ((train,) if train else ())
    locked = dict.fromkeys(name for name in (prepare, *fixed) if name and name not in editable)
    return LabSettings(program, editable, tuple(locked)) if editable and locked else None


def guess(folder: Path) -> str:
    """The line of an `autoresearch.toml` that would make a lab of a folder in which no files were recognised."""
    program = _nearest(folder, "program", ".md") or next((p.name for p in sorted(folder.glob("*.md"))), "program.md")
    told, fixed = _told(folder, _text(folder / program))
    train = told or tuple(filter(None, [_nearest(folder, "train", ".py")])) or ("train.py",)
    locked = list(dict.fromkeys((*fixed, *filter(None, [_nearest(folder, "prepare", ".py")]))))
    lists = {"editable": list(train), "locked": [name for name in locked if name not in train]}
    words = [f"program = {json.dumps(program)}", *(f"{key} = {json.dumps(names)}" for key, names in lists.items())]
    return f"lab = {{ {', '.join(words)} }}"


def read(folder: Path) -> tuple[Settings, Reading]:
    """A lab's settings: what a human wrote, and for every other key what its files say. Raises UserError."""
    table, where = settings_reading.table(folder)
    written = settings_reading.from_table(table, where)
    reading = _Reader(folder, table, written).reading()
    return settings_reading.from_table(table, where, reading.settings), reading


def ignores_time_budget(folder: Path) -> str:
    """Why a budget from outside would change nothing; empty if it would."""
    _, reading = read(folder)
    source = reading.sources.get("run.budget_seconds", "")
    name, _, constant = source.partition(": ")
    if not constant or OURS in (folder / name).read_text("utf-8", "replace"):
        return ""
    return f"{name} has a {constant} of its own, and reads no other; change that, and commit it"


def needed(doubts: Iterable[Doubt], given: Collection[str] = ()) -> str:
    """What a session cannot start without, and how to say it; empty if there is nothing. `given` are known keys."""
    return next((in_line(each.text, each.remedy) for each in doubts if each.needed and each.key not in given), "")


def kernels(text: str) -> tuple[str, ...]:
    """The kernels that a training script asks the hub for at its start, by their repositories' names."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    given: dict[str, ast.expr] = {}
    asked: list[ast.expr] = []
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                given[name] = value
            case ast.Call(func=ast.Name(id="get_kernel") | ast.Attribute(attr="get_kernel"), args=[first, *_]):
                asked.append(first)
    names = []
    for expression in asked:
        source = given.get(expression.id, expression) if isinstance(expression, ast.Name) else expression
        names += [node.value for node in ast.walk(source) if isinstance(node, ast.Constant)]
    return tuple(dict.fromkeys(n for n in names if isinstance(n, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", n)))


class _Reader:
    """Reads one checkout; what is written in `table` is not read again."""

    def __init__(self, folder: Path, table: Mapping[str, Any], written: Settings) -> None:
        self._folder = folder
        self._table = table
        self._written = written
        self._sources: dict[str, str] = {}
        self._doubts: list[Doubt] = []

    def reading(self) -> Reading:
        lab = self._lab()
        text = _text(self._folder / lab.program)
        run = self._command(text, lab)
        environ = {**run.env, **self._written.run.env}
        modules = Modules(self._folder, environ, Path.home())
        places = [self._folder / name for name in (*lab.locked, *lab.editable) if not is_pattern(name)]

        def code() -> Iterator[Module]:
            return modules.reached(places)

        run = self._limits(text, lab, run, code)
        return Reading(
            replace(Settings(), lab=lab, run=run, metric=self._metric(text, lab, code)),
            MappingProxyType(self._sources),
            tuple(self._doubts),
        )

    def _has(self, section: str, key: str) -> bool:
        return key in self._table.get(section, {})

    def _doubt(self, section: str, key: str, text: str, remedy: str, *, needed: bool = False) -> None:
        if not self._has(section, key):
            self._doubts.append(Doubt(f"{section}.{key}", text, remedy, needed))

    def _lab(self) -> LabSettings:
        """What is written, and for the rest what was found; never one file in both lists."""
        found, mine = files(self._folder) or LabSettings(), self._written.lab
        editable = mine.editable if self._has("lab", "editable") else found.editable
        locked = mine.locked if self._has("lab", "locked") else found.locked
        if not self._has("lab", "editable"):
            editable = tuple(name for name in editable if name not in locked) or editable
        elif not self._has("lab", "locked"):
            locked = tuple(name for name in locked if name not in editable)
        return LabSettings(mine.program if self._has("lab", "program") else found.program, editable, locked)

    def _command(self, text: str, lab: LabSettings) -> RunSettings:
        usual = replace(RunSettings(), command=("uv", "run", lab.editable[0]))
        if self._has("run", "command"):
            return usual
        told = instructions.command(text, lab.editable) or self._runner(text)
        if told is None:
            if other := instructions.elsewhere(text):
                words = f"{lab.program} starts runs with `{other}`, and a run is started on this machine"
                remedy = f'write how into {FILE_NAME}: run.command = ["python", "{lab.editable[0]}"]'
                self._doubt("run", "command", words, remedy, needed=True)
            elif text:
                words = f"{lab.program} tells no command; `{' '.join(usual.command)}` is assumed"
                self._doubt(
                    "run", "command", words, f'if it is another, write it into {FILE_NAME}: run.command = ["…"]'
                )
            return usual
        self._sources["run.command"] = lab.program
        if told.left_out:
            words = f"of the command in {lab.program} is left out: {', '.join(f'`{word}`' for word in told.left_out)}"
            self._doubt("run", "command", words, f"where a run needs them, write run.command into {FILE_NAME}")
        if told.others:
            words = f"{lab.program} has other commands as well: {', '.join(f'`{word}`' for word in told.others[:4])}"
            self._doubt(
                "run", "command", words, f"`{' '.join(told.words)}` is used; run.command in {FILE_NAME} decides"
            )
        words_ = told.words
        if told.activated and not words_[0].startswith(("/", "./", ".venv/")) and "/" not in words_[0]:
            words_ = (f"{told.activated}/bin/{words_[0]}", *words_[1:])
        return replace(usual, command=words_, env=MappingProxyType(dict(told.env)))

    def _runner(self, text: str) -> instructions.Command | None:
        """The command of the one other script that the program runs and that could be the training."""
        known = [path.name for path in sorted(self._folder.glob("*.py")) if not _NO_TRAINING.match(path.name)]
        known += [path.name for path in sorted(self._folder.glob("*.sh"))]
        names = instructions.scripts(text, known)
        return instructions.command(text, names) if len(names) == 1 else None

    def _limits(
        self, text: str, lab: LabSettings, run: RunSettings, code: Callable[[], Iterator[Module]]
    ) -> RunSettings:
        written = self._has("run", "budget_seconds")
        budget = run.budget_seconds if written else self._budget(text, lab, run.budget_seconds, code)
        force = self._written.run.budget_seconds if written else budget
        told = instructions.timeout(text)
        if told is not None:
            self._sources["run.timeout_seconds"] = lab.program
        return replace(run, budget_seconds=budget, timeout_seconds=max(told or run.timeout_seconds, 1.5 * force))

    def _budget(self, text: str, lab: LabSettings, usual: float, code: Callable[[], Iterator[Module]]) -> float:
        told, unclear = instructions.budget(text), ""
        if any(INTERFACE in _text(self._folder / name) for name in lab.locked):
            return usual
        for module in code():
            for name in (name for name in _BUDGETS if module.defines(name)):
                where = f"{module.path.relative_to(self._folder)}: {name}"
                try:
                    value = module.value(name)
                except Unknown as unknown:
                    if OURS in module.text:
                        return usual  # it takes what it is given
                    unclear = unclear or f"{where} is {unknown}"
                    continue
                if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LONGEST:
                    self._sources["run.budget_seconds"] = where
                    return float(value)
                unclear = unclear or f"{where} is {value!r}, which is no number of seconds"
        return self._without_budget(lab, usual, told, unclear, text)

    def _without_budget(self, lab: LabSettings, usual: float, told: float | None, unclear: str, text: str) -> float:
        if told is not None:
            self._sources["run.budget_seconds"] = lab.program
        known = f"{told:g} s, as {lab.program} says" if told else f"{usual:g} s"
        remedy = f"write the seconds of training into {FILE_NAME}: run.budget_seconds = {told or usual:g}"
        if unclear:
            assumed = f"; {known} is taken" if told else ", which cannot be known without running it"
            self._doubt("run", "budget_seconds", f"{unclear}{assumed}", remedy, needed=told is None)
        elif told is None and text and not self._has("run", "budget_tokens"):
            self._doubt("run", "budget_seconds", f"no TIME_BUDGET in its code; {known} is assumed", remedy)
        return told or usual

    def _metric(self, text: str, lab: LabSettings, code: Callable[[], Iterator[Module]]) -> MetricSettings:
        usual, mine = MetricSettings(), self._written.metric
        told = instructions.metric(text)
        if told is None and (header := _HEADER.search(text)) and any(header[1] in module.text for module in code()):
            told = instructions.Metric(header[1], None)
        name, goal = usual.name, usual.goal
        if self._has("metric", "name"):
            name, goal = mine.name, instructions.goal(text, mine.name) or usual.goal
        elif self._has("metric", "pattern") or self._has("metric", "referee"):
            return usual
        elif told is not None and told.name != usual.name:
            name, goal = told.name, self._goal(text, told, lab)
            self._sources["metric.name"] = lab.program
        elif told is None and not any(usual.name in module.text for module in code()):
            self._unnamed(lab, code)
        pattern = usual.pattern if name == usual.name else rf"^{re.escape(name)}:\s+(\S+)"
        return replace(usual, name=name, goal=goal, pattern=pattern)

    def _goal(self, text: str, told: instructions.Metric, lab: LabSettings) -> Goal:
        said = told.goal or instructions.goal(text, told.name)
        if said is not None:
            self._sources["metric.goal"] = lab.program
            return said
        custom = instructions.usual_goal(told.name)
        taken = f"{'more' if custom is Goal.MAXIMIZE else 'less'} is {'taken, by its name' if custom else 'assumed'}"
        words = f"{lab.program} does not say whether more or less of {told.name} is better; {taken}"
        self._doubt("metric", "goal", words, f'write into {FILE_NAME}: metric.goal = "minimize" (or "maximize")')
        return custom or Goal.MINIMIZE

    def _unnamed(self, lab: LabSettings, code: Callable[[], Iterator[Module]]) -> None:
        """No program says what is looked for, and no code prints the usual."""
        printed = list(dict.fromkeys(key for module in code() for key in _printed(module)))
        printed = sorted(printed, key=lambda key: not key.startswith(("val_", "test_", "eval_")))[:8]
        keys = f"; it prints {', '.join(printed)}" if printed else ""
        words = f"{lab.program} names no score, and no code of the lab prints val_bpb{keys}"
        name = printed[0] if printed else "NAME"
        self._doubt(
            "metric", "name", words, f'write into {FILE_NAME}: metric = {{ name = "{name}", goal = "minimize" }}'
        )


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _told(folder: Path, text: str) -> tuple[list[str], list[str]]:
    """The code that the program has edited, and the code that it has left alone."""
    root = folder.resolve()

    def exists(name: str) -> bool:
        path = folder / name
        return name.endswith(_CODE) and path.is_file() and path.resolve().is_relative_to(root)

    told, fixed = instructions.edited(text, exists)
    return list(told), list(fixed)


def _nearest(folder: Path, stem: str, end: str) -> str | None:
    """The file of this name; else the only one whose name differs in its case; else the only one that begins so."""
    if (folder / f"{stem}{end}").is_file():
        return f"{stem}{end}"
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        return None
    same = [name for name in names if name.lower() == f"{stem}{end}"]
    near = [name for name in names if re.fullmatch(rf"{stem}[_-][\w.-]*{re.escape(end)}", name, re.IGNORECASE)]
    found = same or near
    return found[0] if len(found) == 1 else None


def _printed(module: Module) -> list[str]:
    """The keys that a module prints in front of a number."""
    found = []
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id="print"), args=[ast.JoinedStr(values=[ast.Constant(value=str(text)), *_])]):
                found += [match[1] for match in [_PRINTED.match(text)] if match and match[1].islower()]
    return [key for key in found if not instructions.beside(key)]
