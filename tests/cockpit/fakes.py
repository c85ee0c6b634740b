"""A night on disk for the cockpit's tests; a host and a monitor without an engine or a machine."""

from __future__ import annotations

import functools
import math
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autoresearch_tui.lab.machine_load import Device, Holder, Monitor, Sample
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.commands import Command
from autoresearch_tui.util import timestamps
from tests import night as real
from tests.night import DIFF, progress_line


class FakeHost:
    """Notes every command."""

    def __init__(self) -> None:
        self.failure = ""
        self.blocked = ""
        self.alive = True
        self.elsewhere = self.overdue = False
        self.started = 0
        self.detached = 0
        self.sent: list[Command] = []

    def start(self) -> None:
        self.started += 1

    def follow(self, over: Callable[[], bool]) -> None:
        pass

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def detach(self) -> None:
        self.detached += 1


class FakeSession(real.Night):
    """A night whose records are on disk at once, for a screen to follow.

    `now` is the clock of the journal, in seconds, and, where handed over, of the screen. It stands still by itself.
    """

    researcher = "search"
    program = "0123456789ab"

    def __init__(self, root: Path, tag: str = "nov21", start: float = 1_763_700_000.0) -> None:
        super().__init__(root, tag=tag, pace=0.0, start=datetime.fromtimestamp(start, UTC), begun=False)

    @property  # type: ignore[override]
    def now(self) -> float:
        return self.moment.timestamp()

    @now.setter
    def now(self, seconds: float) -> None:
        self.moment = datetime.fromtimestamp(seconds, UTC)

    def clock(self) -> float:
        return self.now

    def begin(self, headless: bool = False) -> None:  # type: ignore[override]
        super().begin()
        self.engine(headless=headless)
        self.add(ev.ProgramRead(self.program, 3))

    def commit(self, number: int) -> str:
        return commit_of(number)

    def propose(self, description: str, *, flags: tuple[str, ...] = (), diff: str = DIFF, hypothesis: str = "") -> int:
        number = self.count
        self.add(ev.ProposalAsked(number, self.state.frontier_commit, 1))
        usual: dict[str, object] = {"author": "search", "added": 1, "removed": 1, "tokens": 0, "usd": None}
        self.proposal(description, flags=flags, hypothesis=hypothesis, low_risk=True, **usual)
        self.files.run(number).diff.write_text(diff if number else "")
        return number

    def review(self, number: int, policy: str = "hold", seconds: float = 300) -> None:
        deadline = "" if policy == "hold" else timestamps.stamp(self.moment + timedelta(seconds=seconds))
        self.gate(number, policy, deadline)

    def start(self, number: int, device: str = "") -> None:
        self.add(ev.RunStarted(number, commit_of(number), 1, device))

    def end(  # type: ignore[override]
        self,
        number: int,
        value: float | None,
        verdict: str,
        reason: str = "",
        seconds: float = 325,
        sealed: float | None = None,
        inside_noise: bool = False,
    ) -> None:
        how = "crashed" if value is None else "finished"
        cause = ("Traceback",) if value is None else ()
        memory = 0.0 if value is None else 44.0 + number % 3 / 10
        self.add(ev.RunEnded(number, how, 1 if value is None else 0, seconds, cause), after=seconds)
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


def commit_of(number: int) -> str:
    return f"{number + 0xA3F100:07x}".ljust(40, "c")


__all__ = ["DIFF", "progress_line"]


def written_once(story: Callable[[FakeSession], None]) -> Callable[[FakeSession], None]:
    """`story`; to a session that has not begun it is told once: its files are copied, its records are the same."""

    @functools.cache
    def first(tag: str, begin: float) -> tuple[FakeSession, tempfile.TemporaryDirectory[str]]:
        folder = tempfile.TemporaryDirectory(prefix="night-")
        session = FakeSession(Path(folder.name, "lab"), tag, begin)
        story(session)
        return session, folder

    @functools.wraps(story)
    def told(session: FakeSession) -> None:
        if session.records:
            story(session)
            return
        source, _ = first(session.tag, session.now)
        shutil.copytree(source.files.folder, session.files.folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
        session.records, session.state, session.moment = [*source.records], source.state, source.moment

    return told


@written_once
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


@written_once
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
