"""The data, environment and kernels of a checkout whose `prepare.py` is the reference's own, or a fork's.

It is looked at from outside, and run as its program tells the human to run it: with the network, which a run has not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_tui import checkout
from autoresearch_tui.engine.cages import home
from autoresearch_tui.engine.cages.environment import check_command, training_command
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import INTERFACE, Lab

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
    """The lab's `prepare.py`, where it is one that knows nothing of us and makes data and a tokenizer."""
    for path in (lab.root / name for name in lab.settings.lab.locked):
        text = path.read_text("utf-8", "replace")
        if re.fullmatch(r"prepare\w*\.py", path.name) and INTERFACE not in text and "tokenizer" in text:
            return path
    return None


def missing(environ: Mapping[str, str]) -> str:
    """What a foreign preparer has not made yet; empty where nothing is missing."""
    cache = home.data_folder(environ)
    shards = sum(1 for _ in (cache / "data").glob("*.parquet"))
    tokenizer = (cache / "tokenizer").is_dir() and any((cache / "tokenizer").iterdir())
    if shards and tokenizer:
        return ""
    return f"{shards} shards and {'a' if tokenizer else 'no'} tokenizer in {cache}"


def missing_kernels(lab: Lab, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The kernels that the lab's script asks for at its start, where none of them has been downloaded."""
    names = checkout.kernels("\n".join((lab.root / path).read_text("utf-8") for path in lab.settings.lab.editable))
    have = {name.partition("--")[2].replace("--", "/") for name in home.kernels(environ)}
    return () if have & set(names) else names


def problem(lab: Lab, environ: Mapping[str, str]) -> str:
    """What is missing before a run can work, and the remedy; empty where nothing is."""
    if preparer(lab) is None:
        return ""
    if Path(training_command(lab)[0]).name == "uv" and lab.venv is None:
        return "no .venv yet, and a run has no network to make it; run `autoresearch-tui prepare`"
    if lacking := missing(environ):
        return f"{lacking}; run `autoresearch-tui prepare`"
    kernels = missing_kernels(lab, environ)
    if kernels and has_nvidia():
        return f"none of the kernels {', '.join(kernels)} is downloaded; run `autoresearch-tui prepare`"
    return ""


def has_nvidia() -> bool:
    """Whether there is a GPU for which the reference downloads a kernel."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def prepare(lab: Lab, arguments: Sequence[str]) -> None:
    """The lab's own preparer, and its kernels, as its human would run them: with the network, in this terminal.

    Raises UserError.
    """
    path = preparer(lab)
    assert path is not None
    if "--data" in arguments:
        raise UserError(f"{lab.root}: its {path.name} knows one set of data; leave out --data")
    words = training_command(lab)
    script = next((place for place, word in enumerate(words) if word.endswith(".py")), len(words))
    if missing(os.environ) or arguments or (Path(words[0]).name == "uv" and lab.venv is None):
        _run(lab, [*words[:script], path.name, *arguments])
    kernels = missing_kernels(lab, os.environ)
    if kernels and has_nvidia():
        python = [] if re.fullmatch(r"python[\d.]*", Path(words[0]).name) else ["python"]
        _run(lab, [*words[:script], *python, "-c", _FETCH, *kernels])
    check_command(lab)
    if lacking := problem(lab, os.environ):
        raise UserError(f"{lab.root}: {path.name} ended well, but: {lacking.partition(';')[0]}")


def _run(lab: Lab, command: Sequence[str]) -> None:
    shown = " ".join(word for word in command if "\n" not in word)
    sys.stderr.write(f"{lab.root}: {shown}\n")
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if lab.venv is not None:
        environ["PATH"] = f"{lab.venv / 'bin'}{os.pathsep}{environ.get('PATH', '')}"
    try:
        done = subprocess.run(list(command), cwd=lab.root, env=environ, check=False)
    except OSError as error:
        raise UserError(f"{lab.root}: `{shown}` cannot be run: {error.strerror}; install {command[0]}") from None
    if done.returncode != 0:
        raise UserError(f"{lab.root}: `{shown}` ended with exit code {done.returncode}; what it said stands above")
