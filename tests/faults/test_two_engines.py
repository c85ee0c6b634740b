"""Two engines started at once, again and again: one wins, the other says who has the lab."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.conftest import SETTINGS, THOROUGH, TRAIN, make_lab
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED, words
from tests.history import problems, state_of

TIMES = 50 if THOROUGH else 16


def test_one_wins_and_the_other_says_who_has_the_lab(engines: Engines, tmp_path: Path) -> None:
    # Longer than an engine that is started by hand waits for the lab.
    lab = make_lab(tmp_path / "lab", SETTINGS, TRAIN.replace("PAUSE = 0.0", "PAUSE = 1.0"))
    ends: Counter[str] = Counter()
    for time in range(TIMES):
        rows = 1 + time // 5  # most find nothing to do, some have an experiment before them
        pids = engines.start(words(lab, rows), tmp_path / "errors", env=UNSANDBOXED, count=2)
        codes = engines.ends()
        said = [Path(f"{tmp_path}/errors-{n}").read_text() for n in range(2)]
        assert 0 in codes, said
        for code, text, other in zip(codes, said, reversed(pids), strict=True):
            ends[f"{code}"] += 1
            # The loser came either beside the winner, or after it, and found nothing to do.
            assert (code, text) == (0, "") or (code == 2 and len(text.splitlines()) == 1), text
            if code == 2:
                assert re.search(rf"a headless engine \(process {other}\) has this lab", text), text
    assert ends["2"] >= TIMES // 10, ends
    assert problems(lab, "t") == []
    assert len(state_of(lab, "t").table) == rows
