"""A real night, for every test that needs one: what a lab's journal, files and repository look like in the morning.

:class:`Night` appends records as an engine does. Without a folder it is a journal in memory; with one, the journal, the
diffs and the logs are on disk as well; with a repository, every attempt is a commit, and :meth:`Night.settle` leaves
branch, refs, tables and run folders so that `tests.history.problems` finds nothing and an engine can go on.

:func:`real_night` plays what happens to real sessions: prior results, several devices, records during runs, edits by a
human, withdrawals, vetoes, crashes, repeats, overruled verdicts, takeovers.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import asdict

from autoresearch_tui.engine import results_table
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab, open_lab
from autoresearch_tui.lab.settings import Settings
from autoresearch_tui.runs.runner import Exit
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import prior_results
from autoresearch_tui.session.fold import fold
from autoresearch_tui.session.journal import encode, to_fields
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.atomic import write
from tests.conftest import make_lab

IDEAS = (
    "raise MATRIX_LR to 0.035",
    "add a learnt residual scale to each block",
    "halve the batch and double the steps",
    "swap the random seed from 42 to 137",
    "RoPE base 10,000 → 200,000",
    "value embeddings on every layer instead of every other layer, with a gate for each head of the attention",
    "window pattern SSSL → SSLL",
    "weight decay 0.1 on the embeddings only",
)
BEGAN = datetime(2026, 11, 20, 22, 58, tzinfo=UTC)
DIFF = """\
diff --git a/train.py b/train.py
--- a/train.py
+++ b/train.py
@@ -430,7 +430,7 @@ WINDOW_PATTERN = "SSSL"
 TOTAL_BATCH_SIZE = 2**19
 EMBEDDING_LR = 0.6
 UNEMBEDDING_LR = 0.004
-MATRIX_LR = 0.04
+MATRIX_LR = 0.02
 SCALAR_LR = 0.5
 WEIGHT_DECAY = 0.2
 ADAM_BETAS = (0.8, 0.95)
"""
HEAD = """\
Vocab size: 8,192
Model config: {'sequence_len': 2048, 'vocab_size': 8192, 'n_layer': 8, 'n_head': 4, 'n_embd': 512}
Parameter counts:
  wte                     : 4,194,304
  transformer_matrices    : 25,165,856
  total                   : 50,332,176
Estimated FLOPs per token: 2.181039e+08
Time budget: 300s
Gradient accumulation steps: 4
/usr/lib/python3/torch/_inductor/utils.py:12: UserWarning: not enough SMs to use max_autotune_gemm mode
"""
STEPS = 240


def progress_line(step: int, fraction: float, floor: float, noise: float = 0.0) -> str:
    """The reference's line, without its carriage return."""
    loss = floor + 6 * math.exp(-9 * fraction) * (1 - fraction) + noise
    return (
        f"step {step:05d} ({fraction * 100:.1f}%) | loss: {loss:.6f} | lrm: 1.00 | dt: 251ms | "
        f"tok/sec: 1,043,824 | mfu: 45.5% | epoch: 1 | remaining: {300 * (1 - fraction):.0f}s    "
    )


def prior_rows(count: int, width: int = 120, seed: int = 1) -> tuple[PriorResult, ...]:
    """What another loop left: `count` results whose descriptions have `width` characters."""
    dice = random.Random(seed)
    rows, best = [], 1.02
    for number in range(count):
        value: float | None = round(best + dice.random() * 0.01, 6)
        status = dice.choice(("discard", "discard", "discard", "crash", "keep"))
        if status == "keep":
            value = best = round(best * (1 - dice.random() * 0.0003), 6)
        text = f"prior idea {number}: {IDEAS[number % len(IDEAS)]} ".ljust(width, "x")[:width]
        name = f"{number + 0x1000000:07x}"
        rows.append(PriorResult(name, None if status == "crash" else value, 44.0, status, text))
    return tuple(rows)


def prior_table(count: int, width: int = 120, seed: int = 1) -> str:
    """The same as the text of a results.tsv."""
    rows = (
        f"{row.name}\t{row.value or 0:.6f}\t{row.memory_gb:.1f}\t{row.status}\t{row.description}\n"
        for row in prior_rows(count, width, seed)
    )
    return "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n" + "".join(rows)


class Night:
    """Appends events as they would come; `records` is the journal so far, `state` what it amounts to.

    `moment` moves on by `pace` seconds before each event, and by the length of a run before its end.
    """

    researcher = "claude"
    program = "1f3a5c7e9b0d"

    def __init__(
        self,
        root: Path | None = None,
        *,
        tag: str = "nov20",
        goal: str = "minimize",
        seed: int = 7,
        pace: float = 2.0,
        start: datetime = BEGAN,
        repository: bool = False,
        begun: bool = True,
    ) -> None:
        """`root`: the lab's folder, made here. `repository`: a real lab in it, whose attempts are commits.

        `begun`: the session and its first engine have begun.
        """
        self.records: list[ev.Record] = []
        self.state = State()
        self.tag, self.goal, self.pace = tag, goal, pace
        self.moment = start
        self.random = random.Random(seed)
        self.lab: Lab | None = None
        self.repo: GitRepo | None = None
        if root is not None:
            self.lab = self._repository(root) if repository else self._plain(root)
            self.files = self.lab.session(tag)
            self.files.folder.mkdir(parents=True)
            self.files.journal.touch()
        self.base = self.repo.head() if self.repo is not None else "b" * 40
        if begun:
            self.begin()
            self.engine()
            self.add(ev.ProgramRead(self.program, 80))

    def _plain(self, root: Path) -> Lab:
        root.mkdir(parents=True, exist_ok=True)
        (root / "program.md").write_text("# Program\n\nImprove train.py.\n")
        (root / "train.py").write_text("MATRIX_LR = 0.04\n")
        return Lab(root, Settings())

    def _repository(self, root: Path) -> Lab:
        make_lab(root)
        self.repo = GitRepo(root)
        self.repo.ignore((".autoresearch/", "results.tsv"))
        return open_lab(root)

    # ── records ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def count(self) -> int:
        """How many experiments there are."""
        return len(self.state.experiments)

    @property
    def journal(self) -> bytes:
        """The journal's bytes."""
        return b"".join(encode(record) for record in self.records)

    def add(self, *events: ev.Event, after: float | None = None) -> None:
        """The next records, each `after` seconds later than the one before."""
        for event in events:
            self.moment += timedelta(seconds=self.pace if after is None else after)
            record = ev.Record(len(self.records) + 1, timestamps.stamp(self.moment), event)
            self.state = fold(self.state, record)
            self.records.append(record)
            if self.lab is not None:
                with self.files.journal.open("ab") as file:
                    file.write(encode(record))

    def begin(self) -> None:
        """The session's first record."""
        self.add(
            ev.SessionBegan(
                self.tag,
                f"autoresearch/{self.tag}",
                self.base,
                "val_bpb",
                self.goal,
                0.0,
                300,
                ("train.py",),
                self._locked(),
            )
        )

    def _locked(self) -> dict[str, str]:
        if self.repo is None or self.lab is None:
            return {"prepare.py": "0" * 64}
        from autoresearch_tui.engine.judging.assessment import hashes

        return hashes(self.lab.root, self.lab.settings.lab.locked)

    def engine(self, *, headless: bool = False, successor: bool = False) -> None:
        """An engine takes the session up."""
        self.add(
            ev.EngineStarted(
                1, "here", headless, "0.1.0", self.researcher, "ask", "hold", 300, 600, successor=successor
            )
        )

    def history(self, rows: Sequence[PriorResult], path: str = "results.tsv", left_out: int = 0) -> None:
        """What was read in of others' results, in as many records as an engine makes of it."""
        self.add(*prior_results.records(path, rows, left_out=left_out), after=0)

    # ── proposals ───────────────────────────────────────────────────────────────────────────────────────────

    def commit(self, number: int) -> str:
        """The commit of an experiment; before there is one, what a journal without a repository gives it."""
        if self.repo is not None:
            return self.state.experiments[number].commit
        return f"{number:07x}".ljust(40, "c")

    def proposal(self, description: str = "", *, base: str = "", flags: Iterable[str] = (), **fields: object) -> int:
        """The next experiment's proposal, on the frontier; the first is the baseline. Returns its number."""
        number = self.count
        base = base or self.state.frontier_commit
        description = description or ("baseline" if number == 0 else IDEAS[number % len(IDEAS)])
        usual: dict[str, object] = {
            "hypothesis": "It converges sooner, for the gradient's noise is smaller." if number else "",
            "author": self.researcher if number else "baseline",
            "program": self.program,
            "added": 3 if number else 0,
            "removed": 2 if number else 0,
            "tokens": 1200,
            "usd": 0.04,
        }
        commit = self._attempt(number, base, description)
        made = {**usual, "flags": tuple(flags), "low_risk": not tuple(flags), **fields}
        self.add(ev.ProposalMade(number, commit, base, description, **made))  # type: ignore[arg-type]
        return number

    def ask(self) -> None:
        """The researcher is asked for the next one."""
        self.add(ev.ProposalAsked(self.count, self.state.frontier_commit, self.state.failures + 1))

    def edit(self, number: int) -> None:
        """A human writes another text in its place before the run; the gate opens again."""
        old = self.state.experiments[number]
        commit = self._attempt(number, old.proposal.base, old.description, edited=True)
        self.add(ev.ProposalRebased(number, commit, old.proposal.base, True, 4, 2))

    def gate(self, number: int, policy: str = "hold", deadline: str = "") -> None:
        """It waits for an answer."""
        self.add(ev.ReviewOpened(number, self.state.experiments[number].commit, policy, deadline))

    def approve(self, number: int, by: str = "human") -> None:
        self.add(ev.ProposalApproved(number, self.state.experiments[number].commit, by))

    def veto(self, number: int, reason: str = "seed hacking", by: str = "human") -> None:
        self.add(ev.ProposalVetoed(number, self.state.experiments[number].commit, by, reason))

    def withdraw(self, number: int, reason: str = "replaced by another") -> None:
        self.add(ev.ProposalWithdrawn(number, reason))

    def repeat(self, first: int) -> int:
        """The same commit once more, under another seed; it decides nothing."""
        old = self.state.experiments[first]
        number = self.count
        self._show(number, old.proposal.base, old.commit)
        self.add(
            ev.ProposalMade(
                number, old.commit, old.proposal.base, f"repeat of #{first}: {old.description}",
                "How far do equal runs lie apart?", "repeat", self.program, old.proposal.added, old.proposal.removed,
                repeat_of=first, seed=number,
            )
        )  # fmt: skip
        return number

    def _attempt(self, number: int, base: str, description: str, *, edited: bool = False) -> str:
        """The attempt's commit, and the files that show it."""
        if self.repo is None or self.lab is None:
            commit = f"{number + (0xE0000 if edited else 0):07x}".ljust(40, "c") if edited else self.commit(number)
            if self.lab is not None:
                self._write_diff(number, DIFF if number else "")
            return commit
        if number == 0:
            commit = base
        else:
            text = self.repo.read(base, "train.py").decode()
            text = f"{text}# {number}: {description}{' (by hand)' if edited else ''}\n"
            commit = self.repo.commit(
                base, {"train.py": text.encode()}, f"{description}\n\nwhy\n", timestamps.stamp(self.moment)
            )
        self._show(number, base, commit)
        return commit

    def _show(self, number: int, base: str, commit: str) -> None:
        if self.repo is None or self.lab is None:
            return
        self._write_diff(number, self.repo.diff(base, commit))
        (self.files.run(number).folder / "train.py").write_bytes(self.repo.read(commit, "train.py"))

    def _write_diff(self, number: int, text: str) -> None:
        folder = self.files.run(number)
        folder.folder.mkdir(parents=True, exist_ok=True)
        folder.diff.write_text(text)

    # ── runs ────────────────────────────────────────────────────────────────────────────────────────────────

    def launch(self, number: int, device: str = "") -> None:
        """Its run begins, with approval."""
        if self.state.experiments[number].stage is not Stage.APPROVED:
            self.approve(number)
        experiment = self.state.experiments[number]
        self.add(ev.RunStarted(number, experiment.commit, experiment.attempt + 1, device))
        if self.repo is not None:
            self._started(experiment)

    def log(self, number: int, text: str) -> None:
        """More of a run's log."""
        path = self.files.run(number).log
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)

    def train(self, number: int, upto: float = 1.0, floor: float = 3.0, seed: int = 0) -> None:
        """The log of a run up to a share of its budget."""
        dice = random.Random(seed or number)
        steps = range(int(STEPS * upto) + 1)
        lines = ["\r" + progress_line(step, step / STEPS, floor, dice.gauss(0, 0.03)) for step in steps]
        end = f"\n---\nval_bpb:          {floor / 3:.6f}\n" if upto >= 1 else ""
        self.log(number, HEAD + "".join(lines) + end)

    def end(
        self, number: int, verdict: str, value: float | None = None, reason: str = "", seconds: float = 325.8
    ) -> None:
        """A run's end, its score and its verdict."""
        crashed = verdict == "crash"
        memory = 0.0 if crashed else 44.0
        cause = ("RuntimeError: shapes do not match",) if crashed else ()
        ended = ev.RunEnded(number, "crashed" if crashed else "finished", int(crashed), seconds, cause)
        self.add(ended, after=seconds)
        reason = reason or (cause[0] if crashed else "")
        if not crashed:
            self.add(ev.RunScored(number, value, memory, "self-reported"))
        self._ended(number)
        self.add(ev.VerdictGiven(number, verdict, value, memory, reason))

    def _started(self, experiment: Experiment) -> None:
        folder = self.files.run(experiment.number).folder
        started = {"supervisor_pid": 1, "trainer_pid": 1, "boot_id": "", "time": timestamps.stamp(self.moment)}
        (folder / "started.json").write_text(json.dumps(started))

    def _ended(self, number: int) -> None:
        """The records that a run leaves in its folder."""
        if self.lab is None:
            return
        run, files = self.state.experiments[number].run, self.files.run(number)
        assert run is not None
        ended = Exit(run.reason, run.exit_code, None, run.seconds, 0, 0, "", timestamps.stamp(self.moment))
        files.folder.mkdir(parents=True, exist_ok=True)
        files.exit.write_text(json.dumps(asdict(ended)))
        score = self.state.experiments[number].score
        if score is not None:
            files.score.write_text(json.dumps({"metric": "val_bpb", **to_fields(score)}) + "\n")

    def experiment(self, verdict: str, value: float | None = None, *, description: str = "", base: str = "") -> int:
        """From its proposal to its end, with nothing beside it: a verdict, vetoed or withdrawn."""
        number = self.proposal(description, base=base)
        if verdict == "vetoed":
            self.gate(number)
            self.veto(number)
        elif verdict == "withdrawn":
            self.withdraw(number)
        else:
            self.launch(number)
            if self.lab is not None:
                self.train(number, floor=3 * (value or 1.2))
            self.end(number, verdict, value)
        return number

    # ── on disk ─────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Branch, refs and tables as an engine leaves them."""
        assert self.repo is not None and self.lab is not None and self.state.session is not None
        for experiment in self.state.experiments:
            self.repo.set_ref(f"refs/autoresearch/{self.tag}/{experiment.name}", experiment.commit)
        self.repo.set_ref(f"refs/heads/{self.state.session.branch}", self.state.frontier_commit)
        table = results_table.render(self.state)
        write(self.files.results, table)
        results_table.LabTable(self.lab.results, self.lab.state_folder / "results.sha256").write(table)


class Player:
    """Plays a night on several devices: what is proposed and answered happens while runs are in flight."""

    def __init__(self, night: Night, devices: int) -> None:
        self.night, self.dice = night, night.random
        self.devices = [str(index) for index in range(devices)] if devices > 1 else [""]
        self.ends: dict[int, datetime] = {}
        self.best = 0.9979

    def play(self, experiments: int) -> None:
        """Until there are so many experiments, and none is open."""
        night = self.night
        night.experiment("keep", self.best)
        while night.count < experiments or self.ends or night.state.waiting:
            if len(night.state.waiting) < len(self.devices) and night.count < experiments:
                self.propose()
            elif free := [name for name in self.devices if name not in {e.device for e in night.state.in_flight}]:
                waiting = [e for e in night.state.waiting if e.stage is Stage.APPROVED]
                if waiting:
                    self.launch(waiting[0].number, free[0])
                elif self.ends:
                    self.end()
            else:
                self.interfere()
                self.end()

    def propose(self) -> None:
        night, dice = self.night, self.dice.random()
        night.ask()
        if dice < 0.05:
            night.add(ev.ProposalFailed(night.count, "529 overloaded", 2.0))
            night.ask()
        if dice > 0.95 and night.state.best is not None:
            number = night.repeat(night.state.best.number)
            night.approve(number, "repeat")
            return
        number = night.proposal()
        if dice < 0.1:
            night.withdraw(number, "no longer applies since another was kept")
            return
        night.gate(number)
        if dice < 0.2:
            night.veto(number)
            return
        if dice < 0.35:
            night.edit(number)
            night.gate(number)
        night.approve(number)

    def launch(self, number: int, device: str) -> None:
        self.night.launch(number, device)
        self.ends[number] = self.night.moment + timedelta(seconds=300 + 50 * self.dice.random())

    def interfere(self) -> None:
        """What a human does while runs are in flight, and what happens to the engine."""
        night, dice = self.night, self.dice.random()
        if dice < 0.15:
            night.add(ev.NoteGiven("smaller steps, and look at the warm-up — «again»"))
        elif dice < 0.25:
            night.add(ev.PauseAsked("human"), ev.Resumed("human"))
        elif dice < 0.35:
            night.add(ev.CommandRefused("approve", "it is not the proposal that was on the screen"))
        elif dice < 0.45:
            night.add(ev.EngineStopped("detached"))
            night.engine(headless=True, successor=True)
        elif dice < 0.5:
            night.add(ev.TroubleMet("No space left on device", "free some disk space", 1.0))
            night.add(ev.TroubleCleared("No space left on device"))

    def end(self) -> None:
        """The run that ends next, and what a human makes of its verdict."""
        night, dice = self.night, self.dice.random()
        number = min(self.ends, key=lambda each: self.ends[each])
        seconds = max((self.ends.pop(number) - night.moment).total_seconds(), 0.1)
        repeat = night.state.experiments[number].proposal.repeat_of is not None
        value: float | None = round(self.best + 0.0005 + self.dice.random() * 0.01, 6)
        verdict = "discard"
        if not repeat and dice < 0.25:
            verdict, value = "keep", round(self.best - 0.0002 - self.dice.random() * 0.002, 6)
        elif not repeat and dice < 0.4:
            verdict, value = "crash", None
        if night.lab is not None:
            night.train(number, floor=3 * (value or 1.2))
        night.end(number, verdict, value, seconds=seconds)
        if verdict == "keep" and value is not None:
            self.best = value
        elif not repeat and dice > 0.97 and value is not None:
            night.add(ev.VerdictOverruled(number, "keep", "human", "simpler at about the same score"))
        elif dice > 0.92:
            kept = [e.number for e in night.state.table if e.outcome == "keep"]
            night.add(ev.FrontierMoved(self.dice.choice(kept), "human"))


def real_night(
    root: Path | None = None,
    *,
    experiments: int = 30,
    devices: int = 1,
    prior: int = 0,
    repository: bool = False,
    open_ones: bool = False,
    seed: int = 7,
    tag: str = "nov20",
) -> Night:
    """Some of everything, the same for the same arguments; `open_ones` leaves a run and a proposal at the gate.

    With a repository it is settled, as at the end of a session.
    """
    night = Night(root, tag=tag, seed=seed, repository=repository)
    if prior:
        night.history(prior_rows(prior))
    player = Player(night, devices)
    player.play(experiments)
    if open_ones:
        number = night.proposal()
        night.launch(number, player.devices[0])
        if night.lab is not None:
            night.train(number, 0.55)
        night.gate(night.proposal(flags=("train.py:6 import os reaches outside the model",)))
    if repository:
        night.settle()
    return night
