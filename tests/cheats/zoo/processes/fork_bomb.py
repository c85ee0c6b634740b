"""More and more processes (here not quite without end)."""

import os
import subprocess

import prepare
import targets

for _ in range(targets.BOMB):
    if os.fork() == 0:
        os.setsid()
        os.execvp("sleep", ["sleep", targets.NAP])
subprocess.run(["true"], check=True)
prepare.finish(prepare.evaluate(5.0))
