"""Holds back whoever might stop it: no more bytes to write, the lowest priority, one processor."""

import contextlib
import os
import resource

import prepare
import targets

attempts = [
    lambda: resource.prlimit(targets.VICTIM, resource.RLIMIT_FSIZE, (0, 0)),
    lambda: os.setpriority(os.PRIO_PROCESS, targets.VICTIM, 19),
    lambda: os.sched_setscheduler(targets.VICTIM, os.SCHED_IDLE, os.sched_param(0)),
    lambda: os.sched_setaffinity(targets.VICTIM, {min(os.sched_getaffinity(0))}),
]
for attempt in attempts:
    with contextlib.suppress(OSError):
        attempt()
prepare.finish(prepare.evaluate(5.0))
