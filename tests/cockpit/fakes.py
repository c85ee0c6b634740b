"""A session written event by event, as an engine would; a host and a monitor without an engine or a machine."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from pathlib import Path

from autoresearch_tui.engine import events as ev
from autoresearch_tui.engine.commands import Command
from autoresearch_tui.engine.journal import Journal
from autoresearch_tui.lab import Lab
from autoresearch_tui.monitor import Device, Holder, Monitor, Sample
from autoresearch_tui.settings import Settings

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


class FakeHost:
    """Notes every command."""

    def __init__(self) -> None:
        self.failure = ""
        self.blocked = ""
        self.alive = True
        self.started = 0
        self.detached = 0
        self.sent: list[Command] = []

    def start(self) -> None:
        self.started += 1

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def detach(self) -> None:
        self.detached += 1


class FakeSession:
    """`now` is the clock of the journal and, where handed over, of the screen."""

    def __init__(self, root: Path, tag: str = "nov21", start: float = 1_763_700_000.0) -> None:
        root.mkdir(parents=True, exist_ok=True)
        (root / "program.md").write_text("# Program\n\nImprove train.py.\n")
        (root / "train.py").write_text("MATRIX_LR = 0.04\n")
        self.lab = Lab(root, Settings())
        self.tag = tag
        self.now = start
        self.files = self.lab.session(tag)
        self.journal = Journal(self.files.journal)
        self._count = 0
        self._base = "b" * 40

    def close(self) -> None:
        self.journal.close()

    def clock(self) -> float:
        return self.now

    def add(self, *events: ev.Event, after: float = 0.0) -> None:
        self.now += after
        for event in events:
            self.journal.append(event, self._time)

    def _time(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def begin(self, headless: bool = False) -> None:
        self.add(
            ev.SessionBegan(
                self.tag, f"autoresearch/{self.tag}", "b" * 40, "val_bpb", "minimize", 0.0, 300, ("train.py",), {}
            ),
            ev.EngineStarted(1, "here", headless, "0.1.0", "search", "ask", "hold", 300, 600),
            ev.ProgramRead("0123456789ab", 3),
        )

    def propose(self, description: str, *, flags: tuple[str, ...] = (), diff: str = DIFF, hypothesis: str = "") -> int:
        number = self._count
        self._count += 1
        folder = self.files.run(number)
        folder.folder.mkdir(parents=True, exist_ok=True)
        folder.diff.write_text(diff if number else "")
        self.add(
            ev.ProposalAsked(number, self._base, 1),
            ev.ProposalMade(
                number, commit_of(number), self._base, description, hypothesis, "search", "0123456789ab", 1, 1, flags
            ),
        )
        return number

    def review(self, number: int, policy: str = "hold", seconds: float = 300) -> None:
        deadline = ""
        if policy != "hold":
            deadline = datetime.fromtimestamp(self.now + seconds, UTC).isoformat().replace("+00:00", "Z")
        self.add(ev.ReviewOpened(number, commit_of(number), policy, deadline))

    def approve(self, number: int, by: str = "human") -> None:
        self.add(ev.ProposalApproved(number, commit_of(number), by))

    def start(self, number: int, device: str = "") -> None:
        self.add(ev.RunStarted(number, commit_of(number), 1, device))

    def log(self, number: int, text: str) -> None:
        path = self.files.run(number).log
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)

    def train(self, number: int, upto: float = 1.0, floor: float = 3.0, seed: int = 0) -> None:
        """The log of a run up to a share of its budget."""
        dice = random.Random(seed or number)
        self.log(number, HEAD)
        steps = 240
        for step in range(int(steps * upto) + 1):
            self.log(number, "\r" + progress_line(step, step / steps, floor, dice.gauss(0, 0.03)))
        if upto >= 1:
            self.log(number, f"\n---\nval_bpb:          {floor / 3:.6f}\n")

    def end(
        self,
        number: int,
        value: float | None,
        verdict: str,
        reason: str = "",
        seconds: float = 325,
        sealed: float | None = None,
        inside_noise: bool = False,
    ) -> None:
        self.now += seconds
        if verdict == "keep":
            self._base = commit_of(number)
        how = "crashed" if value is None else "finished"
        self.add(ev.RunEnded(number, how, 1 if value is None else 0, seconds, ("Traceback",) if value is None else ()))
        memory = 0.0 if value is None else 44.0 + number % 3 / 10
        self.add(
            ev.RunScored(number, value, memory, "referee", sealed=sealed),
            ev.VerdictGiven(number, verdict, value, memory, reason, inside_noise=inside_noise),
        )

    def whole(self, description: str, value: float | None, verdict: str, *, log: bool = True) -> int:
        """An experiment from its proposal to its verdict."""
        number = self.propose(description)
        self.approve(number, "auto" if number else "engine")
        self.start(number)
        if log:
            self.train(number, floor=(value or 1.2) * 3)
        self.end(number, value, verdict)
        return number


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


def commit_of(number: int) -> str:
    return f"{number + 0xA3F100:07x}".ljust(40, "c")


def progress_line(step: int, fraction: float, floor: float, noise: float = 0.0) -> str:
    loss = floor + 6 * math.exp(-9 * fraction) * (1 - fraction) + noise
    return (
        f"step {step:05d} ({fraction * 100:.1f}%) | loss: {loss:.6f} | lrm: 1.00 | dt: 251ms | "
        f"tok/sec: 1,043,824 | mfu: 45.5% | epoch: 1 | remaining: {300 * (1 - fraction):.0f}s    "
    )


def night(session: FakeSession) -> None:
    """A story: some hours of experiments, one in training, one at the gate."""
    session.begin()
    session.whole("baseline", 0.9979, "keep")
    session.whole("MATRIX_LR 0.04→0.03", 0.9941, "keep")
    session.whole("DEPTH 8→12: deeper, the same width", None, "crash")
    session.whole("EMBEDDING_LR 0.6→0.8", 1.0012, "discard")
    session.whole("WEIGHT_DECAY 0.2→0.1", 0.9893, "keep")
    vetoed = session.propose("seed 1337→42")
    session.review(vetoed)
    session.add(ev.ProposalVetoed(vetoed, commit_of(vetoed), "human", "seed or noise, not an idea"))
    session.whole("WARMDOWN_RATIO 0.5→0.7, so that the last third cools longer", 0.9868, "keep")
    number = session.propose("MATRIX_LR 0.03→0.02", hypothesis="Muon overshoots at this batch size.")
    session.approve(number)
    session.start(number)
    session.train(number, 0.55, floor=2.94)
    session.now += 170
    waiting = session.propose("ADAM_BETAS (0.8, 0.95)→(0.9, 0.95)", hypothesis="Less noise in the second moment.")
    session.review(waiting, "approve-low-risk")
    session.files.researcher_log.write_text(
        "── experiment 8 ──\n"
        "∴ Seven attempts so far. The learning rates near the frontier are settled to a factor of two.\n"
        "WARMDOWN_RATIO helped, so the end of the schedule matters.\n"
        "◇ read_experiment 6\n← keep, 0.986800: WARMDOWN_RATIO 0.5→0.7\n"
        "» Next: the optimiser's memory. A longer first moment should help where the batch is noisy.\n"
    )


def judged(session: FakeSession) -> None:
    """A night whose later gains do not carry over to the sealed split; with a repeat, and two verdicts of a human's."""
    session.begin()
    for description, value, verdict, sealed in (
        ("baseline", 0.9979, "keep", 1.0029),
        ("MATRIX_LR 0.04→0.03", 0.9941, "keep", 0.9995),
        ("EMBEDDING_LR 0.6→0.8", 0.9943, "discard", None),
        ("WEIGHT_DECAY 0.2→0.1", 0.9893, "keep", 0.9990),
        ("data order by length", 0.9862, "keep", 1.0011),
        ("validation rows first", 0.9822, "keep", 1.0021),
    ):
        number = session.propose(description)
        session.approve(number, "auto" if number else "engine")
        session.start(number)
        session.train(number, floor=value * 3)
        session.end(number, value, verdict, sealed=sealed, inside_noise=verdict == "discard")
    session.add(
        ev.VerdictOverruled(2, "keep", "human", "simpler at about the same score"),
        ev.FrontierMoved(5, "human"),
        ev.ProposalMade(
            6, commit_of(5), commit_of(4), "repeat of #5: validation rows first", "", "repeat", "0123456789ab", 1, 1,
            repeat_of=5, seed=1,
        ),
    )  # fmt: skip
    session._count = 7
    session.approve(6, "repeat")
    session.start(6)
    session.train(6, floor=2.95)
    session.end(6, 0.9831, "discard", "a repeat under seed 1: 0.983100 against 0.982200 (#5)")


def _device(index: int, wave: float, throttled: bool) -> Device:
    return Device(
        index=index,
        name="NVIDIA H100 80GB HBM3",
        busy=0.9 + 0.09 * wave,
        memory_used=int(44.1 * 2**30),
        memory_total=80 * 2**30,
        temperature=61,
        power=612.0,
        power_limit=700.0,
        clock=1755,
        clock_limit=1980,
        throttled="power cap" if throttled and index == 0 else "",
        holders=(Holder(4242, "python", 44 * 2**30),),
    )


def samples(devices: int = 1, seconds: int = 120) -> list[Sample]:
    """A history of load that is the same every time."""
    made = []
    for second in range(seconds):
        wave = 0.5 + 0.45 * math.sin(second / 7)
        gpus = tuple(_device(index, wave, second == seconds - 1) for index in range(devices))
        cores = (wave, 0.2, 0.9 * wave, 0.1)
        made.append(Sample(1000.0 + second, gpus, sum(cores) / 4, cores, 2.31, 11 * 2**30, 64 * 2**30))
    return made


class FakeMonitor(Monitor):
    """A history without a machine."""

    def __init__(self, devices: int = 1) -> None:
        super().__init__(read=lambda: samples(devices)[-1])
        self.samples.extend(samples(devices))

    def start(self) -> None:
        return
