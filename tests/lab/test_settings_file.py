"""One value written into a settings file: read back as meant, and nothing else of the file is touched."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab.settings_file import remember

FILES = [
    "",
    "# Nothing yet.\n",
    "[run]\nbudget_seconds = 3   # short\n",
    '[run]\nenv = { A = "1, 2", B = \'x\' }  # mine\ntimeout_seconds = 9\n\n[review]\nmode = "auto"\n',
    '[run]\nenv = {}\n[review]\nmode = "auto"\n',
    '[run]\nbudget_seconds = 3\n\n[run.env]\nA = "1"\n\n[review]\nmode = "auto"\n',
    '[run.env]\nAUTORESEARCH_DATA = "embedded"  # old\nA = "1"\n',
    '[run]\nenv = { AUTORESEARCH_DATA = "embedded", A = "1" }\n',
    '[review]\nmode = "auto"',
    'run = { env = { A = "1" } }\n',
    'run.env.A = "1"\n',
    "[run]\r\nbudget_seconds = 3\r\n",
]


@pytest.mark.parametrize("text", FILES)
@pytest.mark.parametrize("value", ["climbmix", '/home/ada/my "texts", old\\new'])
def test_it_is_remembered_and_the_rest_stays(tmp_path: Path, text: str, value: str) -> None:
    path = tmp_path / "autoresearch.toml"
    path.write_text(text)
    assert remember(tmp_path, "AUTORESEARCH_DATA", value)
    wanted = tomllib.loads(text)
    wanted.setdefault("run", {}).setdefault("env", {})["AUTORESEARCH_DATA"] = value
    assert tomllib.loads(path.read_text()) == wanted
    for line in text.splitlines():
        if "env" not in line and "AUTORESEARCH_DATA" not in line:
            assert line in path.read_text().splitlines()
    assert remember(tmp_path, "AUTORESEARCH_DATA", value)
    assert tomllib.loads(path.read_text()) == wanted


@pytest.mark.parametrize("text", ["[run", '[run]\nenv = {\n  A = "1",\n}\n', "[nonsense]\nx = 1\n"])
def test_what_takes_a_human_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "autoresearch.toml"
    path.write_text(text)
    assert not remember(tmp_path, "AUTORESEARCH_DATA", "climbmix")
    assert path.read_text() == text
    assert not remember(tmp_path / "nowhere", "AUTORESEARCH_DATA", "climbmix")


@given(st.text(max_size=80), st.text(max_size=20), st.sampled_from(FILES))
def test_no_text_breaks_it(value: str, tail: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "autoresearch.toml"
        before = (text + tail).encode()
        path.write_bytes(before)
        if remember(Path(folder), "NAME", value):
            assert tomllib.loads(path.read_bytes().decode())["run"]["env"]["NAME"] == value
        else:
            assert path.read_bytes() == before
