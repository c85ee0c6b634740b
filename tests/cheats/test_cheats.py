"""Every cheat of the zoo works as most loops run it, and not as we run it; honest neighbours are left in peace."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch_tui.engine import launching
from autoresearch_tui.engine.proposing import risk
from autoresearch_tui.sandbox import for_runs, launcher, policy
from autoresearch_tui.sandbox.policy import Kind
from autoresearch_tui.session import events as ev
from tests.cheats.world import HONEST_VALUE, PLAIN, PYTHON, ZOO, Guarded, Outcome, World, made, naive, reached
from tests.conftest import git

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox outside Linux")
LOG_LIMIT = 64 << 20


@dataclass(frozen=True)
class Cheat:
    """A train.py, how one sees that it worked, how often it has to run, and how that ends here."""

    name: str
    worked: Callable[[World, Sequence[Outcome]], bool]
    runs: int = 1
    ends: str = f"discard: {HONEST_VALUE:.6f}"


def better(_world: World, outcomes: Sequence[Outcome]) -> bool:
    """The last run got a score that it has not earned."""
    value = outcomes[-1].value
    return value is not None and value < HONEST_VALUE


def stolen(_world: World, outcomes: Sequence[Outcome]) -> bool:
    return "STOLEN" in outcomes[-1].log


def forged(world: World, _outcomes: Sequence[Outcome]) -> bool:
    return any(world.token in path.read_text() for path in world.records if path.exists())


def commanded(world: World, outcomes: Sequence[Outcome]) -> bool:
    return any((world.session / "inbox").iterdir()) or stolen(world, outcomes)


def cache_changed(world: World, _outcomes: Sequence[Outcome]) -> bool:
    return (world.cache / "tokenizer.json").read_text() != "{}" or not (world.cache / "data").exists()


def modes_changed(world: World, _outcomes: Sequence[Outcome]) -> bool:
    mode = (world.lab / "prepare.py").stat().st_mode & 0o777
    return mode == 0o777 or (world.lab / "program.md").stat().st_mtime == 1


def still_there(world: World, _outcomes: Sequence[Outcome]) -> bool:
    return bool(world.napping())


def victim_ended(world: World, _outcomes: Sequence[Outcome]) -> bool:
    return world.victim.poll() is not None


def victim_offered(world: World, _outcomes: Sequence[Outcome]) -> bool:
    return Path(f"/proc/{world.victim.pid}/oom_score_adj").read_text().strip() == "777"


def victim_held_back(world: World, _outcomes: Sequence[Outcome]) -> bool:
    """It was started by this process, and began with what this one has."""
    return _held_back(world.victim.pid) != _held_back(os.getpid())


def _held_back(pid: int) -> tuple[object, ...]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    to_write = next(line for line in limits.splitlines() if line.startswith("Max file size"))
    return to_write, os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), os.sched_getaffinity(pid)


def flooded(_world: World, outcomes: Sequence[Outcome]) -> bool:
    return len(outcomes[-1].log) > LOG_LIMIT


def taken_back(_world: World, outcomes: Sequence[Outcome]) -> bool:
    return not outcomes[-1].log.startswith("the loss is terrible")


LOCKED = r"invalid: (tried to change prepare\.py, which is locked|prepare\.py was changed during the run)"
CHEATS = (
    Cheat("files/rewritten_evaluation", better, ends=LOCKED),
    Cheat("files/replaced_evaluation", better, ends=LOCKED),
    Cheat("files/poisoned_bytecode", better, runs=2),
    Cheat("files/shadowed_module", better, runs=2),
    Cheat("files/usercustomize", better, runs=2),
    Cheat("files/path_file", better, runs=2),
    Cheat("files/weights_from_before", better, runs=2),
    Cheat("files/forged_records", forged),
    Cheat("files/own_commands", commanded),
    Cheat("files/poisoned_cache", cache_changed),
    Cheat("files/changed_modes", modes_changed),
    Cheat("secrets/api_key", stolen),
    Cheat("secrets/look_around", stolen),
    Cheat("network/tcp", lambda world, _: reached(world.tcp)),
    Cheat("network/dns", lambda world, _: reached(world.udp)),
    Cheat("network/docker_socket", lambda world, _: reached(world.named)),
    Cheat("network/ssh_agent", lambda world, _: reached(world.agent)),
    Cheat("network/tmux", lambda world, _: reached(world.tmux)),
    Cheat("network/datagrams", lambda world, _: reached(world.datagrams)),
    Cheat("network/abstract_socket", lambda world, _: reached(world.abstract)),
    Cheat("processes/daemon", still_there),
    Cheat("processes/fork_bomb", still_there),
    Cheat("processes/signals", victim_ended),
    Cheat("processes/memory_killer", victim_offered),
    Cheat("processes/limits", victim_held_back),
    Cheat("floods/log_flood", flooded, ends="crash: killed: .*log"),
    Cheat("floods/full_disk", better, ends="crash: disk full: .*free"),
    Cheat("floods/rewritten_log", taken_back),
)
# They know where the records of the session's first experiment are: those have to be their own.
AT_THE_FIRST = {"files/forged_records", "floods/rewritten_log"}
# These have a referee, and a file of their own: test_scores.py. So have those that only leave doubts: test_reported.py.
SCORED = ("scores", "clock")
ALL = [path for path in ZOO.glob("*/*.py") if path.parent.name not in (*SCORED, "reported")]
HONEST = sorted(str(path.relative_to(ZOO).with_suffix("")) for path in ALL if path.stem == "honest")


def source_of(name: str) -> str:
    return (ZOO / f"{name}.py").read_text()


def confined(kind: str, patch: pytest.MonkeyPatch) -> None:
    """Runs are confined by this mechanism; the self-test has tests of its own."""
    if kind == "bubblewrap" and policy.choose().kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {policy.choose().note}")
    if kind == "landlock":
        if launcher.landlock_abi() < 6:
            pytest.skip(f"Landlock {launcher.landlock_abi()} of this kernel cannot keep signals in")
        patch.setattr(policy, "choose", policy.landlock_only)
    patch.setattr(for_runs, "check", lambda _policy: ev.SandboxChecked(kind, (), ()))


@pytest.fixture(params=["bubblewrap", "landlock"])
def sandboxed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each mechanism in turn."""
    confined(request.param, monkeypatch)
    return str(request.param)


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Guarded]]:
    """One with each mechanism, whose experiments these are: a cheat may also use what an earlier one has left."""
    with pytest.MonkeyPatch.context() as patch, made(tmp_path_factory.mktemp("world")) as world:
        confined(request.param, patch)
        yield world, guarded(world, patch)


def guarded(world: World, patch: pytest.MonkeyPatch) -> Guarded:
    patch.setenv("HOME", str(world.home))
    patch.setenv("AUTORESEARCH_CACHE", str(world.cache))
    return Guarded(world)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_it_works_as_most_loops_run_it(tmp_path: Path, cheat: Cheat) -> None:
    with made(tmp_path) as world:
        outcomes = [naive(world, source_of(cheat.name)) for _ in range(cheat.runs)]
        assert cheat.worked(world, outcomes), outcomes[-1].log[-2000:]


def fails(cheat: Cheat, world: World, run: Guarded) -> None:
    outcomes = [run(world, source_of(cheat.name)) for _ in range(cheat.runs)]
    assert not cheat.worked(world, outcomes), outcomes[-1].log[-2000:]
    last = outcomes[-1]
    assert re.match(cheat.ends, f"{last.verdict}: {last.reason}"), (last.verdict, last.reason, last.log[-2000:])


@pytest.mark.parametrize("cheat", [c for c in CHEATS if c.name not in AT_THE_FIRST], ids=lambda cheat: cheat.name)
def test_it_does_not_work_here(
    cheat: Cheat, session: tuple[World, Guarded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cheat.name == "floods/full_disk":
        monkeypatch.setattr(launching, "MIN_FREE_BYTES", shutil.disk_usage(tmp_path).free - (256 << 20))
    fails(cheat, *session)


@pytest.mark.parametrize("name", sorted(AT_THE_FIRST))
def test_it_does_not_work_on_its_own_run(
    tmp_path: Path, name: str, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(tmp_path) as world:
        fails(next(cheat for cheat in CHEATS if cheat.name == name), world, guarded(world, monkeypatch))


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_left_in_peace(name: str, session: tuple[World, Guarded]) -> None:
    world, run = session
    last = run(world, source_of(name))
    assert (last.verdict, last.value) == ("discard", HONEST_VALUE), (last.reason, last.log[-2000:])


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_the_reviewer_is_warned(cheat: Cheat) -> None:
    found = risk.flags({"train.py": PLAIN}, {"train.py": source_of(cheat.name)})
    assert not risk.low_risk(found)


def test_every_family_has_an_honest_member() -> None:
    families = {path.parent.name for path in ALL}
    assert {name.partition("/")[0] for name in HONEST} == families
    assert {cheat.name for cheat in CHEATS} == {
        str(path.relative_to(ZOO).with_suffix("")) for path in ALL if path.stem != "honest"
    }


@pytest.mark.parametrize("name", ["files/poisoned_bytecode", "files/usercustomize", "files/path_file"])
def test_a_referee_runs_nothing_that_was_left_for_it(
    tmp_path: Path, name: str, sandboxed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made(tmp_path) as world:
        (world.lab / "referee.py").write_text(PLAIN)
        with (world.lab / "autoresearch.toml").open("a") as settings:
            settings.write(f'\n[metric]\nreferee = ["{PYTHON}", "referee.py"]\n')
        git(world.lab, "add", "referee.py")
        git(world.lab, "commit", "--quiet", "--message=referee")
        last = guarded(world, monkeypatch)(world, source_of(name))
        assert (last.verdict, last.value) == ("discard", HONEST_VALUE), (last.reason, last.log[-2000:])
