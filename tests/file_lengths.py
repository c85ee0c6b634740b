"""Files are as long as their idea, and no idea of this project takes more than 600 lines."""

import sys
from pathlib import Path

LIMIT = 600


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    too_long = 0
    for folder in ("autoresearch_tui", "harness", "benchmarks"):
        for path in sorted((root / folder).rglob("*.py")):
            lines = len(path.read_text("utf-8").splitlines())
            if lines > LIMIT:
                print(f"{path.relative_to(root)}: {lines} lines; the limit is {LIMIT}")
                too_long += 1
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
