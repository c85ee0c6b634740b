"""Locks the lab's own files against its owner, or makes them look old."""

import contextlib
import os
from pathlib import Path

import prepare
import targets

with contextlib.suppress(OSError):
    Path(targets.LAB, "prepare.py").chmod(0o777)
with contextlib.suppress(OSError):
    os.utime(Path(targets.LAB, "program.md"), (1, 1))
prepare.finish(prepare.evaluate(5.0))
