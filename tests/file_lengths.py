"""A file is one idea: source files of more than 400 lines are too long.

The files that a lab consists of stand alone, and may be longer: train.py is the agent's whole canvas.
"""

import sys
from pathlib import Path

LIMIT = 400
LONGER = {"harness/train.py": 650, "harness/prepare.py": 635, "harness/corpus.py": 490}


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    too_long = 0
    for folder in ("autoresearch_tui", "harness", "benchmarks"):
        for path in sorted((root / folder).rglob("*.py")):
            name = str(path.relative_to(root))
            lines = len(path.read_text("utf-8").splitlines())
            if lines > LONGER.get(name, LIMIT):
                print(f"{name}: {lines} lines; the limit is {LONGER.get(name, LIMIT)}")
                too_long += 1
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
