"""The frontier's own files: real runs that leave weights, links and worse in their folders."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.doctor import lab_checks
from autoresearch_tui.engine import kept
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.lab import session_files
from autoresearch_tui.lab.session_files import RunFiles
from tests.conftest import SETTINGS, TRAIN
from tests.engine.test_loop import Script, running, turn
from tests.faults.engines import Engines
from tests.faults.test_kill import UNSANDBOXED
from tests.history import problems, state_of

LEAVES = (
    TRAIN
    + """
from pathlib import Path

Path("model.pt").write_text(f"weights {RATE} {WIDTH}")
Path("tokenizer").mkdir()
Path("tokenizer/vocab.json").write_text("{}")
Path(".hidden.pt").write_text("not meant by a star")
Path("folder.pt").mkdir()
Path("unreadable.pt").write_text("x")
Path("unreadable.pt").chmod(0)
for name, make in {
    "secret.pt": lambda path: path.symlink_to(__file__),
    "elsewhere": lambda path: path.symlink_to(Path.cwd().parent),
    "pipe.pt": lambda path: os.mkfifo(path),
    "twice.pt": lambda path: (path.write_text("1"), os.link(path, "again")),
}.items():
    try:
        make(Path(name))
    except OSError:
        pass
"""
)
KEEP = 'keep = ["*.pt", "tokenizer/vocab.json", "elsewhere/*"]\nkeep_frontiers = 2\n'
# In turn: a proposal is made while the one before it runs, and two changes of one line do not merge.
BETTER = (turn("RATE", 0.4), turn("WIDTH", 9), turn("RATE", 0.3))


def settings(keep: str = KEEP) -> str:
    return SETTINGS.replace("[run]\n", f"[run]\n{keep}")


def names(lab: Path, number: int) -> dict[str, str]:
    """What is kept of a run, and what is in it; nothing for what cannot be read."""
    run = session_files.of(lab, "t").run(number)
    return {
        str(path.relative_to(run.kept)): path.read_text() if os.access(path, os.R_OK) else "" for path in run.kept_files
    }


def test_the_last_frontiers_keep_their_files_and_nothing_else_is_taken(new_lab: Callable[..., Path]) -> None:
    lab = new_lab(settings=settings(), train=LEAVES)
    with running(lab, Script(*BETTER, turn("WIDTH", 4)), rows=5) as driver:
        assert driver.join() == "finished"
    assert [e.outcome for e in driver.state.experiments] == ["keep"] * 4 + ["discard"]
    for number, trained in ((2, "0.4 9"), (3, "0.3 9")):
        found = names(lab, number)
        assert found.pop("unreadable.pt") in ("x", "")
        assert found == {"model.pt": f"weights {trained}", "tokenizer/vocab.json": "{}"}
    assert [names(lab, number) for number in (0, 1, 4)] == [{}, {}, {}]
    refused = driver.state.refused
    assert refused is not None and refused.command == "run.keep"
    assert refused.why == "#3: it left no elsewhere/*"
    assert problems(lab, "t") == []
    (item,) = lab_checks.kept_files(labs.find(lab))
    assert item.found == "0.0 GiB of 2 frontiers, at most 20 for each session (`run.keep`)"


def test_a_kill_at_any_moment_loses_nothing_of_them(
    engines: Engines, new_lab: Callable[..., Path], tmp_path: Path
) -> None:
    lab = new_lab(settings=settings('keep = ["model.pt", "tokenizer/*"]\n'), train=LEAVES)
    words = [str(lab), "--tag", "t", "--headless", "--experiments", "4"]
    kills = ("half:kept:1", "before:verdict_given:2", "after:verdict_given:1", "half:kept:1")
    ends = [engines.run(words, tmp_path / "errors", orders=orders, env=UNSANDBOXED) for orders in (*kills, "")]
    assert ends == [*[-signal.SIGKILL] * len(kills), 0]
    state = state_of(lab, "t")
    for experiment in state.experiments:
        wanted = {"model.pt", "tokenizer/vocab.json"} if experiment.outcome == "keep" else set()
        assert {*names(lab, experiment.number)} == wanted
    assert problems(lab, "t") == []


def test_a_full_disk_stops_no_verdict(new_lab: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lab = new_lab(settings=settings(), train=LEAVES)
    rename = os.rename

    def full(source: str, target: object, **more: int) -> None:
        if source == "model.pt":
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", full)
    with running(lab, Script(), rows=1) as driver:
        assert driver.join() == "finished"
    assert driver.state.best is not None
    refused = driver.state.refused
    assert refused is not None and refused.why == "#0: No space left on device; the rest of its files is not kept"


def test_more_than_the_limit_is_not_kept_and_older_files_go_first(new_lab: Callable[..., Path]) -> None:
    # A model is 3 MiB, a disk block more at most.
    train = (
        TRAIN
        + '\nfrom pathlib import Path\nPath("model.pt").write_bytes(bytes((3 << 20) * (9 if RATE == 0.3 else 1)))\n'
    )
    lab = new_lab(settings=settings(f'keep = ["model.pt"]\nkeep_max_gb = {7 / 1024}\n'), train=train)
    with running(lab, Script(*BETTER), rows=4) as driver:
        assert driver.join() == "finished"
    assert [e.outcome for e in driver.state.experiments] == ["keep"] * 4
    assert [bool(names(lab, number)) for number in range(4)] == [False, True, True, False]
    refused = driver.state.refused
    assert refused is not None
    assert refused.why == "#3: 0.0 GiB are more than `run.keep_max_gb`, 0.00683594; none is kept"


def test_a_folder_of_the_run_that_became_a_link_leads_nowhere(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "0001")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.pt").write_text("mine")
    files.work.mkdir(parents=True)
    (files.work / "lab").symlink_to(tmp_path / "mine")
    (files.work / "out").symlink_to(tmp_path / "mine")
    assert kept.save(files, files.work / "lab", ["model.pt"], 1e9).endswith("the rest of its files is not kept")
    assert kept.save(files, files.work, ["out/model.pt", "o*/model.pt"], 1e9) == "it left no out/model.pt, o*/model.pt"
    assert (tmp_path / "mine" / "model.pt").read_text() == "mine" and files.kept_files == ()


def test_a_run_that_leaves_very_many_files_fills_nothing(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "0001")
    files.work.mkdir(parents=True)
    for number in range(1001):
        (files.work / f"{number}.pt").touch()
    assert kept.save(files, files.work, ["*.pt"], 1e9) == "`*.pt` matches more than 1,000 files; none is kept"
    assert files.kept_files == ()
