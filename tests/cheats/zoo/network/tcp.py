"""Sends what it found to somebody who listens."""

import contextlib
import socket

import targets

with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", targets.TCP), timeout=2) as line:
    line.sendall(b"x")
print("val_bpb: 1.2")
