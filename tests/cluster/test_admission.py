"""Which nodes a session uses: what is looked at there, and each way to differ from the session's class."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from autoresearch_tui import __version__
from autoresearch_tui.cluster import admission
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.preparing.lab_data import Check
from autoresearch_tui.sandbox import for_runs
from autoresearch_tui.sandbox.policy import Kind, Mechanism
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import fleet as fleets
from tests import checkouts
from tests.fakes.nvml import FakeGpu, FakeNvml

NODE = {
    "autoresearch-tui": __version__,
    "host": "gpu-1",
    "sandbox": "bubblewrap",
    "hardware": "NVIDIA H100 80GB HBM3",
    "accelerators": "1",
    "model": "NVIDIA H100 80GB HBM3",
    "driver": "570.124.06",
    "python": "3.12.4",
    "torch": "2.13.0+cu130",
    "triton": "3.7.0",
    "data": "climbmix 0123 4567",
    "free bytes": str(100 << 30),
    "folder": "/home/me/nodes/gpu-1/lab",
}


def test_a_node_of_the_same_class_is_used() -> None:
    assert admission.refusal({}, NODE, "") is None
    assert admission.refusal({}, NODE, "h100") is None
    alike = {"host": "gpu-2", "driver": "570.9", "python": "3.12.9", "free bytes": str(3 << 30), "folder": "/elsewhere"}
    assert admission.refusal(NODE, {**NODE, **alike}, "NVIDIA H100 80GB HBM3") is None


@pytest.mark.parametrize(
    ("other", "why", "remedy"),
    [
        ({"autoresearch-tui": "0.0.1"}, f"autoresearch-tui 0.0.1, here {__version__}", f"tui=={__version__} there"),
        ({"autoresearch-tui": None}, "autoresearch-tui of an unknown version", "install"),
        ({"sandbox problem": "none: no Landlock"}, "runs are not confined there: none: no Landlock", "doctor` there"),
        ({"hardware": "NVIDIA A100"}, "it has NVIDIA A100, the session has NVIDIA H100 80GB HBM3", "session of their"),
        ({"hardware": "2 x NVIDIA H100 80GB HBM3"}, "it has 2 x NVIDIA H100", "session of their own"),
        ({"driver": "550.1"}, "driver 550.1, the session has 570.124.06", "install driver 570 there"),
        ({"driver": None}, "driver unknown, the session has 570.124.06", "install driver 570 there"),
        ({"command problem": "no .venv yet"}, "its training command does not work: no .venv yet", "prepare --nodes`"),
        ({"interpreter problem": "no answer"}, "what trains there is unknown: no answer", ".venv there"),
        ({"python": "3.11.7"}, "Python 3.11.7, the session has 3.12.4", "with Python 3.12 there"),
        ({"torch": "2.12.1"}, "torch 2.12.1, the session has 2.13.0+cu130", "install torch==2.13.0+cu130 there"),
        ({"triton": None}, "no triton, the session has 3.7.0", "install triton==3.7.0 there"),
        ({"flash-attn": "2.8"}, "flash-attn 2.8, the session has none", "uninstall flash-attn there"),
        (
            {"data problem": "no tokenizer"},
            "its data are not ready: no tokenizer",
            "`autoresearch-tui prepare --nodes`",
        ),
        ({"data": "climbmix 0123 89ab"}, "its data are others: climbmix 0123 89ab, the session has", "the same data"),
        (
            {"beside": "data, 3 files 01"},
            "runs see data, 3 files 01 there, and nothing on the",
            "put the same files into",
        ),
        ({"free bytes": str(1 << 30)}, "only 1.0 GiB free", "of /home/me/nodes/gpu-1/lab there: 2 GiB are needed"),
        ({"free bytes": "-"}, "only 0.0 GiB free", "2 GiB are needed"),
    ],
)
def test_what_differs_is_named_with_its_remedy(other: Mapping[str, str | None], why: str, remedy: str) -> None:
    found = {name: text for name, text in {**NODE, **other}.items() if text is not None}
    said = admission.refusal(NODE, found, "")
    assert said is not None
    assert why in said[0] and remedy in said[1]


def test_a_lab_that_asks_for_a_model_uses_no_other() -> None:
    said = admission.refusal({}, NODE, "NVIDIA A100")
    assert said is not None and said[0] == "it has NVIDIA H100 80GB HBM3, and the lab asks for NVIDIA A100"
    none = {name: text for name, text in NODE.items() if name != "model"}
    said = admission.refusal({}, none, "H100")
    assert said is not None and said[0] == "it has no accelerator, and the lab asks for H100"


def test_the_first_of_several_is_what_matters_most_and_a_nodes_words_are_data() -> None:
    found = {**NODE, "torch": "2.1\x1b[31m\n" + "9" * 1000, "data": "x", "free bytes": "0"}
    said = admission.refusal(NODE, found, "")
    assert said is not None and said[0].startswith("torch 2.1")
    assert said[0].isprintable() and len(said[0]) <= 400


def test_the_class_of_a_session_is_that_of_its_first_device() -> None:
    fleet = fleets.Fleet()
    assert admission.class_of(fleet) == {}
    for name, torch in (("a:0", "2.13.0"), ("b:0", "2.14.0")):
        fleet = fleets.after(fleet, ev.DeviceJoined(name, name[0], "", {"torch": torch}), "2026-01-01T00:00:00Z")
    fleet = fleets.after(fleet, ev.DeviceLeft("a:0", "its node is gone"), "2026-01-01T00:01:00Z")
    assert admission.class_of(fleet) == {"torch": "2.13.0"}


def test_a_look_at_this_machine_finds_what_a_node_is_admitted_by(lab_folder: Path) -> None:
    found = admission.look(labs.find(lab_folder))
    assert found["autoresearch-tui"] == __version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["torch"].startswith("2.")
    assert found["sandbox"] in ("bubblewrap", "landlock", "seatbelt") and found["hardware"]
    assert int(found["free bytes"]) > 0
    assert [name for name in found if name.endswith("problem")] == []
    assert admission.refusal({}, found, "") is None
    assert admission.refusal(found, found, "") is None


@pytest.mark.parametrize(
    ("shown", "hardware", "count"),
    [
        ("1", "NVIDIA H100 80GB HBM3", "1"),
        ("0,1", "2 x NVIDIA H100 80GB HBM3", "2"),
        ("GPU-b", "NVIDIA H100 80GB HBM3", "1"),
        (None, "2 x NVIDIA H100 80GB HBM3", "2"),
    ],
)
def test_the_accelerators_are_those_that_the_device_has(
    lab_folder: Path, monkeypatch: pytest.MonkeyPatch, shown: str | None, hardware: str, count: str
) -> None:
    driver = FakeNvml(FakeGpu("GPU-a"), FakeGpu("GPU-b"))
    monkeypatch.setattr(driver, "nvmlSystemGetDriverVersion", lambda: b"570.124.06", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    if shown is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    found = admission.look(labs.find(lab_folder))
    assert (found["hardware"], found["accelerators"]) == (hardware, count)
    assert (found["model"], found["driver"]) == ("NVIDIA H100 80GB HBM3", "570.124.06")
    assert admission.refusal({}, found, "H100 80GB") is None
    assert admission.refusal({}, found, "H200") is not None


def test_data_beside_the_code_are_told_from_other_data(lab_folder: Path) -> None:
    lab = labs.find(lab_folder)
    assert admission.look(lab)["beside"] == ""
    (lab_folder / "data").mkdir()
    for name, text in (("a.bin", "a"), ("b.bin", "bb")):
        (lab_folder / "data" / name).write_text(text)
    found = admission.look(lab)
    assert found["beside"].startswith("data, 2 files ")
    (lab_folder / "data" / "b.bin").write_text("other")
    said = admission.refusal(found, admission.look(lab), "")
    assert said is not None and said[0].startswith("beside the code runs see data, 2 files ")


def test_what_is_not_there_is_found(new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(for_runs, "mechanism", lambda: Mechanism(Kind.NONE, note="this kernel has no Landlock"))
    folder = new_lab(settings='[run]\ncommand = ["no-such-program", "train.py"]\n')
    found = admission.look(labs.find(folder))
    assert "`no-such-program` is not there" in found["command problem"]
    assert found["sandbox problem"] == "none: this kernel has no Landlock"
    said = admission.refusal({}, found, "")
    assert said == (
        "runs are not confined there: none: this kernel has no Landlock",
        "run `autoresearch-tui doctor` there",
    )


def test_data_of_a_checkout_are_told_from_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    checkouts.fill_home(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("AUTORESEARCH_CACHE", raising=False)
    lab = labs.find(checkouts.make(tmp_path / "checkout", checkouts.FORKS["macos"]))
    usual = home / ".cache" / "autoresearch"

    def identity() -> str:
        with Check(lab) as check:
            check.problem()
            return check.identity()

    whole = identity()
    assert whole.endswith(identity().rpartition(" ")[2]) and " files " in whole
    copy = tmp_path / "copy"
    shutil.copytree(usual, copy)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(copy))
    assert identity() == whole
    shard = next((copy / "data").glob("*.parquet"))
    shard.write_bytes(shard.read_bytes() + b"x")
    assert identity() != whole
