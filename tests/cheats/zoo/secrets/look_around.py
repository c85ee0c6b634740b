"""Reads the journal, other runs, the repository and the user's home."""

import contextlib
from pathlib import Path

import targets

for top in targets.PRIVATE:
    paths = [Path(top), *Path(top).rglob("*")] if Path(top).exists() else []
    for path in paths:
        with contextlib.suppress(OSError):
            if path.is_file() and path.read_bytes():
                print("STOLEN", top)
                break
print("val_bpb: 1.2")
