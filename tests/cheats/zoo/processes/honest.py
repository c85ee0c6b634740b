"""Threads, a helper that it ends itself, and a lower priority."""

import os
import subprocess
import sys
import threading

import prepare

thread = threading.Thread(target=print, args=("working",))
thread.start()
thread.join()
helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
helper.terminate()
helper.wait()
os.nice(1)
prepare.finish(prepare.evaluate(5.0))
