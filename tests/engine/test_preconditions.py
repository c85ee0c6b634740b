"""What a run needs of its machine: accelerators that are there and free, by any name that CUDA takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine import preconditions
from autoresearch_tui.engine.backoff import TroubleError
from autoresearch_tui.engine.preconditions import Preconditions
from autoresearch_tui.lab import devices
from autoresearch_tui.lab.machine_load import Probe
from tests.fakes.nvml import FakeGpu, FakeNvml


@pytest.fixture(autouse=True)
def plenty_of_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "MIN_FREE_BYTES", 0)


@contextmanager
def process() -> Iterator[int]:
    """Somebody's process; ours, until a test says otherwise."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child.pid
        child.kill()


def test_an_accelerator_that_is_taken_or_lost_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    around = Preconditions(tmp_path, {})
    with process() as pid:
        nvml.gpus[0].held = {os.getpid(): 70 << 30, pid: 1 << 30}
        around.check()
        nvml.gpus[0].held = {pid: 30 << 30}
        with pytest.raises(
            TroubleError, match=rf"process {pid} \(python\S*\) holds 30\.0 GiB of accelerator 0"
        ) as caught:
            around.check()
        assert f"kill {pid}" in caught.value.remedy
        assert not around.lost()
    nvml.gpus.clear()
    with pytest.raises(TroubleError, match="the accelerator is lost: 0 of 1 are there"):
        around.check()
    nvml.gone = True
    with pytest.raises(TroubleError, match="the accelerator is lost: GPU is lost"):
        around.check()
    assert around.lost()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", None)
        Preconditions(tmp_path).check()  # a machine without one never had it


@pytest.mark.parametrize("owner", [12345, None])
def test_nobody_is_told_to_end_what_is_not_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int | None
) -> None:
    """Another user's process, and one that cannot be seen from this container."""
    nvml = FakeNvml(FakeGpu(held={4242: 30 << 30}))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(preconditions, "owner", lambda _pid: owner)
    with pytest.raises(TroubleError, match="process 4242") as caught:
        Preconditions(tmp_path, {}).check()
    assert "kill" not in caught.value.remedy
    assert "wait for its owner" in caught.value.remedy
    assert "run.share_accelerator = true" in caught.value.remedy
    Preconditions(tmp_path, {}, shared=True).check()


def _machine() -> FakeNvml:
    """Two whole accelerators, one that is divided in two, and one more."""
    halves = [FakeGpu("MIG-aaaaaaaa-0000-5000-8000-000000000001"), FakeGpu("MIG-aaaaaaaa-0000-5000-8000-000000000002")]
    return FakeNvml(
        FakeGpu("GPU-00000000-1111-2222-3333-444444444444"),
        FakeGpu("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        FakeGpu("GPU-cccccccc-d72c-4106-c12f-20bd9faed9f6", instances=halves),
        FakeGpu("GPU-dddddddd-d72c-4106-c12f-20bd9faed9f6"),
    )


@pytest.mark.parametrize(
    ("device", "environ", "ours"),
    [
        ("", {"CUDA_VISIBLE_DEVICES": "3"}, [(3, None)]),
        ("", {"CUDA_VISIBLE_DEVICES": "3,1"}, [(3, None), (1, None)]),
        ("", {"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}, [(1, None)]),
        ("", {"CUDA_VISIBLE_DEVICES": "MIG-aaaaaaaa-0000-5000-8000-000000000002"}, [(2, 1)]),
        ("", {"CUDA_VISIBLE_DEVICES": ""}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "1,9,3"}, [(1, None)]),
        ("", {"CUDA_VISIBLE_DEVICES": "2"}, [(2, 0)]),  # of a divided one, CUDA takes the first instance
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", {"CUDA_VISIBLE_DEVICES": "3"}, [(1, None)]),
        ("MIG-aaaaaaaa-0000-5000-8000-000000000001", {}, [(2, 0)]),
        ("3", {"CUDA_VISIBLE_DEVICES": "0"}, [(3, None)]),
        ("cpu0", {}, []),
    ],
)
def test_only_the_runs_own_accelerators_are_looked_at(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    environ: dict[str, str],
    ours: list[tuple[int, int | None]],
) -> None:
    nvml = _machine()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    own = [nvml.gpus[index] if half is None else nvml.gpus[index].instances[half] for index, half in ours]
    for gpu in (*nvml.gpus, *nvml.gpus[2].instances):
        if gpu not in own:
            gpu.held = {4242: 70 << 30}  # a stranger's
    around = Preconditions(tmp_path, environ)
    around.check(device)
    assert [gpu for place, gpu in enumerate(nvml.asked) if gpu not in nvml.asked[:place]] == own
    meters = devices.all_visible(environ, (device,) if device else ())
    assert [(each.index, each.memory_used) for each in Probe(meters).read().devices] == [(i, 0) for i, _ in ours]
    for gpu in own:
        gpu.held = {4242: 70 << 30}
        with pytest.raises(TroubleError, match="process 4242"):
            around.check(device)
        gpu.held = {}


def test_a_named_accelerator_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", _machine())
    for device in ("7", "GPU-77777777", "GPU-00000000-9"):
        with pytest.raises(TroubleError, match=f"accelerator {device} is not there"):
            Preconditions(tmp_path, {}).check(device)


def test_numbers_that_cannot_be_followed_accuse_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA puts the faster of two models first; the driver's tools count by the bus."""
    nvml = FakeNvml(FakeGpu("GPU-1", "NVIDIA T400", held={4242: 70 << 30}), FakeGpu("GPU-2", "NVIDIA RTX 5090"))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    Preconditions(tmp_path, {"CUDA_VISIBLE_DEVICES": "0"}).check()
    with pytest.raises(TroubleError, match="process 4242"):
        Preconditions(tmp_path, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).check()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, None),
        ("", ()),
        ("0, 2", ("0", "2")),
        ("1,0", ("1", "0")),
        ("0,-1,1", ("0",)),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("0,0", ()),  # a repetition leaves none
        ("01", ("1",)),
        ("GPU-8932f937,GPU-00000000,3", ("GPU-8932f937", "GPU-00000000")),
        ("MIG-1,GPU-2", ("MIG-1",)),
        ("0,GPU-2", ("0",)),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(text: str | None, names: tuple[str, ...] | None) -> None:
    environ = {} if text is None else {"CUDA_VISIBLE_DEVICES": text}
    assert devices.visible(environ).names == names


@given(st.text(alphabet="0123456789,-+ GPUMIGabcdef", max_size=40))
def test_anything_in_cuda_visible_devices_names_something_or_nothing(text: str) -> None:
    names = devices.visible({"CUDA_VISIBLE_DEVICES": text}).names
    assert names is not None
    assert len(set(names)) == len(names)


def test_what_can_be_named_on_the_command_line() -> None:
    good = ("0", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932f937", "cpu0-3")
    migs = ("MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2", "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/0")
    assert devices.problem((*good, *migs)) == ""
    for name in ("gpu0", "GPU-", "MIG", "GPU-xyz", "GPU-8932f937/../x", "0,1", "cuda:0", "\u0663"):
        assert "is not a device" in devices.problem((name,))
    assert [devices.short(name) for name in (*good, *migs)] == [
        "0", "GPU-8932f937", "GPU-8932f937", "cpu0-3", "MIG-3eb87630", "MIG-GPU-8932f937"
    ]  # fmt: skip
    assert devices.environment(migs[0]) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": migs[0]}


def test_a_run_of_another_session_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The night of another lab of ours: neither a leftover nor a stranger's."""
    words = [sys.executable, "-I", "-S", "-c", "print('ready', flush=True); input()"]
    mark = {"AUTORESEARCH_RUN": "/elsewhere/.autoresearch/t/runs/0001"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=mark) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(FakeGpu(held={child.pid: 30 << 30})))
        with pytest.raises(TroubleError) as caught:
            Preconditions(tmp_path, {}).check()
        child.kill()
    assert "a run of another session" in caught.value.remedy
    assert "kill" not in caught.value.remedy
