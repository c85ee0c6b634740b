"""The files beside the commit that a run sees, read-only: what a plain run in the user's checkout would see.

These are files beside the code that git ignores or does not track, filled submodules, targets of committed links, and
folders that the lab's code names. Outputs, caches and other tools' files are left out; secrets and `.git` always are.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import field

from autoresearch_tui.lab import home, ray_files
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import STATE_FOLDER, RunFiles
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.sandbox import named_paths, scored_data
from autoresearch_tui.sandbox.named_paths import Named
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.secrets import is_secret_file

EVERYTHING = "*"
# A folder with more entries becomes one link, which is read-only; smaller ones are copied and can be written.
_LAID_OUT = 1000
# Smaller files are copied, so that a run may overwrite them, up to a total for each folder.
_COPIED = 1 << 20
_COPIED_IN_ALL = 32 << 20
_SEARCHED = 20_000
_DEEP = 4
_OURS = re.compile(r"run\.log|results\.tsv")
_CACHES = re.compile(r"__pycache__|.*\.py[cod]|\..*|.*\.egg-info|node_modules|Thumbs\.db|.*~")
_OUTPUTS = re.compile(
    r".*\.log|nohup\.out|core(?:\.\d+)?|wandb|mlruns|lightning_logs|tensorboard|tb_logs|runs?|logs?|outputs?|out|results?"
    r"|checkpoints?|ckpts?|events\.out\..*|.*\.prof|build|dist|plots?|figures?",
    re.IGNORECASE,
)
_NOT_THERE = re.compile(r"(?:No such file or directory|does not exist|not found)\b[^\n']{0,40}'([^'\n]+)'")
_NOT_WRITTEN = re.compile(r"(?:Permission denied|Read-only file system)\b[^\n']{0,40}'([^'\n]+)'")
_TOO_WIDE = ("", "mnt", "media", "opt", "var", "srv", "tmp", "home", "Users", "Volumes")
_SYSTEM = ("etc", "proc", "sys", "dev", "run", "boot", "usr", "bin", "sbin", "lib", "lib64")


class Shared(Frozen):
    """`beside` has the real paths by their place from the repository's top, `at_home` by their place in a run's home.

    `outside` are paths that the code names whole. `masked` are secrets inside all of these. `left_out` has the reason
    for each name that a plain run would see and ours does not; `lacking` names that a plain run would not find either.
    """

    beside: Mapping[str, Path] = field(default_factory=dict)
    at_home: Mapping[str, Path] = field(default_factory=dict)
    outside: tuple[Path, ...] = ()
    masked: tuple[Path, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()  # inside shared folders: what the code writes, or `lab.share` excludes

    def readable(self) -> tuple[Path, ...]:
        """Everything shown, for the sandbox."""
        return tuple(dict.fromkeys((*self.beside.values(), *self.at_home.values(), *self.outside)))

    def lay_out(self, work: Path, run_home: Path) -> None:
        """Lays it out in a run's copy of the tree and in its home. Committed files stay as they are."""
        for place, real in self.beside.items():
            _lay_out(real, work / place, frozenset(work / name for name in self.skipped))
        own = home.home_links()
        home.link_home(run_home, {place: real for place, real in self.at_home.items() if place in own})
        for place, real in self.at_home.items():
            if place not in own:
                _lay_out(real, run_home / place)


def find(lab: Lab, repo: GitRepo) -> Shared:
    """What the lab's runs share. Raises GitError."""
    return _Search(lab, repo).found()


def hint(lab: Lab, log: str, files: RunFiles, cwd: Path) -> str:
    """The setting that would show a run a file it did not find, or let it write one it could not; empty if none does.

    `cwd` is where it ran.
    """
    found = _NOT_THERE.findall(log) or _NOT_WRITTEN.findall(log)
    if not found:
        return ""
    path = Path(found[-1])
    run_home = files.scratch / "home"
    if path.is_relative_to(run_home):
        real, word = Path.home() / path.relative_to(run_home), f"~/{path.relative_to(run_home)}"
    else:
        own = not path.is_absolute() or path.is_relative_to(files.work)
        real = Path(os.path.normpath(lab.root / os.path.relpath(cwd / path, cwd))) if own else path
        word = str(real.relative_to(lab.root) if real.is_relative_to(lab.root) else real)
    if not real.exists() or is_secret_file(real.name):
        return ""
    if _NOT_THERE.search(log):
        return f'no run sees {word}: show it, with lab.share = ["*", "{word}"] in autoresearch.toml'
    return f'a run may only read {word}: leave it out, with lab.share = ["*", "!{word}"] in autoresearch.toml'


class _Search:
    def __init__(self, lab: Lab, repo: GitRepo) -> None:
        self._lab = lab
        self._repo = repo
        self._top = repo.top()
        self._words = lab.settings.lab.share
        own = (repo.git_folder, repo.common_folder, lab.state_folder.resolve())
        self._hidden = (*own, *ray_files.private(os.environ))
        env = environment(lab, lab.state_folder)
        self._scored = (*scored_data.folders(lab, env), *scored_data.training(lab, env))
        self._beside: dict[str, Path] = {}
        self._at_home: dict[str, Path] = {}
        self._outside: list[Path] = []
        self._left_out: dict[str, str] = {}
        self._lacking: dict[str, str] = {}
        self._named = Named()
        self._skipped: set[str] = set()

    def found(self) -> Shared:
        self._at_home.update(home.home_links())
        if EVERYTHING in self._words:
            self._named = named_paths.of_lab(self._lab)
            self._untracked()
            self._committed()
            self._code()
        for word in self._words:
            if word != EVERYTHING and not word.startswith("!"):
                self._asked(word)
        for word in self._words:
            if word.startswith("!"):
                self._take_away(word[1:])
        self._at_home = _outermost(self._at_home)
        masked = tuple(self._masked())
        self._skipped |= {f"{self._repo.prefix}{place}" for place in self._named.written}
        skipped = frozenset(self._skipped)
        return Shared(self._beside, self._at_home, tuple(self._outside), masked, self._left_out, self._lacking, skipped)

    def _masked(self) -> Iterator[Path]:
        """The secrets in what is shared. A folder with a secret among very many files is left out as a whole:
        without bubblewrap, each of the others would have to be named to the kernel."""
        for place, real in [
            *self._beside.items(),
            *self._at_home.items(),
            *((str(path), path) for path in self._outside),
        ]:
            secrets = list(_secrets(real))
            crowded = next((each for each in secrets if sum(1 for _ in each.parent.iterdir()) > _LAID_OUT), None)
            if crowded is None:
                yield from secrets
                continue
            self._left_out[place] = f"{crowded.name} is a secret among very many files; move it elsewhere"
            self._beside.pop(place, None)
            self._at_home.pop(place, None)
            self._outside = [each for each in self._outside if str(each) != place]

    def _untracked(self) -> None:
        """Files that git ignores or does not track, in the lab's folder and directly in those above it."""
        prefix = Path(self._repo.prefix)
        above = {prefix, *prefix.parents}
        for name in self._repo.untracked():
            place = Path(name)
            path = self._top / place
            if not (place.parent in above or place.is_relative_to(prefix)) or self._is_ours(path):
                continue
            if reason := self._why_not(place, path):
                self._left_out[str(place)] = reason
            else:
                self._beside[str(place)] = path.resolve()

    def _is_ours(self, path: Path) -> bool:
        """Our own files, an environment (which is shared in its own way), or a useless cache: not reported."""
        own = path.parent == self._lab.root and (path.name == STATE_FOLDER or _OURS.fullmatch(path.name))
        return bool(own) or (path / "pyvenv.cfg").is_file() or path.name in ("__pycache__", ".git", ".DS_Store")

    def _why_not(self, place: Path, path: Path) -> str:
        """Why something beside the code is left out; empty if it is shared."""
        if any(is_secret_file(part) for part in place.parts):
            return "a secret, by its name"
        relative = os.path.relpath(path, self._lab.root)
        if self._named.overwrites(relative):
            return "the code writes it"
        if not self._named.reads(relative):
            if _CACHES.fullmatch(place.name):
                return "a tool's own"
            if _OUTPUTS.fullmatch(place.name):
                return "an output, by its name"
        if not path.exists():
            self._lacking[str(place)] = (
                f"it leads to {path.readlink()}, which is not there" if path.is_symlink() else ""
            )
            return "not there"
        return self._why_hidden(path.resolve()) if path.is_symlink() else self._has_scored(path.resolve())

    def _has_scored(self, real: Path) -> str:
        """The reason if a path has data that runs are scored on or handed; else empty."""
        there = any(real.is_relative_to(path) or path.is_relative_to(real) for path in self._scored)
        return "it has data that runs are scored on" if there else ""

    def _committed(self) -> None:
        """Submodules, and links that lead out of the repository."""
        for name, mode in self._repo.special():
            path = self._top / name
            if mode == "160000" and not (path.is_dir() and any(path.iterdir())):
                self._lacking[name] = (
                    f"an empty submodule; `git -C {self._top} submodule update --init --recursive` fills it"
                )
            elif mode == "160000":
                self._beside[name] = path.resolve()
            elif path.is_symlink() and not path.exists():
                self._lacking[name] = f"a link to {path.readlink()}, which is not there"
            elif path.is_symlink() and not path.resolve().is_relative_to(self._top.resolve()):
                if reason := self._why_hidden(path.resolve()):
                    self._left_out[name] = f"it leads to {path.resolve()}: {reason}"
                else:
                    self._beside[name] = path.resolve()

    def _code(self) -> None:
        """Folders in the home and elsewhere that the lab's code names."""
        for place, real, trusted in self._named.outside:
            if not real.exists() or real.resolve().is_relative_to(self._top.resolve()):
                continue
            if place.startswith("/tmp/") and not real.is_relative_to(Path.home()):
                continue  # a run has its own
            if real.parts[1:2] and real.parts[1] in _SYSTEM:
                continue  # /proc/self/fd/1, for example, has no fixed target
            reason = self._why_hidden(real.resolve())
            at_home = real.resolve().is_relative_to(Path.home().resolve())
            if not reason and at_home and not trusted and place.split("/")[0] != ".cache":
                reason = "named by a file that proposals change"
            if reason:
                if reason != _SYSTEM_REASON:
                    self._left_out[str(real)] = reason
            elif place.startswith("/"):
                self._outside.append(real)
            else:
                self._at_home[place] = real.resolve()

    def _asked(self, word: str) -> None:
        """A path in `lab.share`, wherever it is."""
        path = self._path(word)
        if not path.exists():
            self._lacking[word] = "in `lab.share`, but not there"
        elif reason := self._why_hidden(path.resolve(), asked=True):
            self._left_out[word] = reason
        elif path.is_relative_to(self._top):
            self._beside[str(path.relative_to(self._top))] = path.resolve()
            self._left_out.pop(str(path.relative_to(self._top)), None)
        elif path.is_relative_to(Path.home()):
            self._at_home[str(path.relative_to(Path.home()))] = path.resolve()
        else:
            self._outside.append(path)

    def _path(self, word: str) -> Path:
        return Path(os.path.normpath(self._lab.root / Path(word).expanduser()))

    def _take_away(self, word: str) -> None:
        path = self._path(word)
        if path.is_relative_to(self._top) and any(path.is_relative_to(self._top / place) for place in self._beside):
            self._skipped.add(str(path.relative_to(self._top)))
            self._left_out[word] = "taken away by `lab.share`"
        for table, top in ((self._beside, self._top), (self._at_home, Path.home())):
            if path.is_relative_to(top) and table.pop(str(path.relative_to(top)), None) is not None:
                self._left_out[word] = "taken away by `lab.share`"
        self._outside = [each for each in self._outside if each != path]

    def _why_hidden(self, real: Path, *, asked: bool = False) -> str:
        """Why runs may not see a path; empty if they may."""
        user = Path.home().resolve()
        if is_secret_file(real.name) or any(part.startswith(".") and is_secret_file(part) for part in real.parts):
            return "a secret, by its name"
        around = (user, self._lab.root.resolve(), *self._hidden)
        if any(path.is_relative_to(real) for path in around) or any(real.is_relative_to(path) for path in self._hidden):
            return "it has everything of yours in it"
        if str(real).lstrip("/") in _TOO_WIDE:
            return "it has everything in it"
        if real.parts[1:2] and real.parts[1] in _SYSTEM:
            return _SYSTEM_REASON
        if real.is_relative_to(user) and not asked:
            first = real.relative_to(user).parts[0]
            if first.startswith(".") and first not in (".cache", ".keras", ".local"):
                return "a folder of settings"
        if real in (user / ".cache", user / ".local", user / ".config"):
            return "it has everything of yours in it"
        return self._has_scored(real)


_SYSTEM_REASON = "the system's"


def _outermost(places: Mapping[str, Path]) -> dict[str, Path]:
    """The places that are not inside another one, since a link is not written into."""
    kept: dict[str, Path] = {}
    for place in sorted(places, key=lambda place: len(Path(place).parts)):
        if not any(Path(place).is_relative_to(other) for other in kept):
            kept[place] = places[place]
    return kept


def _lay_out(real: Path, place: Path, skipped: frozenset[Path] = frozenset()) -> None:
    """Makes a folder with links to the real entries and copies of small files, or one link if it is large."""
    if place.is_symlink():  # a committed one that leads out of the repository
        place.unlink()
    entries = [(real, place)]
    if real.is_dir():
        entries = [(path, place / path.relative_to(real)) for path in _walk(real)]
        if len(entries) > _LAID_OUT and not (place.is_dir() and any(place.iterdir())):
            shutil.rmtree(place, ignore_errors=True)
            entries = []
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(real)
        else:
            place.mkdir(parents=True, exist_ok=True)
    left = _COPIED_IN_ALL
    for path, where in entries:
        if skipped and not skipped.isdisjoint((where, *where.parents)):
            continue
        if path.is_dir() and not path.is_symlink():
            where.mkdir(parents=True, exist_ok=True)
        elif not where.exists() and not where.is_symlink():
            left -= _put(path, where, left)


def _put(real: Path, place: Path, left: int) -> int:
    """Copies a file or links to it. Returns the number of bytes copied, at most `left`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if real.is_symlink() and not real.readlink().is_absolute():
        place.symlink_to(real.readlink())
        return 0
    size = real.stat().st_size if real.is_file() and os.access(real, os.R_OK) else left + 1
    if size <= min(_COPIED, left):
        shutil.copy(real, place)
        return size
    if real.exists():
        place.symlink_to(real.resolve())
    return 0


def _walk(folder: Path) -> Iterator[Path]:
    """The entries of a folder, folders first, without secrets and `.git`; stops after one more than is laid out."""
    count = 0
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in sorted(folders) if not _kept_back(name)]
        for name in (*folders, *(name for name in sorted(files) if not _kept_back(name))):
            yield Path(top, name)
            count += 1
            if count > _LAID_OUT:
                return


def _kept_back(name: str) -> bool:
    return name in (".git", "__pycache__") or is_secret_file(name)


def _secrets(path: Path) -> Iterator[Path]:
    """Secrets and `.git` inside a folder, as far as it is searched."""
    if not path.is_dir():
        return
    count = 0
    for top, folders, files in os.walk(path):
        for name in (*folders, *files):
            if name == ".git" or is_secret_file(name):
                yield Path(top, name)
        folders[:] = [name for name in folders if name != ".git"]
        count += len(folders) + len(files)
        if count > _SEARCHED or len(Path(top).relative_to(path).parts) >= _DEEP:
            folders.clear()


def names(places: Iterable[str], most: int = 12) -> str:
    """The first `most` names, for one line."""
    shown = list(places)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
