"""Where the text is that runs are scored on, which none of them may see.

The harness keeps it in `private/` of the data cache, and lists in `private/*/hidden.json` what else shows it:
`modules` of an interpreter's standard library, and `paths`, the user's own files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autoresearch_tui.engine.cages import home
from autoresearch_tui.lab import Lab, preparer

PRIVATE = "private"
_LISTS = "*/hidden.json"


def folders(lab: Lab, env: Mapping[str, str]) -> tuple[Path, ...]:
    """The private folders of the caches that a run's environment names or its home leads to, where there are any.

    The harness's runs that no referee scores have to score themselves, and are shown what they score.
    """
    if preparer(lab) is not None and not lab.settings.metric.referee:
        return ()
    caches = (env.get("AUTORESEARCH_CACHE"), home.data_folder(os.environ))
    found = [(Path(cache) / PRIVATE).resolve() for cache in caches if cache]
    return tuple(path for path in dict.fromkeys(found) if path.is_dir())


def shown(cache: Path, hidden: Iterable[Path]) -> Iterator[Path]:
    """What a run may see of the cache."""
    private = (cache / PRIVATE).resolve()
    if private not in hidden:
        yield cache
        return
    yield from (path for path in cache.iterdir() if path.resolve() != private)


def elsewhere(lab: Lab, env: Mapping[str, str], readable: Iterable[Path]) -> Iterator[Path]:
    """Files and folders inside `readable` that show the private text; nothing for labs without the harness."""
    if preparer(lab) is None:
        return
    tops = list(dict.fromkeys(path for top in readable for path in (top, top.resolve()) if path.is_dir()))
    for entry in (_read(path) for folder in folders(lab, env) for path in folder.glob(_LISTS)):
        named = (Path(path) for path in _words(entry, "paths"))
        yield from (path for path in named if path.exists() and any(path.is_relative_to(top) for top in tops))
        for library in dict.fromkeys(library for top in tops for library in _libraries(top)):
            for module in _words(entry, "modules"):
                found = [library / module, library / f"{module}.py", *library.glob(f"__pycache__/{module}.*.pyc")]
                yield from (path for path in found if path.exists())


def _libraries(top: Path) -> Iterator[Path]:
    """Standard libraries in or at a folder."""
    for pattern in ("", "lib/python3*", "local/lib/python3*", "lib64/python3*", "python3*"):
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
