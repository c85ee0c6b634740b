"""What an export holds: everything the journal and the logs know, as each format's own library reads it."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import asdict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoresearch_tui.cli import main
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.report.export import export as exporting
from autoresearch_tui.report.export.export import FORMATS, export
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.experiment import Experiment
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import cell_text
from tests.night import Night, progress_line, real_night

FORMULA = '=HYPERLINK("http://x","y")'
SUMMARY = {"val_bpb": "0.979000", "num_steps": "1,048", "attention": "flash", "api_key": "sk-not-yours"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A real night, and an experiment whose texts and log are as odd as they come."""
    night = real_night(tmp_path_factory.mktemp("lab"), experiments=40, devices=2)
    number = night.proposal(FORMULA, flags=("reads a file", "b"), hypothesis='a\nb, "c"\x1b[31m \'=d')
    night.launch(number)
    lines = [
        f"{progress_line(0, 0.0, 3.0)}",
        "step 1 | train_loss: nan | lr=3e-4 | grad_norm: 1,234.5 | top5: 0.71 | session: 9",
        "step 2 | loss: inf | lr=1e-4 | note: 5abcdefgh",
        "no progress at all: 5",
    ]
    night.log(number, "\r".join(lines) + "\n---\n")
    night.add(
        ev.RunStopAsked(number, "human", "long enough"),
        ev.RunEnded(number, "finished", 0, 325.5, ("last words",), memory_mb=9000.5),
        ev.RunScored(
            number, 0.979, 44.0, "referee", summary=SUMMARY, sealed=0.99, doubts=("clock: late",), losses=(3.5, 3.25)
        ),
        ev.VerdictGiven(number, "keep", 0.979, 44.0, "better", stderr=0.0001),
    )
    return night


@pytest.fixture(scope="module")
def exported(night: Night, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    assert night.lab is not None
    folder = tmp_path_factory.mktemp("out")
    return {to: export(night.lab, [night.tag], to, folder / to) for to in FORMATS}


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def from_json(value: object) -> object:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def expected(exported: dict[str, Path], name: str) -> list[dict[str, Any]]:
    return [
        {key: from_json(value) for key, value in row.items()} for row in objects(exported["jsonl"] / f"{name}.jsonl")
    ]


def same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


def test_every_field_of_every_experiment_is_there(night: Night, exported: dict[str, Path]) -> None:
    rows = objects(exported["jsonl"] / "experiments.jsonl")
    assert [row["number"] for row in rows] == list(range(night.count))
    for row, experiment in zip(rows, night.state.experiments, strict=True):
        assert row["session"] == night.tag and row["metric"] == "val_bpb" and row["budget_seconds"] == 300
        events = {
            name: each for name in Experiment.__struct_fields__ if isinstance(each := getattr(experiment, name), Frozen)
        }
        for name in {*Experiment.__struct_fields__, "outcome", "value", "memory_gb", "reason"} - {*events, "dropped"}:
            value = getattr(experiment, name)
            value = [*value] if isinstance(value, tuple) else value
            assert row.get(name) == ("" if value is None and name in ("outcome", "overruled") else value), name
        for name, value in asdict(events.pop("proposal")).items():
            if name not in ("hypothesis", "flags"):
                assert row[name] == ([*value] if isinstance(value, tuple) else value), name
        for part, whole in events.items():
            for name, value in asdict(whole).items() if part != "dropped" else ():
                if name not in ("number", "summary", "columns"):
                    assert row[f"{part}_{name}"] == (list(value) if isinstance(value, tuple) else value), name


def test_the_summary_of_a_log_has_columns_of_its_own_and_no_secrets(exported: dict[str, Path]) -> None:
    row = objects(exported["jsonl"] / "experiments.jsonl")[-1]
    assert row["summary_val_bpb"] == 0.979 and row["summary_num_steps"] == 1048 and row["summary_attention"] == "flash"
    assert row["summary_api_key"] == "[key]"
    assert row["hypothesis"] == 'a\nb, "c"·[31m \'=d' and row["flags"] == ["reads a file", "b"]
    assert row["gain"] > 0 and row["score_losses"] == [3.5, 3.25]


def test_a_curve_has_whatever_its_log_has(night: Night, exported: dict[str, Path]) -> None:
    points = expected(exported, "curves")
    mine = [point for point in points if point["experiment"] == night.count - 1]
    assert [point["step"] for point in mine] == [0, 1, 2]
    first = {"loss": 9.0, "percent": 0, "lrm": 1, "dt_ms": 251, "tokens_per_second": 1043824, "mfu_percent": 45.5}
    assert mine[0].items() >= (first | {"epoch": 1, "remaining_seconds": 300}).items()
    assert math.isnan(mine[1].pop("loss")) and mine[2]["loss"] == math.inf
    assert mine[1] == {
        "session": night.tag, "experiment": night.count - 1, "step": 1, "lr": 3e-4, "grad_norm": 1234.5, "top5": 0.71,
    }  # fmt: skip
    assert "note" not in mine[2]
    assert {point["experiment"] for point in points} == {
        e.number for e in night.state.experiments if night.files.run(e.number).log.exists()
    }


def test_parquet_has_types(exported: dict[str, Path]) -> None:
    table = pq.read_table(exported["parquet"] / "experiments.parquet")
    kinds = {
        "number": pa.int64(), "value": pa.float64(), "summary_num_steps": pa.float64(),
        "verdict_inside_noise": pa.bool_(),
        "started_at": pa.timestamp("ms", tz="UTC"), "run_cause": pa.list_(pa.field("element", pa.string())),
        "score_losses": pa.list_(pa.field("element", pa.float64())),
    }  # fmt: skip
    assert {name: table.schema.field(name).type for name in kinds} == kinds
    rows = table.to_pylist()
    for row, other in zip(rows, expected(exported, "experiments"), strict=True):
        times = {name for name in row if name.endswith(("_at", "deadline"))}
        assert {k: v for k, v in row.items() if k not in times} == {k: v for k, v in other.items() if k not in times}
        assert all(
            (row[name].isoformat(timespec="milliseconds") if row[name] else "") == other[name].replace("Z", "+00:00")
            for name in times
        )
    curves = pq.read_table(exported["parquet"] / "curves.parquet")
    assert curves.schema.field("step").type == pa.int64() and curves.schema.field("lr").type == pa.float64()
    for row, other in zip(curves.to_pylist(), expected(exported, "curves"), strict=True):
        assert all(same(value, other.get(key)) for key, value in row.items())


def read_cell(cell: str, like: object) -> object:
    if isinstance(like, str):
        return cell_text(cell)
    if like is None:
        return cell or None
    if isinstance(like, bool):
        return {"true": True, "false": False}[cell]
    return json.loads(cell) if isinstance(like, list) else type(like)(cell)


@pytest.mark.parametrize("name", ["experiments", "curves"])
def test_csv_reads_back_to_what_it_was_and_is_no_formula(name: str, exported: dict[str, Path]) -> None:
    with (exported["csv"] / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    others = expected(exported, name)
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert all(same(read_cell(cell, other.get(key)), other.get(key)) for key, cell in row.items())
        assert not any(cell.lstrip().startswith(("=", "@", "+")) for cell in row.values())
    if name == "experiments":
        assert rows[-1]["description"] == f"'{FORMULA}"


def test_tensorboard_reads_the_curves_and_the_scores(night: Night, exported: dict[str, Path]) -> None:
    run = EventAccumulator(str(exported["tensorboard"] / night.tag / "0000"), size_guidance={"scalars": 0}).Reload()
    mine = [point for point in expected(exported, "curves") if point["experiment"] == 0]
    assert [(event.step, event.value) for event in run.Scalars("loss")] == [
        (point["step"], pytest.approx(point["loss"])) for point in mine
    ]
    started = night.state.experiments[0].started_at
    assert run.Scalars("loss")[0].wall_time == pytest.approx(timestamps.seconds(started) + 0.251)
    scores = EventAccumulator(str(exported["tensorboard"] / night.tag)).Reload()
    table = [e for e in night.state.experiments if e.outcome in ("keep", "discard") and e.value is not None]
    assert [(event.step, event.value) for event in scores.Scalars("val_bpb")] == [
        (e.number, pytest.approx(e.value)) for e in table
    ]


def wandb_reads(run: Path, home: Path) -> list[dict[str, Any]]:
    """The records of a run's folder, as W&B's own reader prints them: what `wandb leet inspect` starts, without its
    second of Python."""
    package = importlib.util.find_spec("wandb")
    assert package is not None and package.submodule_search_locations
    core = Path(package.submodule_search_locations[0], "bin", "wandb-core")
    (path,) = run.glob("run-*.wandb")
    done = subprocess.run(
        [core, "leet", "inspect", "--no-observability", "--json", "--run-file", path, run.parent],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "WANDB_ERROR_REPORTING": "false"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_wandb_reads_its_runs(night: Night, exported: dict[str, Path], tmp_path: Path) -> None:
    folders = sorted((exported["wandb"] / "wandb").iterdir())
    assert len(folders) == night.count and all(folder.name.startswith("offline-run-2026112") for folder in folders)
    rows = expected(exported, "experiments")
    for row in (rows[0], rows[-1]):
        (folder,) = (exported["wandb"] / "wandb").glob(f"*-{row['number']:04d}-*")
        records = wandb_reads(folder, tmp_path)
        run = records[1]["run"]
        assert run["display_name"] == f"{row['number']:04d} {row['description']}" and run["run_group"] == night.tag
        config, summary = run["config"]["update"], records[-2]["summary"]["update"]
        known = config | summary
        assert all(known[key] == value for key, value in row.items())
        history = [record["history"]["item"] for record in records if record["type"] == "history"]
        mine = [point for point in expected(exported, "curves") if point["experiment"] == row["number"]]
        assert [point["_step"] for point in history] == [point["step"] for point in mine]
        if row["number"] == 0:
            assert [point["loss"] for point in history] == [point["loss"] for point in mine]
        assert records[-1]["type"] == "exit"


def test_a_record_of_any_length_fits_the_blocks_of_wandb(tmp_path: Path) -> None:
    night = Night(tmp_path / "lab")
    for length in (32_000, 32_600, 32_700, 40_000, 200_000):
        night.launch(number := night.proposal("x", hypothesis="y" * length))
        night.log(number, "".join(f"step {n} | loss: 1.5\n" for n in range(300)))
        night.end(number, "keep", 0.9)
    assert night.lab is not None
    out = export(night.lab, [night.tag], "wandb", tmp_path / "out")
    for folder in (out / "wandb").iterdir():
        records = wandb_reads(folder, tmp_path)
        assert len(records) == 4 + 300 and len(records[1]["run"]["notes"]) >= 32_000


@pytest.mark.parametrize("to", FORMATS)
def test_no_number_of_a_log_is_too_odd(to: str, tmp_path: Path) -> None:
    night = Night(tmp_path / "lab")
    night.launch(number := night.proposal("x"))
    odd = ["nan", "-inf", "1e308", "-5", "1e-300", "1,2,3", "9" * 300]
    night.log(
        number,
        "".join(f"step {2**62 + n} | loss: {text} | dt: {text}ms | a/b: {text}\n" for n, text in enumerate(odd)),
    )
    night.log(number, "step 9223372036854775808 | loss: 1\nstep -1 | loss: 2\n" * 10)
    night.log(number, "step 1 | loss: 3 | dt: 86399999ms\n" * 30_000)  # the last is in another century
    assert night.lab is not None
    out = export(night.lab, [night.tag], to, tmp_path / "out")
    if to == "tensorboard":
        path = str(out / night.tag / "0000")
        run = EventAccumulator(path, size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
        assert run.Scalars("loss")[0].step == 2**62 and len(run.Scalars("loss")) == 30_000 + len(odd)
    if to == "wandb":
        (folder,) = (out / "wandb").iterdir()
        assert len(wandb_reads(folder, tmp_path)) >= 30_000


@pytest.mark.parametrize("to", FORMATS)
def test_a_session_is_called_as_its_folder_is(to: str, lab: Path, tmp_path: Path) -> None:
    shutil.copytree(lab / ".autoresearch" / "nov21", lab / ".autoresearch" / "before")
    out = export(Lab(lab, Settings()), ["nov21", "before"], to, tmp_path / "out")
    if to == "jsonl":
        assert [row["session"] for row in objects(out / "experiments.jsonl")] == ["nov21", "before"]
        assert {row["session"] for row in objects(out / "curves.jsonl")} == {"nov21", "before"}


def test_what_is_ours_is_replaced_and_nothing_else(night: Night, tmp_path: Path) -> None:
    assert night.lab is not None
    out = tmp_path / "out"
    out.mkdir()
    export(night.lab, [night.tag], "csv", out)
    export(night.lab, [night.tag], "jsonl", out)
    assert sorted(path.name for path in out.iterdir()) == ["curves.jsonl", "experiments.jsonl", "export.json"]
    (out / "mine.txt").write_text("notes")
    with pytest.raises(UserError, match=r"mine\.txt in it is not part of the export"):
        export(night.lab, [night.tag], "csv", out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years")
    with pytest.raises(UserError, match="has files in it that are no export"):
        export(night.lab, [night.tag], "csv", other)
    with pytest.raises(UserError, match=r"thesis\.tex: cannot be written to"):
        export(night.lab, [night.tag], "csv", other / "thesis.tex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]
    assert (out / "experiments.jsonl").exists() and (other / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize("to", FORMATS)
def test_on_a_full_disk_the_earlier_export_stays_and_one_line_says_why(to: str, night: Night, tmp_path: Path) -> None:
    assert night.lab is not None
    out = export(night.lab, [night.tag], "jsonl", tmp_path / "out")
    before = (out / "curves.jsonl").read_bytes()
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from pathlib import Path\n"
        "from autoresearch_tui.lab.paths import Lab\n"
        "from autoresearch_tui.lab.settings import Settings\n"
        "from autoresearch_tui.report.export.export import export\n"
        "from autoresearch_tui.util.errors import UserError\n"
        "try:\n"
        "    export(Lab(Path(sys.argv[1]), Settings()), [sys.argv[2]], sys.argv[3], Path(sys.argv[4]))\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    words = [sys.executable, "-c", script, night.lab.root, night.tag, to, out]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1 and f"{out}: the export cannot be written: File too large" in done.stdout
    assert (out / "curves.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("to", ["parquet", "tensorboard", "wandb"])
def test_a_library_that_is_missing_is_named_with_its_extra(to: str, night: Night, tmp_path: Path) -> None:
    assert night.lab is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(exporting._LIBRARIES, to, "no-such-library")
        with pytest.raises(UserError, match=rf"pip install 'autoresearch-tui\[{to}\]'"):
            export(night.lab, [night.tag], to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two sessions of a lab on disk, and one in which nothing has happened."""
    root = tmp_path / "lab"
    for tag, start in (("nov22", datetime(2026, 11, 22, tzinfo=UTC)), ("nov21", datetime(2026, 11, 21, tzinfo=UTC))):
        Night(root, tag=tag, start=start).experiment("keep", 0.99, description=f"first of {tag}")
    (root / ".autoresearch" / "nov23").mkdir()
    (root / ".autoresearch" / "nov23" / "journal.jsonl").touch()
    (root / "prepare.py").touch()
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def test_the_command_exports_one_session_or_all_of_them(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(lab), "--to", "csv", "--tag", "nov21"]) == 0
    out = lab / ".autoresearch" / "nov21" / "export" / "csv"
    assert capsys.readouterr().out == f"{out}\n" and (out / "curves.csv").exists()
    assert main(["export", str(lab), "--to", "jsonl", "--all"]) == 0
    out = Path(capsys.readouterr().out.strip())
    assert [row["description"] for row in objects(out / "experiments.jsonl")] == ["first of nov21", "first of nov22"]
    assert {point["session"] for point in objects(out / "curves.jsonl")} == {"nov21", "nov22"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--to"),
        (["--to", "excel"], "invalid choice: 'excel'"),
        (["--to", "csv", "--all", "--tag", "nov21"], "choose one"),
        (["--to", "csv", "--tag", "nov29"], "no such session"),
        (["--to", "csv", "--tag", "nov23"], "nothing has happened"),
        (["--to", "csv", "--tag", "nov21", "-o", "/"], "has files in it that are no export"),
        (["--to", "csv", "--tag", "nov21", "-o", "/dev/null"], "cannot be written to"),
        (["--to", "csv", "--tag", "nov21", "-o", "/proc/nowhere"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    words: list[str], said: str, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(lab), *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and said in captured.err and captured.out == ""


def test_keys_of_the_user_are_taken_out_of_every_text(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert night.lab is not None
    monkeypatch.setenv("MY_API_KEY", "HYPERLINK")
    out = export(night.lab, [night.tag], "jsonl", tmp_path / "out")
    assert objects(out / "experiments.jsonl")[-1]["description"] == '=[key]("http://x","y")'
