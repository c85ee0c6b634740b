"""The harness's figures, each with its method; what needs a GPU where there is none is said to be not yet measured.

    python benchmarks/harness.py loader waste start prepare     # a minute or two
    python benchmarks/harness.py cpu                            # three runs of 60 s a side against the reference's own
                                                                # file; quiet cores; [--reference CHECKOUT] offline
    python benchmarks/harness.py cpu --tokens 300000            # equal tokens, against its settings in our code
    python benchmarks/harness.py offset [--profile reference]   # one checkpoint on our rows and on the reference's
    python benchmarks/harness.py gpu [--data embedded]          # two runs of 300 s

Every figure goes to stdout as a row of a Markdown table. Times are wall-clock on whatever else the machine is doing, so
the two sides of a comparison take turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

HARNESS = Path(__file__).resolve().parents[1] / "harness"
sys.path[:0] = [str(HARNESS.parent), str(HARNESS)]
os.environ.setdefault("AUTORESEARCH_PROFILE", "cpu")

import prepare  # noqa: E402
from fixed import loader as packing  # noqa: E402

from autoresearch_tui.lab import creation  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import reference_cpu  # noqa: E402

# The best of the reference's settings on two cores in fp32, from the public record of 30 of them; see
# reference_train.py for the rest of what makes the reference's speed.
REFERENCE_KNOBS = {
    "DEPTH": 2,
    "ASPECT_RATIO": 64,
    "HEAD_DIM": 64,
    "WINDOW_PATTERN": "L",
    "ROPE_BASE": 10000,
    "INIT_SCALE": 1.0,
    "BIGRAM_BUCKETS": 0,
    "X0_INIT": 0.1,
    "TOTAL_BATCH_SIZE": 2048,
    "DEVICE_BATCH_SIZE": 16,
    "EMBEDDING_LR": 0.6,
    "UNEMBEDDING_LR": 0.004,
    "MATRIX_LR": 0.02,
    "SCALAR_LR": 0.5,
    "WEIGHT_DECAY": 0.2,
    "EMBEDDING_WEIGHT_DECAY": 0.0,
    "VALUE_WEIGHT_DECAY": 0.0,
    "UNEMBEDDING_WEIGHT_DECAY": 0.0,
    "MOMENTUM_WARMUP_STEPS": 50,
    "WARMDOWN_RATIO": 0.5,
    "FINAL_LR_FRAC": 0.0,
}
# Those that the reference's file does not have, because it is how its code is written.
OUR_KNOBS = {
    "ROPE_BASE", "INIT_SCALE", "BIGRAM_BUCKETS", "X0_INIT", "EMBEDDING_WEIGHT_DECAY", "VALUE_WEIGHT_DECAY",
    "UNEMBEDDING_WEIGHT_DECAY",
}  # fmt: skip
REFERENCE = "https://github.com/karpathy/autoresearch"
REFERENCE_COMMIT = "228791fb499afffb54b46200aca536f79142f117"
BAR = 0.09  # bits per byte, at least so much lower


def row(figure: str, value: str, method: str) -> None:
    print(f"| {figure} | {value} | {method} |", flush=True)


def web_lengths(documents: int = 11_063, mean: float = 658.0, sigma: float = 1.1) -> np.ndarray:
    """Document lengths in tokens as on the web: log-normal with the mean of the record's corpus."""
    rng = np.random.default_rng(0)
    return np.maximum(1, rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, documents)).astype(np.int64)


def loader() -> None:
    """Tokens a second of the packed batches alone, best of five spells of a second."""
    lengths = web_lengths()
    offsets = [np.concatenate(([0], np.cumsum(lengths)))]
    tokens = [np.random.default_rng(1).integers(4, 8192, offsets[0][-1]).astype(np.uint16)]
    packing.load_tokens = lambda *_: (tokens, offsets)
    for rows, length in ((128, 2048), (32, 512)):
        batches = packing.packed_batches("train", rows, length, 0, 1000, 0)
        next(batches)
        speeds = []
        for _ in range(5):
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < 1:
                next(batches)
                done += 1
            speeds.append(done * rows * length / (time.perf_counter() - began) / 1e6)
        row(f"loader, {rows} rows of {length}", f"{max(speeds):.0f} M tokens/s", "web-like lengths, one thread")


def cropped(lengths: Iterator[int], capacity: int, tokens: int, buffer_size: int = 1000) -> tuple[int, int]:
    """Tokens read and tokens thrown away by the reference's packing: best fit, else the shortest is cropped."""
    buffer: list[int] = []
    read = lost = 0
    while read < tokens:
        room = capacity
        while room:
            while len(buffer) < buffer_size:
                insort(buffer, next(lengths) + 1)
            at = bisect_right(buffer, room)
            taken = buffer.pop(at - 1 if at else 0)
            read += taken
            lost += max(0, taken - room)
            room -= min(taken, room)
    return read, lost


def waste() -> None:
    """Share of the tokens read that no row holds: the reference's cropping, and ours, which has to be nothing."""
    lengths = web_lengths()
    for capacity in (513, 2049):
        read, lost = cropped(itertools.cycle(lengths.tolist()), capacity, 5 * int(lengths.sum()))
        pieces = packing.cut_documents([np.concatenate(([0], np.cumsum(lengths)))], capacity - 1)
        stream = itertools.islice(packing.stream_pieces(pieces, 0), len(pieces.length))
        used = sum(piece[0] for packed in packing.pack_rows(stream, capacity) for piece in packed)
        text = f"{100 * (1 - used / lengths.sum()):.1f} % (cropping: {100 * lost / read:.1f} %)"
        row(f"tokens thrown away, rows of {capacity - 1}", text, "web-like lengths, one pass")


def make_lab(folder: Path, profile: str, knobs: Mapping[str, object], script: str = "train.py") -> Path:
    """The harness's files with a profile's knobs, as in a new lab."""
    folder.mkdir(parents=True, exist_ok=True)
    creation.lay_out(folder, profile, knobs)
    if script != "train.py":
        for name in (script, "reference_rows.py"):
            shutil.copy(Path(__file__).with_name(name), folder)
    return folder


def find_reference(checkout: Path | None, folder: Path) -> str:
    """The reference's train.py: of a checkout, else fetched from where it is public."""
    if checkout is None:
        checkout = folder / "checkout"
        commands = (
            ["init", "-q"],
            ["fetch", "-q", "--depth=1", REFERENCE, REFERENCE_COMMIT],
            ["checkout", "-q", "FETCH_HEAD"],
        )
        checkout.mkdir()
        for command in commands:
            done = subprocess.run(["git", "-C", str(checkout), *command], capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["git failed"])[-1]
                sys.exit(f"{REFERENCE} cannot be fetched ({said}): clone it elsewhere and give --reference CHECKOUT")
    path = checkout / "train.py" if checkout.is_dir() else checkout
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}; --reference takes a checkout of {REFERENCE}")


def make_reference_lab(folder: Path, checkout: Path | None) -> Path:
    """A lab in which the reference's own file trains on a CPU."""
    source = find_reference(checkout, folder.parent)
    lab = make_lab(folder, "cpu", {}, "reference_cpu.py")
    knobs = {name: value for name, value in REFERENCE_KNOBS.items() if name not in OUR_KNOBS}
    try:
        text = reference_cpu.patched(source, knobs)
    except ValueError as error:
        sys.exit(str(error))
    (lab / reference_cpu.COPY).write_text(text, encoding="utf-8")
    return lab


def run_lab(lab: Path, script: str, env: dict[str, str]) -> str:
    """Output of one run."""
    done = subprocess.run(
        [sys.executable, script], cwd=lab, env=os.environ | env, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stdout[-500:])
    return done.stdout


def first_step(lab: Path, script: str) -> float:
    """Seconds from the start of a run's process to its first progress line; the run ends there."""
    began, output = time.perf_counter(), b""
    with subprocess.Popen([sys.executable, script], cwd=lab, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while b"step 00000" not in output:
            output += (chunk := os.read(process.stdout.fileno(), 65536))
            if not chunk:
                raise SystemExit(output.decode()[-500:])
        took = time.perf_counter() - began
        process.kill()
    return took


def number(output: str, key: str) -> float:
    return float(re.findall(rf"^{key}:\s+(\S+)", output, re.MULTILINE)[-1])


def start(folder: Path) -> None:
    """From the start of the process to the end of the first training step, a second run; three sides in turns."""
    ours = make_lab(folder / "start", "cpu", {})
    theirs = make_lab(folder / "start-reference", "cpu", REFERENCE_KNOBS, "reference_train.py")
    times: dict[str, list[float]] = {"ours": [], "the reference's code": [], "`import torch` alone": []}
    for _ in range(7):
        began = time.perf_counter()
        # Without the interpreter's end, which takes a quarter of a second itself.
        subprocess.run([sys.executable, "-c", "import os, torch; os._exit(0)"], check=True)
        times["`import torch` alone"].append(time.perf_counter() - began)
        times["ours"].append(first_step(ours, "train.py"))
        times["the reference's code"].append(first_step(theirs, "reference_train.py"))
    for name, taken in times.items():
        text = f"{statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})"
        row(f"start of the process to the first step, CPU profile: {name}", text, "median of 7, in turns")


def timed_prepare(folder: Path) -> None:
    """Everything for the demo profile from an empty cache, and again when it is ready."""
    env = os.environ | {"AUTORESEARCH_CACHE": str(folder / "fresh"), "AUTORESEARCH_PROFILE": "demo"}
    for label in ("prepare, demo profile, empty cache", "prepare, nothing to do"):
        began = time.perf_counter()
        command = [sys.executable, str(HARNESS / "prepare.py"), "--json"]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
        row(label, f"{time.perf_counter() - began:.2f} s", "one run")


def cpu(folder: Path, seconds: float, repeats: int, tokens: int, reference: Path | None) -> bool:
    """val_bpb on the same rows: ours and the reference's, in turns. Is ours as much lower as it has to be?

    After the same seconds the other side is the reference's own file. Equal tokens leave the difference in speed out,
    and the score then does not depend on what else the machine does; the other side is its settings in our code.
    """
    ours = make_lab(folder / "ours", "cpu", {})
    if tokens:
        script, theirs = "reference_train.py", make_lab(folder / "theirs", "cpu", REFERENCE_KNOBS, "reference_train.py")
    else:
        script, theirs = "reference_cpu.py", make_reference_lab(folder / "theirs", reference)
    scores: dict[str, list[float]] = {"ours": [], "reference": []}
    env = {"AUTORESEARCH_TIME_BUDGET": str(seconds), "AUTORESEARCH_TOKEN_BUDGET": str(tokens)}
    env |= {"OMP_WAIT_POLICY": "PASSIVE", "AUTORESEARCH_DEVICE": "cpu"} | ({"OMP_NUM_THREADS": "1"} if tokens else {})
    budget = f"{tokens:,} tokens" if tokens else f"{seconds:g} s"
    sides = [("ours", ours, "train.py"), ("reference", theirs, script)]
    for repeat in range(repeats):
        for name, lab, program in sides if repeat % 2 == 0 else reversed(sides):
            output = run_lab(lab, program, env | {"AUTORESEARCH_SEED": str(repeat)})
            scores[name].append(number(output, "val_bpb"))
            text = f"{scores[name][-1]:.4f} ({int(number(output, 'num_steps'))} steps)"
            row(f"val_bpb after {budget}, {name}", text, f"{prepare.data_id()}, same rows, seed + {repeat}")
    gain = statistics.mean(scores["reference"]) - statistics.mean(scores["ours"])
    verdict = "" if tokens else f"; {'reached' if gain >= BAR else 'MISSED'}: at least {BAR} lower"
    row("gain over the reference", f"{gain:.4f}{verdict}", f"means of {repeats} a side, in turns")
    return bool(tokens) or gain >= BAR


OFFSET = """
import json, math, sys
import numpy as np, prepare, reference_rows, torch, train
from fixed import loader
kept, real = [], train.set_up
train.set_up = lambda tokenizer: kept.append(real(tokenizer)) or kept[0]
train.main()
run, size, _ = kept[0]
tokenizer = prepare.Tokenizer.from_directory()
wanted = prepare.EVAL_TOKENS // (size * prepare.MAX_SEQ_LEN) * size
texts = reference_rows.documents(*loader.load_tokens("val"), tokenizer.get_bos_token_id())
rows = {"ours": loader.load_rows(), "reference": reference_rows.packed_rows(texts, prepare.MAX_SEQ_LEN + 1, wanted)}
scores = {}
for name, array in rows.items():
    loader.load_rows = lambda split="val", array=array: array
    scores[name] = prepare.evaluate_bpb(run.forward, tokenizer, size)
print("SCORES " + json.dumps(scores | {"rows": {name: len(array) for name, array in rows.items()}}))
"""


def offset(folder: Path, profile: str, seconds: float) -> None:
    """One checkpoint, scored on our rows and on the reference's: what to add to ours to read it beside public figures.

    The bytes of a token are counted in our way on both sides.
    """
    lab = make_lab(folder / "offset", profile, {}, "reference_train.py")
    (lab / "offset.py").write_text(OFFSET, encoding="utf-8")
    output = run_lab(lab, "offset.py", {"AUTORESEARCH_TIME_BUDGET": str(seconds), "AUTORESEARCH_PROFILE": profile})
    found = json.loads(re.findall(r"^SCORES (.*)$", output, re.MULTILINE)[-1])
    method = f"one checkpoint after {seconds:g} s, profile {profile}"
    for name in ("ours", "reference"):
        row(f"val_bpb on {name if name == 'ours' else 'the reference'}'s rows".replace("ours's", "our"),
            f"{found[name]:.4f}", f"{method}, {found['rows'][name]:,} rows")  # fmt: skip
    row("the reference's rows minus ours", f"{found['reference'] - found['ours']:+.4f}", method)


def load_train(lab: Path, name: str) -> ModuleType:
    """A lab's train.py as a module, under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, lab / "train.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def speed(folder: Path, steps: int = 15) -> None:
    """Processor seconds of one thread for a training step of 2,048 tokens, ours and the reference's step by step.

    Processor time is what a busy machine distorts least.
    """
    import torch

    torch.set_num_threads(1)
    modules = {"ours": load_train(make_lab(folder / "ours", "cpu", {}), "train_ours")}
    modules["reference"] = load_train(make_lab(folder / "theirs", "cpu", REFERENCE_KNOBS), "train")
    sys.path.insert(0, str(Path(__file__).parent))
    import reference_train

    reference_train.install()
    modules["ours"].hardware.keep_memory()
    block = torch.randint(4, prepare.VOCAB_SIZE, (16, prepare.MAX_SEQ_LEN + 1))
    runs = {}
    for name, module in modules.items():
        model = module.GPT(module.build_config(prepare.VOCAB_SIZE))
        model.init_weights()
        runs[name] = model, module.Optimizers(model, False, torch.float32)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for step in range(steps):
        for name, (model, optimizers) in runs.items():
            began = time.process_time()
            model(block[:, :-1].contiguous(), block[:, 1:].contiguous()).backward()
            optimizers.step(0.1, step)
            times[name].append(time.process_time() - began)
    ours, theirs = (statistics.median(times[name][2:]) for name in ("ours", "reference"))
    text = f"{1000 * ours:.0f} ms, reference {1000 * theirs:.0f} ms: {theirs / ours:.2f} times as fast"
    row("a step of 2,048 tokens, CPU profile, one thread", text, f"median of {steps - 2}, in turns, processor time")


def gpu(folder: Path, data: str) -> None:
    """Two runs of the reference profile for 300 s: score and MFU of the second, and what it costs around the 300 s."""
    import torch

    figures = [f"val_bpb after 300 s, {data}", "MFU there", "start-up, compilation and evaluation there, second run"]
    if not torch.cuda.is_available():
        for figure in figures:
            row(figure, "not yet measured", "needs an H100 or H200")
        return
    env = {"AUTORESEARCH_PROFILE": "reference", "AUTORESEARCH_DATA": data, "AUTORESEARCH_CACHE": str(prepare.CACHE_DIR)}
    subprocess.run(
        [sys.executable, str(HARNESS / "prepare.py"), "--json"], env=os.environ | env, check=True, stdout=sys.stderr
    )
    lab = make_lab(folder / "gpu", "reference", {})
    env["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")  # empty at first
    around = []
    for _ in range(2):
        output = run_lab(lab, "train.py", env)
        around.append(number(output, "total_seconds") - number(output, "training_seconds"))
    values = (f"{number(output, 'val_bpb'):.4f}", f"{number(output, 'mfu_percent'):.1f} %")
    for figure, value in zip(figures, (*values, f"{around[1]:.1f} s (first run: {around[0]:.1f} s)"), strict=True):
        row(figure, value, torch.cuda.get_device_name())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choices = ("loader", "waste", "start", "prepare", "cpu", "speed", "offset", "gpu")
    parser.add_argument("figures", nargs="+", choices=choices)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tokens", type=int, default=0, help="for cpu: equal tokens on one thread, not equal seconds")
    parser.add_argument("--repeats", type=int, default=3, help="for cpu: runs a side, each with another seed")
    parser.add_argument("--reference", type=Path, help="for cpu: a checkout of the reference, else it is fetched")
    parser.add_argument("--profile", default="cpu", help="for offset: what to train and score")
    parser.add_argument("--data", default="climbmix", help="for gpu: climbmix, embedded or a path")
    args = parser.parse_args()
    print("| figure | value | method |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if {"start", "cpu", "speed", "offset"} & set(args.figures):
            profile = args.profile if "offset" in args.figures else os.environ["AUTORESEARCH_PROFILE"]
            subprocess.run([sys.executable, str(HARNESS / "prepare.py"), "--json"], check=True, stdout=sys.stderr,
                           env=os.environ | {"AUTORESEARCH_PROFILE": profile})  # fmt: skip
        jobs: dict[str, Callable[[], object]] = {
            "loader": loader,
            "waste": waste,
            "start": lambda: start(folder),
            "prepare": lambda: timed_prepare(folder),
            "cpu": lambda: cpu(folder, args.seconds, args.repeats, args.tokens, args.reference),
            "speed": lambda: speed(folder),
            "offset": lambda: offset(folder, args.profile, args.seconds),
            "gpu": lambda: gpu(folder, args.data),
        }
        missed = [figure for figure in args.figures if jobs[figure]() is False]
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
