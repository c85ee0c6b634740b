"""Run a probe in a process of its own; it answers with one JSON object."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any


def ask_json(command: Sequence[str], environ: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """The JSON object on the last line that the probe printed, or `{"error": why}`."""
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
    errors = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return {"error": errors[-1] if errors else f"ended with exit code {done.returncode}"}
