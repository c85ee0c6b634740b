"""The same through a socket that is not in the file system (D-Bus, X11)."""

import contextlib
import socket

import targets

with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as line:
    line.settimeout(2)
    line.connect(targets.ABSTRACT)
print("val_bpb: 1.2")
