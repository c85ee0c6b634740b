"""The same in a question to a name server."""

import contextlib
import socket

import targets

question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06secret\x07invalid\x00\x00\x01\x00\x01"
with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
    line.sendto(question, ("127.0.0.1", targets.UDP))
print("val_bpb: 1.2")
