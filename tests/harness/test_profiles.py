"""Profiles: knobs written into train.py, and the hardware that asks for them."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import HARNESS, load

profiles = load("profiles")
SOURCE = (HARNESS / "train.py").read_text(encoding="utf-8")


def test_apply_changes_values_and_nothing_else() -> None:
    source = "# head\nDEPTH = 8  # layers\nNAME = 'x'\nBETAS = (0.8, 0.95)  # a, b\nDEPTHS = 1\n"
    got = profiles.apply(source, {"DEPTH": 2, "NAME": "L", "BETAS": [0.9, 0.99]})
    assert got == '# head\nDEPTH = 2  # layers\nNAME = "L"\nBETAS = (0.9, 0.99)  # a, b\nDEPTHS = 1\n'


def test_apply_names_an_unknown_knob() -> None:
    with pytest.raises(ValueError, match="DEPHT"):
        profiles.apply(SOURCE, {"DEPHT": 2})


def test_every_profile_applies_and_divides() -> None:
    prepare = load("prepare")
    assert set(profiles.load()) == set(prepare.PROFILES)
    for name, profile in profiles.load().items():
        source = profiles.apply(SOURCE, profile.knobs)
        lines = re.findall(r"^([A-Z_]+BATCH_SIZE) = (\d+)", source, re.MULTILINE)
        knobs = {knob: int(value) for knob, value in lines}
        assert knobs["TOTAL_BATCH_SIZE"] % (knobs["DEVICE_BATCH_SIZE"] * prepare.PROFILES[name].max_seq_len) == 0
        assert profile.title


def test_knobs_are_plain_constants_with_a_comment() -> None:
    block = SOURCE.split("# Knobs\n")[1].split("# Model\n# ---")[0]
    lines = re.findall(r"^[A-Z][A-Z0-9_]+ = .*$", block, re.MULTILINE)
    assert len(lines) > 20
    for line in lines:
        value, _, comment = line.partition(" = ")[2].partition("  # ")
        ast.literal_eval(value)
        assert comment


@pytest.mark.parametrize(
    ("megabytes", "name"),
    [("81559", "reference"), ("143771", "reference"), ("24564", "consumer24"), ("8192", "consumer8")],
)
def test_cards_are_told_by_their_memory(monkeypatch: pytest.MonkeyPatch, megabytes: str, name: str) -> None:
    answer = subprocess.CompletedProcess([], 0, f"{megabytes}\n{megabytes}\n")
    monkeypatch.setattr(profiles.subprocess, "run", lambda *_, **__: answer)
    assert profiles.detect() == name


def test_without_a_card_it_is_apple_or_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(profiles.subprocess, "run", missing)
    monkeypatch.setattr(profiles.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(profiles.platform, "machine", lambda: "arm64")
    assert profiles.detect() == "apple"
    monkeypatch.setattr(profiles.platform, "system", lambda: "Linux")
    assert profiles.detect() == "cpu"


def test_files_stay_readable() -> None:
    limits = {"train.py": 650, "prepare.py": 650, "corpus.py": 500}
    for path in Path(HARNESS).glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= limits.get(path.name, 450), path.name
