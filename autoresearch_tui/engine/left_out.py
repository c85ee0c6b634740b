"""Evidence of lost records: what a lab has of a session that its journal does not, kept under other names.

An engine writes the journal first. So a ref, a run or a row of the table without a record means that the journal's end
was cut off (a copied folder, a restored backup, a disk that lied). None of it is overwritten: it goes to `left-out-N/`
in the session's folder and to `refs/autoresearch/TAG.left-out-N/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from autoresearch_tui.engine.backoff import TroubleError
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.runs import runner
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.questions import COMMIT
from autoresearch_tui.session.state import State
from autoresearch_tui.util.atomic import partial
from autoresearch_tui.util.frozen import Frozen

# Left by an engine that was killed before it journalled a proposal; written again by the next.
_OF_A_PROPOSAL = frozenset({"diff.patch"})


class Evidence(Frozen):
    """Refs with their commits, numbers of runs, and whether the table has more rows than the journal."""

    refs: Mapping[str, str]
    runs: tuple[int, ...]
    table: bool

    def __bool__(self) -> bool:
        return bool(self.refs or self.runs or self.table)


def find(lab: Lab, repo: GitRepo, tag: str, records: Iterable[ev.Record], state: State) -> Evidence:
    """What the records do not account for."""
    files, count = lab.session(tag), len(state.experiments)
    known = {commit for record in records if (commit := getattr(record.event, "commit", ""))}
    known |= {*state.experiments.column(COMMIT)}
    refs = {
        ref: commit
        for ref, commit in repo.refs(f"refs/autoresearch/{tag}/").items()
        if _number(ref.rpartition("/")[2]) >= count or commit not in known
    }
    numbered = {int(ref.rpartition("/")[2]) for ref in refs if ref.rpartition("/")[2].isdigit()}
    written = _OF_A_PROPOSAL | {Path(name).parts[0] for name in lab.editable.plain} | {"files"}
    expected = written | {partial(name) for name in written}
    runs = [
        number
        for path in (files.folder / "runs").glob("*")
        if (number := _number(path.name)) >= count
        and (number > count or number in numbered or not {each.name for each in path.iterdir()} <= expected)
    ]
    return Evidence(refs, tuple(sorted(runs)), _rows(files.results) > state.rows)


def require_no_run(files: SessionFiles, evidence: Evidence, state: State) -> None:
    """Raises TroubleError while a run without a record is in training, and asks it to end."""
    waiting = (e.number for e in state.waiting)
    for number in (*evidence.runs, *waiting):
        folder = files.run(number).folder
        if runner.look(folder).state is runner.RunState.RUNNING:
            runner.stop(folder)
            raise TroubleError(
                f"experiment {number:04d} is in training, and the journal does not know of it",
                "its run is being ended; the loop continues by itself",
            )


def put_aside(lab: Lab, repo: GitRepo, tag: str, evidence: Evidence, number: int = 0) -> str:
    """Keep the evidence under other names, with `number` or the first free one.

    Returns what was found and where it is now, in one line. Safe to repeat.
    """
    files = lab.session(tag)
    number = number or next_number(files, repo, tag)
    aside = files.folder / f"left-out-{number}"
    aside.mkdir(parents=True, exist_ok=True)
    if evidence.table:
        files.results.replace(aside / "results.tsv")  # it is written anew from the journal
    for ref, commit in evidence.refs.items():
        repo.set_ref(f"refs/autoresearch/{tag}.left-out-{number}/{ref.rpartition('/')[2]}", commit)
    for run in evidence.runs:
        shutil.move(files.run(run).folder, aside / files.run(run).folder.name)
    for ref, commit in evidence.refs.items():
        repo.delete_ref(ref, commit)
    found = [
        text
        for text in (
            f"{len(evidence.refs)} attempts (now refs/autoresearch/{tag}.left-out-{number}/)" if evidence.refs else "",
            f"{len(evidence.runs)} runs" if evidence.runs else "",
            "rows of results.tsv" if evidence.table else "",
        )
        if text
    ]
    return f"the journal's end is lost: it does not have {', '.join(found)}; they are kept in {aside}"


def next_number(files: SessionFiles, repo: GitRepo, tag: str) -> int:
    """The first N whose names `left-out-N` and `journal.damaged-N.jsonl` are free."""
    taken = {path.name for path in files.folder.iterdir()} if files.folder.is_dir() else set()
    refs = repo.refs(f"refs/autoresearch/{tag}.left-out-*/*")
    taken |= {f"left-out-{ref.split('.left-out-')[1].partition('/')[0]}" for ref in refs}
    free = (n for n in range(1, len(taken) + 2) if f"journal.damaged-{n}.jsonl" not in taken)
    return next(n for n in free if f"left-out-{n}" not in taken)


def commits(repo: GitRepo, tag: str) -> set[str]:
    """Every commit that was left out; the session's branch may still be at one."""
    return set(repo.refs(f"refs/autoresearch/{tag}.left-out-*/*").values())


def _number(name: str) -> int:
    return int(name) if name.isdigit() else -1


def _rows(table: Path) -> int:
    try:
        text = table.read_text("utf-8", "replace")
    except OSError:
        return 0
    return max(0, sum(1 for line in text.splitlines() if line) - 1)
