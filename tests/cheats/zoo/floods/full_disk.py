"""Fills the disk with files."""

import os
import time
from pathlib import Path

import targets

with Path("checkpoint").open("wb") as file:
    os.posix_fallocate(file.fileno(), 0, targets.DISK)
time.sleep(3)
print("val_bpb: 0.1")
