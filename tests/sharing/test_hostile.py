"""A stranger who can push whatever git lets them: nothing is believed, nothing of others' is lost, one line says what
was left out and why."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.session.comparing import measured
from autoresearch_tui.session.prior_results import PriorResult
from autoresearch_tui.sharing import incoming, records, remote
from autoresearch_tui.sharing.records import UnusableRecord
from autoresearch_tui.sharing.store import Store
from tests.night import Night
from tests.sharing.labs import Content, Stranger, line, night, peers, session, shared, tool

Capture = pytest.CaptureFixture[str]
EVE = "refs/autoresearch/shared/eve"
CODE = {"0001/files/train.py": b"A = 2\n", "0001/base/train.py": b"A = 1\n"}


class World:
    """A lab, the remote between labs, an honest peer and a stranger."""

    def __init__(self, folder: Path, capsys: Capture) -> None:
        self.made: Night = night(folder / "lab", ("keep", 0.99))
        honest = night(folder / "honest", ("keep", 0.99), ("keep", 0.95), tag="dec1")
        assert self.made.lab is not None and honest.lab is not None
        self.lab = self.made.lab.root
        self.remote = peers(folder, self.lab, honest.lab.root)
        self.eve = Stranger(self.remote)
        self.capsys = capsys
        assert tool(capsys, "share", honest.lab.root, "--as", "ada")[0] == 0

    def fetch(self) -> tuple[str, str]:
        """What is said of the honest peer, and what was left out."""
        code, lines = tool(self.capsys, "fetch-shared", self.lab)
        assert code == 0, lines
        ada = next((each for each in lines if each.startswith("ada/")), "")
        left_out = lines[-1] if lines[-1].startswith("left out: ") else ""
        return ada, left_out.removeprefix("left out: ")

    def results(self) -> dict[str, PriorResult]:
        """What a session is told."""
        now = measured(self.made.state)
        store = Store.existing(self.lab / ".autoresearch")
        assert now is not None and store is not None
        return {one.name: one for one in incoming.results(open_lab(self.lab), store, now)[0]}


@pytest.fixture
def world(tmp_path: Path, capsys: Capture) -> World:
    return World(tmp_path, capsys)


def test_forged_scores_and_giants_are_left_out_one_by_one(world: World) -> None:
    lines = [
        line(1, value=-1e9, description="\x1b[31mred\x07 [bold]x[/] \u202egnol"),
        line(2, value=float("nan")),
        line(3, value="0.1"),
        line(4, value=10**400),
        line(5, outcome="best ever"),
        line(-1),
        line(True),
        line(1),
        line(6, description="x" * 40_000),
        b"[" * 20_000 + b"\n",
        b"\xff\xfe{}\n",
        b"7\n",
        line(7, description=None, hypothesis={"a": 1}, memory_gb="many", outcome="discard", value=None),
    ]
    deep = json.dumps({"number": 8}).encode()[:-1] + b', "x": ' + b"[" * 9000 + b"]" * 9000 + b"}\n"
    files = {"session.json": session(hardware="H\x1b[2J100"), "experiments.jsonl": b"".join([*lines, deep]), **CODE}
    world.eve.push(f"{EVE}/nov21", files)
    ada, left_out = world.fetch()
    assert "2 experiments, 2 kept, best 0.95" in ada
    assert set(left_out.split("; ")) == {
        "3 for no usable score", "1 for no outcome", "2 for no number", "1 for a number twice", "1 for too long",
        "3 for no JSON", "1 for no JSON object",
    }  # fmt: skip
    found = world.results()
    assert {name for name in found if name.startswith("eve/")} == {"eve/nov21#1", "eve/nov21#7"}
    one = found["eve/nov21#1"]
    assert one.description == "[31mred [bold]x[/] gnol"
    assert not one.comparable
    assert not one.judged_alike
    assert one.flags == ("its evaluator is another", "it ran on H [2J100")
    assert found["eve/nov21#7"].description == "-"


def test_odd_trees_and_blobs(world: World) -> None:
    link, commit = ("120000", world.eve.blob(b"/etc/passwd")), ("160000", "1" * 40)
    good: dict[str, Content] = {"session.json": session(), "experiments.jsonl": line(1), **CODE}
    without = {path: what for path, what in good.items() if path != "0001/files/train.py"}
    cases: list[tuple[dict[str, Content], str]] = [
        ({"session.json": b"{}"}, "another format in a session"),
        ({"session.json": session(evaluator="mine")}, "no evaluator in a session"),
        ({"session.json": session(metric=3)}, "no metric in a session"),
        ({"session.json": session(x="y" * 70_000)}, "records that are too long in a session"),
        ({"session.json": link}, "no records in a session"),
        ({"session.json": commit}, "no records in a session"),
        ({"experiments.jsonl": b" " * (5 << 20)}, "records that are too long in a session"),
        ({f"{n:06d}": link for n in range(4000)}, "no records, or too many files in a session"),
        ({"0001/files/train.py": link}, "a link or a folder in place of code"),
        ({"0001/files/train.py": commit}, "a link or a folder in place of code"),
        ({"0001/files/train.py": b"#" * (1100 << 10)}, "a file of more than 1 MiB"),
    ]
    trees = [({**good, **files}, why) for files, why in cases]
    trees.append(({**without, "0001/files/train.py/deeper": b"x"}, "a link or a folder in place of code"))
    trees.append(({**without, "0001/files/prepare.py": b"x"}, "no code of this lab's files"))
    for place, (files, _) in enumerate(trees):
        world.eve.push(f"{EVE}/s{place:02d}", files)
    ada, left_out = world.fetch()
    assert ada
    counted = Counter(why for _, why in trees)
    assert set(left_out.split("; ")) == {f"{count} for {why}" for why, count in counted.items()}
    found = {name: one for name, one in world.results().items() if name.startswith("eve/")}
    assert len(found) == 5
    assert not any(one.code for one in found.values())


def test_odd_names_and_more_than_a_fair_share(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MOST_OF_ONE", 3)
    good = {"session.json": session(), "experiments.jsonl": line(1), **CODE}
    commit = world.eve.push(f"{EVE}/s0", good)
    odd = ["refs/autoresearch/shared/eve2", f"{EVE}/a/b", f"{EVE}/-x", f"{EVE}/ü", f"{EVE}/{'x' * 65}", f"{EVE}/a+b"]
    more = [f"{EVE}/s{n}" for n in range(1, 9)]
    world.eve.git("update-ref", "--stdin", stdin="".join(f"create {ref} {commit}\n" for ref in [*odd, *more]).encode())
    # What is no commit at all.
    world.eve.git("update-ref", f"{EVE}/s1", world.eve.blob(b"hello"))
    ada, left_out = world.fetch()
    assert ada
    assert (
        left_out
        == "6 for an odd name; 6 for sessions beyond the limit; 1 for no records, or too many files in a session"
    )
    assert {name.partition("#")[0] for name in world.results()} >= {"eve/s0", "eve/s2"}


def test_a_list_of_refs_without_end_is_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"session.json": session(), "experiments.jsonl": line(1), **CODE}
    commit = world.eve.push(f"{EVE}/s0", good)
    refs = "".join(f"create {EVE}/t{n} {commit}\n" for n in range(60))
    world.eve.git("update-ref", "--stdin", stdin=refs.encode())
    monkeypatch.setattr(remote, "LIST_BYTES", 4000)
    ada, left_out = world.fetch()
    assert ada
    assert "what is beyond 8 MiB of names" in left_out


def test_more_bytes_than_a_fetch_may_bring_cost_nobody_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    giant = {"session.json": session(), "experiments.jsonl": line(1), **CODE, "junk": os.urandom(1 << 20)}
    world.eve.push(f"{EVE}/nov21", giant)
    monkeypatch.setattr(remote, "PACK_BYTES", 300_000)
    ada, left_out = world.fetch()
    assert ada
    assert left_out.startswith("all of eve, for ")
    assert not [name for name in world.results() if name.startswith("eve/")]
    assert list(shared(world.remote))


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.lists(st.none()))
FIELDS = st.dictionaries(st.sampled_from(["number", "outcome", "value", "description", "memory_gb"]), VALUES)
LINES = st.lists(st.one_of(st.binary(max_size=20), FIELDS.map(lambda found: line(**found))), max_size=5)


@given(LINES)
def test_whatever_the_lines_are_what_is_read_is_clean(lines: list[bytes]) -> None:
    experiments, left_out = records.read_experiments(b"\n".join(lines))
    assert len(experiments) + left_out.total() <= sum(each.count(b"\n") + 1 for each in lines)
    again, none = records.read_experiments(records.experiments_text(experiments).encode())
    assert again == experiments
    assert not none
    try:
        records.read_session(b"\n".join(lines))
    except UnusableRecord:
        pass


@given(st.text(), st.text())
def test_every_name_that_is_made_is_one_that_is_taken(who: str, session_: str) -> None:
    names = records.safe_name(who), records.safe_name(session_)
    if all(names):
        assert records.parts(records.ref_of(*names)) == names
