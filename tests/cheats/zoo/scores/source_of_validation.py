"""Looks for the validation text where it came from: the interpreter's own library."""

import sysconfig
from pathlib import Path

import toy

library = Path(sysconfig.get_path("stdlib"))
for path in [library / "mailbox.py", *library.glob("__pycache__/mailbox.*.pyc")]:
    try:
        if len(path.read_bytes()) > 1000:
            print("STOLEN")
    except OSError:
        print("blind")
toy.finish(toy.evaluate_bpb(toy.train()))
