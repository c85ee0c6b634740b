"""The data that runs may not see: scored data, and training data until it is handed over.

The harness keeps scored data in `private/` of the data cache, and lists in `private/*/hidden.json` what else reveals
it: `modules` of an interpreter's standard library, and `paths`, the user's own files. Copies of those are searched in
everything that runs can read. Training data is in `data/` and `tokens/` of the cache, or of a folder in it: the referee
hands it over as open files (`running/channel.py`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch_tui.lab import evaluator, home
from autoresearch_tui.lab.paths import Lab, preparer
from autoresearch_tui.runs.referee_channel import HANDOVER
from autoresearch_tui.sandbox import copies
from autoresearch_tui.sandbox.policy import outermost

PRIVATE = "private"
_TRAINING = ("data", "tokens")
_LISTS = "*/hidden.json"
_TEXTS = (".py", ".txt", ".md", ".jsonl")
_MARKED_BYTES = 64 << 20
_PLACES = 6
# The kernel's files, and a store of everything ever installed, whose libraries are found by path.
_NOT_LOOKED_THROUGH = ("/sys", "/proc", "/nix/store")


def folders(lab: Lab, env: Mapping[str, str]) -> tuple[Path, ...]:
    """The private folders of the caches that a run's environment names or its home leads to.

    Runs of the harness without a referee score themselves, so they see what they score.
    """
    if preparer(lab) is not None and not lab.settings.metric.referee:
        return ()
    return tuple(path for cache in _caches(env) if (path := (cache / PRIVATE).resolve()).is_dir())


def hands_over(lab: Lab) -> bool:
    """Whether the lab's referee hands the training data over, which a locked file that reads AUTORESEARCH_HANDOVER
    shows."""
    return evaluator.reads(lab, HANDOVER)


def training(lab: Lab, env: Mapping[str, str]) -> tuple[Path, ...]:
    """The folders of training data that is handed over, of every data set, since one may be part of another."""
    if not hands_over(lab):
        return ()
    tops = [top for cache in _caches(env) if cache.is_dir() for top in (cache, *cache.iterdir()) if top.is_dir()]
    found = (top / name for top in tops if top.name != PRIVATE for name in _TRAINING)
    return tuple(dict.fromkeys(path.resolve() for path in found if path.is_dir()))


def _caches(env: Mapping[str, str]) -> tuple[Path, ...]:
    caches = (env.get("AUTORESEARCH_CACHE"), home.data_folder(os.environ))
    return tuple(dict.fromkeys(Path(cache).resolve() for cache in caches if cache))


def shown(path: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """The parts of the cache that a run may see: all of it, or everything beside the hidden parts."""
    real, hidden = path.resolve(), tuple(hidden)
    if any(real.is_relative_to(each) for each in hidden):
        return
    if any(each.is_relative_to(real) for each in hidden) and path.is_dir():
        for inside in path.iterdir():
            yield from shown(inside, hidden)
    else:
        yield path


def elsewhere(lab: Lab, env: Mapping[str, str], readable: Iterable[Path]) -> tuple[Path, ...]:
    """Files and folders inside `readable` that reveal the private text; none for labs without the harness.

    Takes seconds the first time on a machine, and again where something was installed; else a tenth of a second.
    """
    if preparer(lab) is None:
        return ()
    tops = list(dict.fromkeys(path for top in readable for path in (top, top.resolve()) if path.is_dir()))
    libraries = list(dict.fromkeys(library for top in tops for library in _libraries(top)))
    found: list[Path] = []
    for folder in folders(lab, env):
        for entry in (_read(path) for path in folder.glob(_LISTS)):
            named = [path for word in _words(entry, "paths") if (path := Path(word)).exists()]
            modules = [path for word in _words(entry, "modules") for each in libraries for path in _module(each, word)]
            found += [path for path in named if any(path.is_relative_to(top) for top in tops)] + modules
            known = copies.marks(_documents([*named, *modules]))
            if known.documents:
                places = [
                    top for top in outermost(map(Path.resolve, tops)) if not str(top).startswith(_NOT_LOOKED_THROUGH)
                ]
                more = copies.find(known, places, _memory(os.environ))
                found += (_whole(path, libraries) for path in more)
    # Paths inside a masked folder are redundant.
    every = set(found)
    return tuple(path for path in dict.fromkeys(found) if every.isdisjoint(path.parents))


def in_words(masked: Sequence[Path]) -> str:
    """How much is masked from runs, and where."""
    wholes = (path if (path / "os.py").is_file() else path.parent for path in {path.resolve() for path in masked})
    places = Counter(str(place.parent if place.name == "__pycache__" else place) for place in wholes)
    text = ", ".join(f"{place} ({count})" if count > 1 else place for place, count in places.most_common(_PLACES))
    return text + (f" and {len(places) - _PLACES} more places" if len(places) > _PLACES else "")


def _memory(environ: Mapping[str, str]) -> Path:
    """The user's cache folder for results of the search. No run can read or write there."""
    return Path(environ.get("XDG_CACHE_HOME") or "~/.cache", "autoresearch-tui").expanduser()


def _module(library: Path, name: str) -> Iterator[Path]:
    found = [library / name, library / f"{name}.py", *library.glob(f"__pycache__/{name}.*.pyc")]
    yield from (path for path in found if path.exists())


def _documents(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to compare with: sources, and the user's own texts up to a total size."""
    room = _MARKED_BYTES
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in _TEXTS and file.is_file() and (size := file.stat().st_size) <= room:
                room -= size
                yield file


def _whole(copy: Path, libraries: Iterable[Path]) -> Path:
    """The whole standard library of another Python in place of a module in it, because runs here do not need it."""
    known = set(libraries)
    for folder in copy.parents:
        if (folder / "os.py").is_file() and (folder / "abc.py").is_file():
            return copy if folder in known or "site-packages" in copy.relative_to(folder).parts else folder
    return copy


def _libraries(top: Path) -> Iterator[Path]:
    """Standard libraries in or at a folder."""
    for pattern in ("", "lib/python3*", "local/lib/python3*", "lib64/python3*", "python3*", "*/lib/python3*"):
        found = top.glob(pattern) if pattern else [top]
        yield from (path for path in found if (path / "os.py").is_file() and not path.is_symlink())


def _read(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _words(entry: Mapping[str, Any], name: str) -> Iterator[str]:
    found = entry.get(name)
    yield from (word for word in found or () if isinstance(word, str))
