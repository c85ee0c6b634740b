"""How long an engine takes to go on with a long session: journal, branch, refs and tables.

    python benchmarks/recovery.py [--experiments 1000]

Makes a lab whose session has that many experiments (real commits and refs, a journal of real records), then takes the
session up in a fresh process, five times, and prints the median from the first line of code after the imports to the
moment at which the loop would take its next step.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.journal import Journal
from autoresearch_tui.engine.ledger import Ledger
from tests.conftest import make_lab

TAKE_UP = """
import sys, time
from pathlib import Path
from autoresearch_tui import lab as labs
from autoresearch_tui.engine.session import Session
lab = labs.find(Path(sys.argv[1]))
began = time.perf_counter()
session = Session(lab, "t")
session.begin(headless=True)
took = time.perf_counter() - began
assert len(session.state.table) == int(sys.argv[2]), len(session.state.table)
session.end("detached", "")
print(took)
"""


def commits(lab: Path, base: str, count: int) -> list[str]:
    """`count` commits on top of `base`, each with a train.py of its own; fast, through `git fast-import`."""
    stream = []
    for number in range(count):
        text = f"RATE = {number}\n"
        stream.append(f"commit refs/heads/scratch-{number}\nmark :{number + 1}\n")
        stream.append(f"committer Ada <ada@example.org> {1_700_000_000 + number} +0000\ndata 1\nx\nfrom {base}\n")
        stream.append(f"M 100644 inline train.py\ndata {len(text)}\n{text}\n")
    marks = lab / ".git" / "marks"
    words = ["git", "fast-import", "--quiet", f"--export-marks={marks}"]
    subprocess.run(words, cwd=lab, input="".join(stream).encode(), check=True)
    by_mark = dict(line.split() for line in marks.read_text().splitlines())
    subprocess.run(
        ["git", "update-ref", "--stdin"],
        cwd=lab,
        input="".join(f"delete refs/heads/scratch-{number}\n" for number in range(count)).encode(),
        check=True,
    )
    return [by_mark[f":{number + 1}"] for number in range(count)]


def write_session(lab: Path, count: int) -> None:
    """A journal of `count` experiments, every twentieth of them kept, and a ref for each."""
    ledger = Ledger(lab)
    base = ledger.head()
    journal = Journal(lab / ".autoresearch" / "t" / "journal.jsonl")
    began = ev.SessionBegan("t", "autoresearch/t", base, "val_bpb", "minimize", 0.0, 300.0, ("train.py",), {})
    journal.append(began)
    made = [base, *commits(lab, base, count - 1)]
    for number, commit in enumerate(made):
        value = 1.0 - number * 1e-5 if number % 20 == 0 else 1.5
        verdict = "keep" if number % 20 == 0 else "discard"
        for event in (
            ev.ProposalAsked(number, base, 1),
            ev.ProposalMade(number, commit, base, f"idea {number}", "because", "search", "0" * 12, 1, 1),
            ev.ProposalApproved(number, commit, "auto"),
            ev.RunStarted(number, commit, 1),
            ev.RunEnded(number, "finished", 0, 300.0),
            ev.RunScored(number, value, 44.0, "self-reported"),
            ev.VerdictGiven(number, verdict, value, 44.0, ""),
        ):
            journal.append(event)
    journal.close()
    lines = "".join(f"create refs/autoresearch/t/{n:04d} {commit}\n" for n, commit in enumerate(made))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=lab, input=lines.encode(), check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--experiments", type=int, default=1000)
    count = parser.parse_args().experiments
    with tempfile.TemporaryDirectory() as scratch:
        lab = make_lab(Path(scratch, "lab"))
        write_session(lab, count)
        size = (lab / ".autoresearch/t/journal.jsonl").stat().st_size
        took = [
            float(
                subprocess.run([sys.executable, "-c", TAKE_UP, lab, str(count)], capture_output=True, check=True).stdout
            )
            for _ in range(5)
        ]
    median = statistics.median(took)
    print(f"{count} experiments, journal of {size / 2**20:.1f} MiB: taken up in {median:.2f} s (median of 5)")


if __name__ == "__main__":
    main()
