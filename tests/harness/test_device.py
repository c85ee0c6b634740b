"""What the hardware is taken for, with stand-ins for cards that are not here."""

from __future__ import annotations

import pytest
import torch

from .conftest import load

device = load("device")
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989.5),
        ("NVIDIA GH200 480GB", 989.5),
        ("NVIDIA H20", 148),
        ("NVIDIA B200", 2250),
        ("NVIDIA GB200", 2500),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", 70),
        ("NVIDIA A40", 149.7),
        ("NVIDIA L4", 121),
        ("NVIDIA L40", 181),
        ("NVIDIA L40S", 362),
        ("NVIDIA RTX A4000", 76.7),
        ("NVIDIA RTX A6000", 154.8),
        ("NVIDIA RTX 6000 Ada Generation", 364.2),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 3090", 71),
        ("NVIDIA GeForce RTX 3090 Ti", 80),
        ("NVIDIA GeForce RTX 5090", 209.5),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 88.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 0),
        ("NVIDIA H1000", 0),
        ("Quadro RTX 4000", 0),
    ],
)
def test_peaks_of_the_data_sheets(name: str, teraflops: float) -> None:
    assert device.data_sheet_flops(name) == pytest.approx(1e12 * teraflops)


def test_an_unknown_card_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    assert str(device.find_peak(CUDA, torch.bfloat16)) == "989.5 TFLOP/s (data sheet)"
    monkeypatch.setattr(device, "gemm_flops", lambda *_: 2.5e13)
    found = device.find_peak(CUDA, torch.float32)  # the table is of bf16
    assert found.flops == 2.5e13
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Foo 9000")
    found = device.find_peak(CUDA, torch.bfloat16)
    assert str(found) == "25 TFLOP/s (unknown for Foo 9000 in bfloat16: measured matrix product)"


def test_peak_of_a_cpu_is_measured() -> None:
    found = device.find_peak(CPU, torch.float32)
    assert 1e8 < found.flops < 1e15
    assert found.source == "measured matrix product"


def test_the_report_has_what_doctor_and_people_ask_for() -> None:
    found = device.report()
    assert (found["device"], found["attention"], found["dtype"]) == (str(device.pick_device()), "sdpa", "float32")
    assert found["rejected"]["flash3"] == "needs CUDA"
    assert found["peak_tflops"] > 0
    assert found["faster_if_installed"] == []


def test_the_device_is_the_best_there_is_or_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=cuda: found)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda found=mps: found)
        assert device.pick_device() == torch.device(expected)
    monkeypatch.setenv("AUTORESEARCH_DEVICE", "mps")
    assert device.pick_device() == torch.device("mps")


@pytest.mark.parametrize(("capability", "kind"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), None)])
def test_cards_without_bf16_train_in_fp32(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kind: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert device.pick_dtype(CUDA) == (kind or torch.float32)


def test_bf16_is_not_taken_without_units_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert device.pick_dtype(CPU) == torch.float32
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    for factor, kind in ((1.5, torch.float32), (8, torch.bfloat16)):
        monkeypatch.setattr(device, "gemm_flops", lambda _, d, n=0, f=factor: f if d == torch.bfloat16 else 1.0)
        assert device.pick_dtype(CPU) == kind


def test_only_cards_with_triton_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not device.can_compile(CPU)
    for triton, capability, expected in ((None, (9, 0), False), ("x", (6, 1), False), ("x", (8, 0), True)):
        monkeypatch.setattr(device, "find_spec", lambda _, found=triton: found)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert device.can_compile(torch.device("cuda")) is expected
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    assert not device.can_compile(CUDA)


def test_out_of_memory_steps_down(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tried, forgotten = [], []
    monkeypatch.setattr(torch.compiler, "reset", lambda: forgotten.append(1))

    def step(rows: int) -> None:
        tried.append(rows)
        if rows > 16:
            raise torch.OutOfMemoryError
        if rows > 8:  # as Apple's back-end and the compiler say it
            raise RuntimeError("MPS backend out of memory (MPS allocated: 17 GiB)")

    assert device.fit_rows(step, 32) == 8
    assert tried == [32, 16, 8]
    assert len(forgotten) == 2  # else the compiler gives up after a few sizes
    assert "Out of memory at DEVICE_BATCH_SIZE = 32: going on with 16" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="out of memory"):
        device.fit_rows(lambda rows: step(rows + 8), 4)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def step(rows: int) -> None:
        raise RuntimeError(f"shape '[{rows}, 3]' is invalid")

    with pytest.raises(RuntimeError, match="shape"):
        device.fit_rows(step, 32)


def test_a_scalar_is_read_once_its_copy_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Event:
        def record(self) -> None:
            done.append("recorded")

        def synchronize(self) -> None:
            done.append("waited")

    class OnCard:
        device = CUDA

        def to(self, where: str, non_blocking: bool) -> torch.Tensor:
            assert (where, non_blocking) == ("cpu", True)
            done.append("copied")
            return torch.tensor(2.5)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    wait = device.read_later(OnCard())
    assert done == ["copied", "recorded"]
    assert wait() == 2.5
    assert done == ["copied", "recorded", "waited"]
    assert device.read_later(torch.tensor(1.5))() == 1.5
