"""One look at everything that needs a GPU: does it work, and how fast is it? At most 7 minutes on one H100.

    python benchmarks/gpu_check.py [--out FOLDER]    # from a checkout, with the Python that trains
    python benchmarks/gpu_check.py --dry             # on a CPU, small: does the check itself run?

It needs torch, numpy, pyarrow and tokenizers, the files of `harness/`, and a few modules of ours that need no
package. Its data is the source of the installed packages, so no network. Every step is a process of its own with a
limit; what it prints goes to FOLDER/<step>.log, the table that ends the output to FOLDER/table.md. Exit code 0 where
all passed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
HARNESS = ROOT / "harness"
sys.path[:0] = [str(ROOT), str(HARNESS), str(ROOT / "benchmarks")]

MINUTES, TRAINING_SECONDS = 7, 20
LONGEST = 600  # characters of what a step found, in the table
OVERHEAD_SECONDS = 20  # around the budget, warm
HOPPER_MFU = 36  # per cent, at least
DRY_KNOBS = {"DEPTH": 2, "ASPECT_RATIO": 32, "HEAD_DIM": 32, "TOTAL_BATCH_SIZE": 1024, "DEVICE_BATCH_SIZE": 8}


class Result(NamedTuple):
    """Of a step. `passed` is None where it does not apply here."""

    passed: bool | None
    found: str


class Place(NamedTuple):
    """Where a check works, and on what."""

    work: Path
    dry: bool

    @property
    def profile(self) -> str:
        return "demo" if self.dry else "reference"

    def environment(self, **more: str) -> dict[str, str]:
        """Of every process of the check."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AUTORESEARCH_")},
            "AUTORESEARCH_CACHE": str(self.work / "cache"),
            "AUTORESEARCH_PROFILE": self.profile,
            "AUTORESEARCH_DATA": str(self.work / "text"),
            "AUTORESEARCH_TIME_BUDGET": "1" if self.dry else str(TRAINING_SECONDS),
            "PYTHONUNBUFFERED": "1",
            "OMP_WAIT_POLICY": "PASSIVE",  # as train.py has it
            **({"AUTORESEARCH_DEVICE": "cpu"} if self.dry else {}),
            **more,
        }

    def run(self, command: list[str], cwd: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
        """A command with its output, which goes to the log as well."""
        done = subprocess.run(
            command, cwd=cwd, env=self.environment(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", check=False,
        )  # fmt: skip
        print(f"$ {' '.join(command)}: exit code {done.returncode}\n{done.stdout}", flush=True)
        return done

    def lab(self, name: str, **knobs: object) -> Path:
        """The harness's files with the profile's knobs, as in a new lab."""
        from autoresearch_tui.lab import creation

        folder = self.work / name
        folder.mkdir()
        creation.lay_out(folder, self.profile, {**(DRY_KNOBS if self.dry else {}), **knobs})
        return folder


# ── the steps ───────────────────────────────────────────────────────────────────────────────────────────────────


def environment(place: Place) -> Result:
    """The card and its driver, and what the harness makes of them."""
    asked = "nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader; uname -r; ls /dev/nvidia*"
    place.run(["sh", "-c", asked])
    done = place.run([sys.executable, "-m", "fixed.device", "--json"], HARNESS)
    if done.returncode:
        return Result(False, last_line(done.stdout))
    found = json.loads(last_line(done.stdout))
    text = f"{found['name']}, {found['dtype']}, attention: {found['attention']}"
    return Result(found["device"] == ("cpu" if place.dry else "cuda"), text)


def data(place: Place) -> Result:
    """The source of the installed packages as text, prepared."""
    (place.work / "text").mkdir()
    size = 0
    for number, path in enumerate(sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))):
        text = path.read_text("utf-8", "ignore")
        if len(text) > 2000:
            (place.work / "text" / f"{number}.txt").write_text(text, encoding="utf-8")
            size += len(text)
        if size > (1e6 if place.dry else 60e6):
            break
    done = place.run([sys.executable, str(HARNESS / "prepare.py"), "--json"])
    return Result(done.returncode == 0, f"{size / 1e6:.0f} MB" if not done.returncode else last_line(done.stdout))


ON_THE_CARD = (
    "import time, torch; began = time.time(); torch.ones(9, device='cuda').sum().item(); first = time.time() - began\n"
    "torch.compile(lambda x: (x * 2).relu().sum())(torch.ones(9999, device='cuda')).item()\n"
    "print(f'CUDA {first:.1f} s, compiled {time.time() - began:.1f} s')"
)
AS_A_CHILD = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"


def sandboxes(place: Place) -> Result:
    """CUDA and a compiled step in each sandbox there is, directly and as a child of what is started.

    A child may fail with Landlock alone, which newer drivers do not let start CUDA there; the table shows it.
    """
    from autoresearch_tui.sandbox import policy, self_test

    python, work = Path(sys.executable), place.work / "sandboxes"
    (work / "tmp").mkdir(parents=True)
    code = "print('started')" if place.dry else ON_THE_CARD
    devices = () if place.dry else policy.accelerator_devices()
    failed, seen = [], []
    for kind in {each.kind: each for each in (policy.landlock_only(), policy.choose())}.values():
        if kind.kind is policy.Kind.NONE:
            continue
        allowed = policy.Policy((work,), readable=policy.interpreter_paths(python), devices=devices, cwd=work)
        missing = [f"{p.name} ({p.detail})" for p in self_test.self_test(allowed, kind) if not p.holds]
        print(f"{kind.kind.value} does not hold: {missing}", flush=True)
        failed += [f"{kind.kind.value}: {each}" for each in missing if each.startswith("accelerator (")]
        inside = {
            "PATH": f"{python.parent}:/usr/bin:/bin:/sbin",
            "HOME": str(work),
            "TMPDIR": str(work / "tmp"),
            "TORCHINDUCTOR_CACHE_DIR": str(work / kind.kind.value),
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
        }
        for how, command in (("direct", ["-c", code]), ("child", ["-c", AS_A_CHILD, code])):
            wrapped = policy.wrap([str(python), *command], allowed, kind)
            done = subprocess.run(wrapped, env=inside, cwd=work, capture_output=True, text=True, check=False)
            print(kind.kind.value, how, done.returncode, done.stdout, done.stderr, flush=True)
            seen.append(f"{kind.kind.value}, {how}: {last_line(done.stdout if not done.returncode else done.stderr)}")
            if done.returncode and (how == "direct" or kind.kind is policy.Kind.BUBBLEWRAP):
                failed.append(f"{kind.kind.value}, {how}")
    return Result(not failed and bool(seen), "; ".join([*failed, *seen] or ["no sandbox works here"]))


def attention(place: Place) -> Result:
    """Every back-end: right, compiled whole, and milliseconds forward and backward for a short and a full window."""
    import torch
    from fixed import backends
    from fixed import device as hardware

    where = torch.device("cpu" if place.dry else "cuda")
    dtype, length, rows, heads = (torch.float32, 256, 1, 1) if place.dry else (torch.bfloat16, 2048, 64, 5)
    before, turns = (1, 1) if place.dry else (3, 10)
    works, seen = set(), []
    for backend in backends.BACKENDS:
        why = "" if backend.name == "sdpa" else backends.why_not(backend, where, dtype, "")
        try:
            attend = None if why else backend.load()
            why = why or backends.check_attention(attend, where, dtype, 128)
            why = why or backends.check_whole(backend.name, attend, where, dtype, 128)
        except Exception as error:  # a package's own
            why = backends.one_line(error)
        if why:
            seen.append(f"{backend.name}: {why}")
            continue
        works.add(backend.name)
        times = []
        for window in (length // 8, length):
            q, k, v = (torch.randn(rows, length, heads, 128, device=where, dtype=dtype) for _ in range(3))
            inputs = [x.requires_grad_() for x in (q, k, v)]
            for turn in range(-before, turns):
                if turn == 0:
                    hardware.synchronize(where)
                    began = time.perf_counter()
                attend(*inputs, window).sum().backward()
            hardware.synchronize(where)
            times.append(f"{1000 * (time.perf_counter() - began) / turns:.2f}")
        seen.append(f"{backend.name}: {' and '.join(times)} ms")
    return Result("sdpa" in works and (place.dry or len(works) > 1), "; ".join(seen))


COUNTED = """
import atexit, json, runpy, sys
sys.path.insert(0, ".")
@atexit.register
def tell():
    found = {}
    if "torch._dynamo.utils" in sys.modules:
        from torch._dynamo.utils import counters
        found = {"hits": sum(n for group in ("inductor", "aot_autograd") for key, n in counters[group].items()
                             if key.endswith("cache_hit")), "breaks": sum(counters["graph_break"].values())}
    print("COUNTERS " + json.dumps(found))
sys.argv = ["train.py"]
runpy.run_path("train.py", run_name="__main__")
"""


def trained(place: Place, lab: Path, kernels: str) -> tuple[int, dict[str, Any]]:
    """A run's exit code, and what it printed: summary, median speed, counters, how often it took less memory."""
    (lab / "counted.py").write_text(COUNTED, encoding="utf-8")
    done = place.run([sys.executable, "counted.py"], lab, TORCHINDUCTOR_CACHE_DIR=str(place.work / kernels))
    found: dict[str, Any] = dict(re.findall(r"^(\w+): +(\S.*)$", done.stdout.rpartition("\n---\n")[2], re.MULTILINE))
    rates = sorted(int(rate.replace(",", "")) for rate in re.findall(r"tok/sec: ([\d,]+)", done.stdout))
    found["rate"] = rates[len(rates) // 2] if rates else 0
    counters = re.findall(r"^COUNTERS (.*)$", done.stdout, re.MULTILINE)
    found |= json.loads(counters[-1]) if counters else {}
    found["less memory"] = done.stdout.count("Out of memory")
    found["failed"] = "FAIL" in done.stdout.splitlines()
    found["last"] = last_line(done.stdout.partition("COUNTERS")[0])
    return done.returncode, found


def whole_run(place: Place, name: str, kernels: str) -> Result:
    code, found = trained(place, place.lab(name), kernels)
    if code or "val_bpb" not in found:
        return Result(False, f"exit code {code}: {found['last']}")
    around = float(found["total_seconds"]) - float(found["training_seconds"])
    hits, breaks = found.get("hits", 0), found.get("breaks", 0)
    text = (
        f"{around:.1f} s around the budget, {found['rate']:,} tokens/s, MFU {found['mfu_percent']} %, "
        f"{float(found['peak_vram_mb']) / 1024:.1f} GiB, {breaks} graph breaks, {hits} cache hits, "
        f"{found['attention']}, {found['dtype']}, val_bpb {found['val_bpb']}"
    )
    passed = not breaks and not found["less memory"]
    if name == "warm" and not place.dry:
        passed = passed and hits > 0 and around < OVERHEAD_SECONDS
        if re.search(r"\bH[12]00\b", found["device"]):
            passed = passed and float(found["mfu_percent"]) >= HOPPER_MFU
    return Result(passed, text)


def cold_run(place: Place) -> Result:
    """A run with nothing compiled."""
    return whole_run(place, "cold", "kernels")


def warm_run(place: Place) -> Result:
    """A run in another folder with a copy of what the first one compiled: no graph breaks, hits, little around it."""
    if (kernels := place.work / "kernels").exists():
        shutil.copytree(kernels, place.work / "copied", ignore=shutil.ignore_patterns("triton"))
    return whole_run(place, "warm", "copied")


PROFILED = """
import collections, json, sys
sys.path.insert(0, ".")
import prepare, torch, train
torch.set_float32_matmul_precision("high")
tokenizer = prepare.Tokenizer.from_directory()
run, rows, _ = train.set_up(tokenizer)
run.model.init_weights()
batches = prepare.make_dataloader(tokenizer, rows, prepare.MAX_SEQ_LEN, "train", device=run.machine.device)
passes, on_card = train.TOTAL_BATCH_SIZE // (rows * prepare.MAX_SEQ_LEN), run.machine.device.type == "cuda"
def steps(number):
    for i in range(number):
        for _ in range(passes):
            x, y, _ = next(batches)
            run.step(x, y, passes)
        run.optimizers.step(0.1, i)
    train.hardware.synchronize(run.machine.device)
number = 3 if on_card else 1
steps(number)
from torch.profiler import ProfilerActivity, profile
with profile(activities=[ProfilerActivity.CUDA if on_card else ProfilerActivity.CPU]) as profiled:
    steps(number)
groups = {"attention": ("flash", "fmha", "cudnn", "attention"), "matrix products": ("gemm", "cutlass", "nvjet", "mm"),
          "element-wise": ("triton",), "AdamW": ("adam",)}
spent = collections.Counter()
for event in profiled.key_averages():
    name = event.key.lower()
    group = next((group for group, words in groups.items() if any(word in name for word in words)), "other")
    spent[group] += (event.self_device_time_total if on_card else event.self_cpu_time_total) / 1000 / number
order = "self_device_time_total" if on_card else "self_cpu_time_total"
print(profiled.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=70))
print(json.dumps({group: round(time, 1) for group, time in spent.most_common()}))
"""


def profile(place: Place) -> Result:
    """Milliseconds of a training step, by kind of kernel."""
    lab = place.lab("profiled")
    (lab / "profiled.py").write_text(PROFILED, encoding="utf-8")
    done = place.run([sys.executable, "profiled.py"], lab, TORCHINDUCTOR_CACHE_DIR=str(place.work / "copied"))
    if done.returncode:
        return Result(False, last_line(done.stdout))
    spent = json.loads(last_line(done.stdout))
    parts = ", ".join(f"{group} {time} ms" for group, time in spent.items())
    return Result(bool(spent), f"{sum(spent.values()):.0f} ms a step: {parts}")


def scoring(place: Place) -> Result:
    """What the referee costs on top of a plain evaluation: at most 5 %, or 10 s."""
    command = [sys.executable, str(ROOT / "benchmarks/referee.py"), "price", "--profile", place.profile, "--repeats=1"]
    done = place.run(command, TORCHINDUCTOR_CACHE_DIR=str(place.work / "copied"))
    seconds = re.findall(r"\| ([\d.]+) s \| ([\d.]+) s \|", done.stdout)
    if done.returncode or not seconds:
        return Result(False, last_line(done.stdout))
    plain, refereed = map(float, seconds[-1])
    passed = place.dry or refereed <= max(plain * 1.05, plain + 10)
    return Result(passed, f"plain {plain:.1f} s, refereed {refereed:.1f} s")


def divergence(place: Place) -> Result:
    """A learning rate that ends in numbers that are none: FAIL and exit code 1."""
    code, found = trained(place, place.lab("diverging", UNEMBEDDING_LR=1e38), "copied")
    return Result(code == 1 and found["failed"], f"exit code {code}, {'FAIL' if found['failed'] else found['last']}")


def little_memory(place: Place) -> Result:
    """A card with an eighth of the memory: fewer rows, and a score all the same."""
    if place.dry:
        return Result(None, "needs a GPU")
    lab = place.lab("crowded", DEPTH=2)
    source, start = (lab / "train.py").read_text(encoding="utf-8"), "def main() -> None:\n"
    limited = source.replace(start, f"{start}    torch.cuda.set_per_process_memory_fraction(0.12)\n")
    (lab / "train.py").write_text(limited, encoding="utf-8")
    code, found = trained(place, lab, "crowded-kernels")
    rows = f"device_batch {found.get('device_batch', '?')}, {found['less memory']} times less"
    return Result(code == 0 and found["less memory"] > 0, rows if not code else f"exit code {code}: {found['last']}")


def last_line(text: str) -> str:
    """What stands on it at the end: progress lines are rewritten."""
    return (text.strip().splitlines() or [""])[-1]


# Seconds that each may take; together they may take no more than MINUTES.
STEPS: dict[str, tuple[Callable[[Place], Result], float]] = {
    "environment": (environment, 60),
    "data": (data, 60),
    "sandboxes": (sandboxes, 100),
    "attention": (attention, 80),
    "cold run": (cold_run, 120),
    "warm run": (warm_run, 70),
    "profile": (profile, 60),
    "scoring": (scoring, 60),
    "divergence": (divergence, 45),
    "little memory": (little_memory, 70),
}


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────


def in_its_own_process(name: str, place: Place, limit: float, log: Path) -> Result:
    """A step's result; at its limit everything that it started is killed."""
    command = [sys.executable, __file__, "--step", name, "--work", str(place.work), *(["--dry"] if place.dry else [])]
    answer = place.work / "answer"
    answer.unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=place.environment(), start_new_session=True
        )
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        return Result(False, f"not done within {limit:.0f} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if answer.exists():
        return Result(*json.loads(answer.read_text(encoding="utf-8")))
    return Result(False, last_line(log.read_text("utf-8", "replace")) or f"exit code {process.returncode}")


def check(place: Place, out: Path, names: list[str]) -> int:
    """All steps in order, and their table. Returns how many did not pass."""
    began, rows, failed = time.monotonic(), ["| step | | seconds | found |", "|---|---|---|---|"], 0
    for name in names:
        left = 60 * MINUTES - (time.monotonic() - began)
        started = time.monotonic()
        result = Result(False, f"not begun: {MINUTES} minutes are over")
        if left > 1:
            log = out / f"{name.replace(' ', '-')}.log"
            result = in_its_own_process(name, place, min(STEPS[name][1], left), log)
        word = {True: "pass", False: "FAIL", None: "skipped"}[result.passed]
        failed += result.passed is False
        found = result.found.replace("|", "/")[:LONGEST]
        rows.append(f"| {name} | {word} | {time.monotonic() - started:.0f} | {found} |")
        print(f"{time.monotonic() - began:4.0f} s  {word:7} {name}: {result.found}", flush=True)
    (out / "table.md").write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n" + "\n".join(rows), flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="on the CPU, with a small model")
    parser.add_argument("--out", type=Path, help="folder for logs and table (default: a new one)")
    parser.add_argument(
        "--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help="some of the steps"
    )
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        result = STEPS[args.step][0](Place(args.work, args.dry))
        (args.work / "answer").write_text(json.dumps(result), encoding="utf-8")
        return 0
    out = args.out or Path(tempfile.mkdtemp(prefix="gpu-check-"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-check-work-", ignore_cleanup_errors=True) as work:
        failed = check(Place(Path(work), args.dry), out, args.only)
    print(f"\nlogs and table: {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
