"""`python -m autoresearch_tui`."""

import sys

from autoresearch_tui.cli import main

sys.exit(main())
