"""Checks of accelerator, driver, torch and attention. torch is imported only by the interpreter that trains."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoresearch_tui.doctor.item import Item, ok, problem, warning
from autoresearch_tui.lab.devices import Visible, all_visible
from autoresearch_tui.lab.machine_load import Device
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import RunSettings
from autoresearch_tui.runs.environment import interpreter
from autoresearch_tui.util.ask import ask_json

TORCH_SECONDS = 30.0
_GIB = 2**30
_BUSY_MEMORY = _GIB
_HOPPER = (9, 0)
_IMPORTS_TORCH = re.compile(r"^\s*(?:import|from)\s+torch\b", re.MULTILINE)
_LABELS = {
    "flash4": "flash-attn 4",
    "flash3": "flash-attn 3",
    "flash2": "flash-attn 2",
    "varlen": "the flash kernel that comes with torch",
    "flex": "torch's FlexAttention",
    "sdpa": "torch's own attention",
}


def uses_torch(lab: Lab | None) -> bool:
    """Whether the lab's files import torch; True without a lab."""
    if lab is None:
        return True
    paths = (*lab.editable_files, *lab.settings.lab.locked)
    return any(_IMPORTS_TORCH.search((lab.root / path).read_text("utf-8", "replace")) for path in paths)


def check(lab: Lab | None, environ: Mapping[str, str], *, busy: bool) -> list[Item]:
    """`busy`: an engine is at work in this lab, so memory in use is expected."""
    needed = uses_torch(lab)
    run = RunSettings() if lab is None else lab.settings.run
    wanted = all_visible({**environ, **run.env}, run.devices)
    devices, driver, failure = read_devices(wanted)
    first = accelerator(devices, driver, failure, needed=needed, busy=busy or run.share_accelerator)
    named = [name for each in wanted for name in each.names or ()]
    if driver and len(devices) < len(named):
        there = f"{len(devices)} of the accelerators {', '.join(named)} are there"
        first = problem("accelerator", there, "see `nvidia-smi -L`, and name others")
    if not needed:
        return [first, ok("torch", "not used by this lab")]
    python = interpreter(lab) if lab is not None else Path(sys.executable)
    if python is None:
        return [
            first,
            warning("torch", "the lab has no .venv yet", "run `autoresearch-tui prepare`: a run has no network"),
        ]
    found = ask_torch(python, environ)
    return [first, torch(found, python, bool(devices)), *attention(found)]


def read_devices(wanted: Sequence[Visible]) -> tuple[Sequence[Device], str, str]:
    """The devices that runs see, the driver's version, and why the driver of existing hardware does not answer."""
    from autoresearch_tui.lab.machine_load import Probe

    devices = Probe(wanted).read().devices
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        return devices, version.decode() if isinstance(version, bytes) else str(version), ""
    except Exception as error:  # NVML's errors differ from driver to driver
        seen = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/proc/driver/nvidia").exists()
        return devices, "", f"{type(error).__name__}: {error}" if seen else ""


def accelerator(devices: Sequence[Device], driver: str, failure: str, *, needed: bool, busy: bool) -> Item:
    """The accelerators, and the processes that hold their memory."""
    name = "accelerator"
    if failure:
        return problem(name, f"the NVIDIA driver does not answer ({failure})", "try `nvidia-smi`; reboot, or reinstall")
    if needed and devices and not Path("/dev/nvidia-uvm").exists() and any(Path("/dev").glob("nvidia[0-9]*")):
        return problem(
            name, "/dev/nvidia-uvm is missing, without which CUDA does not start", "`nvidia-modprobe -u -c=0`"
        )
    if not devices:
        if sys.platform == "darwin":
            return ok(name, "Apple's GPU, through torch's MPS")
        if Path("/dev/kfd").exists():
            return ok(name, "an AMD GPU, through ROCm; its load is not shown")
        if not needed:
            return ok(name, "none, and this lab needs none")
        remedy = "where there is a GPU: load its driver, or start the container with `--gpus all`"
        return warning(name, "none: training runs on the CPU", remedy)
    found = "; ".join(f"{device.name}{_memory(device)}" for device in devices)
    found += f"; driver {driver}" if driver else ""
    held = [_held(device) for device in devices if not busy and (device.memory_used or 0) > _BUSY_MEMORY]
    if held:
        from autoresearch_tui.engine.preconditions import remedy_for_holders

        pids = [holder.pid for device in devices for holder in device.holders]
        return warning(name, f"{found}; {'; '.join(held)}", remedy_for_holders(pids))
    return ok(name, found)


def _memory(device: Device) -> str:
    return f", {device.memory_total / _GIB:.0f} GiB" if device.memory_total else ""


def _held(device: Device) -> str:
    used = f"{(device.memory_used or 0) / _GIB:.1f} GiB in use"
    names = ", ".join(f"{holder.name} ({holder.pid})" for holder in device.holders)
    return f"{used} by {names}" if names else f"{used} by a process that cannot be seen from here"


def ask_torch(python: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The answer of `torch_probe.py`; `error` if it fails."""
    from autoresearch_tui.lab.creation import assets

    script = Path(__file__).with_name("torch_probe.py")
    command = [str(python), "-I", "-B", str(script), str(assets() / "harness")]
    return ask_json(command, environ, TORCH_SECONDS)


def torch(found: Mapping[str, Any], python: Path, gpu: bool) -> Item:
    """Whether the training interpreter has torch, and whether torch sees the GPU."""
    name = "torch"
    if "error" in found:
        remedy = f"run `{python} -m pip install 'autoresearch-tui[harness]'`, or install the lab's own torch there"
        if "no answer" in found["error"]:
            remedy = f"see how long `{python} -c 'import torch'` takes; a second try may be quicker"
        return problem(name, f"{python} cannot import it: {found['error']}", remedy)
    version, built = found["version"], found.get("cuda_build") or found.get("hip_build")
    if found.get("cuda"):
        return ok(name, f"{version}, sees {found.get('name')} (CUDA {built})")
    if gpu:
        if not built:
            remedy = f"install a build for CUDA: `{python} -m pip install --force-reinstall torch`"
            return problem(name, f"{version} is a build without CUDA: the GPU would stay idle", remedy)
        remedy = f"update the driver, or install a build of torch for the CUDA that it has (this one wants {built})"
        return problem(name, f"{version} does not see the GPU", remedy)
    return ok(name, f"{version}, on {'the Apple GPU (MPS)' if found.get('mps') else 'the CPU'}")


def attention(found: Mapping[str, Any]) -> list[Item]:
    """The attention that is used here, and a faster one if there is any."""
    name = "attention"
    if "error" in found:
        return []
    if "attention_error" in found:
        return [warning(name, f"cannot be tried: {found['attention_error']}", "run a short lab and read its run.log")]
    chosen = str(found.get("attention"))
    text = f"{chosen}: {_LABELS.get(chosen, chosen)}"
    if not str(found.get("device")).startswith("cuda"):
        return [ok(name, f"{text}; flash-attn is for NVIDIA GPUs")]
    rejected = found.get("rejected") or {}
    why = ", ".join(f"{key} ({value})" for key, value in rejected.items())
    text += f"; not: {why}" if why else ""
    if chosen in ("flex", "sdpa"):
        remedy = "pip install --no-build-isolation 'autoresearch-tui[gpu]' (flash-attn; needs nvcc)"
        return [warning(name, text, remedy)]
    if chosen != "flash3" and tuple(found.get("capability") or ()) == _HOPPER:
        remedy = "on this GPU flash-attn 3 is faster: pip install flash-attn-3, from torch's own package index"
        return [Item(name, "ok", text, remedy)]
    return [ok(name, text)]
