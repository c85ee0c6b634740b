"""Which sessions use a cluster: the command line, what an earlier start was given, and what this machine lacks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui import cli
from autoresearch_tui.cluster import requirements
from autoresearch_tui.engine.loop import Engine
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.launch.overrides import with_overrides
from autoresearch_tui.session import commands as cmd
from autoresearch_tui.util.errors import UserError
from tests.engine.test_loop import Script

HEAD = "10.0.0.1:6379"
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 32}
# Whatever asks for Ray in this process says so.
NO_RAY = """
import importlib.abc, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "ray":
            raise SystemExit("Ray was imported")
sys.meta_path.insert(0, Watch())
from autoresearch_tui.cli import main
sys.exit(main(sys.argv[1:]))
"""


def given(folder: Path, **overrides: str) -> tuple[str, tuple[str, ...]]:
    """Address and devices of a start that is given these."""
    lab, _ = with_overrides(labs.find(folder), "t", overrides, successor=False)
    return lab.settings.cluster.address, lab.settings.run.devices


def remember(folder: Path, **overrides: str) -> None:
    """An earlier start was given these."""
    engine = Engine(Session(labs.find(folder), "t", overrides=overrides), Script(), headless=False)
    engine.send(cmd.Detach())
    assert engine.run() == "detached"


def test_a_cluster_holds_for_later_starts_until_another_place_is_named(lab_folder: Path) -> None:
    assert given(lab_folder) == ("", ())
    assert given(lab_folder, cluster=HEAD) == (HEAD, ())
    remember(lab_folder, cluster=HEAD, experiments="3")
    assert given(lab_folder) == (HEAD, ())
    assert given(lab_folder, cluster="auto") == ("auto", ())
    assert given(lab_folder, cluster="none") == ("", ())
    assert given(lab_folder, devices="cpu0,cpu1") == ("", ("cpu0", "cpu1"))
    remember(lab_folder, devices="cpu0,cpu1")
    assert given(lab_folder, cluster=HEAD) == (HEAD, ())


def test_the_settings_may_name_it_and_the_command_line_may_not_want_it(new_lab: Callable[..., Path]) -> None:
    folder = new_lab(settings=f'[cluster]\naddress = "{HEAD}"\n')
    assert given(folder) == (HEAD, ())
    remember(folder, cluster="none")
    assert given(folder, devices="cpu0") == ("", ("cpu0",))
    remember(folder)
    with pytest.raises(UserError, match=r"--devices cpu0: `run.devices` names devices of this machine"):
        given(folder, devices="cpu0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cluster", "head"), "--cluster: 'head' is not a cluster's address; write host:port"),
        (("--cluster", ""), "--cluster: '' is not a cluster's address"),
        (("--cluster", HEAD, "--devices", "0"), "`run.devices` names devices of this machine"),
        (("--cluster", HEAD), f"the cluster {HEAD} can be reached by others, and no token can be read: /"),
        (("--cluster", "auto"), "none was started on this machine, and RAY_ADDRESS is not set; `ray start --head`"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    lab_folder: Path, tmp_path: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert cli.main([str(lab_folder), "--headless", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert list(lab_folder.glob(".autoresearch/*/journal.jsonl")) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("", "Ray is not installed; pip install 'autoresearch-tui[cluster]'"),
        ("2.51.1", "Ray 2.51.1 is older than 2.52; pip install"),
    ],
)
def test_without_the_extra_there_is_a_remedy(version: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "ray_version", lambda: version)
    with pytest.raises(UserError) as caught:
        requirements.check("127.0.0.1:6379", {})
    assert said in str(caught.value)


def test_auto_is_the_cluster_of_this_machine(tmp_path: Path) -> None:
    environ = {"RAY_TMPDIR": str(tmp_path)}
    assert requirements.of_this_machine(environ) == ""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:6379\n")
    assert requirements.of_this_machine(environ) == "127.0.0.1:6379"
    requirements.check("auto", environ)
    assert requirements.of_this_machine({**environ, "RAY_ADDRESS": HEAD}) == HEAD
    with pytest.raises(UserError, match="can be reached by others"):
        requirements.check("auto", {**environ, "RAY_ADDRESS": HEAD})


def test_without_a_cluster_nothing_imports_ray(lab_folder: Path) -> None:
    words = [sys.executable, "-c", NO_RAY, str(lab_folder), "--headless", "--experiments", "2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"verdict"' in done.stdout


def test_looking_for_what_a_cluster_needs_does_not_import_it() -> None:
    words = "from autoresearch_tui.cluster import requirements as r\n"
    words += f"r.check('{HEAD}', {TOKEN})\nprint(r.ray_version())"
    code = NO_RAY.partition("from autoresearch_tui")[0] + words
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == requirements.ray_version(), done.stderr
