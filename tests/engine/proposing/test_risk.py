"""Risk flags: what an edit of a train.py in the style of the reference makes a human look at, and what it does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui.engine.proposing.risk import Flag, flags, low_risk

KINDS = {"evaluation", "data", "seed", "clock", "files", "network", "processes", "imports", "metrics", "code"}
TRAIN = '''"""Trains a GPT."""
import math
import time
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from prepare import MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, evaluate_bpb, make_dataloader

DEPTH = 8
WINDOW_PATTERN = "SSSL"
MATRIX_LR = 0.04
ADAM_BETAS = (0.8, 0.95)
WARMDOWN_RATIO = 0.5
TOTAL_BATCH_SIZE = 2**19


@dataclass
class Config:
    n_layer: int = 12
    n_embd: int = 768


def norm(x):
    return F.rms_norm(x, (x.size(-1),))


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x):
        x = self.up(x)
        x = F.relu(x).square()
        return self.down(x)


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.ModuleList([MLP(config) for _ in range(config.n_layer)])
        self.value_embeds = nn.Embedding(8192, config.n_embd)

    def forward(self, idx, targets):
        x = self.value_embeds(idx)
        for block in self.blocks:
            x = x + block(norm(x))
        logits = 15 * torch.tanh(x / 15)
        return F.cross_entropy(logits.float().view(-1, logits.size(-1)), targets.view(-1))


class Muon(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.mul_(1 - group["lr"] * group["weight_decay"])
                p.data.add_(p.grad, alpha=-group["lr"])


def lr_multiplier(progress):
    if progress < 1 - WARMDOWN_RATIO:
        return 1.0
    return (1 - progress) / WARMDOWN_RATIO


t_start = time.time()
torch.manual_seed(42)
torch.backends.cuda.matmul.allow_tf32 = True
tokenizer = Tokenizer.from_directory()
train_loader = make_dataloader(tokenizer, 16, MAX_SEQ_LEN, "train")
model = torch.compile(GPT(Config(n_layer=DEPTH)))
optimizer = Muon(
    model.parameters(),
    dict(lr=MATRIX_LR, betas=ADAM_BETAS, weight_decay=0.2),
)
total_training_time = 0.0
step = 0
while True:
    t0 = time.time()
    x, y = next(train_loader)
    loss = model(x, y)
    loss.backward()
    for group in optimizer.param_groups:
        group["lr"] = MATRIX_LR * lr_multiplier(total_training_time / TIME_BUDGET)
    optimizer.step()
    torch.cuda.synchronize()
    if loss.item() > 100:
        print("FAIL")
        raise SystemExit(1)
    dt = time.time() - t0
    if step > 10:
        total_training_time += dt
    step += 1
    if total_training_time >= TIME_BUDGET:
        break
model.eval()
val_bpb = evaluate_bpb(model, tokenizer, 16)
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"num_steps:        {step}")
'''

HONEST = {
    "constant": ("DEPTH = 8", "DEPTH = 10"),
    "power": ("2**19", "2**18"),
    "pattern": ('"SSSL"', '"SSL"'),
    "betas": ("(0.8, 0.95)", "(0.85, 0.97)"),
    "new constant": ("WARMDOWN_RATIO = 0.5", "WARMDOWN_RATIO = 0.6\nSOFTCAP = 20"),
    "activation": ("F.relu(x).square()", "F.gelu(x, approximate='tanh')"),
    "shape": ("4 * config.n_embd", "3 * config.n_embd"),
    "init": (
        "        self.down = nn",
        "        nn.init.normal_(self.up.weight, std=config.n_embd**-0.5)\n        self.down = nn",
    ),
    "softcap": ("15 * torch.tanh(x / 15)", "20 * torch.tanh(x / 20)"),
    "new module": (
        "class GPT(",
        "class Gate(nn.Module):\n    def forward(self, x, v):\n        return x * v\n\n\nclass GPT(",
    ),
    "optimiser": ("p.data.add_(p.grad, alpha", "p.data.add_(p.grad.sign(), alpha"),
    "optimiser argument": ("weight_decay=0.2", "weight_decay=0.1, momentum=0.95"),
    "schedule": ("return (1 - progress) / WARMDOWN_RATIO", "return math.cos(progress * math.pi / 2)"),
    "safe import": ("import math\n", "import functools\nimport math\n"),
    "kernel settings": ("allow_tf32 = True", "allow_tf32 = False"),
    "short window": ('"SSSL"\n', '"SSSL"\nSHORT_WINDOW = MAX_SEQ_LEN // 8\n'),
    "comment": ("DEPTH = 8", "DEPTH = 8  # evaluate_bpb, open('/etc/passwd'), time.time()"),
    "docstring": ('"""Trains a GPT."""', '"""Trains a GPT; prints val_bpb: 0.0 at https://example.org."""'),
    "loss": ("F.cross_entropy(logits", "0.5 + F.cross_entropy(logits"),
    "batch size, which the speed is worked out from": ("2**19", "2**18"),
    "schedule's share": ("progress < 1 - WARMDOWN_RATIO", "progress < 0.9 - WARMDOWN_RATIO"),
    "noise that is used": ("        x = self.up(x)\n", "        x = self.up(x) + 0.01 * torch.randn_like(x)\n"),
    "drawn weights": ("        self.down = nn", "        self.up.weight.data.normal_(0, 0.02)\n        self.down = nn"),
    "noise in place": ("        x = self.up(x)\n", "        x = self.up(x)\n        x.add_(1e-3)\n"),
    "a buffer at the start": (
        "        self.down = nn",
        "        self.register_buffer('scale', torch.ones(1))\n        self.down = nn",
    ),
    "a list in forward": ("F.relu(x).square()", "[F.relu(x)]; x.append(2); x = x.pop()"),
    "torch's own namesakes": ("self.up(x)", "self.up(x) * torch.signal.windows.hann(3)"),
}

UP = "        x = self.up(x)\n"
RISKY = {
    "own evaluation": ("evaluate_bpb(model, tokenizer, 16)", "0.5", "evaluation"),
    "evaluation batch": ("evaluate_bpb(model, tokenizer, 16)", "evaluate_bpb(model, tokenizer, 1)", "evaluation"),
    "redefined evaluation": ("class GPT(", "def evaluate_bpb(m, t, b):\n    return 0.1\n\n\nclass GPT(", "evaluation"),
    "no evaluation mode": ("model.eval()\n", "", "evaluation"),
    "trains on validation": ('MAX_SEQ_LEN, "train")', 'MAX_SEQ_LEN, "val")', "evaluation"),
    "shadowed constant": ("DEPTH = 8", "DEPTH = 8\nMAX_SEQ_LEN = 512", "code"),
    "other data": ("next(train_loader)", "next(cached_loader)", "data"),
    "data twice": ("    loss.backward()\n", "    loss.backward()\n    x, y = next(train_loader)\n", "data"),
    "other tokenizer": ("Tokenizer.from_directory()", "Tokenizer.from_pretrained(b)", "data"),
    "seed": ("manual_seed(42)", "manual_seed(137)", "seed"),
    "seed constant": ("DEPTH = 8", "DEPTH = 8\nSEED = 7", "seed"),
    "no seed": ("torch.manual_seed(42)\n", "", "seed"),
    "budget": ("DEPTH = 8", "DEPTH = 8\nTIME_BUDGET = 3000", "clock"),
    "uncounted steps": ("if step > 10:", "if step > 1000:", "clock"),
    "slow clock": ("total_training_time += dt", "total_training_time += dt / 2", "clock"),
    "no synchronize": ("    torch.cuda.synchronize()\n", "", "clock"),
    "sleep": ("step += 1", "step += 1; time.sleep(1)", "clock"),
    "patched clock": ("t_start = time.time()", "time.time = lambda: 0.0", "code"),
    "reads a file": ("step = 0\n", "step = 0\nw = open('w.bin').read()\n", "files"),
    "loads weights": ("optimizer = Muon(", "model.load_state_dict(torch.load('w.pt'))\noptimizer = Muon(", "files"),
    "path": ("step = 0\n", "step = 0\nwhere = '/var/tmp/best'\n", "files"),
    "pathlib": ("import math\n", "import math\nfrom pathlib import Path\n", "files"),
    "download": ("import math\n", "import math\nimport urllib.request\n", "network"),
    "address": ("DEPTH = 8", "DEPTH = 8\nHUB = 'https://example.org/w'", "network"),
    "hub": ("GPT(Config(n_layer=DEPTH))", "torch.hub.load('a', 'b')", "network"),
    "subprocess": ("import math\n", "import math\nimport subprocess\n", "processes"),
    "os.system": ("import math\n", "import math\nimport os\nos.system('true')\n", "processes"),
    "environment": ("import math\n", "import math\nimport os\nKEY = os.environ['KEY']\n", "processes"),
    "early exit": ("step += 1", "step += 1\n    exit(0)", "processes"),
    "unknown import": ("import math\n", "import math\nimport helper\n", "imports"),
    "star import": ("import math\n", "import math\nfrom torch import *\n", "imports"),
    "forged summary": ("val_bpb:.6f", "val_bpb - 0.1:.6f", "metrics"),
    "early summary": ("step += 1", "step += 1\n    print(loss)", "metrics"),
    "no FAIL": ('        print("FAIL")\n', "", "metrics"),
    "fail threshold": ("if loss.item() > 100:", "if loss.item() > 1e9:", "metrics"),
    "stdout": ("import math\n", "import math\nimport sys\nsys.stdout.write('x')\n", "metrics"),
    "exec": ("step = 0\n", "step = 0\nexec(text)\n", "code"),
    "getattr": ("step = 0\n", "step = 0\ngetattr(torch, 'lo' + 'ad')\n", "code"),
    "ctypes": ("import math\n", "import ctypes\nimport math\n", "code"),
    "patched loss": ("step = 0\n", "step = 0\nF.cross_entropy = lambda *a, **k: 0\n", "code"),
    "patched log": ("step = 0\n", "step = 0\nmath.log = max\n", "code"),
    "passed off": ("import math\n", "import helper as math\n", "code"),
    "payload": ("def lr_multiplier(", "def __reduce__(self):\n    return f\n\n\ndef lr_multiplier(", "code"),
    "builtin": ("step = 0\n", "step = 0\nprint = max\n", "code"),
    "os behind prepare": ("step = 0\n", "step = 0\nimport prepare\nkey = prepare.os.environ['KEY']\n", "processes"),
    "os behind torch": ("step = 0\n", "step = 0\ntorch.os.system('true')\n", "processes"),
    "importlib behind torch": ("step = 0\n", "step = 0\nm = torch.importlib.import_module(n)\n", "code"),
    "os behind three": ("step = 0\n", "step = 0\nx = torch.utils.collect_env.os.listdir(w)\n", "files"),
    "socket behind a package": ("step = 0\n", "step = 0\nx = torch.hub.socket.socket()\n", "network"),
    "os taken from another": ("import math\n", "import math\nfrom torch.utils import os as tools\n", "files"),
    "sys behind an object": ("step = 0\n", "step = 0\nx = helper().sys.argv\n", "code"),
    "share of the budget": (">= TIME_BUDGET:", ">= 3 * TIME_BUDGET:", "clock"),
    "state in forward": (UP, f"        self.seen = x.mean()\n{UP}", "evaluation"),
    "state in a buffer": (UP, f"        self.mean.copy_(x.mean())\n{UP}", "evaluation"),
    "state in a dict": (UP, f"        CACHE[x.shape] = x\n{UP}", "evaluation"),
    "state in a list": (UP, f"        self.log.append(x)\n{UP}", "evaluation"),
    "state of the module": (UP, f"        global seen\n        seen = x\n{UP}", "evaluation"),
    "class attribute": ("step = 0\n", "step = 0\nGPT.cap = 3\n", "code"),
    "method of a class": ("step = 0\n", "step = 0\nMLP.forward = lambda self, x: x\n", "code"),
    "method of an object": ("step = 0\n", "step = 0\nmodel.forward = other\n", "code"),
    "moved seed": ("step = 0\n", "step = 0\ntorch.rand(1)\n", "seed"),
    "moved seed in a name": ("step = 0\n", "step = 0\n_ = torch.randn(3, 3)\n", "seed"),
    "moved seed in place": ("step = 0\n", "step = 0\ntorch.empty(1).uniform_()\n", "seed"),
    "moved seed by a layer": ("step = 0\n", "step = 0\nnn.Linear(2, 2)\n", "seed"),
    "moved seed times nothing": ("        x = self.up(x)\n", "        x = self.up(x) + 0 * torch.rand(1)\n", "seed"),
}  # fmt: skip


def edited(old: str, new: str) -> tuple[Flag, ...]:
    assert old in TRAIN
    return flags({"train.py": TRAIN}, {"train.py": TRAIN.replace(old, new, 1)})


METER = """
LIMIT = 1.0
PACE = 1.0
DOWN = 0.1


def spent(seconds):
    return seconds / TIME_BUDGET / PACE


def train(meter):
    while True:
        done = meter.seconds / TIME_BUDGET
        if done >= LIMIT:
            break
        lr = 0.1 if done < WARMUP else 0.01
        rate = min(1.0, (1 - done) / DOWN)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 1.0", "LIMIT = 2.0"),
        ("PACE = 1.0", "PACE = 2.0"),
        ("done >= LIMIT", "done >= 2"),
        ("done >=", "done / 2 >="),
    ],
)
def test_what_the_time_is_held_against_is_flagged_wherever_it_is_set(old: str, new: str) -> None:
    found = flags({"train.py": METER}, {"train.py": METER.replace(old, new)})
    assert [flag.kind for flag in found] == ["clock"]


def test_a_learning_rate_that_follows_the_time_is_no_clock() -> None:
    assert flags({"train.py": METER}, {"train.py": METER.replace("DOWN = 0.1", "DOWN = 0.3")}) == ()


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_edit_raises_no_flag(name: str) -> None:
    found = edited(*HONEST[name])
    assert found == ()
    assert low_risk(found)


@pytest.mark.parametrize("name", RISKY)
def test_a_risky_edit_is_flagged_with_its_kind(name: str) -> None:
    old, new, kind = RISKY[name]
    found = edited(old, new)
    assert kind in {flag.kind for flag in found}
    assert not low_risk(found)
    assert all(flag.kind in KINDS and flag.why and flag.path == "train.py" for flag in found)


def test_a_flag_stands_at_its_line() -> None:
    found = edited("manual_seed(42)", "manual_seed(137)")
    line = TRAIN.splitlines().index("torch.manual_seed(42)") + 1
    assert {(flag.line, flag.kind) for flag in found} == {(line, "seed")}


def test_a_removal_is_flagged_where_it_was() -> None:
    (flag,) = edited("torch.manual_seed(42)\n", "")
    assert flag.line == TRAIN.splitlines().index("torch.manual_seed(42)") + 1
    assert "removed" in flag.why


def test_an_argument_on_a_later_line_counts_as_the_call() -> None:
    wrapped = TRAIN.replace(
        "evaluate_bpb(model, tokenizer, 16)", "evaluate_bpb(\n    model,\n    tokenizer,\n    16,\n)"
    )
    found = flags({"train.py": wrapped}, {"train.py": wrapped.replace("    16,\n)", "    1,\n)")})
    assert [flag.kind for flag in found] == ["evaluation"]


def test_every_kind_can_be_raised() -> None:
    assert {kind for _, _, kind in RISKY.values()} == KINDS


def test_what_cannot_be_read_is_not_low_risk() -> None:
    assert not low_risk(flags({"train.py": TRAIN}, {"train.py": TRAIN + "def (:\n"}))
    assert not low_risk(flags({"weights.tpl": "a: 1\n"}, {"weights.tpl": "a: 2\n"}))


@pytest.mark.parametrize("value", ["!!python/object/apply:os.system [id]", "!make", "[!!python/none ]", "!<tag:x> 1"])
def test_a_yaml_tag_may_make_any_object(value: str) -> None:
    before = {"settings.yaml": "a: 1\nb: !kept 2\n"}
    assert not low_risk(flags(before, {"settings.yaml": f"a: {value}\nb: !kept 2\n"}))
    assert low_risk(flags(before, {"settings.yaml": "a: 2 # well!\nb: !kept 2\n"}))
    assert not low_risk(flags({"train.py": TRAIN}, {}))
    assert flags({"train.py": "def (:\n"}, {"train.py": "A = 1\n"}) == ()


@given(st.data())
def test_lines_that_do_not_change_are_never_flagged(data: st.DataObject) -> None:
    lines = TRAIN.splitlines(keepends=True)
    at = data.draw(st.integers(10, 15))  # among the constants
    new = [*lines[:at], data.draw(st.sampled_from(["GAIN = 2.0\n", "# eval\n", "\n"])), *lines[at:]]
    assert flags({"train.py": TRAIN}, {"train.py": "".join(new)}) == ()


@given(st.text(alphabet="ab=()[]:\n \"'#\\xé\x00", max_size=60), st.text(alphabet="ab=()[]:\n \"'#", max_size=60))
def test_any_two_texts_can_be_compared(before: str, after: str) -> None:
    count = max(1, len(after.splitlines()))
    assert all(1 <= flag.line <= count + 1 for flag in flags({"a.py": before}, {"a.py": after}))
