"""Tables that others wrote: real ones, every schema that was seen, and anything at all."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.reading.foreign import Earlier, best, from_rows, joined, parse, to_rows

DATA = Path(__file__).parent / "data"
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def test_a_real_table_with_crashes() -> None:
    rows = parse((DATA / "results-oom-rows.tsv").read_text(), "val_bpb")
    assert Counter(row.status for row in rows)["crash"] == 2
    assert all(row.value is None for row in rows if row.status == "crash")
    assert rows[0] == Earlier("bb2f991", 0.99035, 93.6, "keep", "baseline DEPTH=12 TOTAL_BATCH_SIZE=2^18")
    assert not [row for row in rows if row.flags]
    winner = best(rows, "minimize")
    assert winner is not None
    assert winner.value == min(row.value for row in rows if row.value is not None)


def test_a_real_table_whose_commits_are_none() -> None:
    text = (DATA / "results-non-sha-commits.tsv").read_text()
    rows = parse(text, "val_bpb")
    assert len(rows) == len(text.strip().splitlines()) - 1
    assert all("no commit's hash" in row.flags for row in rows)
    assert rows[2].name == "exp003"
    assert rows[2].value == 1.258704


@pytest.mark.parametrize(
    ("text", "metric", "expected"),
    [
        # Other names and more columns, as forks for other problems have them.
        (
            "commit\tscore\tsharpe\tmax_dd\tn_trades\tval_pass\tstatus\tdescription\n"
            "a1b2c3d\t0.42\t0.58\t-15.2\t127\ttrue\tkeep\tbaseline\n",
            "score",
            Earlier("a1b2c3d", 0.42, 0.0, "keep", "baseline"),
        ),
        (
            "commit\taccuracy\tadjusted\tcost\tlatency\tstatus\tdescription\n"
            "bdee7e0-dirty\t0.06\t0.0\t0.0\t105.3\trun\tOCR v4\n",
            "val_bpb",
            Earlier("bdee7e0-dirty", 0.06, 0.0, "run", "OCR v4", ("no commit's hash", "an unknown status: run")),
        ),
        (
            "experiment\tval_bpb\tstatus\n7\t1.1\tKEPT\n",
            "val_bpb",
            Earlier("7", 1.1, 0, "keep", "-", ("no commit's hash",)),
        ),
        # The same columns without a header, in another order, with commas, with tabs in the description.
        ("abcdef1\t1.5\t2.0\tdiscard\tx\n", "val_bpb", Earlier("abcdef1", 1.5, 2.0, "discard", "x")),
        ("status,val_bpb,commit\nkeep,1.5,abcdef1\n", "val_bpb", Earlier("abcdef1", 1.5, 0.0, "keep", "-")),
        (
            HEADER + "abcdef1\t1.5\t2.0\tkeep\ta\tb\n",
            "val_bpb",
            Earlier("abcdef1", 1.5, 2.0, "keep", "a b", ("6 columns where there are 5",)),
        ),
        # Malformed rows are kept.
        (
            HEADER + "abcdef1\toops\n",
            "val_bpb",
            Earlier("abcdef1", None, 0.0, "-", "-", ("2 columns where there are 5", "no status", "no score")),
        ),
        (
            HEADER + "abcdef1\tnan\t-3\tkeep\tx\r\n",
            "val_bpb",
            Earlier("abcdef1", None, 0.0, "keep", "x", ("no score",)),
        ),
        (
            HEADER + "abcdef1\t1.0\t1.0\tkeep\t\x1b[31mred\u202e\n",
            "val_bpb",
            Earlier("abcdef1", 1.0, 1.0, "keep", "[31mred"),
        ),
    ],
)
def test_every_schema_is_read(text: str, metric: str, expected: Earlier) -> None:
    assert parse(text.replace("\\\t", "\t").replace("\\\n", "\n"), metric) == (expected,)


@pytest.mark.parametrize("text", ["", "\n\n", HEADER])
def test_an_empty_table_has_no_rows(text: str) -> None:
    assert parse(text, "val_bpb") == ()


@given(st.text(alphabet=st.sampled_from('\t\n,\r abc019.-"keep'), max_size=200), st.text(max_size=8))
def test_anything_is_read_row_by_row(text: str, metric: str) -> None:
    rows = parse(text, metric)
    assert len(rows) in {n - k for n in [sum(1 for line in text.split("\n") if line.strip())] for k in range(n + 1)}
    assert from_rows(to_rows(rows)) == rows
    for row in parse(HEADER + text, metric):
        assert row.description.isprintable()


def test_commits_on_branches_come_before_the_table() -> None:
    rows = parse(HEADER + "aaaaaa1\t1.0\t1.0\tkeep\tone\nnone\t2.0\t1.0\tdiscard\ttwo\n", "val_bpb")
    whole = "aaaaaa1" + "0" * 33
    other = "bbbbbb2" + "0" * 33
    found = joined(rows, {"aaaaaa1": whole}, {"autoresearch/mar5": [(whole, "one"), (other, "three")]})
    assert [(row.name, row.commit) for row in found] == [("bbbbbb2", other), ("aaaaaa1", whole), ("none", "")]
    assert found[0].flags == ("only a commit on autoresearch/mar5",)


def test_the_best_is_the_highest_where_higher_is_better() -> None:
    rows = parse(HEADER + "aaaaaa1\t1.0\t1\tkeep\tx\nbbbbbb2\t3.0\t1\tdiscard\tx\nccccccc\t2\t1\tkeep\tx\n", "m")
    winner, lowest = best(rows, "maximize"), best(rows, "minimize")
    assert winner is not None
    assert lowest is not None
    assert (winner.value, lowest.value) == (2.0, 1.0)
    assert best((), "minimize") is None
