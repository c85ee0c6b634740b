"""What is published: the sdist, the wheel built from it, and the command as installed away from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from autoresearch_tui import __version__
from autoresearch_tui.lab.paths import open_lab
from tests import checkouts

CHECKOUT = Path(__file__).resolve().parents[2]
TEMPLATES = ("gpt", "sine", "sort")


def run(*words: str | Path, cwd: Path, expect: int = 0, **more: str) -> str:
    """A command without anything of the checkout or of this test's environment in sight; its stdout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AUTORESEARCH"))} | more
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=CHECKOUT)
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution alone."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run(sys.executable, *build, "--wheel-dir", folder, sdist, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `autoresearch-tui` of a new environment that has the wheel; its other packages are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel,
        cwd=folder)  # fmt: skip
    # A path in a .pth file is not searched for further .pth files: an editable install stays out of sight.
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(own) / "borrowed.pth").write_text("\n".join(sorted(others)) + "\n")
    return python.parent / "autoresearch-tui"


def _closure(requires: list[str]) -> set[str]:
    """The distributions that these requirements bring, without any extra."""
    found: set[str] = set()
    waiting = [*requires]
    while waiting:
        needed = Requirement(waiting.pop())
        if needed.name not in found and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
            found.add(needed.name)
            waiting += metadata.requires(needed.name) or []
    return found


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command where only what the wheel requires is installed: no extra, so no torch."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel,
        cwd=folder)  # fmt: skip
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (installed_as,) = own.glob("autoresearch_tui-*.dist-info")
    for name in _closure(metadata.Distribution.at(installed_as).requires or []):
        files = metadata.files(name) or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (own / top).exists():
                (own / top).symlink_to(metadata.distribution(name).locate_file(top))
    return python.parent / "autoresearch-tui"


def test_the_cockpit_needs_no_training_packages(bare: Path, tmp_path: Path) -> None:
    python = bare.parent / "python"
    find = "import importlib.util as u; print([n for n in ('ray', 'torch', 'pyarrow', 'tokenizers') if u.find_spec(n)])"
    assert run(python, "-c", find, cwd=tmp_path) == "[]\n"
    lab = checkouts.make(tmp_path / "checkout", checkouts.FORKS["macos"])
    home = tmp_path / "home"
    checkouts.fill_home(home)
    checkouts.sync(lab)
    there = checkouts.environ(home, checkouts.install_uv(tmp_path / "tools"))
    session = ("--headless", "--review", "auto", "--researcher", "search", "--experiments", "2")
    said = run(bare, lab, *session, cwd=tmp_path, **{name: there[name] for name in ("HOME", "PATH")})
    assert '"verdict":"keep"' in said
    assert run(bare, "report", lab, cwd=tmp_path)


def test_a_lab_of_ours_names_the_extra_that_it_needs(bare: Path, tmp_path: Path) -> None:
    run(bare, "init", "lab", cwd=tmp_path)
    words = [str(bare), "lab", "--headless", "--cluster", "127.0.0.1:6379"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Ray is not installed; pip install 'autoresearch-tui[cluster]'\n")
    words = [str(bare), "prepare", "lab"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no pyarrow, tokenizers, torch: install `autoresearch-tui[harness]` there" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_sdist_has_the_tests_and_nothing_of_the_workplace(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "Makefile", "LICENSE", "README.md", "program.md", "harness/train.py"} <= names
    assert "tests/e2e/test_wheel.py" in names
    assert not [name for name in names if re.search(r"__pycache__|\.venv|\.autoresearch/|\.pyc$", name)]


def test_the_wheel_has_harness_templates_and_program_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        program = archive.read("autoresearch_tui/_lab/program.md")
    assert program == (CHECKOUT / "program.md").read_bytes()
    tracked = run("git", "ls-files", "harness", "autoresearch_tui", cwd=CHECKOUT).split()
    assert {f"autoresearch_tui/_lab/{name}" for name in tracked if name.startswith("harness/")} <= names
    assert {name for name in tracked if name.startswith("autoresearch_tui/")} <= names
    assert not [name for name in names if re.search(r"(^|/)tests?(/|_)|__pycache__|\.pyc$|conftest", name)]
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"autoresearch_tui", f"autoresearch_tui-{__version__}.dist-info"}


def test_the_command_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed.parent / "python", "-c", "import autoresearch_tui as a; print(a.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent.parent)
    assert run(installed, "--version", cwd=tmp_path) == f"autoresearch-tui {__version__}\n"


def test_init_makes_every_template_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    for template in TEMPLATES:
        run(installed, "init", template, "--template", template, cwd=tmp_path)
        settings = open_lab(tmp_path / template).settings
        for name in (*settings.lab.editable, *settings.lab.locked, settings.lab.program, "autoresearch.toml"):
            assert (tmp_path / template / name).is_file()
        assert run("git", "status", "--porcelain", cwd=tmp_path / template) == ""


def test_a_lab_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    run(installed, "init", "lab", "--template", "sine", cwd=tmp_path)
    session = ("--headless", "--review", "auto", "--budget", "0.3", "--experiments", "2")
    run(installed, "lab", *session, cwd=tmp_path)
    header, first, second = (tmp_path / "lab" / "results.tsv").read_text().splitlines()
    assert header == "commit\tmse\tmemory_gb\tstatus\tdescription"
    assert first.split("\t")[3] == "keep"
    assert 0 < float(second.split("\t")[1]) < 1


@pytest.mark.timeout(1800)
def test_the_demo_runs_from_the_installed_wheel(installed: Path, tmp_path: Path, cache: Path) -> None:
    session = ("--headless", "--review", "auto", "--budget", "1", "--experiments", "1")
    said = run(installed, "demo", *session, cwd=tmp_path, AUTORESEARCH_CACHE=str(cache))
    assert '"verdict":"keep"' in said
    assert (tmp_path / "autoresearch-demo" / "results.tsv").read_text().splitlines()[1].endswith("keep\tbaseline")
