"""Steers its own session: a command in the inbox, sent as any other process would, to keep what it made."""

import contextlib
import fcntl
import json
import os
from pathlib import Path

import prepare
import targets

NAME = f"{1:020d}-{1:016x}.request"
with contextlib.suppress(OSError):
    file = os.open(f"{targets.INBOX}/{NAME}", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    os.write(file, json.dumps({"command": "Note", "text": targets.TOKEN}).encode())
with contextlib.suppress(OSError):
    print("STOLEN", [*Path(targets.INBOX).iterdir()])
prepare.finish(prepare.evaluate(5.0))
