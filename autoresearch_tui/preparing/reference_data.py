"""The data, environment and kernels of a checkout whose `prepare.py` is the reference's own, or a fork's.

It is inspected from outside, and run as its human would run it: with the network, which a run does not have.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from autoresearch_tui.lab import discovery, home
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.paths import INTERFACE, Lab
from autoresearch_tui.lab.session_files import STATE_FOLDER
from autoresearch_tui.python_source.values import Module, Modules, Unknown
from autoresearch_tui.runs.environment import check_command, training_command
from autoresearch_tui.util import trees
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line

_PROOF = "prepared.json"
_TOKENIZER_BYTES = 64 << 20

_FETCH = """
import sys
from kernels import get_kernel
ready = 0
for name in sys.argv[1:]:
    try:
        get_kernel(name)
        ready += 1
        print(f"{name}: ready")
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
sys.exit(not ready)
"""


def preparer(lab: Lab) -> Path | None:
    """The lab's `prepare.py`, if it is not ours, does something when it is run, and is not the scorer."""
    scores = {*lab.settings.metric.referee, *lab.settings.run.command}
    for path in (lab.root / name for name in lab.settings.lab.locked if name not in scores):
        if not re.fullmatch(r"prepare[\w-]*\.py", path.name, re.IGNORECASE) or not path.is_file():
            continue
        module = Modules(lab.root, {}, Path.home()).module(path)
        if module is not None and INTERFACE not in module.text and _acts(module):
            return path
    return None


def missing(lab: Lab, environ: Mapping[str, str]) -> str:
    """What the preparer has not made yet; empty if nothing is missing, or what it makes is unknown.

    A recorded success is proof. Without one, the folders that its code makes or names are checked, or the reference's
    if it names none.
    """
    path = preparer(lab)
    if path is None:
        return ""
    proven, places = _proof(lab, path), _places(lab, path, environ)
    empty = [place for place in (places if proven is None else proven) if not _filled(place)]
    if proven is not None or places:
        usual = home.data_folder(environ)
        if set(empty) <= {usual / "data", usual / "tokenizer"} and proven is None:
            return _missing_usual(environ) if empty else ""
        return f"nothing yet in {', '.join(map(str, empty))}" if empty else ""
    return _missing_usual(environ) if "tokenizer" in path.read_text("utf-8", "replace") else ""


def identity(lab: Lab, environ: Mapping[str, str]) -> str:
    """Identifies the prepared data: the number of its files, and the first digits of a hash.

    The hash is of names and sizes, and of the contents of a tokenizer's files. Empty for a lab without a preparer.
    """
    path = preparer(lab)
    if path is None:
        return ""
    usual = home.data_folder(environ)
    places = _proof(lab, path) or _places(lab, path, environ) or [usual / "data", usual / "tokenizer"]
    lines = [_described(place, name, size) for place in places for name, size in trees.sizes(place)]
    return f"{len(lines)} files {hashlib.sha256(chr(10).join(sorted(lines)).encode()).hexdigest()[:12]}"


def _described(place: Path, name: str, size: int) -> str:
    made = "tokeni" in f"{place}/{name}".lower() and size <= _TOKENIZER_BYTES
    return f"{name}\t{size}\t{_digest(place / name) if made else ''}"


def unproven(lab: Lab, environ: Mapping[str, str]) -> bool:
    """Whether it is unknown if the preparer was run: never by us, and it names no folder."""
    path = preparer(lab)
    return path is not None and _proof(lab, path) is None and not _places(lab, path, environ)


def _missing_usual(environ: Mapping[str, str]) -> str:
    cache = home.data_folder(environ)
    shards = sum(1 for _ in (cache / "data").glob("*.parquet"))
    tokenizer = (cache / "tokenizer").is_dir() and any((cache / "tokenizer").iterdir())
    if shards and tokenizer:
        return ""
    return f"{shards} shards and {'a' if tokenizer else 'no'} tokenizer in {cache}"


def _acts(module: Module) -> bool:
    """Whether a module does something when it is run: it has a `__main__` part, or a call at its top level."""
    for node in module.tree.body:
        match node:
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                return True
            case ast.Expr(value=ast.Call(func=ast.Name(id=name))) if name != "print":
                return True
            case ast.For() | ast.While() | ast.With():
                return True
    return False


def _places(lab: Lab, path: Path, environ: Mapping[str, str]) -> list[Path]:
    """The innermost folders that the preparer makes, else those that it names for its data."""
    module = Modules(lab.root, {**environ, **lab.settings.run.env}, Path.home()).module(path)
    if module is None:
        return []
    made = [node for call in ast.walk(module.tree) for node in _made(call)]
    found = _folders(module, made) or _folders(
        module,
        [ast.Name(name) for name in module.names() if re.search(r"(?:DATA|TOKENI[SZ]ER|SHARD|FEATURE|CORPUS)", name)],
    )
    inner = [place for place in found if not any(other != place and other.is_relative_to(place) for other in found)]
    usual, cache = Path.home() / home.DATA, home.data_folder(environ)
    moved = [cache / place.relative_to(usual) if place.is_relative_to(usual) else place for place in inner]
    return list(dict.fromkeys(place for place in moved if not (lab.root / ".git").is_relative_to(place)))


def _made(call: ast.AST) -> Iterator[ast.expr]:
    """The path of the folder that a call makes."""
    match call:
        case ast.Call(func=ast.Attribute(attr="makedirs" | "mkdir"), args=[ast.expr() as place, *_]):
            yield place
        case ast.Call(func=ast.Attribute(attr="mkdir", value=place), args=[]):
            yield place


def _folders(module: Module, nodes: Iterable[ast.expr]) -> list[Path]:
    found = []
    for node in nodes:
        try:
            value = module.evaluate(node)
        except Unknown:
            continue
        text = str(value) if isinstance(value, str | PurePosixPath) else ""
        if text and not Path(text).suffix and (text.startswith("/") or not isinstance(node, ast.Name)):
            found.append(Path(os.path.normpath(module.path.parent / text)))
    return found


def _filled(place: Path) -> bool:
    return place.is_dir() and any(place.iterdir())


def _proof(lab: Lab, path: Path) -> list[Path] | None:
    """The folders that this very preparer filled when it succeeded; None without a recorded success."""
    try:
        proof = json.loads((lab.state_folder / _PROOF).read_text("utf-8"))
        if proof["prepare"] == _digest(path):
            return [Path(place) for place in proof["places"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _prove(lab: Lab, path: Path) -> None:
    """Record that the preparer succeeded, and what it filled."""
    places = [str(place) for place in _places(lab, path, os.environ) if _filled(place)]
    try:
        lab.state_folder.mkdir(exist_ok=True)
        GitRepo(lab.root).ignore((f"{STATE_FOLDER}/",))
        (lab.state_folder / _PROOF).write_text(json.dumps({"prepare": _digest(path), "places": places}) + "\n")
    except (OSError, GitError) as error:
        sys.stderr.write(f"{lab.root}: that it is prepared cannot be remembered: {error}\n")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def missing_kernels(lab: Lab, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The kernels that the lab's script loads at its start, if none of them is downloaded."""
    names = discovery.kernels("\n".join((lab.root / path).read_text("utf-8") for path in lab.editable_files))
    have = {name.partition("--")[2].replace("--", "/") for name in home.kernels(environ)}
    return () if have & set(names) else names


def problem(lab: Lab, environ: Mapping[str, str]) -> str:
    """What a run still lacks, and the remedy; empty if nothing."""
    if _lacks_environment(lab):
        return "no .venv yet, and a run has no network to make it; run `autoresearch-tui prepare`"
    if lacking := missing(lab, environ):
        return f"{lacking}; run `autoresearch-tui prepare`"
    kernels = missing_kernels(lab, environ)
    if kernels and has_nvidia() and preparer(lab) is not None:
        return f"none of the kernels {', '.join(kernels)} is downloaded; run `autoresearch-tui prepare`"
    return ""


def _lacks_environment(lab: Lab) -> bool:
    """Whether the training command lacks an environment that `prepare` can make."""
    if lab.venv is not None:
        return False
    program = training_command(lab)[0]
    project = any((lab.root / name).is_file() for name in ("pyproject.toml", "requirements.txt"))
    return (Path(program).name == "uv" and (lab.root / "pyproject.toml").is_file()) or (
        program.startswith(".venv/") and project
    )


def has_nvidia() -> bool:
    """Whether there is a GPU for which the reference downloads a kernel."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


Say = Callable[[str], None]


def prepare(lab: Lab, arguments: Sequence[str], say: Say | None = None) -> str:
    """Make the lab's environment, run its preparer and fetch its kernels, like its human: with the network, in this
    terminal. Returns a message. `say` takes each line instead of the terminal. Raises UserError.
    """
    path = preparer(lab)
    if arguments and path is None:
        raise UserError(f"{lab.root}: this lab has no data to choose")
    if "--data" in arguments and path is not None:
        raise UserError(f"{lab.root}: its {path.name} knows one set of data", "leave out --data")
    lacked = _lacks_environment(lab)
    words = training_command(lab)
    by_uv = Path(words[0]).name == "uv"
    if lacked and not (by_uv and path is not None):
        _make_environment(lab, say)
        words = training_command(lab)
    ran = path is not None and bool(
        missing(lab, os.environ) or arguments or unproven(lab, os.environ) or (lacked and by_uv)
    )
    script = next((place for place, word in enumerate(words) if word.endswith(".py") or word == "-m"), len(words))
    before = (
        words[:script] if by_uv or len(words[:script]) == 1 else (words[0],) if _is_python(words[0]) else ("python",)
    )
    if ran and path is not None:
        _run(lab, [*before, str(path.relative_to(lab.root)), *arguments], say)
        _prove(lab, path)
    kernels = missing_kernels(lab, os.environ)
    if kernels and has_nvidia():
        python = [] if _is_python(words[0]) else ["python"]
        _run(lab, [*before, *python, "-c", _FETCH, *kernels], say)
    check_command(lab)
    if lacking := problem(lab, os.environ):
        raise UserError(f"{lab.root}: {lacking.partition(';')[0]}")
    if path is None:
        made = "Its environment is made; there" if lacked else "There"
        return f"{made} is nothing else to prepare: no locked file of the lab is a prepare.py that does something."
    return f"{path.name} ended well: the lab is prepared." if ran else "Everything is there; nothing was run."


def _is_python(program: str) -> bool:
    return re.fullmatch(r"python[\d.]*", Path(program).name) is not None


def _make_environment(lab: Lab, say: Say | None) -> None:
    """Make `.venv` from the project or the list of requirements. Raises UserError."""
    if (lab.root / "pyproject.toml").is_file():
        _run(lab, ["uv", "sync"], say)
        return
    _run(lab, [sys.executable, "-m", "venv", ".venv"], say)
    _run(lab, [".venv/bin/python", "-m", "pip", "install", "-r", "requirements.txt"], say)


def _run(lab: Lab, command: Sequence[str], say: Say | None) -> None:
    shown = " ".join(word for word in command if "\n" not in word)
    last = ""
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if lab.venv is not None:
        environ["PATH"] = f"{lab.venv / 'bin'}{os.pathsep}{environ.get('PATH', '')}"
    try:
        if say is None:
            sys.stderr.write(f"{lab.root}: {shown}\n")
            code = subprocess.run(list(command), cwd=lab.root, env=environ, check=False).returncode
        else:
            say(shown)
            code, last = _watched(lab, command, environ, say)
    except OSError as error:
        raise UserError(f"{lab.root}: `{shown}` cannot be run: {error.strerror}", f"install {command[0]}") from None
    if code != 0:
        ended = f"{lab.root}: `{shown}` ended with exit code {code}"
        raise UserError(f"{ended}: {last}") if say is not None else UserError(ended, "what it said stands above")


def _watched(lab: Lab, command: Sequence[str], environ: Mapping[str, str], say: Say) -> tuple[int, str]:
    """Run a command, and pass each of its lines to `say`. Returns its exit code and last line. Raises OSError."""
    process = subprocess.Popen(
        list(command),
        cwd=lab.root,
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,  # text rewritten in place, such as progress bars, counts as lines
        errors="replace",
    )
    assert process.stdout is not None
    last = ""
    with process.stdout:
        for line in process.stdout:
            if text := clean_line(line.strip()):
                last = text
                say(text)
    return process.wait(), last
