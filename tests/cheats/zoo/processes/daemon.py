"""Leaves a process behind that continues the work when the run is over."""

import os
import subprocess

import prepare
import targets

if os.fork() == 0:
    os.setsid()
    subprocess.Popen(
        ["sleep", targets.NAP], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    os._exit(0)
os.wait()
prepare.finish(prepare.evaluate(5.0))
