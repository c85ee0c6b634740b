"""What a `program.md` tells its agent: how to run the training, what to read from the log, which file to edit.

Its text is read and never executed. What is ambiguous is left open, and said so.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.util.frozen import Frozen

_PYTHON = re.compile(r"(?:python|pypy)[\d.]*(?:\.exe)?")
_LAUNCHER = re.compile(
    "uvx?|poetry|pipenv|pdm|hatch|rye|pixi|conda|mamba|micromamba|torchrun|accelerate|deepspeed|mpirun|mpiexec|horovodrun"
    "|colossalai|fabric|nohup|timeout|nice|ionice|stdbuf|taskset|numactl|caffeinate|unbuffer"
)
# What hands a run to another machine, or to a container of its own.
_ELSEWHERE = re.compile(
    "sbatch|srun|salloc|qsub|bsub|condor_submit|flux|kubectl|ssh|modal|sky|ray|docker|podman|apptainer|singularity|gcloud"
    "|runpodctl|vastai"
)
_NO_RUN = re.compile(r"-m (?:py_compile|pytest|black|ruff|pdb|compileall|mypy|pip|json\.tool)\b| -c ")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_REDIRECTION = re.compile(
    r"(?:(?<=\s)|^)(?:[0-2]?>{1,2}\s*&\s*[0-2-]|(?:[0-2&]?>{1,2}\|?|<)\s*(?![\s<(&])[^\s|&;<>`]+)"
)
_PLACEHOLDER = re.compile(r"<[A-Za-z][^<>|&;\n]*>|\[[^\[\]\n]+\]|\{[^{}\n]+\}")
_TO_LOG = re.compile(r"(?:^|\s)(?:[0-2&]?>{1,2})\s*\S|\|\s*tee\b")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_TIMEOUT = re.compile(
    r"(?:exceed\w*|longer than|more than|over|past|>)\s*~?(\d{1,3})\s*min[^.\n]{0,40}(?:kill|stop|treat|abort)"
    r"|kill[^.\n]{0,40}?(?:exceed\w*|longer than|more than|over|after|past|>)\s*~?(\d{1,3})\s*min",
    re.IGNORECASE,
)
_BUDGET = re.compile(
    r"(?:fixed (?:time|wall[- ]clock|training)? ?budget of|time budget (?:of|is|:))\W{0,4}"
    r"(\d{1,4})(?: |-)?(s\b|sec|min|h\b|hour)",
    re.IGNORECASE,
)
_UNITS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "hour": 3600}
_GREP = re.compile(
    r"\b(?:grep|egrep|rg)(?:\s+-{1,2}[\w-]+)*\s+(?:([\"'])(.+?)\1|(\^?[\w./-]+:?)(?=\s))|awk\s+(['\"])/(.+?)/"
)
_KEY = re.compile(r"\s*([A-Za-z][\w./@-]*)\s*(?:[:=)(\[$]|\\s|\\\(|$)")
_BESIDE = re.compile(
    r"(?:peak_|max_)?(?:vram|memory|mem)\w*|(?:training|total|elapsed)_(?:seconds|time)|num_\w+|total_tokens\w*|mfu\w*|step"
    r"|epoch|depth|lr|error|traceback|exception|warning|nan|oom|run|status|commit",
    re.IGNORECASE,
)
_LESS = r"(?:low(?:er|est)?|small(?:er|est)|minimi[sz]\w+|reduc\w+|decreas\w+|least|less|down)"
_MORE = r"(?:high(?:er|est)?|larg(?:er|est)|great(?:er|est)|maximi[sz]\w+|increas\w+|most|more|up)"
_FILE = re.compile(
    r"`\.?/?([\w./-]+\.\w{1,5})`|(?<![\w./~-])\.?/?((?:[\w-]+/)*[\w-]+\.(?:py|jl|rs|cu|cpp|c|go|js|ts|sh|toml|yaml|yml|json))\b"
)
_CHANGE = r"(?:edit|modif|chang|touch|alter)"
# "the only file you edit", "ONLY modify `x`", "edit only `x`": nothing said elsewhere takes it back.
_ONLY = re.compile(
    r"\bthe (?:(?:only|one|single) )?(?:file|script|code|module)s? (?:that |which )?"
    r"(?:(?:you|the|an?|we|LLM|model|agents?) ){0,3}"
    rf"(?:(?:may|can|should|will|must|is allowed to) )?{_CHANGE}"
    rf"|\bonly\W{{1,4}}(?:this file|{_CHANGE}\w*|`)|\b{_CHANGE}\w*\W{{1,4}}only\b|\beditable\b",
    re.IGNORECASE,
)
_EDIT = re.compile(r"\b(?:edit\w*|modif(?:y|ies|ied)|chang(?:e|es|ing)|touch|improve|your canvas)\b", re.IGNORECASE)
_NOT = re.compile(
    rf"\b(?:do not|don't|dont|never|must not|may not|cannot|can't|not to|without|nor)\b[^.;\n]{{0,30}}\b{_CHANGE}",
    re.IGNORECASE,
)
_FIXED = re.compile(
    rf"{_NOT.pattern}|read[- ]only|\bfixed\b|\bimmutable\b|\boff[- ]limits\b|\bfrozen\b|\blocked\b", re.IGNORECASE
)


class Command(Frozen):
    """How the training is started. `left_out`: words of it that no run here has; `others`: other such commands."""

    words: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    activated: str = ""  # the environment whose `activate` is read before it
    left_out: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


class Metric(Frozen):
    """The score's name, and whether more or less of it is better; None if the text does not say."""

    name: str
    goal: Goal | None


def command(text: str, scripts: Sequence[str]) -> Command | None:
    """The command that runs one of these scripts: the one that writes the log, or else the first. None if none does."""
    found: list[tuple[bool, Command]] = []
    for source, is_code in _pieces(text):
        if (told := _parse(source, scripts, is_code=is_code)) is not None:
            found.append((_TO_LOG.search(source) is not None, told))
    if not found:
        return None
    chosen = next((told for logged, told in found if logged), found[0][1])
    differ = [told.words for _, told in found if told.words != chosen.words and not {"-h", "--help"} & {*told.words}]
    others = dict.fromkeys(shlex.join(words) for words in differ)
    return Command(chosen.words, chosen.env, chosen.activated, chosen.left_out, tuple(others))


def elsewhere(text: str) -> str:
    """The command by which the program has runs started on another machine or in a container; empty for none."""
    for source, is_code in _pieces(text):
        words = source.split()
        if is_code and len(words) > 1 and _ELSEWHERE.fullmatch(words[0]):
            return " ".join(words)[:80]
    return ""


def scripts(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Which of the known files some command in the text runs, in the order of the text."""
    names = list(known)
    found = [name for source, code in _pieces(text) if code for name in names if _parse(source, (name,), is_code=True)]
    return tuple(dict.fromkeys(found))


def timeout(text: str) -> float | None:
    """After how many seconds the agent kills a run; None if the text does not say."""
    found = _TIMEOUT.search(text)
    return 60.0 * int(found[1] or found[2]) if found else None


def budget(text: str) -> float | None:
    """The seconds of training that the text speaks of; None if it does not."""
    found = _BUDGET.search(text)
    return float(int(found[1]) * _UNITS[found[2].lower()]) if found else None


def metric(text: str) -> Metric | None:
    """What the agent is told to look for in the log, and which way is better; None if it is told nothing."""
    keys = [key for found in _GREP.finditer(text) for key in _keys(found[2] or found[3] or found[5] or "")]
    if not keys:
        return None
    return Metric(keys[0], goal(text, keys[0]))


def goal(text: str, name: str) -> Goal | None:
    """Which way of a metric is better, from what stands beside its name; None if that says nothing, or both."""
    plain = re.sub(r"[`*_\"'’]{1,3}(?=\W|$)|(?<!\w)[`*_\"'’]{1,3}", "", text)
    word = re.escape(name.strip("_*"))
    votes = dict.fromkeys(Goal, 0)
    directions = ((Goal.MINIMIZE, _LESS), (Goal.MAXIMIZE, _MORE))
    for each, direction in directions:
        before = (
            rf"\b{direction}\b(?: (?:the|a|an|of|value|values|possible|mean|average|validation|is)){{0,3}} {word}\b"
        )
        after = rf"\b{word}\b[^.\n]{{0,60}}?[(,;:—– -]\s*{direction}\b(?: (?:is|=|means))? (?:better|wins|good)"
        paren = rf"\b{word}\b[^.\n]{{0,60}}?\({direction}\)"
        than = rf"\b{word}\b (?:is|was|has|goes|improved|should|must) (?:\w+ )?{direction}\b"
        votes[each] += sum(len(re.findall(one, plain, re.IGNORECASE)) for one in (before, after, paren, than))
    if not any(votes.values()):
        for each, direction in directions:
            votes[each] += len(re.findall(rf"\b{direction}\b (?:is|=|means) better", plain, re.IGNORECASE))
    best = max(votes, key=lambda each: votes[each])
    return best if votes[best] > min(votes.values()) else None


def beside(name: str) -> bool:
    """Whether a key of the log stands beside the score by custom: time, memory, counts."""
    return _BESIDE.fullmatch(name) is not None


def usual_goal(name: str) -> Goal | None:
    """Which way a metric of this name is better by custom; None if there is no custom."""
    parts = set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    less = parts & {
        "loss",
        "bpb",
        "bpc",
        "nll",
        "ppl",
        "perplexity",
        "rmse",
        "mse",
        "mae",
        "mape",
        "error",
        "err",
        "wer",
    }
    less |= parts & {"cer", "fid", "latency", "regret", "brier", "logloss", "seconds", "ms", "crossentropy"}
    more = parts & {
        "acc",
        "accuracy",
        "f1",
        "auc",
        "auroc",
        "map",
        "iou",
        "dice",
        "bleu",
        "rouge",
        "psnr",
        "ssim",
        "r2",
    }
    more |= parts & {"reward", "return", "sharpe", "solved", "throughput", "precision", "recall", "elo", "wins", "pnl"}
    if bool(less) == bool(more):
        return None
    return Goal.MINIMIZE if less else Goal.MAXIMIZE


def edited(text: str, exists: Callable[[str], bool]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files that the agent is told to edit, and those that it must leave alone; both of those that exist."""
    only: list[str] = []
    some: list[str] = []
    fixed: list[str] = []
    for line in re.split(r"\n|(?<=[.;]) +", text):
        names = [name for found in _FILE.finditer(line) if exists(name := found[1] or found[2])]
        if _ONLY.search(line) and not _NOT.search(line):
            only += names
        elif _FIXED.search(line):
            fixed += names
        elif _EDIT.search(line):
            some += names
    # "`prepare.py` has the metric. Do not modify." says so in its second sentence.
    fixed += _fixed_in_lines(text, exists)
    told = only or [name for name in some if name not in fixed]
    return tuple(dict.fromkeys(told)), tuple(dict.fromkeys(name for name in fixed if name not in told))


def _fixed_in_lines(text: str, exists: Callable[[str], bool]) -> Iterator[str]:
    for line in text.splitlines():
        first = _FILE.search(line)
        if first and exists(name := first[1] or first[2]):
            rest = line[first.end() :]
            other = _FILE.search(rest)
            if _FIXED.search(rest[: other.start()] if other else rest) and not _ONLY.search(line):
                yield name


def _keys(pattern: str) -> Iterator[str]:
    for part in re.split(r"\\?\|", pattern):
        found = _KEY.match(part.strip("^() "))
        if found and not beside(found[1]) and not found[1].endswith((".log", ".txt")):
            yield found[1]


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Everything in a text that may be a command, and whether it stands as code."""
    text = re.sub(r"\\\r?\n\s*", " ", text)
    fence = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith(("```", "~~~")):
            fence = "" if fence else bare[:3]
        elif fence:
            yield re.sub(r"^[$>%#] ", "", bare), True
        else:
            spans = _SPAN.findall(line)
            yield from ((span.strip().removeprefix("$ "), True) for span in spans)
            if bare.startswith("$ "):
                yield bare[2:], True
            elif not spans:
                yield bare, False


def _parse(source: str, scripts: Sequence[str], *, is_code: bool) -> Command | None:
    """A line as a command that runs one of the scripts."""
    if not any(_stem(script) in source for script in scripts):
        return None
    if not is_code:
        source = _in_prose(source)
    left: list[str] = []
    source = _PLACEHOLDER.sub(" \0 ", source)
    segments = _segments(_REDIRECTION.sub(" ", source))
    env: list[tuple[str, str]] = []
    activated = ""
    for place, words in enumerate(segments):
        if (found := _running(words, scripts, is_code=is_code)) is not None:
            mine, command_words, dropped = found
            left += dropped
            left += [
                shlex.join(each) for each in segments[place + 1 :] if each and each[0] not in ("tee", "cat", "tail")
            ]
            shown = tuple(each.replace("\0", "…").strip() for each in left if each)
            return Command(command_words, (*env, *mine), activated, shown)
        if words[:1] in (["source"], ["."]) and len(words) == 2 and words[1].endswith("bin/activate"):
            activated = words[1].removesuffix("/bin/activate")
        elif words[:1] == ["export"] or (words and all(_ASSIGNMENT.match(word) for word in words)):
            env += [_assigned(word) for word in words if _ASSIGNMENT.match(word)]
        elif words and not (words[0] == "cd" and words[-1] in (".", "./")):
            left.append(shlex.join(words))
    return None


def _running(
    words: Sequence[str], scripts: Sequence[str], *, is_code: bool
) -> tuple[list[tuple[str, str]], tuple[str, ...], list[str]] | None:
    """The assignments, the words and the dropped words of a command that runs one of the scripts."""
    first = next((place for place, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words))
    rest, env = list(words[first:]), [_assigned(word) for word in words[:first]]
    if not rest or not _starts(rest, scripts) or _NO_RUN.search(" ".join(rest)):
        return None
    where = next((place for place, word in enumerate(rest) if _is_script(rest, place, scripts)), None)
    if where is None:
        return None
    kept, dropped = _literal(rest[where + 1 :] if is_code else _options(rest[where + 1 :]))
    head, lost = _literal(rest[: where + 1])
    return env, (*head, *kept), [*lost, *dropped]


def _starts(words: Sequence[str], scripts: Sequence[str]) -> bool:
    name = PurePosixPath(words[0]).name
    if _PYTHON.fullmatch(name) or _LAUNCHER.fullmatch(name) or name in ("env", "time"):
        return True
    if name in ("bash", "sh", "zsh"):
        return any(word.endswith(".sh") for word in words[1:])
    if name in ("julia", "node", "Rscript", "ruby", "cargo", "go"):
        return len(words) > 1
    return _is_script(words, 0, scripts) and words[0].startswith(("./", "../", "/"))


def _is_script(words: Sequence[str], place: int, scripts: Sequence[str]) -> bool:
    word = words[place].removeprefix("./")
    if word in scripts:
        return True
    module = place and words[place - 1] == "-m"
    return bool(module) and any(_stem(script).replace("/", ".") == word for script in scripts)


def _literal(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words that stand for themselves, and the others with the options before them."""
    kept: list[str] = []
    dropped: list[str] = []
    for word in words:
        if "\0" in word or "$" in word or word in ("...", "…"):
            if kept and kept[-1].startswith("-") and "=" not in kept[-1]:
                dropped.append(kept.pop())
            dropped.append(word)
        else:
            kept.append(word)
    return kept, dropped


def _options(words: Sequence[str]) -> list[str]:
    """What follows a script in a sentence: options with their values; the rest is prose."""
    found: list[str] = []
    for word in words:
        value = (
            bool(found)
            and found[-1].startswith("-")
            and "=" not in found[-1]
            and re.fullmatch(r"[\w./-]*\d[\w./-]*", word)
        )
        if not (re.match(r"--?\w|\w+=\S", word) or value):
            break
        found.append(word.rstrip(".,;:)"))
    return found


def _in_prose(line: str) -> str:
    """A sentence from where a command begins in it."""
    program = rf"(?:[\w./~-]*/)?(?:python|pypy)[\d.]*|(?:{_LAUNCHER.pattern})"
    found = re.search(rf"(?:^|(?<=[\s(:$>]))((?:[A-Z_][A-Z0-9_]*=\S+ )*(?:{program}) .*)", line)
    return re.sub(r"[.,;:)]+(?=\s|$)", " ", found[1]) if found else ""


def _segments(source: str) -> list[list[str]]:
    """The commands of a shell line, cut at its operators; none if it is no such line."""
    lexer = shlex.shlex(source, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    segments: list[list[str]] = [[]]
    try:
        for token in lexer:
            if token and not token.strip(";|&"):
                segments.append([])
            else:
                segments[-1].append(token)
    except ValueError:
        return []
    return [words for words in segments if words]


def _assigned(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _stem(script: str) -> str:
    return script.removesuffix(".py") if "/" not in script else PurePosixPath(script).stem
