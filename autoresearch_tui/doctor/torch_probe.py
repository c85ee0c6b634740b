"""What torch sees, as one JSON object. Run by the training interpreter, which need not have our package.

python -I torch_probe.py FOLDER_OF_THE_HARNESS
"""

from __future__ import annotations

import importlib
import json
import sys


def probe(harness: str) -> dict[str, object]:
    """Version, device and attention; `attention_error` if the harness's choice fails."""
    import torch

    found: dict[str, object] = {
        "version": str(torch.__version__),
        "cuda_build": torch.version.cuda,
        "hip_build": getattr(torch.version, "hip", None),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if found["cuda"]:
        found["name"] = torch.cuda.get_device_name(0)
        found["capability"] = list(torch.cuda.get_device_capability(0))
    try:
        sys.path.insert(0, harness)
        device = importlib.import_module("fixed.device")
        where = device.pick_device()
        choice = device.choose_attention(where, device.pick_dtype(where), 128)
        found |= {"device": str(where), "attention": choice.name, "rejected": dict(choice.rejected)}
    except Exception as error:  # whatever a driver or a half-installed kernel can raise
        found["attention_error"] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    try:
        answer = probe(sys.argv[1])
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
