"""Strangers stay out of a cluster, and the user's keys out of everything that belongs to it."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.cluster import requirements, seat, security
from autoresearch_tui.lab import home
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.runs.environment import environment
from autoresearch_tui.sandbox import for_runs
from autoresearch_tui.util.errors import UserError

HEAD = "10.0.0.1:6379"
WITH_TOKEN = {"RAY_AUTH_TOKEN": "a" * 32}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "no token can be read: {home}/.ray/auth_token: No such file"),
        ({"RAY_AUTH_MODE": "disabled", **WITH_TOKEN}, "RAY_AUTH_MODE is `disabled`, not `token`"),
        ({"RAY_AUTH_TOKEN_PATH": "{home}/empty"}, "{home}/empty is empty"),
    ],
)
def test_a_cluster_that_others_can_reach_takes_a_token(environ: dict[str, str], said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    own = {name: value.format(home=tmp_path) for name, value in {"HOME": "{home}", **environ}.items()}
    with pytest.raises(UserError) as caught:
        requirements.check(HEAD, own)
    assert f"can be reached by others, and {said.format(home=tmp_path)}" in str(caught.value)
    assert "`ray get-auth-token --generate`" in str(caught.value)


def test_a_token_may_be_a_variable_or_a_file(tmp_path: Path) -> None:
    requirements.check(HEAD, WITH_TOKEN)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret\n")
    requirements.check(HEAD, {"HOME": str(tmp_path)})
    requirements.check(HEAD, {"HOME": str(tmp_path), "RAY_AUTH_MODE": "Token"})


@pytest.mark.parametrize(("listens", "reached"), [("127.0.0.1", False), ("", True)])
def test_a_loopback_address_is_no_promise_where_the_port_is_open_to_all(listens: str, reached: bool) -> None:
    with socket.create_server((listens, 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        assert security.can_be_reached(address) == reached
        assert (security.problem(address, {"HOME": "/nowhere"}) is not None) == reached


def test_a_driver_has_a_token_and_none_of_the_users_keys(tmp_path: Path) -> None:
    keys = {"ANTHROPIC_API_KEY": "k", "AWS_SECRET_ACCESS_KEY": "k", "ANTHROPIC_CUSTOM_HEADERS": "k", "DB_PASSWORD": "k"}
    own = security.environment({**keys, **WITH_TOKEN, "PATH": "/bin", "RAY_USAGE_STATS_ENABLED": "1"})
    assert not keys.keys() & own.keys()
    assert own["RAY_AUTH_MODE"] == "token" and own["RAY_AUTH_TOKEN"] and own["PATH"] == "/bin"
    assert own["RAY_USAGE_STATS_ENABLED"] == "0"
    (tmp_path / "token").write_text("a")
    named = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert security.environment(named).items() >= {**named, "RAY_AUTH_MODE": "token"}.items()
    assert "RAY_AUTH_MODE" not in security.environment({"HOME": "/nowhere"})


def test_nothing_answers_at_an_address_where_nothing_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert security.is_open(f"127.0.0.1:{silent.getsockname()[1]}", {}, seconds=2) is None


def test_a_nodes_labs_are_where_no_run_looks(new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seat.FOLDER, raising=False)
    place = seat.folder("one", "lab")
    assert not place.is_relative_to(home.data_folder(os.environ))
    shutil.copytree(new_lab(), place)
    lab = labs.find(place)
    # It raises where a lab's own repository would be shown.
    shown = for_runs.of_lab(lab, GitRepo(lab.root), environment(lab, lab.state_folder)).readable
    assert not [path for path in shown if place.is_relative_to(path)]
