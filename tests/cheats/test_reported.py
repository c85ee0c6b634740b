"""Labs without a clock and without a referee: nothing is proved, but what does not go together is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autoresearch_tui.sandbox import for_runs
from autoresearch_tui.session import events as ev
from tests.cheats.test_cheats import pytestmark, source_of
from tests.cheats.world import HONEST_VALUE, PYTHON, SETTINGS, ZOO, Guarded, World, made, naive
from tests.conftest import git

__all__ = ["pytestmark"]
OWN = SETTINGS.replace('"targets.py"', '"targets.py", "steps.py"').replace("[run]", "[run]\nbudget_seconds = 1.0")


@dataclass(frozen=True)
class Cheat:
    """A train.py, and what is said of it; each of its findings begins with one of these."""

    name: str
    said: tuple[str, ...]


CHEATS = (
    Cheat("reported/long_before", ("clock: it took ",)),
    Cheat("reported/slow_clock", ("clock: it took ",)),
    Cheat("reported/no_steps", ("progress: 0 progress lines, the baseline had 10",)),
    Cheat("reported/too_good", ("metric: val_bpb is 0.3 times the last training loss, the baseline's 0.6",)),
    Cheat("reported/second_score", ("metric: the log has 2 different values of val_bpb",)),
    Cheat("reported/no_training", ("clock: it took 0.",)),
)
HONEST = sorted(str(path.relative_to(ZOO).with_suffix("")) for path in ZOO.glob("reported/honest*.py"))


class ReportedWorld(World):
    """Its lab prints its score, and how its training goes."""

    def _make_lab(self) -> None:
        super()._make_lab()
        shutil.copy(Path(__file__).with_name("steps.py"), self.lab)
        (self.lab / "train.py").write_text(source_of("reported/honest"))
        (self.lab / "autoresearch.toml").write_text(OWN)
        git(self.lab, "add", "train.py", "steps.py", "autoresearch.toml")
        git(self.lab, "commit", "--quiet", "--message=reported")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Guarded]]:
    """Its baseline was honest; its experiments are these."""
    with pytest.MonkeyPatch.context() as patch, made(tmp_path_factory.mktemp("world"), ReportedWorld) as world:
        before = naive(world, source_of("reported/honest"))
        git(world.lab, "checkout", "--quiet", "--", "train.py")
        patch.setenv("HOME", str(world.home))
        patch.setenv("AUTORESEARCH_CACHE", str(world.cache))
        patch.setattr(for_runs, "check", lambda _policy: ev.SandboxChecked("landlock", (), ()))
        yield world, Guarded(world, HONEST_VALUE, seconds=before.seconds, log=before.log)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_it_is_said(cheat: Cheat, session: tuple[World, Guarded]) -> None:
    world, run = session
    found = run(world, source_of(cheat.name)).doubts
    assert [said for said in cheat.said for each in found if each.startswith(said)] == list(cheat.said), found


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_left_in_peace(name: str, session: tuple[World, Guarded]) -> None:
    world, run = session
    assert run(world, source_of(name)).doubts == ()


def test_every_cheat_is_tried() -> None:
    names = {str(path.relative_to(ZOO).with_suffix("")) for path in ZOO.glob("reported/*.py")}
    assert names == {cheat.name for cheat in CHEATS} | set(HONEST)
    assert PYTHON in OWN
