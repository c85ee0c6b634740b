"""`python -m autoresearch_tui`."""

import sys

from autoresearch_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
