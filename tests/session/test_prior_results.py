"""Tables that others wrote: real ones, every schema that was seen, and anything at all."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.reverts import Attempt, Change, attempts
from autoresearch_tui.session.prior_results import PriorResult, best, from_rows, to_rows
from autoresearch_tui.session.prior_tables import is_history, joined, parse
from autoresearch_tui.util.text import describe

DATA = Path(__file__).parent / "data"
HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"


def test_a_real_table_with_crashes() -> None:
    rows = parse((DATA / "results-oom-rows.tsv").read_text(), "val_bpb")
    assert Counter(row.status for row in rows)["crash"] == 2
    assert all(row.value is None for row in rows if row.status == "crash")
    assert rows[0] == PriorResult("bb2f991", 0.99035, 93.6, "keep", "baseline DEPTH=12 TOTAL_BATCH_SIZE=2^18")
    assert not [row for row in rows if row.flags]
    winner = best(rows, Goal.MINIMIZE)
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
            PriorResult("a1b2c3d", 0.42, 0.0, "keep", "baseline"),
        ),
        (
            "commit\taccuracy\tadjusted\tcost\tlatency\tstatus\tdescription\n"
            "bdee7e0-dirty\t0.06\t0.0\t0.0\t105.3\trun\tOCR v4\n",
            "val_bpb",
            PriorResult(
                "bdee7e0-dirty",
                None,
                0.0,
                "run",
                "OCR v4",
                (
                    "no commit's hash",
                    "an unknown status: run",
                    "no score",
                    "no column for val_bpb (perhaps accuracy, adjusted, cost, latency)",
                ),
            ),
        ),
        (
            "experiment\tval_bpb\tstatus\n7\t1.1\tKEPT\n",
            "val_bpb",
            PriorResult("7", 1.1, 0, "keep", "-", ("no commit's hash",)),
        ),
        # The same columns without a header, in another order, with commas, with tabs in the description.
        ("abcdef1\t1.5\t2.0\tdiscard\tx\n", "val_bpb", PriorResult("abcdef1", 1.5, 2.0, "discard", "x")),
        ("status,val_bpb,commit\nkeep,1.5,abcdef1\n", "val_bpb", PriorResult("abcdef1", 1.5, 0.0, "keep", "-")),
        (
            HEADER + "abcdef1\t1.5\t2.0\tkeep\ta\tb\n",
            "val_bpb",
            PriorResult("abcdef1", 1.5, 2.0, "keep", "a b", ("6 columns where there are 5",)),
        ),
        # Malformed rows are kept.
        (
            HEADER + "abcdef1\toops\n",
            "val_bpb",
            PriorResult("abcdef1", None, 0.0, "-", "-", ("2 columns where there are 5", "no status", "no score")),
        ),
        (
            HEADER + "abcdef1\tnan\t-3\tkeep\tx\r\n",
            "val_bpb",
            PriorResult("abcdef1", None, 0.0, "keep", "x", ("no score",)),
        ),
        (
            HEADER + "abcdef1\t1.0\t1.0\tkeep\t\x1b[31mred\u202e\n",
            "val_bpb",
            PriorResult("abcdef1", 1.0, 1.0, "keep", "[31mred"),
        ),
    ],
)
def test_every_schema_is_read(text: str, metric: str, expected: PriorResult) -> None:
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
    branch = "autoresearch/mar5"
    found = joined(rows, {"aaaaaa1": whole}, [Attempt(whole, branch, "one"), Attempt(other, branch, "three")])
    assert [(row.name, row.commit) for row in found] == [("bbbbbb2", other), ("aaaaaa1", whole), ("none", "")]
    assert found[0].flags == ("only a commit on autoresearch/mar5",)


def test_the_best_is_the_highest_where_higher_is_better() -> None:
    rows = parse(HEADER + "aaaaaa1\t1.0\t1\tkeep\tx\nbbbbbb2\t3.0\t1\tdiscard\tx\nccccccc\t2\t1\tkeep\tx\n", "m")
    winner, lowest = best(rows, Goal.MAXIMIZE), best(rows, Goal.MINIMIZE)
    assert winner is not None
    assert lowest is not None
    assert (winner.value, lowest.value) == (2.0, 1.0)
    assert best((), Goal.MINIMIZE) is None


def rows_of(text: str, metric: str = "val_bpb") -> list[tuple[str, float | None, float, str]]:
    return [(row.name, row.value, round(row.memory_gb, 3), row.status) for row in parse(text, metric)]


ONE = ("abcdef1", 0.9979, 44.0, "keep")
TWO = ("abcdef2", 1.0123, 45.5, "discard")


@pytest.mark.parametrize(
    "text",
    [
        # Without a header, the first row's status being `keep`; the columns in another order.
        "keep\tabcdef1\t0.9979\tlower lr\ndiscard\tabcdef2\t1.0123\twider\n",
        "abcdef1\t0.9979\t44.0\tkeep\tlower lr\nabcdef2\t1.0123\t45.5\tdiscard\twider\n",
        # The score is not the first free column; other names; megabytes; the hash of another commit.
        "git_commit\tsteps\tpeak_mem_gb\tbest_val_bpb\tval_bpb\tstatus\thypothesis\tdescription\n"
        "abcdef1\t953\t44.0\t0.9\t0.9979\tkeep\twhy\tlower lr\nabcdef2\t950\t45.5\t0.9\t1.0123\tdiscard\twhy\twider\n",
        "exp\tbaseline_sha\tcommit\tval_bpb\tpeak_vram_mb\tstatus\tnotes\n"
        "1\t1234567\tabcdef1\t0.9979\t45056\tkeep\tx\n2\t1234567\tabcdef2\t1.0123\t46592\tdiscard\ty\n",
        # Comments, a title and an empty line above; a summary below; the header once more in the middle.
        "\n# night of mar5\n# H100\nResults so far\n\ncommit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "abcdef1\t0.9979\t44.0\tkeep\tx\ncommit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "abcdef2\t1.0123\t45.5\tdiscard\ty\n\nSUMMARY\n=====\nOne clear winner: lower lr.\n",
        "# commit\tval_bpb\tmemory_gb\tstatus\tdescription\nabcdef1\t0.9979\t44.0\tkeep\tx\n"
        "abcdef2\t1.0123\t45.5\tdiscard\ty\n",
        # Decimal commas, with the marks that go with them; byte order mark; Windows' line ends.
        "\ufeffcommit;val_bpb;memory_gb;status;description\r\nabcdef1;0,9979;44,0;keep;a, b\r\n"
        "abcdef2;1,0123;45,5;discard;c\r\n",
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\nabcdef1\t0,9979\t44,0\tkeep\tx\n"
        "abcdef2\t1,0123\t45,5\tdiscard\ty\n",
        # Quoted commas, quotation marks and line ends.
        'commit,val_bpb,memory_gb,status,description\nabcdef1,0.9979,44.0,keep,"lower lr, ""a lot"""\n'
        'abcdef2,1.0123,45.5,discard,"wider,\nand deeper"\n',
        # Columns drawn with blanks; colours; line ends of an old system; units in the header.
        "commit   val_bpb  memory_gb  status   description\nabcdef1  0.9979   44.0       keep     lower lr\n"
        "abcdef2  1.0123   45.5       discard  wider\n",
        "commit\tval_bpb\tmemory_gb\tstatus\n\x1b[32mabcdef1\x1b[0m\t0.9979\t44.0\tkeep\nabcdef2\t1.0123\t45.5\tdiscard\n",
        "commit\tval_bpb\tmemory_gb\tstatus\rabcdef1\t0.9979\t44.0\tkeep\rabcdef2\t1.0123\t45.5\tdiscard\r",
        "Commit\tVal BPB (lower is better)\tPeak VRAM (MiB)\tOutcome\tIdea\nabcdef1\t0.9979\t45056\tKept\tlr\n"
        "abcdef2\t1.0123\t46592\tReverted\twider\n",
        # Statuses as agents like them.
        "commit,val_bpb,memory_gb,status,description\nabcdef1,0.9979,44.0,✅ keep,x\n"
        "abcdef2,1.0123,45.5,❌ Discarded,y\n",
        "commit,val_bpb,memory_gb,kept,description\nabcdef1,0.9979,44.0,yes,x\nabcdef2,1.0123,45.5,no,y\n",
        "commit,val_bpb,memory_gb,status,description\nabcdef1,0.9979,44.0,**KEEP** (best),x\n"
        "abcdef2,1.0123,45.5,discard: worse,y\n",
        # Markdown, with text and another table around it, marks of its own, an escaped pipe.
        "# Log\n\n| GPU | hours |\n|---|---|\n| H100 | 8 |\n\n"
        "| Commit | Val BPB | Memory (GB) | Status | Description |\n"
        "|:---|---:|---:|---|---|\n| `abcdef1` | **0.9979** | 44.0 | ✅ keep | a \\| b |\n"
        "| [abcdef2](https://x.test/c) | 1.0123 | 45.5 | discard | y |\n\nDone.\n",
        # JSON, a line each, with others between; or an array.
        '{"type": "config", "name": "mar5"}\n{"commit": "abcdef1", "metrics": {"val_bpb": 0.9979, "memory_gb": 44.0}, '
        '"status": "keep", "description": "x"}\n{"commit": "abcdef2", "metrics": {"val_bpb": 1.0123, '
        '"memory_gb": 45.5}, "status": "discard", "description": "y"}\n',
        '[{"commit": "abcdef1", "val_bpb": 0.9979, "memory_gb": 44.0, "kept": true},'
        ' {"commit": "abcdef2", "val_bpb": 1.0123, "memory_gb": 45.5, "kept": false}]',
    ],
)
def test_tables_of_all_kinds_say_the_same(text: str) -> None:
    found = [row for row in rows_of(text) if row[3] in ("keep", "discard")]
    without_memory = [(*row[:2], 0.0, row[3]) for row in (ONE, TWO)]
    assert found in ([ONE, TWO], without_memory)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # One column too few or too many, so that others stand in the score's place.
        (HEADER + "0.9979\t44.0\tkeep\tx\n", None),
        ("commit,val_bpb,memory_gb,status,description\nabcdef1,0,9979,44,0,keep,x\n", None),
        ("id\tdescription\tval_bpb\tstatus\n7\ta\tb\t0.9979\tkeep\n", 0.9979),
        ("id\tdescription\tval_bpb\tstatus\n7\t0.9979\tkeep\n", None),
        # Nobody can say which is meant.
        ("commit\tval_bpb\tstatus\nabcdef1\t1,094\tkeep\n", None),
        ("commit\ttrain_loss\tval_loss\tstatus\nabcdef1\t1.1\t1.2\tkeep\n", None),
        ("abcdef1\t1.1\t1.2\t1.3\tkeep\tx\n", None),
        ("commit\tval_bpb\tstatus\nabcdef1\t0.99/1.02\tkeep\n", None),
        ("commit\tval_bpb\tstatus\nabcdef1\t2026-11-21\tkeep\n", None),
        ("commit\tval_bpb\tstatus\nabcdef1\t1_000\tkeep\n", None),
        ("status\tval_bpb\tcommit\nkeep\t12345e7\t0.9979\n", None),
        ("commit\tval_bpb\tstatus\nabcdef1\t0.000000\tkeep\n", None),
        ("commit\tval_bpb\tval_bpb\tstatus\nabcdef1\t1.0\t1.0\tkeep\n", 1.0),
        # Told, with what is beside it.
        ("commit\tval_bpb\tstatus\nabcdef1\t~0.9979\tkeep\n", 0.9979),
        ("commit\tval_bpb\tstatus\nabcdef1\t0.9979 ± 0.002\tkeep\n", 0.9979),
        ("commit\tval_bpb\tstatus\nabcdef1\t0.9979 (-0.001)\tkeep\n", 0.9979),
        ("commit\tfinal_val_bpb\tstatus\nabcdef1\t0.9979\tkeep\n", 0.9979),
        ("commit\tval_bpb\tstatus\nabcdef1\t0.9979\tkept, reverted later\n", 0.9979),
        ("commit\tval_bpb\tstatus\nabcdef1\t0.9979\tnot kept\n", 0.9979),
    ],
)
def test_what_is_doubtful_is_flagged_and_never_a_wrong_number(text: str, value: float | None) -> None:
    (row,) = parse(text, "val_bpb")
    assert row.value == value
    assert row.flags
    assert from_rows(to_rows([row])) == (row,)


def test_a_cell_that_begins_with_a_hash_is_no_comment_and_a_row_that_is_commented_out_is_one() -> None:
    text = "description\tval_bpb\tcommit\tstatus\n#12 again\t0.9\tabcdef1\tkeep\n# a remark\n"
    assert rows_of(text) == [("abcdef1", 0.9, 0.0, "keep")]
    assert rows_of(HEADER + "#abcdef1\t0.9\t1.0\tkeep\tx\nabcdef2\t0.8\t1.0\tkeep\ty\n")[0][0] == "abcdef2"


def test_thousands_and_halves() -> None:
    header = "commit;tokens_per_second;memory_gb;status\n"
    both = header + "abcdef1;1,094;4.5;keep\nabcdef2;1,043,824;4.5;keep\n"
    assert [value for _, value, *_ in rows_of(both, "tokens_per_second")] == [1094.0, 1043824.0]
    halves = header + "abcdef1;1.094,5;4,5;keep\nabcdef2;1 043 824,25;4,5;keep\n".replace(" ", "\u00a0")
    assert [value for _, value, *_ in rows_of(halves, "tokens_per_second")] == [1094.5, 1043824.25]


names = st.sampled_from(["commit", "val_bpb", "memory_gb", "status", "description"])
texts = st.text(alphabet=st.characters(blacklist_characters="\t\r\n", blacklist_categories=("Cs", "Cc")), max_size=30)


@given(
    st.permutations(["commit", "val_bpb", "memory_gb", "status", "description"]),
    st.lists(
        st.tuples(
            st.from_regex(r"[0-9a-f]{7}", fullmatch=True),
            st.floats(0.1, 10).map(lambda value: round(value, 6)),
            st.floats(0.1, 200).map(lambda value: round(value, 1)),
            st.sampled_from(["keep", "discard"]),
            texts,
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["tab", "csv", "semicolon", "markdown", "jsonl"]),
)
def test_whatever_a_table_is_written_in_its_numbers_come_back(
    order: list[str], rows: list[tuple[str, float, float, str, str]], form: str
) -> None:
    text = _written(order, [dict(zip(HEADER.split(), row, strict=True)) for row in rows], form)
    found = parse(text, "val_bpb")
    assert [(row.name, row.value, row.memory_gb, row.status) for row in found] == [row[:4] for row in rows]


def _written(order: list[str], rows: list[dict[str, object]], form: str) -> str:
    if form == "jsonl":
        return "".join(json.dumps({name: row[name] for name in order}) + "\n" for row in rows)
    if form == "markdown":
        cells = [[str(row[name]).replace("|", "\\|") for name in order] for row in rows]
        lines = [order, ["---"] * len(order), *cells]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
    out = io.StringIO()
    if form == "tab":
        out.write("".join("\t".join(line) + "\n" for line in [order, *([str(row[n]) for n in order] for row in rows)]))
    else:
        writer = csv.DictWriter(out, order, delimiter="," if form == "csv" else ";")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


@given(
    st.text(max_size=300), st.sampled_from(["", HEADER, "| commit | val_bpb | status |\n|---|---|---|\n", "[", '{"a":'])
)
def test_no_text_is_too_odd(text: str, start: str) -> None:
    rows = parse(start + text, "val_bpb")
    assert from_rows(to_rows(rows)) == rows
    assert all(row.description == describe(row.description) for row in rows)


def change(commit: str, before: str, after: str, subject: str, body: str = "") -> Change:
    return Change(commit * 40, "autoresearch/mar5", subject, body, {"train.py": (before, after)})


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        # git revert; by a message of the loop's own; by checking the file out again, whatever the message is.
        ([change("b", "1", "2", "two"), change("c", "2", "1", 'Revert "two"')], ["a"]),
        ([change("b", "1", "2", "two"), change("c", "2", "1", "Revert bbbbbbb (discard)")], ["a"]),
        ([change("b", "1", "2", "two"), change("c", "2", "1", "next idea failed")], ["a"]),
        # Several at once, back to where the branch began.
        ([change("b", "1", "2", "two"), change("c", "2", "3", "three"), change("d", "3", "0", "start over")], []),
        # One in the middle, whose revert makes a file that never was; and one that came back.
        (
            [change("b", "1", "2", "two"), change("c", "2", "3", "three"), change("d", "3", "9", "Revert bbbbbbb")],
            ["a", "c"],
        ),
        (
            [change("b", "1", "2", "two"), change("c", "2", "1", 'Revert "two"'), change("d", "1", "2", "Reapply")],
            ["a", "b"],
        ),
        # The subject tells.
        ([change("b", "1", "2", "two (discard)")], ["a"]),
        ([change("b", "1", "2", "crash: two")], ["a"]),
        ([change("b", "1", "2", "keep the reverting optimiser")], ["a", "b"]),
    ],
)
def test_what_a_branch_took_back_was_not_kept(changes: list[Change], standing: list[str]) -> None:
    found = joined((), {}, attempts([change("a", "0", "1", "one"), *changes]))
    assert [row.commit[0] for row in found if row.status == "keep"] == standing
    undone = [row for row in found if row.status == "discard" and "(discard)" not in row.description]
    assert all("undone by" in row.flags[1] for row in undone)


def test_a_document_about_something_else_is_no_history() -> None:
    assert not is_history(parse("# Results\n\n| GPU | hours |\n|---|---|\n| H100 | 8 |\n", "val_bpb"))
    assert is_history(parse("| commit | val_bpb | status |\n|---|---|---|\n| abcdef1 | 1.0 | keep |\n", "val_bpb"))
