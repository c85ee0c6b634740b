"""The paths of a lab's sessions. Needs no settings, so that sessions of a broken lab can be read too."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen

STATE_FOLDER = ".autoresearch"


class SessionFiles(Frozen):
    """The files of a session."""

    folder: Path

    @property
    def journal(self) -> Path:
        """One record per line; everything else is derived from it."""
        return self.folder / "journal.jsonl"

    @property
    def outline(self) -> Path:
        """A short summary of the journal for frequent readers; derived, and ignored if it does not match."""
        return self.folder / "outline.json"

    @property
    def snapshot(self) -> Path:
        """The state after the first part of the journal; derived, and ignored if it does not match."""
        return self.folder / "snapshot.json"

    @property
    def history(self) -> Path:
        """Finished experiments, which the snapshot refers to."""
        return self.folder / "history.pages"

    @property
    def seen_snapshot(self) -> Path:
        """A snapshot not later than what the human saw last."""
        return self.folder / "snapshot.seen.json"

    @property
    def results(self) -> Path:
        """The session's own copy of the table."""
        return self.folder / "results.tsv"

    @property
    def researcher_log(self) -> Path:
        """The researcher's output while it works; for watching only."""
        return self.folder / "researcher.log"

    def stream(self, number: int) -> Path:
        """A researcher's output in one of several streams; the first is :attr:`researcher_log`."""
        return self.folder / f"researcher-{number + 1}.log" if number else self.researcher_log

    @property
    def streams(self) -> tuple[Path, ...]:
        """All streams; the first need not exist."""
        numbers = (path.stem.partition("-")[2] for path in self.folder.glob("researcher-*.log"))
        found = sorted(int(number) - 1 for number in numbers if number.isdecimal())
        return (self.researcher_log, *map(self.stream, found))

    @property
    def cluster(self) -> Path:
        """The present state of the session's cluster, if it has one; for watching only."""
        return self.folder / "cluster.json"

    @property
    def inbox(self) -> Path:
        """Where other processes leave commands for the session's engine."""
        return self.folder / "inbox"

    @property
    def lessons(self) -> Path:
        """The lessons of the experiments; the human may edit them."""
        return self.folder / "lessons.md"

    @property
    def digest(self) -> Path:
        """One page about the session for the human."""
        return self.folder / "digest.md"

    def program(self, version: str) -> Path:
        """The bytes of program.md as of `version`."""
        return self.folder / "programs" / f"{version}.md"

    @property
    def compiled(self) -> Path:
        """The frontier's compile cache; every later run gets a copy."""
        return self.folder / "compiled"

    def run(self, number: int) -> RunFiles:
        """The files of experiment `number`."""
        return _run_files(self.folder, number)


class RunFiles(Frozen):
    """One experiment's folder; the training command sees `work` inside it."""

    folder: Path

    @property
    def diff(self) -> Path:
        """The proposal against its base, as a unified diff."""
        return self.folder / "diff.patch"

    @property
    def found(self) -> Path:
        """The editable files of patterns and folders, as trained; single ones are in `folder`."""
        return self.folder / "files"

    def as_trained(self, names: Iterable[str]) -> dict[str, Path]:
        """The editable files as trained, by path: the single ones in `names`, and those of patterns."""
        there = {name: self.folder / name for name in names}
        # Without half-written files and links.
        more = (path for path in sorted(self.found.rglob("*")) if path.is_file() and not path.is_symlink())
        return there | {str(path.relative_to(self.found)): path for path in more if not path.name.startswith(".")}

    @property
    def log(self) -> Path:
        """Standard output and error of the training command. Untrusted."""
        return self.folder / "run.log"

    @property
    def exit(self) -> Path:
        """How the run ended, written by its supervisor."""
        return self.folder / "exit.json"

    @property
    def score(self) -> Path:
        """The score, from the referee or the log."""
        return self.folder / "score.json"

    @property
    def referee(self) -> Path:
        """The locked files as committed, for the referee; no run sees them."""
        return self.folder / "referee"

    @property
    def referee_log(self) -> Path:
        """The output of a referee that the run asks."""
        return self.folder / "referee.log"

    @property
    def token_losses(self) -> Path:
        """Losses of the session's first scored run, token by token: the referee compares every later run with them."""
        return self.folder.parent.parent / "token_losses.npz"

    @property
    def scoring(self) -> Path:
        """The job folder of a referee that is started after the run; removed with `work`."""
        return self.folder / "scoring"

    @property
    def again(self) -> RunFiles:
        """Where this or another run is scored again after its end; removed with `work`."""
        return RunFiles(self.folder / "again")

    @property
    def work(self) -> Path:
        """The run's own copy of the lab's tree; removed after the verdict, unless it may have to be scored again."""
        return self.folder / "work"

    @property
    def scratch(self) -> Path:
        """The only other place that the training command may write to; removed with `work`."""
        return self.folder / "scratch"

    @property
    def compiled(self) -> Path:
        """The compile cache at the moment when the run was ready, until its verdict."""
        return self.folder / "compiled"

    @property
    def kept(self) -> Path:
        """Files of the run that outlive its working copy while it is among the last frontiers. Untrusted."""
        return self.folder / "kept"

    @property
    def kept_files(self) -> tuple[Path, ...]:
        """The plain files in :attr:`kept`, sorted; empty if there are none."""
        return tuple(sorted(path for path in self.kept.rglob("*") if path.is_file() and not path.is_symlink()))


@lru_cache(maxsize=4096)
def _run_files(folder: Path, number: int) -> RunFiles:
    """Cached: with a thousand runs in flight, making the paths takes longer than looking."""
    return RunFiles(folder / "runs" / f"{number:04d}")


def of(root: Path, tag: str) -> SessionFiles:
    """The files of one session of the lab in `root`."""
    return SessionFiles(root / STATE_FOLDER / tag)


def lock(root: Path) -> Path:
    """Held by the one engine of the lab in `root`."""
    return root / STATE_FOLDER / "engine.lock"


def tags(root: Path) -> list[str]:
    """The sessions of the lab in `root`, in the order of their last writes."""
    written: dict[str, int] = {}
    for path in (root / STATE_FOLDER).glob("*/journal.jsonl"):
        try:
            written[path.parent.name] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue  # a session that never began is being removed
    return sorted(written, key=lambda tag: written[tag])


def existing_tag(root: Path, tag: str) -> str:
    """The session `tag` of the lab in `root`, or if empty the latest. Raises UserError if it does not exist."""
    known = tags(root)
    if not known:
        raise UserError(f"{root}: no session yet", f"`autoresearch-tui {root}` begins one")
    if tag and tag not in known:
        raise UserError(f"--tag {tag}: no such session in {root}", f"there are {', '.join(known)}")
    return tag or known[-1]
