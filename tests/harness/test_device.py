"""What the hardware is taken for, with stand-ins for cards that are not here."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path

import pytest
import torch

from tests import warm

from .conftest import HARNESS, load
from .test_end_to_end import make_lab, run_train

device = load("fixed.device")
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
    assert (found["device"], found["attention"]) == (str(device.pick_device()), "sdpa")
    assert found["dtype"] == device.dtype_name(device.pick_dtype(device.pick_device()))
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


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without one; returns its /dev."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "NODES", tmp_path)
    for name in ("AUTORESEARCH_DEVICE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 12040).\n Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx"
)


@pytest.mark.parametrize(
    "reason",
    [
        RuntimeError(OLD_DRIVER),
        RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
        RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 304: OS call failed"),
        AssertionError("Torch not compiled with CUDA enabled"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_said_in_one_line_and_nothing_trains(
    monkeypatch: pytest.MonkeyPatch, no_gpu: Path, reason: Exception
) -> None:
    def init() -> None:
        raise reason

    monkeypatch.setattr(torch.cuda, "init", init)
    assert device.pick_device("cpu") == CPU
    for profile in ("reference", "consumer24", "consumer8"):
        with pytest.raises(SystemExit) as stopped:
            device.require_device(profile)
        assert f"the profile {profile} is for a GPU" in stopped.value.code
    (no_gpu / "nvidia0").touch()
    with pytest.raises(SystemExit) as stopped:
        device.require_device("cpu")
    assert "there is a GPU (/dev/nvidia0)" in stopped.value.code
    assert " ".join(str(reason).split()) in stopped.value.code
    assert "AUTORESEARCH_DEVICE=cpu" in stopped.value.code
    assert "\n" not in stopped.value.code


def test_a_cpu_trains_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch, no_gpu: Path) -> None:
    (no_gpu / "nvidiactl").touch()  # the driver is there, a card is not
    assert device.require_device("demo") == CPU
    (no_gpu / "nvidia3").touch()
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert device.require_device("demo") == CPU
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("AUTORESEARCH_DEVICE", "cpu")
    assert device.require_device("reference") == CPU


def test_a_run_ends_in_that_line(tmp_path: Path, cache: Path) -> None:
    """A whole run whose profile is for a GPU, where torch sees none."""
    lab = make_lab(tmp_path)
    (lab / "blind.py").write_text(
        "import torch\ntorch.cuda.is_available = torch.backends.mps.is_available = lambda: False\n"
        "from fixed import settings\nsettings.PROFILE_NAME = 'reference'\nimport train\ntrain.main()\n"
    )
    done = run_train(lab, cache, "blind.py")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the profile reference is for a GPU" in done.stderr


def test_every_start_uses_one_number_format() -> None:
    """However busy the processor is: each start measures its matrix products with another speed."""
    script = (
        "import os, torch\nfrom fixed import device\n"
        "for start in range(3):\n"
        "    if os.fork() == 0:\n"
        "        device.gemm_flops = lambda d, dtype, size=0: 1e9 * (1 + hash((dtype, start)) % 97)\n"
        "        print(device.dtype_name(device.pick_dtype(torch.device('cpu'))), end=' ')\n"
        "        print(device.find_peak(torch.device('cpu'), torch.float32).flops, flush=True)\n"
        "        os._exit(0)\n"
        "    assert os.wait()[1] == 0\n"
    )
    done = warm.python(["-c", script], cwd=HARNESS).result()
    assert done.returncode == 0, done.stderr
    formats, speeds = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert len(set(formats)) == 1
    assert len(set(speeds)) > 1


@pytest.mark.parametrize(("capability", "kind"), [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), None)])
def test_cards_without_bf16_train_in_fp32(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], kind: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert device.pick_dtype(CUDA) == (kind or torch.float32)


@pytest.mark.parametrize(
    ("avx512", "amx", "kind"),
    [(False, False, torch.float32), (True, False, torch.bfloat16), (False, True, torch.bfloat16)],
)
def test_a_processor_trains_in_bf16_if_it_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, kind: torch.dtype
) -> None:
    def never(*_: object) -> float:
        raise AssertionError("a clock must not decide the number format")

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(device, "gemm_flops", never)
    assert device.pick_dtype(CPU) == kind


def test_only_cards_with_triton_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not device.can_compile(CPU)
    for triton, capability, expected in ((None, (9, 0), False), ("x", (6, 1), False), ("x", (8, 0), True)):
        monkeypatch.setattr(device, "find_spec", lambda _, found=triton: found)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert device.can_compile(torch.device("cuda")) is expected
    assert device.can_compile(CUDA)
    with monkeypatch.context() as m:
        m.setenv("AUTORESEARCH_COMPILE", "0")
        assert not device.can_compile(CUDA)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    assert not device.can_compile(CUDA)


def test_the_compiler_is_set_up_for_many_shapes_and_for_sandboxes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import multiprocessing.synchronize as locks

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # as where /dev/shm cannot be written

    with torch._dynamo.config.patch(recompile_limit=8):  # the first use sets the folder by itself
        for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)  # both are put back at the end
        device.set_up_compiler(tmp_path)
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)
        assert "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ
        monkeypatch.setattr(locks.SemLock, "__init__", refused)
        device.set_up_compiler(tmp_path / "other")
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)  # what is set stays
        assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
        double = torch.compile(lambda x: x * 2, backend="eager", dynamic=False, fullgraph=True)
        for rows in range(1, 13):  # one shape of matrix after the other
            assert double(torch.ones(rows, 2)).sum() == 4 * rows


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


def test_what_did_not_fit_is_let_go_before_the_next_try() -> None:
    """The frames of a failed step hold its tensors in a cycle, and the collector is off while training."""
    alive, held = [], weakref.WeakSet()

    def step(rows: int) -> None:
        alive.append(len(held))
        activations = torch.zeros(rows)
        held.add(activations)
        cycle = [activations]
        cycle.append(cycle)
        if rows > 8:
            raise torch.OutOfMemoryError

    gc.disable()
    try:
        assert device.fit_rows(step, 32) == 8
    finally:
        gc.enable()
    assert alive == [0, 0, 0]


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
