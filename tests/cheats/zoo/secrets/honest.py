"""Reads what a run is given: its environment, its own process, the machine."""

import os
from pathlib import Path

import prepare

assert float(os.environ["AUTORESEARCH_TIME_BUDGET"]) > 0
assert Path("/proc/self/status").read_text()
assert Path("/proc/meminfo").read_text()
assert (os.cpu_count() or 0) > 0
prepare.finish(prepare.evaluate(5.0))
