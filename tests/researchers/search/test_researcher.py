"""The offline search, seen from outside: what it proposes for a lab and a history."""

from __future__ import annotations

import ast
import difflib
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.researchers.base import Attempt, Brief, Proposal, ResearcherError
from autoresearch_tui.researchers.search.researcher import Search

TRAIN = '''"""Trains a small model.

A line at the margin, with a WORD = 3 that is no constant.
"""
import torch
from prepare import MAX_SEQ_LEN, TIME_BUDGET

# Architecture
ASPECT_RATIO = 64        # model_dim = DEPTH * ASPECT_RATIO
HEAD_DIM = 128
WINDOW_PATTERN = "SSSL"  # S half, L full

# Optimisation
TOTAL_BATCH_SIZE = 2**19 # tokens a step
EMBEDDING_LR = 0.6
UNEMBEDDING_LR = 0.004
MATRIX_LR = 4e-2
ADAM_BETAS = (0.8, 0.95) # first, second
WARMUP_RATIO = 0.0
WARMDOWN_RATIO = 0.5
DEPTH = 8
DEVICE_BATCH_SIZE = 128
USE_BIAS: bool = False
SEED = 1337
EVAL_BATCHES = 20
H100_PEAK_FLOPS = 989.5e12
unused = 3


def windows(pattern):
    assert all(c in "SL" for c in pattern)
    return [pattern[i % len(pattern)] for i in range(DEPTH)]


tokens_per_pass = DEVICE_BATCH_SIZE * MAX_SEQ_LEN
assert TOTAL_BATCH_SIZE % tokens_per_pass == 0
torch.manual_seed(SEED)
step = 0
while step < 10:
    step += 1
print(ASPECT_RATIO, HEAD_DIM, windows(WINDOW_PATTERN), EMBEDDING_LR, UNEMBEDDING_LR, MATRIX_LR, ADAM_BETAS)
print(WARMUP_RATIO, WARMDOWN_RATIO, USE_BIAS, EVAL_BATCHES, H100_PEAK_FLOPS, TIME_BUDGET)
'''
LOCKED = {"prepare.py": "MAX_SEQ_LEN = 2048\nTIME_BUDGET = 300\n"}
Score = Callable[[str], float]


def constants(text: str) -> dict[str, Any]:
    """The module-level constants of a file, evaluated."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and not any(
                isinstance(n, ast.Name | ast.Call) for n in ast.walk(node.value)
            ):
                found[target.id] = eval(compile(ast.Expression(node.value), "", "eval"), {})
    return found


def changed(before: str, after: str) -> dict[str, tuple[Any, Any]]:
    """The constants that differ."""
    a, b = constants(before), constants(after)
    return {name: (a[name], b[name]) for name in a if a[name] != b[name]}


@dataclass
class Night:
    """A lab without a machine: commits in a dictionary, a history, and a loop that keeps what is better."""

    text: str = TRAIN
    locked: Mapping[str, str] = field(default_factory=lambda: LOCKED)
    goal: Goal = Goal.MINIMIZE
    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    history: list[Attempt] = field(default_factory=list)
    base: str = "c0"

    def __post_init__(self) -> None:
        self.commits["c0"] = {"train.py": self.text}
        self.history.append(Attempt(0, "c0", "", "baseline", "", "keep", 1.0, ""))

    def brief(self, complaint: str = "") -> Brief:
        return Brief(
            number=len(self.history),
            base=self.base,
            program="",
            files=self.commits[self.base],
            locked=self.locked,
            metric="val_bpb",
            goal=self.goal,
            budget_seconds=300,
            history=tuple(self.history),
            complaint=complaint,
            files_at=self.commits.__getitem__,
        )

    def record(self, files: Mapping[str, str], outcome: str, value: float | None = None) -> None:
        number = len(self.history)
        commit = f"c{number}"
        self.commits[commit] = {**self.commits[self.base], **files}
        self.history.append(Attempt(number, commit, self.base, "", "", outcome, value, ""))
        if outcome == "keep":
            self.base = commit

    def edit(self, old: str, new: str, outcome: str, value: float | None = None) -> None:
        text = self.commits[self.base]["train.py"]
        assert old in text
        self.record({"train.py": text.replace(old, new)}, outcome, value)

    def run(self, propose: Callable[[Brief], Proposal], score: Score, count: int) -> str:
        best = score(self.text)
        self.history[0] = replace(self.history[0], value=best)
        for _ in range(count):
            files = propose(self.brief()).files
            value = score({**self.commits[self.base], **files}["train.py"])
            better = self.goal.better(value, best)
            best = value if better else best
            self.record(files, "keep" if better else "discard", value)
        return self.commits[self.base]["train.py"]


def ask(night: Night, seed: int = 0, complaint: str = "", search: Search | None = None) -> Proposal:
    proposal = (search or Search(seed)).propose(night.brief(complaint), lambda _: None, threading.Event())
    assert proposal is not None
    return proposal


def asker(seed: int) -> Callable[[Brief], Proposal]:
    search = Search(seed)

    def propose(brief: Brief) -> Proposal:
        proposal = search.propose(brief, lambda _: None, threading.Event())
        assert proposal is not None
        return proposal

    return propose


def flat(text: str) -> float:
    """A score that never improves."""
    return 1.0 if text == TRAIN else 1.0 + random.Random(text).uniform(0.001, 0.05)


# --- the edit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_only_the_literal_changes(ending: str) -> None:
    night = Night(TRAIN.replace("\n", ending))
    for _ in range(30):
        proposal = ask(night)
        before, after = night.text.split(ending), proposal.files["train.py"].split(ending)
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            code, hash_, comment = old.partition("#")
            if old != new:
                assert new.endswith(hash_ + comment)
                assert new.split("=")[0] == code.split("=")[0]
        night.record(proposal.files, "discard", 1.1)


def test_a_night_touches_neither_seed_nor_evaluation_nor_what_is_only_shown() -> None:
    night = Night()
    night.run(asker(0), flat, 40)
    for attempt in night.history[1:]:
        change = changed(TRAIN, night.commits[attempt.commit]["train.py"])
        assert change
        assert not change.keys() & {"SEED", "EVAL_BATCHES", "H100_PEAK_FLOPS", "unused", "step"}


def test_every_kind_of_constant_moves_within_its_bounds() -> None:
    night = Night()
    night.run(asker(1), flat, 90)
    seen: dict[str, set[Any]] = {}
    for attempt in night.history[1:]:
        text = night.commits[attempt.commit]["train.py"]
        values = constants(text)
        for name in changed(TRAIN, text):
            seen.setdefault(name, set()).add(values[name])
        assert values["TOTAL_BATCH_SIZE"] % (values["DEVICE_BATCH_SIZE"] * 2048) == 0
        assert values["HEAD_DIM"] % 8 == 0
        assert values["DEPTH"] >= 1
    assert seen.keys() >= {
        "ASPECT_RATIO", "HEAD_DIM", "WINDOW_PATTERN", "TOTAL_BATCH_SIZE", "EMBEDDING_LR", "UNEMBEDDING_LR",
        "MATRIX_LR", "ADAM_BETAS", "WARMUP_RATIO", "WARMDOWN_RATIO", "DEPTH", "DEVICE_BATCH_SIZE", "USE_BIAS",
    }  # fmt: skip
    assert all(0 < value < 1 for name in ("WARMUP_RATIO", "WARMDOWN_RATIO") for value in seen[name])
    assert all(0 < a < 1 and 0 < b < 1 for a, b in seen["ADAM_BETAS"])
    assert all(set(value) <= set("SL") for value in seen["WINDOW_PATTERN"])
    assert min(seen["DEPTH"]) < 8 < max(seen["DEPTH"]) <= 13


def test_a_literal_is_written_in_the_manner_of_the_one_it_replaces() -> None:
    night = Night()
    night.run(asker(2), flat, 50)
    texts = "\n".join(files["train.py"] for files in night.commits.values())
    assert "TOTAL_BATCH_SIZE = 2**20 # tokens a step\n" in texts
    assert "MATRIX_LR = 8e-2\n" in texts
    assert "USE_BIAS: bool = True\n" in texts
    assert "ADAM_BETAS = (0.9, 0.95) # first, second\n" in texts


def test_a_batch_that_no_longer_divides_is_mended_with_its_partner() -> None:
    night = Night(TRAIN.replace("2**19", "2**18"))
    texts = []
    for _ in range(40):
        proposal = ask(night)
        texts.append(changed(night.text, proposal.files["train.py"]))
        night.record(proposal.files, "discard", 1.1)
    halved = [change for change in texts if change.get("TOTAL_BATCH_SIZE") == (2**18, 2**17)]
    assert halved
    assert all(change["DEVICE_BATCH_SIZE"][1] <= 64 for change in halved)


# --- what it says -----------------------------------------------------------------------------------------------


def test_the_description_names_the_change() -> None:
    proposal = ask(Night("RATE = 0.04\nprint(RATE)\n"))
    assert proposal.description in ("RATE 0.04 → 0.08", "RATE 0.04 → 0.02")
    assert proposal.hypothesis


def test_the_hypothesis_tells_what_the_table_said() -> None:
    night = Night("MATRIX_LR = 0.04\nprint(MATRIX_LR)\n")
    night.history[0] = replace(night.history[0], value=1.712)
    night.edit("0.04", "0.08", "keep", 1.698)
    proposal = ask(night)
    assert proposal.description == "MATRIX_LR 0.08 → 0.16"
    assert proposal.hypothesis == "doubling it in #1 gave val_bpb 1.712 → 1.698; keep going"


# --- what it learns ---------------------------------------------------------------------------------------------


def test_a_kept_direction_is_mostly_followed() -> None:
    night = Night()
    night.edit("EMBEDDING_LR = 0.6", "EMBEDDING_LR = 1.2", "keep", 0.97)
    follows = [changed(night.commits["c1"]["train.py"], ask(night, seed).files["train.py"]) for seed in range(20)]
    assert sum(change == {"EMBEDDING_LR": (1.2, 2.4)} for change in follows) >= 12


def test_after_both_sides_failed_the_step_is_shorter() -> None:
    night = Night("LR = 0.04\nprint(LR)\n")
    night.edit("0.04", "0.08", "discard", 1.1)
    night.edit("0.04", "0.02", "discard", 1.1)
    value = constants(ask(night).files["train.py"])["LR"]
    assert 0.02 < value < 0.08


def test_what_crashed_is_not_pushed_further() -> None:
    night = Night("DEPTH = 8\nWIDTH = 256\nprint(DEPTH, WIDTH)\n")
    night.edit("DEPTH = 8", "DEPTH = 9", "crash")
    night.edit("WIDTH = 256", "WIDTH = 384", "crash")
    for _ in range(40):
        proposal = ask(night)
        values = constants(proposal.files["train.py"])
        assert values["DEPTH"] < 9
        assert values["WIDTH"] < 384
        night.record(proposal.files, "discard", 1.1)


def test_what_was_vetoed_is_never_proposed_again() -> None:
    night = Night("DEPTH = 8\nLR = 0.1\nprint(DEPTH, LR)\n")
    night.edit("LR = 0.1", "LR = 0.2", "vetoed")
    for _ in range(40):
        proposal = ask(night)
        assert constants(proposal.files["train.py"])["LR"] <= 0.1
        night.record(proposal.files, "discard", 1.1)


def test_a_better_score_is_a_higher_one_where_the_goal_says_so() -> None:
    def gain(text: str) -> float:
        return float(-abs(math.log2(constants(text)["RATE"] / 0.64)))

    night = Night("RATE = 0.04\nprint(RATE)\n", goal=Goal.MAXIMIZE)
    night.run(asker(0), gain, 8)
    assert constants(night.commits[night.base]["train.py"])["RATE"] == pytest.approx(0.64)


BOWL = """LR = 0.01
WEIGHT_DECAY = 0.1
BATCH = 2**12
DEPTH = 6
WARMDOWN_RATIO = 0.3
MOMENTUM = 0.9
INIT_STD = 0.5
WIDTH = 256
print(LR, WEIGHT_DECAY, BATCH, DEPTH, WARMDOWN_RATIO, MOMENTUM, INIT_STD, WIDTH)
"""


def bowl(seed: int, noise: float) -> Score:
    """A log-quadratic bowl in eight constants, with five interactions and an optimum that the seed decides."""
    rng = random.Random(seed)

    def place(name: str, value: float) -> float:
        if name == "MOMENTUM":
            return -math.log2(1 - value)
        return {"WARMDOWN_RATIO": value / 0.2, "DEPTH": value / 2}.get(name) or math.log2(value)

    start = constants(BOWL)
    best = {name: place(name, value) + rng.uniform(-2.5, 2.5) for name, value in start.items()}
    weight = {name: rng.uniform(0.2, 1) ** 2 for name in start}
    names = list(start)
    mixed = [(rng.choice(names), rng.choice(names), rng.uniform(-0.15, 0.15)) for _ in range(5)]

    def score(text: str) -> float:
        off = {name: place(name, value) - best[name] for name, value in constants(text).items()}
        total = sum(weight[n] * off[n] ** 2 for n in names) + sum(x * off[a] * off[b] for a, b, x in mixed)
        return 1 + 0.02 * total + noise * random.Random(f"{seed}{text}").gauss(0, 1)

    return score


def random_edits(seed: int) -> Callable[[Brief], Proposal]:
    """One constant at a time, by a random usual factor: the search without what the table teaches."""
    rng = random.Random(seed)
    tried: set[str] = set()

    def moved(name: str, value: float) -> float:
        factor = rng.choice([2, 0.5, 1.5, 1 / 1.5, 1.25, 0.8])
        if name == "MOMENTUM":
            return 1 - (1 - value) * factor
        if name == "WARMDOWN_RATIO":
            return min(0.99, max(0.01, value + rng.choice([-0.2, -0.1, -0.05, 0.05, 0.1, 0.2])))
        if name == "DEPTH":
            return max(1, value + rng.choice([-2, -1, 1, 2]))
        return value * rng.choice([2, 0.5]) if name == "BATCH" else value * factor

    def propose(brief: Brief) -> Proposal:
        while True:
            values = constants(brief.files["train.py"])
            name = rng.choice(list(values))
            after = moved(name, values[name])
            values[name] = round(after) if isinstance(values[name], int) else after
            text = "".join(f"{n} = {v!r}\n" for n, v in values.items()) + f"print({', '.join(values)})\n"
            if text not in tried and 0 < constants(text)["MOMENTUM"] < 1:
                tried.add(text)
                return Proposal("", "", {"train.py": text})

    return propose


# --- no repeats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["discard", "crash", "vetoed", "waiting", "invalid"])
def test_nothing_tried_is_proposed_again(outcome: str) -> None:
    night = Night("A_RATE = 0.5\nUSE_IT = True\nNAME_PATTERN = 'SL'\nprint(A_RATE, USE_IT, NAME_PATTERN)\n")
    seen = {ast.dump(ast.parse(night.text))}
    for _ in range(60):
        try:
            proposal = ask(night)
        except ResearcherError as error:
            assert error.fatal  # everything vetoed or crashed
            break
        dump = ast.dump(ast.parse(proposal.files["train.py"]))
        assert dump not in seen
        seen.add(dump)
        night.record(proposal.files, outcome)
    assert len(seen) > 4


def test_what_was_withdrawn_before_it_ran_is_still_open() -> None:
    night = Night("USE_IT = True\nprint(USE_IT)\n")
    first = ask(night)
    night.record(first.files, "withdrawn")
    assert ask(night).files == first.files


def test_a_setting_is_recognised_however_it_is_written() -> None:
    night = Night("USE_IT = True\nprint(USE_IT)\n")
    night.edit("USE_IT = True", '# off now\n"""Why not."""\nUSE_IT  =  (False)', "discard", 1.1)
    with pytest.raises(ResearcherError, match="has been tried") as caught:
        ask(night)
    assert caught.value.fatal


def test_a_complaint_brings_another_proposal_every_time() -> None:
    night, search = Night(), Search()
    complaints = ["", *["the model does not build"] * 4]
    texts = [ask(night, complaint=complaint, search=search).files["train.py"] for complaint in complaints]
    assert len(set(texts)) == 5


def test_a_complaint_after_a_restart_also_brings_another_proposal() -> None:
    night = Night()
    first = ask(night)
    assert ask(night, complaint="line 3: no such name").files != first.files


def test_the_same_seed_and_history_give_the_same_proposal() -> None:
    night, search = Night(), Search(7)
    for _ in range(12):
        proposal = ask(night, search=search)
        assert ask(night, seed=7) == proposal
        night.record(proposal.files, "discard", flat(proposal.files["train.py"]))


def test_lost_commits_are_passed_over() -> None:
    night = Night()
    night.run(asker(0), flat, 6)
    for lost in ("c2", "c4"):
        del night.commits[lost]
    assert ask(night).files


# --- any lab ----------------------------------------------------------------------------------------------------

LABS = {
    "lower case": "learning_rate = 3e-4\nbeta2 = 0.95\ncount = 0\ncount += 1\nprint(learning_rate, beta2)\n",
    "polynomial": "TERMS = [0.0, 1.0, -0.1]\ndef f(x):\n    return sum(c * x**i for i, c in enumerate(TERMS))\n",
    "no names": "def sine(x):\n    return x - 0.16 * x**3\n",
    "defaults": "def fit(x, lr=0.1, momentum=0.9):\n    return x * lr * momentum\n",
    "sort": "THRESHOLD = 16\ndef sort(items):\n    return sorted(items) if len(items) > THRESHOLD else items\n",
    "choice": 'ACT = "relu"\nif ACT == "relu":\n    f = 1\nelif ACT in ("gelu", "silu"):\n    f = 2\n',
}


@pytest.mark.parametrize("lab", LABS)
def test_any_lab_has_something_to_turn(lab: str) -> None:
    night = Night(LABS[lab])
    seen = set()
    for _ in range(2 if lab == "choice" else 12):
        text = ask(night).files["train.py"]
        compile(text, lab, "exec")
        assert "count = 0\ncount += 1" in text or lab != "lower case"
        seen.add(text)
        night.record({"train.py": text}, "discard", 1.1)
    assert len(seen) == len(night.history) - 1


@pytest.mark.parametrize("text", ["", "import os\n", "SEED = 3\nprint(SEED)\n", "def broken(:\n", 'NAME = "x"\n'])
def test_a_lab_with_nothing_to_turn_is_said_so(text: str) -> None:
    with pytest.raises(ResearcherError, match=r"nothing to turn in train\.py") as caught:
        ask(Night(text))
    assert caught.value.fatal


def test_a_plateau_reaches_for_the_numbers_inside_functions() -> None:
    night = Night("LR = 0.1\nprint(LR)\ndef rope(x, base=10000):\n    softcap = 15.0\n    return x * base / softcap\n")
    texts = []
    for _ in range(25):
        texts.append(ask(night).files["train.py"])
        night.record({"train.py": texts[-1]}, "discard", 1.1)
    assert any("base=10000" not in text for text in texts)
    assert any("softcap = 15.0" not in text for text in texts)


def test_a_cancelled_request_gives_nothing() -> None:
    cancelled = threading.Event()
    cancelled.set()
    assert Search().propose(Night().brief(), lambda _: None, cancelled) is None


_NAMES = st.sampled_from(
    ["LR", "WEIGHT_DECAY", "DROP_RATIO", "MUON_BETA", "DEPTH", "BATCH_SIZE", "WIDTH", "GAMMA", "é_rate"]
)
_VALUES = st.one_of(
    st.integers(1, 4096).map(str),
    st.floats(1e-5, 0.999).map(repr),
    st.sampled_from(
        ["2**14", "64 * 8", "1 << 10", "-0.5", "True", "0.0", "0", "1_000_000", "3e-4", "(1, 2.5)", "(0.5)"]
    ),
)


@given(st.dictionaries(_NAMES, _VALUES, min_size=1), st.integers(0, 3), st.sampled_from(["", "  # é, why", "  "]))
def test_any_constants_are_changed_and_nothing_else_is(given: dict[str, str], seed: int, tail: str) -> None:
    text = "".join(f"{name} = {value}{tail}\n" for name, value in given.items()) + f"print({', '.join(given)})\n"
    after = ask(Night(text), seed).files["train.py"]
    differing = [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line[0] == "+"]
    assert 1 <= len(differing) <= 2
    assert all(line.endswith(tail) for line in differing)
    for name, (old, new) in changed(text, after).items():
        assert type(old) is type(new), name
        olds, news = (v if isinstance(v, tuple) else (v,) for v in (old, new))
        assert all(b > 0 for a, b in zip(olds, news, strict=True) if a > 0 and not isinstance(a, bool))


def test_a_thousand_attempts_do_not_slow_it_down() -> None:
    padding = "".join(f"def layer_{i}(x, y):\n" + "    x = x * y + x\n" * 12 + "    return x\n\n\n" for i in range(40))
    night = Night(TRAIN + "\n\n" + padding)
    rng = random.Random(0)
    for _ in range(1000):
        text = night.text.replace("EMBEDDING_LR = 0.6", f"EMBEDDING_LR = {rng.uniform(0.1, 2):.4g}")
        night.record(
            {"train.py": text.replace("DEPTH = 8", f"DEPTH = {rng.randint(2, 12)}")}, "discard", rng.uniform(1, 2)
        )
    search = Search()
    began = time.process_time()
    ask(night, search=search)
    first = time.process_time() - began
    began = time.process_time()
    ask(night, search=search)
    assert time.process_time() - began < 10
    assert first < 40
