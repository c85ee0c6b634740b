"""Profiles: knobs written into train.py, and the hardware that asks for them."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from autoresearch_tui.lab import profiles
from tests.harness.conftest import HARNESS, load

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


@pytest.mark.parametrize(
    ("shown", "asked", "name"),
    [
        (None, None, "reference"),
        ("1", "--id=1", "consumer24"),
        ("GPU-8932f937,0", "--id=GPU-8932f937", "consumer24"),
        ("MIG-2222", None, "consumer8"),
        ("MIG-3333", None, "consumer24"),
        ("", None, "cpu"),
        ("-1", None, "cpu"),
    ],
)
def test_it_is_the_card_that_cuda_shows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str | None, asked: str | None, name: str
) -> None:
    listed = (
        "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1111)\n  MIG 1g.10gb     Device  0: (UUID: MIG-2222)\n"
        "  MIG 2g.20gb     Device  1: (UUID: MIG-3333)\n"
    )

    def answer(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        if "--list-gpus" in command:
            return subprocess.CompletedProcess(command, 0, listed)
        assert (asked in command) if asked else not any("--id" in word for word in command)
        return subprocess.CompletedProcess(command, 0, "24564\n" if asked else "81559\n24564\n")

    monkeypatch.setattr(profiles.subprocess, "run", answer)
    monkeypatch.setattr(profiles, "KFD", tmp_path / "none")
    monkeypatch.setattr(profiles.platform, "system", lambda: "Linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert profiles.detect() == name


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"card0": ("0x1002", 191 << 30)}, "reference"),  # MI300X
        ({"card0": ("0x1002", 512 << 20), "card1": ("0x1002", 24 << 30)}, "consumer24"),  # graphics of a processor, XTX
        ({"card0": ("0x1002", 8 << 30)}, "consumer8"),
        ({"card0": ("0x1002", 512 << 20)}, "cpu"),
        ({"card0": ("0x8086", 16 << 30)}, "cpu"),
        ({}, "cpu"),
    ],
)
def test_an_amd_card_has_the_profile_of_its_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cards: dict[str, tuple[str, int]], name: str
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    for card, (vendor, memory) in cards.items():
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device" / "vendor").write_text(f"{vendor}\n")
        (tmp_path / card / "device" / "mem_info_vram_total").write_text(f"{memory}\n")
    (tmp_path / "kfd").touch()
    monkeypatch.setattr(profiles.subprocess, "run", missing)
    monkeypatch.setattr(profiles, "KFD", tmp_path / "kfd")
    monkeypatch.setattr(profiles, "GRAPHICS", tmp_path)
    monkeypatch.setattr(profiles.platform, "system", lambda: "Linux")
    assert profiles.detect() == name
    monkeypatch.setattr(profiles, "KFD", tmp_path / "none")  # a driver for pictures alone
    assert profiles.detect() == "cpu"


def test_without_a_card_it_is_apple_or_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(profiles.subprocess, "run", missing)
    monkeypatch.setattr(profiles.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(profiles.platform, "machine", lambda: "arm64")
    assert profiles.detect() == "apple"
    monkeypatch.setattr(profiles.platform, "system", lambda: "Linux")
    assert profiles.detect() == "cpu"
