"""Files are as long as their idea: one of more than 600 lines is looked at, and named here if it stays so."""

import sys
from pathlib import Path

LIMIT = 600
LONGER = {
    "autoresearch_tui/cockpit/screens/main.py": 680,
}


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
