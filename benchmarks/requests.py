"""What a request costs in the course of a night (a proposal, an opinion, a digest), and what the duplicate check finds.

`python benchmarks/requests.py` builds the requests for experiments 50 and 500 of made-up nights on this checkout's own
files, each night also as the fourth of a lab whose three earlier sessions have 1,000 experiments each, and replays
`tests/engine/proposing/data/ideas.tsv` (100 ideas, 22 of them exact repeats) through the duplicate
check; `--table FILE` takes any results.tsv instead. `--json` for machines. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from pathlib import Path

from msgspec.structs import replace

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from autoresearch_tui.engine.proposing.duplicates import nearest  # noqa: E402
from autoresearch_tui.lab.goal import Goal  # noqa: E402
from autoresearch_tui.researchers import critic_prompt, digest_prompt, prompt  # noqa: E402
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal  # noqa: E402

GROWTH = 1.3
NIGHTS = 5
BEFORE = (0, 3000)  # results of earlier sessions
TABLE = ROOT / "tests" / "engine" / "proposing" / "data" / "ideas.tsv"
OUTCOMES = {"discard": 70, "keep": 15, "crash": 10, "vetoed": 4, "invalid": 1}
WORDS = ("raise", "lower", "drop", "MATRIX_LR", "warmdown", "depth", "window", "of", "the", "0.04", "to", "0.06")
LOG = "Traceback (most recent call last):\n" + "\n".join(f'  File "train.py", line {n}, in forward' for n in range(12))


def night(count: int, seed: int) -> tuple[Attempt, ...]:
    """A history with outcomes, descriptions and crash logs in the proportions of public tables."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        outcome = rng.choices(list(OUTCOMES), list(OUTCOMES.values()))[0] if number else "keep"
        words = " ".join(rng.choices(WORDS, k=9))
        value = 0.9979 - number * 1e-5 if outcome in ("keep", "discard") else None
        reason = LOG if outcome == "crash" else "too close to the last one" if outcome == "vetoed" else ""
        found.append(Attempt(number, f"c{number}", f"c{number - 1}", words, f"because {words}", outcome, value, reason))
    return tuple(found)


def before(count: int) -> tuple[Attempt, ...]:
    """The results of three earlier sessions, `count` together."""
    return tuple(
        replace(one, session=f"nov{21 + place}", hypothesis="")
        for place in range(3)
        for one in night(count // 3, 100 + place)
    )


def size(count: int, seed: int, prior: tuple[Attempt, ...] = ()) -> int:
    """Characters of the request for experiment `count`."""
    return len(prompt.build(brief(count, seed, prior)).text)


def beside(count: int, seed: int) -> tuple[int, int]:
    """Characters of the request for a second opinion on experiment `count`, and for a digest at that time."""
    told = brief(count, seed)
    changed = {"train.py": told.files["train.py"].replace("DEPTH = 9", "DEPTH = 12")}
    proposal = Proposal("DEPTH from 9 to 12", "deeper models learn more from each token", changed)
    return len(critic_prompt.build(told, proposal, ()).text), len(digest_prompt.build(told).text)


def brief(count: int, seed: int, prior: tuple[Attempt, ...] = ()) -> Brief:
    """What a researcher is told for experiment `count`."""
    text = (ROOT / "harness" / "train.py").read_text("utf-8")
    return Brief(
        number=count,
        base="c0",
        program=(ROOT / "program.md").read_text("utf-8"),
        files={"train.py": text},
        locked={"prepare.py": (ROOT / "harness" / "prepare.py").read_text("utf-8")},
        metric="val_bpb",
        goal=Goal.MINIMIZE,
        budget_seconds=300,
        history=night(count, seed),
        prior=prior,
        files_at=lambda commit: {"train.py": text.replace("DEPTH = 9", f"DEPTH = {9 + int(commit[1:]) % 7}")},
    )


def repeats(table: Path) -> dict[str, int]:
    """Exact repeats in a table, how many of them are found, and how many other rows are held up as well."""
    with table.open(encoding="utf-8", newline="") as file:
        texts = [row["description"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    earlier: list[Attempt] = []
    found = {"ideas": len(texts), "repeats": 0, "found": 0, "others_held_up": 0}
    for number, text in enumerate(texts):
        again = any(attempt.description == text for attempt in earlier)
        hit = nearest(text, earlier) is not None
        found["repeats"] += again
        found["found"] += again and hit
        found["others_held_up"] += hit and not again
        earlier.append(Attempt(number, f"c{number}", "c0", text, "", "discard", 1.0, ""))
    return found


def main() -> None:
    """Both figures, side by side with what is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE, help="a tab-separated file with a column `description`")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    chosen = parser.parse_args()
    known = [before(count) for count in BEFORE]
    sizes = [(size(50, seed, prior), size(500, seed, prior)) for prior in known for seed in range(NIGHTS)]
    growth = max(late / early for early, late in sizes)
    figures = {"growth": round(growth, 3), "early": sizes[0][0], "late": sizes[0][1]}
    figures |= {"early_after_sessions": sizes[NIGHTS][0], "late_after_sessions": sizes[NIGHTS][1]}
    figures["opinion"], figures["digest"] = beside(50, 0)
    figures |= repeats(chosen.table)
    if chosen.json:
        print(json.dumps(figures))
    else:
        print(f"request for experiment 50   {figures['early']:,} characters")
        print(f"request for experiment 500  {figures['late']:,} characters")
        print(
            f"after three sessions of 1,000: {figures['early_after_sessions']:,} and {figures['late_after_sessions']:,}"
        )
        print(f"second opinion on number 50 {figures['opinion']:,}, digest then {figures['digest']:,}")
        print(f"growth, the most of {len(sizes)}     {growth:.2f} (wanted: at most {GROWTH})")
        print(f"exact repeats found         {figures['found']} of {figures['repeats']} in {figures['ideas']} ideas")
        print(f"others held up once         {figures['others_held_up']}")
    sys.exit(0 if growth <= GROWTH and figures["found"] == figures["repeats"] else 1)


if __name__ == "__main__":
    main()
