"""The same figures for other Textual programs, from PyPI, each in a throw-away environment of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pseudo_terminal import Size, opened

EMPTY = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("the first paint")
Empty().run()
"""


@dataclass(frozen=True)
class Other:
    """A program: its package on PyPI, its command, and words of its first picture."""

    package: str
    licence: str
    command: Sequence[str]
    marker: bytes


# Named in the README with the versions that pip found.
OTHERS = (
    Other("toolong", "MIT", ("tl", "app.log"), b"words of the log"),
    Other("frogmouth", "MIT", ("frogmouth", "notes.md"), b"words of the page"),
)


def figures(command: Sequence[str], marker: bytes, size: Size, folder: Path, starts: int = 7) -> dict[str, float]:
    """First paint over `starts` fresh processes; then what the last one costs while nothing happens."""
    times = []
    for start in range(starts):
        with opened(command, size, folder) as terminal:
            times.append(terminal.wait_for(marker))
            terminal.quiet()
            if start == starts - 1:
                found = terminal.cost(15)
    return {"first paint s": statistics.median(times), **found}


def empty(size: Size, folder: Path) -> dict[str, float]:
    """A Textual program of one line of text, with the Textual that the cockpit has."""
    return figures((sys.executable, "-c", EMPTY), b"the first paint", size, folder)


def installed(other: Other, folder: Path) -> tuple[str, dict[str, str]]:
    """The program's version and its Textual's, after an installation into `folder`. Raises CalledProcessError."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--quiet", other.package], check=True, stderr=subprocess.DEVNULL)
    frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    versions = dict(line.split("==", 1) for line in frozen.splitlines() if "==" in line)
    return versions.get(other.package, "?"), versions


def compare(size: Size, folder: Path) -> dict[str, dict[str, float]]:
    """Every other program's figures by its name with its version; what cannot be installed here is left out."""
    folder.joinpath("app.log").write_text("words of the log\n" * 1000)
    folder.joinpath("notes.md").write_text("# Notes\n\nwords of the page\n")
    found = {"an empty Textual program": empty(size, folder)}
    for other in OTHERS:
        place = folder / other.package
        try:
            version, versions = installed(other, place)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{other.package}: not installed here: {error}", file=sys.stderr)
            continue
        name = f"{other.package} {version} ({other.licence}, Textual {versions.get('textual', '?')})"
        command = (str(place / "bin" / other.command[0]), *other.command[1:])
        try:
            found[name] = figures(command, other.marker, size, folder)
        except TimeoutError as error:
            print(f"{other.package}: {error}", file=sys.stderr)
    return found
