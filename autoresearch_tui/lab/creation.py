"""Makes new labs: a git repository with the files of a template, complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.lab import profiles
from autoresearch_tui.util.errors import UserError

NAMES = ("gpt", "sine", "sort", "kernel", "strategy", "prompt", "skill")
_SHARED = {"sort": ("judge.py",), "kernel": ("judge.py",)}
"""Files that several templates share."""
DEMO_PROFILE = "demo"
_CACHES = shutil.ignore_patterns("__pycache__")
_TEMPLATES = Path(__file__).with_name("templates")

_GPT_SETTINGS = """\
# A lab of autoresearch-tui. Every key is optional; `autoresearch-tui doctor` says what is in force.

[lab]
editable = ["train.py"]
locked = ["prepare.py", "fixed"]

[run]
command = ["python", "train.py"]
budget_seconds = {budget}
timeout_seconds = {timeout}
env = {{ AUTORESEARCH_PROFILE = "{profile}" }}

[metric]
# It asks the model for logits and computes val_bpb itself. What train.py prints never decides.
referee = ["python", "-I", "fixed/referee.py"]

[researcher]
kind = "{researcher}"              # claude | command | search

[review]
mode = "{mode}"                 # ask | auto
unattended = "{unattended}"  # when nobody answers: hold | approve-low-risk | veto
after_seconds = {after}
"""


def assets() -> Path:
    """The folder with `harness/` and `program.md`: inside the installed package, or the checkout's top."""
    package = Path(__file__).parents[1]
    inside = package / "_lab"
    return inside if inside.is_dir() else package.parent


# The resources of a demo run on a cluster's node.
_ON_PROCESSORS = """
[cluster]
resources = { CPU = 1 }
"""


def init(folder: Path, template: str, *, demo: bool = False) -> Path:
    """Make a new lab in `folder`, which must not exist or be empty. Returns its resolved path.

    Raises UserError; on any failure nothing is left behind.
    """
    target = folder.expanduser().resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{folder}: exists and is not empty", "choose another folder for the new lab")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        if template == "gpt":
            _fill_gpt(scratch, demo=demo)
        else:
            shutil.copytree(_TEMPLATES / template, scratch, ignore=_CACHES, dirs_exist_ok=True)
            for name in _SHARED.get(template, ()):
                shutil.copyfile(_TEMPLATES / "shared" / name, scratch / name)
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


def lay_out(folder: Path, profile: str, knobs: Mapping[str, object] | None = None) -> None:
    """Copy the harness into an existing folder; train.py gets the profile's knobs, then `knobs`."""
    source = assets() / "harness"
    shutil.copytree(source, folder, ignore=_CACHES, dirs_exist_ok=True)
    train = (source / "train.py").read_text("utf-8")
    wanted = {**profiles.load()[profile].knobs, **(knobs or {})}
    (folder / "train.py").write_text(profiles.apply(train, wanted), "utf-8")


def _fill_gpt(folder: Path, *, demo: bool) -> None:
    name = DEMO_PROFILE if demo else profiles.detect()
    lay_out(folder, name)
    shutil.copyfile(assets() / "program.md", folder / "program.md")
    values: dict[str, object] = {"profile": name}
    if demo:
        values |= {"budget": 45, "timeout": 300, "researcher": "search", "mode": "ask"}
        values |= {"unattended": "approve-low-risk", "after": 20}
    else:
        values |= {"budget": 300, "timeout": 600, "researcher": "claude", "mode": "ask"}
        values |= {"unattended": "hold", "after": 300}
    on_processors = _ON_PROCESSORS if demo else ""
    (folder / "autoresearch.toml").write_text(_GPT_SETTINGS.format(**values) + on_processors, "utf-8")


def profile(name: str) -> tuple[str, str]:
    """A description of the profile `name`, and the name of the one that suits this machine. Raises UserError."""
    known = profiles.load()
    if name not in known:
        raise UserError(
            f"AUTORESEARCH_PROFILE={name}: no such profile", f"in `run.env`, give one of {', '.join(known)}"
        )
    return profiles.describe(name), profiles.detect()


def _commit(folder: Path, template: str) -> None:
    try:
        import git
    except ImportError:
        raise UserError("git: not found", "install it (Debian: apt install git)") from None

    author = git.Actor("autoresearch-tui", "autoresearch-tui@localhost")
    try:
        with git.Repo.init(folder, initial_branch="main") as repo:
            files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
            repo.index.add(sorted(str(path) for path in files if path.parts[0] != ".git"))
            repo.index.commit(f"A new lab ({template})", author=author, committer=author, skip_hooks=True)
    except git.GitError as error:
        raise UserError(f"{folder}: git refused: {str(error).strip().splitlines()[-1]}") from None
