"""doctor in a checkout of the reference: environment, data, kernels; and what the kernel and the terminal allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch_tui.doctor import compute, lab_checks, machine, terminal
from autoresearch_tui.lab.paths import Lab, find
from autoresearch_tui.preparing import reference_data
from tests import checkouts
from tests.checkouts import Fork


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A fresh clone, a home without anything, and `uv`."""
    folder = checkouts.make(tmp_path / "checkout", Fork())
    (tmp_path / "home").mkdir()
    for name, value in checkouts.environ(tmp_path / "home", checkouts.install_uv(tmp_path / "tools")).items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HOME", "HF_HUB_CACHE", "KERNELS_CACHE", "XDG_CACHE_HOME", "AUTORESEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return find(folder)


def test_each_thing_that_a_fresh_clone_lacks_is_an_item(
    checkout: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"HOME": str(tmp_path / "home")}
    monkeypatch.setattr(reference_data, "has_nvidia", lambda: True)
    for item in (lab_checks.command(checkout), lab_checks.dataset(checkout, env), *lab_checks.kernels(checkout, env)):
        assert item.status == "problem"
        assert "autoresearch-tui prepare" in item.remedy
    assert compute.interpreter(checkout) is None

    checkouts.sync(checkout.root)
    checkouts.fill_home(tmp_path / "home")
    for item in (lab_checks.command(checkout), lab_checks.dataset(checkout, env), *lab_checks.kernels(checkout, env)):
        assert item.status == "ok"
    assert compute.interpreter(checkout) == checkout.root / ".venv" / "bin" / "python"
    (kernels,) = lab_checks.kernels(checkout, env)
    assert kernels.found == "downloaded: kernels-community/flash-attn3"


def test_no_kernel_is_missed_where_there_is_no_gpu_for_it(checkout: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_data, "has_nvidia", lambda: False)
    assert lab_checks.kernels(checkout, {}) == []


def test_the_command_is_shown_as_it_is_here(checkout: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout.venv is None
    assert lab_checks.command(checkout).status == "problem"
    checkouts.sync(checkout.root)
    shown = f"{checkout.root}/.venv/bin/python train.py (`uv run train.py`, as it is here)"
    assert lab_checks.command(checkout).found == shown
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert lab_checks.command(checkout).found == shown


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"user/max_user_namespaces": "15000"}, "ok", "allows them"),
        ({"user/max_user_namespaces": "0"}, "warning", "max_user_namespaces is 0"),
        ({"kernel/unprivileged_userns_clone": "0"}, "warning", "for root alone"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "ok", "AppArmor"),
    ],
)
def test_user_namespaces(
    settings: dict[str, str], status: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.os, "getuid", lambda: 1000)
    for name, value in settings.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    (item,) = machine.namespaces(tmp_path, "Linux")
    assert item.status == status
    assert words in item.found
    assert ("sysctl" in item.remedy) == (status == "warning")
    assert machine.namespaces(tmp_path, "Darwin") == []


@pytest.mark.parametrize(
    ("environ", "status", "words"),
    [
        ({"TERM": "xterm-256color"}, "ok", "does not say"),
        ({"TERM": "xterm-kitty"}, "ok", "takes what is copied"),
        ({"TERM": "foot"}, "ok", "takes what is copied"),
        ({"TERM": "xterm", "WT_SESSION": "1"}, "ok", "takes what is copied"),
        ({"TERM_PROGRAM": "iTerm.app"}, "ok", "Settings"),
        ({"TERM_PROGRAM": "Apple_Terminal"}, "warning", "Terminal.app"),
        ({"VTE_VERSION": "7600"}, "warning", "GNOME"),
        ({"STY": "1.pts"}, "warning", "screen"),
    ],
)
def test_the_clipboard(environ: dict[str, str], status: str, words: str) -> None:
    item = terminal.clipboard(environ)
    assert item.status == status
    assert words in item.found
    assert bool(item.remedy) == (status == "warning")
