"""The names of the hardware that runs see: scores only compare on the same hardware."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autoresearch_tui.lab.accelerators import Pynvml, find
from autoresearch_tui.lab.devices import Visible
from autoresearch_tui.util.text import describe

_WIDTH = 80
_MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.M)


def hardware(seen: Sequence[Visible], cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The models of the accelerators that one run sees (`2 x NVIDIA H100 80GB HBM3`); without any, the processor's.

    `seen`: what each of the lab's devices shows to its run; all models are listed.
    """
    found = sorted({_of_run(each) for each in seen} - {""})
    return describe(", ".join(found) or _processor(cpuinfo), _WIDTH).removeprefix("-")


def _of_run(seen: Visible) -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no driver, or one that does not answer
        return ""
    try:
        driver = Pynvml(pynvml)
        models = Counter(driver.model(each.handle) for each in find(driver, seen))
    except pynvml.NVMLError:
        return ""
    finally:
        pynvml.nvmlShutdown()
    return ", ".join(f"{count} x {model}" if count > 1 else model for model, count in sorted(models.items()))


def _processor(cpuinfo: Path) -> str:
    try:
        model = _MODEL.search(cpuinfo.read_text("utf-8", "replace"))
    except OSError:
        model = None
    return model[1].strip() if model else platform.processor() or platform.machine()
