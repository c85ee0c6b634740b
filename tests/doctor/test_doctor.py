"""doctor: every item made to fail in turn, and a damaged journal repaired so that the engine continues from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch_tui import doctor
from autoresearch_tui.doctor import compute, lab_checks, machine, report, terminal
from autoresearch_tui.doctor.item import Item
from autoresearch_tui.doctor.repair import look
from autoresearch_tui.lab.engine_lock import LabLock
from autoresearch_tui.lab.machine_load import Device, Holder
from autoresearch_tui.lab.paths import open_lab
from autoresearch_tui.sandbox import for_runs, policy
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.fold import fold_all
from autoresearch_tui.session.journal import JournalDamaged, encode, scan
from autoresearch_tui.util.errors import UserError
from tests import checkouts, warm
from tests.conftest import SETTINGS, git, make_lab
from tests.fakes.messages_server import MessagesServer, silent, status
from tests.history import state_of

NewLab = Callable[..., Path]
Look = Callable[[Path | None], dict[str, Item]]
NAMES = ["python", "git", "lab", "command", "changes", "engine", "session", "data", "shared", "referee", "researcher"]
NAMES += ["accelerator", "torch", "sandbox", "namespaces", "memory", "disk", "clock", "terminal", "clipboard", "tmux"]
NAMES += ["logout"]


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Look:
    """`doctor --json` on a lab, as items by name; the exit code has to agree with them. torch is not really asked."""
    monkeypatch.setattr(compute, "ask_torch", lambda *_: {"version": "2.13.0", "device": "cpu", "attention": "sdpa"})
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "TMUX", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def examine(path: Path | None) -> dict[str, Item]:
        code = doctor.run(path, as_json=True, repair=False)
        body = json.loads(capsys.readouterr().out)
        items = [Item(**item) for item in body["items"]]
        assert body["ok"] == (code == 0) == all(item.status != "problem" for item in items)
        assert all(item.remedy for item in items if item.status != "ok")
        return {item.name: item for item in items}

    return examine


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a tool of one's own before those of the system."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`autoresearch-tui`, as a user would call it."""
    return warm.run(words, cwd=cwd)


# ── as a whole ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sound_lab_has_no_problem(lab_folder: Path, examine: Look) -> None:
    found = examine(lab_folder)
    assert list(found) == NAMES
    assert not [item for item in found.values() if item.status == "problem"]


def test_without_a_lab_only_the_machine_is_looked_at(
    tmp_path: Path, examine: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = examine(None)
    assert found["lab"].status == "ok"
    assert "session" not in found
    assert found["attention"].status == "ok"


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    done = command("doctor", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_the_process_never_imports_torch(tmp_path: Path) -> None:
    code = "import sys; from autoresearch_tui import doctor; from autoresearch_tui.doctor import compute; "
    code += "compute.TORCH_SECONDS = 240; doctor.run(None, as_json=False, repair=False); "
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    torch = next(line for line in done.stdout.splitlines() if " torch " in line)
    assert "2.13.0" in torch


def test_a_check_that_fails_hides_no_other(lab_folder: Path, examine: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Item:
        raise ZeroDivisionError("by \x1b[31mnought")

    monkeypatch.setattr(machine, "sandbox", broken)
    found = examine(lab_folder)
    assert list(found) == NAMES
    assert found["sandbox"].status == "warning"
    assert "\x1b" not in found["sandbox"].found


def test_text_for_people_and_pipes() -> None:
    items = [
        Item("git", "ok", "2.39"),
        Item("disk", "problem", "0.1 GiB free " * 8, "free some"),
        Item("x", "warning", "y", "z"),
    ]
    piped = report.as_text(items, width=None, colour=False, ascii_only=False)
    assert piped.splitlines()[0].split() == ["✓", "ok", "git", "2.39"]
    assert piped.splitlines()[2].strip() == "→ free some"
    assert piped.splitlines()[-1] == "1 problem, 1 warning"
    narrow = report.as_text(items, width=60, colour=False, ascii_only=False)
    assert max(map(len, narrow.splitlines())) <= 60
    assert report.as_text(items, width=60, colour=True, ascii_only=False).count("\x1b[0m") == 3
    assert report.as_text(items, width=60, colour=False, ascii_only=True).isascii()


def test_long_names_have_a_column_wide_enough() -> None:
    items = [Item("git", "ok", "2.39"), Item("agent's sandbox", "warning", "landlock, with " * 9, "x " * 90)]
    for width in (None, 60, 80):
        lines = report.as_text(items, width=width, colour=False, ascii_only=False).splitlines()
        assert "agent's sandbox  landlock, with" in lines[1]
        assert lines[0].index("2.39") == lines[1].index("landlock")
        assert width is None or max(map(len, lines)) <= width


def test_a_timeout_that_no_run_survives(new_lab: NewLab, examine: Look) -> None:
    lab = new_lab(settings=SETTINGS.replace("timeout_seconds = 30", "timeout_seconds = 4"))
    item = examine(lab)["timeout"]
    assert item.status == "warning"
    assert item.found.startswith("a run is killed after 4 s (`run.timeout_seconds`), before its budget of 5 s")
    assert "timeout" not in examine(new_lab("sound"))


def test_words_of_files_and_tools_stay_data() -> None:
    item = Item("git", "problem", "\x1b]52;c;aGk=\x07[red]\n\u202e", "a\tb")
    assert item.found == "·]52;c;aGk=·[red] ·"
    assert item.remedy == "a b"


# ── the machine ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("version", "system"), [((3, 10, 4), "Linux"), ((3, 12, 0), "Windows")])
def test_python_that_is_too_old_or_elsewhere(version: tuple[int, ...], system: str) -> None:
    assert machine.python(version, system).status == "problem"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo git version 2.17.1", "2.17.1 is too old"),
        ("echo oops; exit 3", "`git --version` says: oops"),
        ("exec sleep 60", "no answer within"),
        (None, "not found"),
    ],
)
def test_git_that_does_not_do(
    script: str | None, found: str, tool: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "TOOL_SECONDS", 0.3)
    if script is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        tool("git", script)
    item = machine.git(dict(os.environ))
    assert item.status == "problem"
    assert found in item.found
    assert "2.25" in item.remedy


def test_no_git_at_all_is_an_item(lab_folder: Path, examine: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(lab_folder))
    found = examine(lab_folder)
    assert found["git"].status == found["changes"].status == "problem"


@pytest.mark.parametrize(
    ("kind", "fails", "status", "remedy"),
    [
        ("bubblewrap", (), "ok", ""),
        ("none", ("tcp", "home folder"), "problem", "install bubblewrap; until then runs wait"),
        ("landlock", ("unix sockets",), "problem", "install bubblewrap"),
        ("landlock", ("locked files",), "warning", "install bubblewrap"),
        ("bubblewrap", ("accelerator",), "problem", "cannot use the accelerator"),
        ("landlock", ("worker processes",), "warning", "install bubblewrap"),
        ("landlock", ("moving files", "locked files"), "problem", "cannot use the accelerator"),
    ],
)
def test_the_sandbox(
    kind: str, fails: tuple[str, ...], status: str, remedy: str, lab_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = ev.SandboxChecked(kind, ("debugging",), fails, "install bubblewrap" if fails else "")
    monkeypatch.setattr(for_runs, "check", lambda _: checked)
    for lab in (None, open_lab(lab_folder)):
        (item,) = machine.sandbox(lab)
        assert item.status == status
        assert remedy in item.remedy
        assert item.found.startswith(f"{kind}; {'all 1' if not fails else f'1 of {1 + len(fails)}'} protections hold")


@pytest.mark.parametrize(("gib", "status"), [(100, "ok"), (3, "warning"), (0.5, "problem")])
def test_disk_space(gib: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": gib * 2**30})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    item = machine.disk({"the lab": tmp_path, "data": tmp_path / "not" / "there"})
    assert item.status == status
    assert item.found.count("GiB free for the lab") == 1


def test_a_container_that_may_have_less_than_the_machine(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 527958016 kB\nMemAvailable: 500000000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    limit = tmp_path / "sys/fs/cgroup/memory.max"
    limit.write_text("max\n")
    (whole,) = machine.memory(str(tmp_path))
    assert (whole.status, whole.found) == ("ok", "503.5 GiB, 476.8 GiB available")
    limit.write_text(f"{48 << 30}\n")
    (less,) = machine.memory(str(tmp_path))
    assert less.found.startswith("48.0 GiB, 48.0 GiB available; the machine has 503.5 GiB, this container")


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "access", lambda path, _: path != tmp_path)
    item = machine.disk({"the lab": tmp_path})
    assert item.status == "problem"
    assert str(tmp_path) in item.found


def test_a_clock_that_cannot_be_right(lab_folder: Path, examine: Look) -> None:
    assert machine.clock(None, now=86400.0).status == "problem"
    assert machine.clock(("the last record", time.time() + 10), time.time()).status == "ok"
    future = time.time() + 7 * 86400
    os.utime(lab_folder / "autoresearch.toml", (future, future))
    item = examine(lab_folder)["clock"]
    assert item.status == "warning"
    assert "7 days before the last change of autoresearch.toml" in item.found


@pytest.mark.parametrize(
    ("script", "status"),
    [("echo b false", "ok"), ("echo b true", "problem"), ("echo no bus >&2; exit 1", "warning")],
)
def test_what_ends_processes_at_logout(
    script: str, status: str, tool: Callable[[str, str], None], tmp_path: Path
) -> None:
    tool("busctl", script)
    item = machine.logout(dict(os.environ), booted=tmp_path, user=1000)
    assert item.status == status
    assert ("enable-linger" in item.remedy) == (status != "ok")
    assert machine.logout(dict(os.environ), booted=tmp_path, user=0).status == "ok"
    assert machine.logout(dict(os.environ), booted=tmp_path / "no", user=1000).status == "ok"


# ── the terminal ────────────────────────────────────────────────────────────────────────────────────────────────

GOOD = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "de_DE.UTF-8"}


@pytest.mark.parametrize(
    ("change", "size", "remedy"),
    [
        ({}, (200, 50), ""),
        ({"COLORTERM": ""}, None, ""),
        ({"NO_COLOR": "1", "COLORTERM": ""}, None, ""),
        ({"TERM": "dumb"}, None, "--headless"),
        ({"TERM": ""}, None, "xterm-256color"),
        ({"TERM": "xterm", "COLORTERM": ""}, None, "COLORTERM=truecolor"),
        ({"LANG": "C"}, None, "LANG=C.UTF-8"),
        ({"LC_ALL": "POSIX"}, None, "LANG=C.UTF-8"),
        ({}, (79, 24), "80×24"),
        ({}, (80, 20), "80×24"),
    ],
)
def test_the_terminal(change: Mapping[str, str], size: tuple[int, int] | None, remedy: str) -> None:
    item = terminal.terminal({**GOOD, **change}, size, "utf-8")
    assert item.status == ("warning" if remedy else "ok")
    assert remedy in item.remedy


TMUX = "mouse on\nfocus-events on\nset-clipboard on\nescape-time 10\n"


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (TMUX, ""),
        (TMUX.replace("mouse on", "mouse off"), "`set -g mouse on`"),
        (TMUX.replace("set-clipboard on", "set-clipboard external"), "`set -g set-clipboard on`"),
        (TMUX.replace("focus-events on\n", ""), "`set -g focus-events on`"),
        (TMUX.replace("10", "500"), "`set -g escape-time 10`"),
    ],
)
def test_tmux_and_its_settings(options: str, remedy: str, tool: Callable[[str, str], None]) -> None:
    tool("tmux", f"cat <<'END'\n{options}END")
    item = terminal.tmux({**os.environ, "TMUX": "/tmp/tmux,1,0"})
    assert item.status == ("warning" if remedy else "ok")
    assert remedy in item.remedy


def test_tmux_that_does_not_answer(tool: Callable[[str, str], None]) -> None:
    tool("tmux", "echo no server >&2; exit 1")
    assert terminal.tmux({**os.environ, "TMUX": "x"}).status == "warning"


# ── accelerator, torch, attention ───────────────────────────────────────────────────────────────────────────────

H100 = Device(0, "NVIDIA H100", memory_used=20 * 2**30, memory_total=80 * 2**30)
HELD = Device(0, "NVIDIA H100", memory_used=20 * 2**30, memory_total=80 * 2**30, holders=(Holder(7, "python", None),))


@pytest.mark.parametrize(
    ("devices", "failure", "options", "status", "found"),
    [
        ((Device(0, "NVIDIA H100", memory_used=0),), "", {}, "ok", "driver 580.1"),
        ((HELD,), "", {}, "warning", "20.0 GiB in use by python (7)"),
        ((H100,), "", {}, "warning", "by a process that cannot be seen"),
        ((HELD,), "", {"busy": True}, "ok", "80 GiB"),
        ((), "NVMLError: no", {}, "problem", "does not answer"),
        ((), "", {"needed": False}, "ok", "needs none"),
        ((), "", {}, "warning", "on the CPU"),
    ],
)
def test_the_accelerator(
    devices: tuple[Device, ...], failure: str, options: Mapping[str, bool], status: str, found: str
) -> None:
    item = compute.accelerator(devices, "580.1", failure, **{"needed": True, "busy": False, **options})
    assert item.status == status
    assert found in item.found


FAKE_NVML = """
NVML_TEMPERATURE_GPU = NVML_CLOCK_SM = 0
def nvmlInit(): pass
def nvmlSystemGetDriverVersion(): return "580.65"
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetUUID(handle): return "GPU-11112222"
def nvmlDeviceGetName(handle): return b"NVIDIA H200"
class Memory: used, total = 30 * 2**30, 141 * 2**30
def nvmlDeviceGetMemoryInfo(handle): return Memory
"""


def test_a_gpu_that_torch_does_not_see(new_lab: NewLab, tmp_path: Path) -> None:
    """A driver that answers, memory that is taken, and the CPU's build of torch."""
    lab = new_lab(train="import torch\n")
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "pynvml.py").write_text(FAKE_NVML)
    words, env = ["doctor", str(lab), "--json"], {**os.environ, "PYTHONPATH": str(tmp_path / "fakes")}
    line = [sys.executable, "-m", "autoresearch_tui", *words]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    items = {item["name"]: item for item in json.loads(done.stdout)["items"]}
    assert items["accelerator"]["status"] == "warning"
    assert "NVIDIA H200, 141 GiB; driver 580.65; 30.0 GiB in use" in items["accelerator"]["found"]
    assert items["torch"]["status"] == "problem"
    assert items["attention"]["status"] == "ok"


@pytest.mark.parametrize(
    ("variable", "found"),
    [("0", "NVIDIA H200"), ("GPU-1111", "NVIDIA H200"), ("3", "0 of the accelerators 3 are there"), ("", "none")],
)
def test_the_accelerators_that_cuda_shows(
    tmp_path: Path, examine: Look, monkeypatch: pytest.MonkeyPatch, variable: str, found: str
) -> None:
    driver = ModuleType("pynvml")
    exec(FAKE_NVML, driver.__dict__)
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.chdir(tmp_path)
    item = examine(None)["accelerator"]
    assert found in item.found
    assert "kill" not in item.remedy


SEEN = {"version": "2.13.0", "cuda_build": "13.0", "cuda": True, "name": "H100", "capability": [9, 0], "device": "cuda"}


@pytest.mark.parametrize(
    ("change", "status", "remedy"),
    [
        ({}, "ok", ""),
        ({"cuda": False, "cuda_build": None}, "problem", "install a build for CUDA"),
        ({"cuda": False}, "problem", "update the driver"),
        ({"error": "ModuleNotFoundError: No module named 'torch'"}, "problem", "autoresearch-tui[harness]"),
        ({"error": "no answer within 30 s"}, "problem", "a second try"),
    ],
)
def test_torch(change: Mapping[str, object], status: str, remedy: str) -> None:
    item = compute.torch({**SEEN, **change}, Path("/opt/python"), gpu=True)
    assert item.status == status
    assert remedy in item.remedy


@pytest.mark.parametrize(
    ("change", "status", "remedy"),
    [
        ({"attention": "flash3"}, "ok", ""),
        ({"attention": "varlen", "rejected": {"flash3": "not installed"}}, "ok", "flash-attn 3 is faster"),
        ({"attention": "varlen", "capability": [8, 0]}, "ok", ""),
        ({"attention": "sdpa", "rejected": {"varlen": "off by 3"}}, "warning", "autoresearch-tui[gpu]"),
        ({"attention_error": "RuntimeError: no kernel image"}, "warning", "run.log"),
        ({"attention": "sdpa", "device": "cpu"}, "ok", ""),
    ],
)
def test_attention(change: Mapping[str, object], status: str, remedy: str) -> None:
    (item,) = compute.attention({**SEEN, **change})
    assert item.status == status
    assert remedy in item.remedy
    assert bool(item.remedy) == bool(remedy)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exec sleep 60", "no answer within 0.3 s"),
        ("echo ImportError: libcudart >&2; exit 1", "ImportError: libcudart"),
        ("exit 9", "ended with exit code 9"),
        ("echo '[1]'", "ended with exit code 0"),
        (None, "No such file"),
    ],
)
def test_an_interpreter_that_cannot_tell(
    script: str | None, error: str, tool: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "TORCH_SECONDS", 0.3)
    if script is not None:
        tool("python-of-the-lab", script)
    found = compute.ask_torch(tmp_path / "tools" / "python-of-the-lab", dict(os.environ))
    assert error in found["error"]


def test_a_lab_for_uv_without_its_environment(new_lab: NewLab, examine: Look, tool: Callable[[str, str], None]) -> None:
    lab = new_lab(
        train="import torch\n", settings=SETTINGS.replace('"python", "-S", "train.py"', '"uv", "run", "train.py"')
    )
    tool("uv", "exit 0")
    item = examine(lab)["torch"]
    assert item.status == "warning"
    assert "autoresearch-tui prepare" in item.remedy


# ── the lab ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("autoresearch.toml", "[run]\nbudget = 3\n", "unknown key `run.budget`"),
        ("autoresearch.toml", "[", "not valid TOML"),
        ("train.py", None, "no train.py"),
        ("program.md", b"\xff", "not UTF-8"),
    ],
)
def test_a_broken_lab_is_an_item(
    lab_folder: Path, examine: Look, file: str, text: str | bytes | None, found: str
) -> None:
    path = lab_folder / file
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    items = examine(lab_folder)
    assert items["lab"].status == "problem"
    assert found in items["lab"].found
    assert "sandbox" in items


def test_a_folder_without_git(tmp_path: Path, examine: Look) -> None:
    (tmp_path / "autoresearch.toml").write_text("")
    for name in ("train.py", "prepare.py", "program.md"):
        (tmp_path / name).write_text("x = 1\n")
    assert "git init" in examine(tmp_path)["lab"].remedy


def test_an_empty_program(lab_folder: Path, examine: Look) -> None:
    (lab_folder / "program.md").write_text(" \n")
    assert examine(lab_folder)["lab"].status == "warning"


def test_a_training_command_that_is_not_there(new_lab: NewLab, examine: Look) -> None:
    lab = new_lab(settings=SETTINGS.replace('"python", "-S", "train.py"', '"no-such-tool", "train.py"'))
    item = examine(lab)["command"]
    assert item.status == "problem"
    assert "no-such-tool" in item.found


def test_uncommitted_changes(lab_folder: Path, examine: Look) -> None:
    (lab_folder / "train.py").write_text("RATE = 1\n")
    item = examine(lab_folder)["changes"]
    assert item.status == "warning"
    assert item.found.endswith(": train.py")


def test_a_repository_without_a_commit(lab_folder: Path, examine: Look) -> None:
    git(lab_folder, "update-ref", "-d", "HEAD")
    assert "git commit" in examine(lab_folder)["changes"].remedy


def test_an_engine_at_work(lab_folder: Path, examine: Look) -> None:
    lock = LabLock(lab_folder / ".autoresearch" / "engine.lock", headless=True, tag="nov21", wait_seconds=1)
    try:
        item = examine(lab_folder)["engine"]
        assert item.status == "ok"
        assert f"process {os.getpid()} on " in item.found
        holder = {"pid": 1, "host": "elsewhere", "headless": True, "tag": "nov21"}
        (lab_folder / ".autoresearch" / "engine.lock").write_text(json.dumps(holder))
        assert "shared disk" in examine(lab_folder)["engine"].remedy
    finally:
        lock.release()


@pytest.mark.parametrize(
    ("name", "status", "found", "remedy"),
    [
        ("consumer24", "ok", "24 GB card: DEPTH = 6", "the profile cpu"),
        ("demo", "ok", "TOTAL_BATCH_SIZE", ""),
        ("cpu", "ok", "cpu, for CPU", ""),
        ("h900", "problem", "no such profile", "one of reference, consumer24"),
    ],
)
def test_the_profile_is_shown(
    new_lab: NewLab, examine: Look, tool: Callable[[str, str], None], name: str, status: str, found: str, remedy: str
) -> None:
    tool("nvidia-smi", "exit 9")
    settings = SETTINGS.replace("[researcher]", f'env = {{ AUTORESEARCH_PROFILE = "{name}" }}\n\n[researcher]')
    item = examine(new_lab(settings=settings))["profile"]
    assert item.status == status
    assert found in item.found
    assert remedy in item.remedy


def test_data_that_is_missing(lab_folder: Path, examine: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab_folder / "prepare.py").write_text(
        "import sys  # AUTORESEARCH_PROFILE\nprint('no tokenizer: run `autoresearch-tui prepare`', file=sys.stderr)\n"
        "sys.exit(2)\n"
    )
    item = examine(lab_folder)["data"]
    assert (item.status, item.found) == ("problem", "no tokenizer")
    assert item.remedy == "run `autoresearch-tui prepare`"
    # The reference's own prepare.py, which cannot be asked.
    (lab_folder / "prepare.py").write_text(checkouts.PREPARE)
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    assert examine(lab_folder)["data"].status == "problem"
    for name in ("data/shard_00000.parquet", "tokenizer/tokenizer.pkl"):
        (tmp_path / "cache" / name).parent.mkdir(parents=True)
        (tmp_path / "cache" / name).touch()
    assert examine(lab_folder)["data"].status == "ok"


@pytest.mark.parametrize(
    ("locked", "referee", "status", "words"),
    [
        ('["prepare.py"]', "[]", "warning", "what a run prints is its score"),
        ('["prepare.py"]', '["python", "-I", "judge.py"]', "problem", "judge.py is not locked"),
        ('["prepare.py", "judge.py"]', '["python", "-I", "judge.py"]', "ok", "python -I judge.py"),
    ],
)
@pytest.mark.usefixtures("machine_left_out")
def test_the_referee(new_lab: NewLab, examine: Look, locked: str, referee: str, status: str, words: str) -> None:
    folder = new_lab()
    (folder / "prepare.py").write_text("# AUTORESEARCH_PROFILE\n")
    (folder / "judge.py").write_text("")
    settings = f"[lab]\nlocked = {locked}\n{SETTINGS}\n[metric]\nreferee = {referee}\n"
    (folder / "autoresearch.toml").write_text(settings)
    item = examine(folder)["referee"]
    assert item.status == status
    assert words in item.found


@pytest.mark.parametrize(
    ("lab", "status", "words"),
    [
        ('editable = ["train.py", "skills/*.md"]', "warning", "skills/*.md finds no file"),
        ('editable = ["*.py"]\nlocked = ["prepare.py"]', "ok", "1 file by *.py"),
        ('check = ["python", "check.py"]', "problem", "check.py, which checks proposals, is not locked"),
    ],
)
@pytest.mark.usefixtures("machine_left_out")
def test_files_that_come_and_go(new_lab: NewLab, examine: Look, lab: str, status: str, words: str) -> None:
    folder = new_lab()
    if "check" in lab:
        (folder / "check.py").write_text("")
    (folder / "autoresearch.toml").write_text(f"[lab]\n{lab}\n{SETTINGS}")
    item = examine(folder)["editable"]
    assert item.status == status
    assert words in item.found


# ── the researcher ──────────────────────────────────────────────────────────────────────────────────────────────

CLAUDE = SETTINGS.replace('kind = "search"', 'kind = "claude"')
KEY = "sk-ant-secret-0123456789"


def test_no_key(new_lab: NewLab, examine: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    item = examine(new_lab(settings=CLAUDE))["researcher"]
    assert item.status == "problem"
    assert "ANTHROPIC_API_KEY" in item.remedy


def test_an_agent_that_is_not_there(new_lab: NewLab, examine: Look) -> None:
    lab = new_lab(settings=SETTINGS.replace('kind = "search"', 'kind = "command"\ncommand = ["no-such-agent"]'))
    assert "no-such-agent" in examine(lab)["researcher"].found


def test_the_sandbox_of_an_agent(new_lab: NewLab, examine: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = new_lab(settings=SETTINGS.replace('kind = "search"', 'kind = "command"\ncommand = ["sh", "-c", "true"]'))
    if policy.choose().kind is not policy.Kind.NONE:
        item = examine(lab)["agent's sandbox"]
        assert item.status != "problem" and "with the network" in item.found
    monkeypatch.setattr(policy, "choose", lambda: policy.Mechanism(policy.Kind.NONE, note="nothing"))
    item = examine(lab)["agent's sandbox"]
    assert item.status == "problem" and "would run as you" in item.found and "AUTORESEARCH_NO_SANDBOX=1" in item.remedy


@pytest.fixture
def warm_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is asked from a process that need not import its package."""

    def ask(command: list[str], environ: Mapping[str, str], _seconds: float) -> dict[str, object]:
        done = warm.python(command[1:], env=environ, warm="anthropic").result()
        return dict(json.loads(done.stdout.splitlines()[-1]))

    monkeypatch.setattr(lab_checks, "ask_json", ask)


@pytest.mark.parametrize("works", [True, False])
def test_the_key_is_tried_and_never_shown(
    works: bool,
    new_lab: NewLab,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if not works:
        request.getfixturevalue("warm_probe")
    monkeypatch.setattr(compute, "ask_torch", lambda *_: SEEN)
    monkeypatch.setattr(lab_checks, "API_SECONDS", 240)
    refusal = status(401, "authentication_error", f"the key {KEY} is not known")
    with MessagesServer() if works else MessagesServer(models=refusal) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        doctor.run(new_lab(settings=CLAUDE), as_json=True, repair=False)
    text = capsys.readouterr().out
    assert KEY not in text
    item = next(item for item in json.loads(text)["items"] if item["name"] == "API key")
    assert item["status"] == ("ok" if works else "problem")
    assert server.seen


@pytest.mark.parametrize("silence", [True, False])
def test_an_api_that_cannot_be_reached(
    silence: bool, new_lab: NewLab, examine: Look, warm_probe: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MessagesServer(models=silent()) as server:
        url = server.url if silence else "http://127.0.0.1:9"
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert examine(new_lab(settings=CLAUDE))["API key"].status == "warning"


# ── sessions and journals ───────────────────────────────────────────────────────────────────────────────────────


def _records() -> tuple[ev.Record, ...]:
    events: list[ev.Event] = [
        ev.SessionBegan("t", "autoresearch/t", "b" * 40, "val_bpb", "minimize", 0.0, 5, ("train.py",), {}),
        ev.EngineStarted(1, "host", True, "0", "search", "auto", "hold", 300, 600),
    ]
    for number in range(4):
        commit = f"{number:040d}"
        events += [
            ev.ProposalAsked(number, "b" * 40, 1),
            ev.ProposalMade(number, commit, "b" * 40, "“d”", "h", "search", "p", 1, 1),
            ev.ProposalApproved(number, commit, "auto"),
            ev.RunStarted(number, commit, 1),
            ev.RunEnded(number, "finished", 0, 1.0),
            ev.RunScored(number, 1.0 - number / 10, 0.0, "referee"),
            ev.VerdictGiven(number, "keep", 1.0 - number / 10, 0.0, "better"),
        ]
    return tuple(ev.Record(seq, "2026-11-21T00:00:00.000Z", event) for seq, event in enumerate(events, start=1))


RECORDS = _records()
JOURNAL = b"".join(encode(record) for record in RECORDS)
LINES = JOURNAL.splitlines(keepends=True)


def _check(data: bytes) -> None:
    """What `look` keeps is a sound journal, and it finds damage exactly where the engine does."""
    prefix = look(data)
    kept = scan(Path("kept"), data[: prefix.size])
    assert kept.torn_at is None
    assert prefix.state == fold_all(kept.records)
    assert look(data[: prefix.size]).why == ""
    try:
        found = scan(Path("all"), data)
    except JournalDamaged as error:
        assert prefix.damaged
        assert prefix.line == error.line
    else:
        assert not prefix.damaged
        assert prefix.torn == (found.torn_at is not None)
        assert prefix.size == (len(data) if found.torn_at is None else found.torn_at)


@given(st.integers(0, len(JOURNAL)))
def test_a_journal_cut_anywhere_needs_no_mending(at: int) -> None:
    _check(JOURNAL[:at])
    assert not look(JOURNAL[:at]).damaged


@given(st.integers(0, len(JOURNAL) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_any_bytes_overwritten(at: int, new: bytes, gone: int) -> None:
    data = JOURNAL[:at] + new + JOURNAL[at + gone :]
    _check(data)
    prefix = look(data)
    assert data[: prefix.size] == JOURNAL[: prefix.size]
    # Nothing before the line that was hit is given up.
    assert prefix.size >= JOURNAL.rfind(b"\n", 0, at) + 1 or data == JOURNAL


@given(st.permutations(range(6)), st.integers(0, len(LINES) - 6))
def test_lines_lost_doubled_or_in_another_order(order: list[int], start: int) -> None:
    _check(b"".join([*LINES[:start], *(LINES[start + i] for i in order[:4]), *LINES[start + 4 :]]))


@given(st.binary(max_size=300))
def test_anything_at_all(data: bytes) -> None:
    _check(data)
    _check(JOURNAL + data)


def test_a_record_that_cannot_follow_is_damage() -> None:
    """Whole, checksummed and in its place, but about an experiment that there is not."""
    impossible = encode(ev.Record(len(LINES) + 1, "2026-11-21T00:00:00.000Z", ev.RunStarted(99, "c", 1)))
    prefix = look(JOURNAL + impossible)
    assert prefix.damaged
    assert (prefix.size, prefix.line) == (len(JOURNAL), len(LINES) + 1)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab with a finished session `t` of five rows."""
    lab = make_lab(tmp_path_factory.mktemp("played") / "lab")
    done = command(str(lab), "--headless", "--tag", "t", "--experiments", "5", cwd=lab)
    assert done.returncode == 0, done.stderr
    return lab


@pytest.fixture
def session(played: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return shutil.copytree(played, tmp_path / "lab", symlinks=True)


def journal(lab: Path) -> Path:
    return lab / ".autoresearch" / "t" / "journal.jsonl"


def damage(lab: Path, kind: str, occurrence: int) -> int:
    """Spoil one byte of the record of this kind and number; returns its line."""
    lines = journal(lab).read_bytes().splitlines(keepends=True)
    hits = [index for index, line in enumerate(lines) if f'"type":"{kind}"'.encode() in line]
    index = hits[occurrence]
    lines[index] = b"#" + lines[index][1:]
    journal(lab).write_bytes(b"".join(lines))
    return index + 1


def test_a_sound_session_is_left_as_it_is(session: Path, examine: Look, capsys: pytest.CaptureFixture[str]) -> None:
    before = journal(session).read_bytes()
    assert examine(session)["session"].status == "ok"
    assert doctor.run(session, as_json=True, repair=True) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["name"] == "repair"
    assert journal(session).read_bytes() == before
    assert sorted(path.name for path in journal(session).parent.glob("journal*")) == ["journal.jsonl"]


def test_a_torn_tail_is_left_to_the_next_start(session: Path, examine: Look) -> None:
    with journal(session).open("ab") as file:
        file.write(b'{"seq":')
    item = examine(session)["session"]
    assert item.status == "ok"
    assert "torn" in item.found


def test_a_branch_that_somebody_moved(session: Path, examine: Look) -> None:
    git(session, "commit", "--allow-empty", "--quiet", "--message=else")
    git(session, "branch", "--force", "autoresearch/t", "HEAD")
    item = examine(session)["session"]
    assert item.status == "problem"
    assert "git branch -f autoresearch/t" in item.remedy


def test_a_branch_that_is_checked_out(session: Path, examine: Look) -> None:
    git(session, "checkout", "--quiet", "autoresearch/t")
    assert "checked out" in examine(session)["session"].found


def test_a_damaged_journal_is_mended_and_the_session_goes_on(session: Path, examine: Look) -> None:
    """What is kept of it, and where, is `tests/faults/test_damage.py`'s."""
    line = damage(session, "run_scored", 2)
    item = examine(session)["session"]
    assert item.status == "problem"
    assert f"line {line} is damaged" in item.found
    assert doctor.run(session, as_json=True, repair=True) == 0
    done = command(str(session), "--headless", "--tag", "t", "--experiments", "6", cwd=session)
    assert done.returncode == 0, done.stderr
    assert len(state_of(session, "t").table) == 6


def test_a_second_damage_gets_a_second_copy(session: Path) -> None:
    for number, occurrence in ((1, 3), (2, 1)):
        damage(session, "verdict_given", occurrence)
        assert doctor.run(session, as_json=True, repair=True) == 0
        assert (journal(session).parent / f"journal.damaged-{number}.jsonl").exists()


def test_a_session_without_a_sound_first_line(session: Path) -> None:
    whole = state_of(session, "t")
    damage(session, "session_began", 0)
    refused = command(str(session), "--headless", "--tag", "t", cwd=session)
    assert refused.returncode != 0
    assert "doctor --repair" in refused.stderr
    done = command("doctor", str(session), "--repair", cwd=session)
    assert done.returncode == 0
    assert state_of(session, "t").session == whole.session
    assert state_of(session, "t").experiments == whole.experiments
    again = command(str(session), "--headless", "--tag", "t", "--experiments", "6", cwd=session)
    assert again.returncode == 0, again.stderr


def test_nothing_is_mended_while_an_engine_is_at_work(session: Path) -> None:
    damage(session, "verdict_given", 1)
    before = journal(session).read_bytes()
    lock = LabLock(session / ".autoresearch" / "engine.lock", headless=True, tag="t", wait_seconds=1)
    try:
        with pytest.raises(UserError, match="has this lab; end it"):
            doctor.run(session, as_json=False, repair=True)
    finally:
        lock.release()
    assert journal(session).read_bytes() == before


def test_mending_needs_a_lab(tmp_path: Path) -> None:
    done = command("doctor", "--repair", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
