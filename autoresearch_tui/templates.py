"""New labs: a git repository with the files of a template, made whole or not at all."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from autoresearch_tui.errors import UserError

NAMES = ("gpt", "sine", "sort")
DEMO_PROFILE = "demo"
# Of `harness/`: what a lab's train.py is not, and what only makes labs.
_CACHES = shutil.ignore_patterns("__pycache__")
_EDITABLE, _NOT_FOR_LABS = "train.py", frozenset({"profiles.py"})

_GPT_SETTINGS = """\
# A lab of autoresearch-tui. Every key is optional; `autoresearch-tui doctor` says what is in force.

[lab]
editable = ["train.py"]
locked = [{locked}]

[run]
command = ["python", "train.py"]
budget_seconds = {budget}
timeout_seconds = {timeout}
env = {{ AUTORESEARCH_PROFILE = "{profile}" }}

[metric]
# It asks the model for logits and computes val_bpb itself. What train.py prints never decides.
referee = ["python", "-I", "referee.py"]

[researcher]
kind = "{researcher}"              # claude | command | search

[review]
mode = "{mode}"                 # ask | auto
unattended = "{unattended}"  # when nobody answers: hold | approve-low-risk | veto
after_seconds = {after}
"""


def assets() -> Path:
    """The folder with `harness/` and `program.md`: inside the installed package, or the checkout's top."""
    package = Path(__file__).parent
    inside = package / "_lab"
    return inside if inside.is_dir() else package.parent


def init(folder: Path, template: str, *, demo: bool = False) -> Path:
    """Make a new lab in `folder`, which must not exist or be empty. Returns its resolved path.

    Raises UserError; on any failure nothing is left behind.
    """
    target = folder.expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{folder}: exists and is not empty; choose another folder for the new lab")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        if template == "gpt":
            _fill_gpt(scratch, demo=demo)
        else:
            shutil.copytree(assets() / "harness" / "templates" / template, scratch, ignore=_CACHES, dirs_exist_ok=True)
        _commit(scratch, template)
        scratch.chmod(0o755)
        if target.exists():
            target.rmdir()
        scratch.rename(target)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _fill_gpt(folder: Path, *, demo: bool) -> None:
    source = assets() / "harness"
    profiles = _load_profiles(source / "profiles.py")
    name = DEMO_PROFILE if demo else str(profiles.detect())
    knobs = profiles.load()[name].knobs
    locked = [path for path in sorted(source.glob("*.py")) if path.name not in _NOT_FOR_LABS | {_EDITABLE}]
    for path in locked:
        shutil.copyfile(path, folder / path.name)
    train = (source / _EDITABLE).read_text("utf-8")
    (folder / _EDITABLE).write_text(profiles.apply(train, knobs), "utf-8")
    shutil.copyfile(assets() / "program.md", folder / "program.md")
    values: dict[str, object] = {"locked": ", ".join(f'"{path.name}"' for path in locked), "profile": name}
    if demo:
        values |= {"budget": 45, "timeout": 300, "researcher": "search", "mode": "ask"}
        values |= {"unattended": "approve-low-risk", "after": 20}
    else:
        values |= {"budget": 300, "timeout": 600, "researcher": "claude", "mode": "ask"}
        values |= {"unattended": "hold", "after": 300}
    (folder / "autoresearch.toml").write_text(_GPT_SETTINGS.format(**values), "utf-8")


def profile(name: str) -> tuple[str, str]:
    """What the profile called `name` is, and the name of the one that suits this machine. Raises UserError."""
    profiles = _load_profiles(assets() / "harness" / "profiles.py")
    known = ", ".join(profiles.load())
    if name not in profiles.load():
        raise UserError(f"AUTORESEARCH_PROFILE={name}: no such profile; in `run.env`, give one of {known}")
    return str(profiles.describe(name)), str(profiles.detect())


def _load_profiles(path: Path) -> ModuleType:
    # The harness is no package of ours: it stands alone, and is read by path.
    spec = importlib.util.spec_from_file_location("autoresearch_harness_profiles", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _commit(folder: Path, template: str) -> None:
    try:
        import git
    except ImportError:
        raise UserError("git: not found; install it (Debian: apt install git)") from None

    author = git.Actor("autoresearch-tui", "autoresearch-tui@localhost")
    try:
        with git.Repo.init(folder, initial_branch="main") as repo:
            files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
            repo.index.add(sorted(str(path) for path in files if path.parts[0] != ".git"))
            repo.index.commit(f"A new lab ({template})", author=author, committer=author, skip_hooks=True)
    except git.GitError as error:
        raise UserError(f"{folder}: git refused: {str(error).strip().splitlines()[-1]}") from None
