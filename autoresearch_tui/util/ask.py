"""A question to a process of its own, whose answer is one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any


def ask_json(command: Sequence[str], environ: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """The JSON object on a probe's last line; `error` where there is none."""
    try:
        done = subprocess.run(
            list(command),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            cwd=os.sep,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {seconds:g} s"}
    except OSError as error:
        return {"error": f"{command[0]}: {error.strerror}"}
    try:
        answer = json.loads(done.stdout.decode("utf-8", "replace").strip().splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if isinstance(answer, dict):
        return answer
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return {"error": said[-1] if said else f"ended with exit code {done.returncode}"}
