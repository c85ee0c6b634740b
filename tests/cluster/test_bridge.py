"""The bridge's process, before it has joined anything."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from msgspec.structs import asdict

from autoresearch_tui.cluster import security
from autoresearch_tui.cluster.protocol import BridgeSpec
from tests.waiting import wait_for


def is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def test_a_bridge_that_waits_for_a_silent_head_ends_with_its_engine(tmp_path: Path) -> None:
    """Or the next engine's would wait for it, for as long as Ray waits for the head."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        spec = BridgeSpec(address, "lab", "t", str(tmp_path), str(tmp_path), "0" * 40, 5.0, {"CPU": 1}, "", 60.0)
        with (tmp_path / "errors").open("wb") as errors:
            bridge = subprocess.Popen(
                [sys.executable, "-m", "autoresearch_tui.cluster.bridge", json.dumps(asdict(spec))],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env=security.environment(os.environ),
            )
        try:
            wait_for(lambda: bridge.poll() is not None or is_held(tmp_path / "bridge.lock"), 60, "its lock")
            assert bridge.stdin is not None
            bridge.stdin.close()
            wait_for(lambda: bridge.poll() is not None, 20, "the bridge's end")
            assert bridge.returncode == 0, (tmp_path / "errors").read_text()
        finally:
            bridge.kill()
            bridge.wait()
