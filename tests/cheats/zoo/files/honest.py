"""Trains, keeps a checkpoint and temporary files where a run may, and runs a helper."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import prepare

answer = 5.0
Path("checkpoints").mkdir()
Path("checkpoints/best.txt").write_text(str(answer))
shutil.copy("checkpoints/best.txt", "checkpoints/last.txt")
with tempfile.NamedTemporaryFile() as file:
    file.write(b"x")
Path(os.environ["HOME"], ".cache").mkdir(parents=True, exist_ok=True)
subprocess.run(["uname"], check=True)
Path(os.environ["AUTORESEARCH_CACHE"], "tokenizer.json").read_text()
prepare.finish(prepare.evaluate(float(Path("checkpoints/last.txt").read_text())))
