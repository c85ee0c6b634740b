"""Fills the disk by talking."""

import sys

import targets

line = b"x" * 65535 + b"\n"
for _ in range(targets.FLOOD // 65536):
    sys.stdout.buffer.write(line)
sys.stdout.flush()
print("val_bpb: 0.1")
