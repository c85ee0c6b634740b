"""The sandbox, tried from inside: everything that works without it must fail in it, and training must not."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.runs import runner
from autoresearch_tui.runs.environment import base_environment
from autoresearch_tui.runs.runner import Exit, RunSpec, RunState
from autoresearch_tui.sandbox import for_runs, launcher, policy
from autoresearch_tui.sandbox import self_test as checks
from autoresearch_tui.sandbox.policy import Kind, Mechanism, Policy
from autoresearch_tui.sandbox.self_test import Protection, self_test
from tests.waiting import wait_for

PYTHON = Path(sys.executable)
CLEAN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
NOTHING = Mechanism(Kind.NONE)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no sandbox outside Linux")


@pytest.fixture(scope="module")
def packages() -> tuple[Path, ...]:
    return policy.interpreter_paths(PYTHON)


@pytest.fixture(params=["bubblewrap", "landlock"])
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    if request.param == "bubblewrap":
        if policy.choose().kind is not Kind.BUBBLEWRAP:
            pytest.skip(f"no bubblewrap: {policy.choose().note}")
        return policy.choose()
    if launcher.landlock_abi() < 6:
        pytest.skip(f"Landlock {launcher.landlock_abi()} of this kernel cannot keep signals in")
    return policy.landlock_only()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mechanism], dict[str, Protection]]:
    """What the self-test finds with each mechanism, with a home folder of its own; each asked once."""
    home = tmp_path_factory.mktemp("home")
    (home / "diary").write_text("private")
    known: dict[Kind, dict[str, Protection]] = {}

    def ask(mechanism: Mechanism) -> dict[str, Protection]:
        if mechanism.kind not in known:
            results = self_test(Policy(writable=()), mechanism, home=home)
            known[mechanism.kind] = {each.name: each for each in results}
        return known[mechanism.kind]

    return ask


@pytest.mark.parametrize("name", checks.NAMES)
def test_protection(name: str, mechanism: Mechanism, found: Callable[[Mechanism], dict[str, Protection]]) -> None:
    without = found(NOTHING)[name]
    if without.holds and name in ("debugging", "nesting", "attributes", "notes on files"):
        pytest.skip(f"this machine allows it to nobody: {without.detail}")
    assert not without.holds, "the probe does not even get out without a sandbox"
    within = found(mechanism)[name]
    if mechanism.kind is Kind.LANDLOCK and name == "locked files":
        assert not within.holds
        assert "bubblewrap" in within.remedy
    else:
        assert within.holds, within


def test_self_test_finds_a_sandbox_that_does_not_close() -> None:
    broken = Mechanism(Kind.BUBBLEWRAP, Path("/bin/false"))
    results = self_test(Policy(writable=()), broken)
    assert [each.name for each in results] == [*checks.NAMES, checks.WORKERS]
    assert not any(each.holds for each in results)
    assert all(each.detail.startswith("could not be tried") and each.remedy for each in results)


def test_self_test_looks_at_what_the_session_hides(tmp_path: Path, mechanism: Mechanism) -> None:
    (tmp_path / "lab" / ".git").mkdir(parents=True)
    (tmp_path / "lab" / ".git" / "HEAD").write_text("ref")
    (tmp_path / "lab" / ".autoresearch").mkdir()
    (tmp_path / "lab" / ".autoresearch" / "journal.jsonl").write_text("{}")
    (tmp_path / "data").mkdir()
    allowed = Policy(
        writable=(),
        readable=(tmp_path / "data",),
        hidden=(tmp_path / "lab" / ".git", tmp_path / "lab" / ".autoresearch"),
    )
    results = {each.name: each for each in self_test(allowed, mechanism)}
    assert results["hidden files"].holds


@pytest.mark.parametrize("top", [".", ".git", ".git/HEAD"])
def test_what_is_hidden_is_never_shown(tmp_path: Path, top: str) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ValueError, match="is to be hidden"):
        policy.wrap(["true"], Policy(writable=(tmp_path,), hidden=(tmp_path / top,)), NOTHING)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is to be hidden"):
        policy.wrap(["true"], Policy((), readable=(tmp_path / "link",), hidden=(tmp_path / top,)), NOTHING)


def test_paths_are_absolute() -> None:
    with pytest.raises(ValueError, match="absolute"):
        policy.wrap(["true"], Policy(writable=(Path("work"),)), NOTHING)


def sandboxed(
    allowed: Policy, mechanism: Mechanism, code: str, *, env: dict[str, str] = CLEAN
) -> subprocess.CompletedProcess[str]:
    command = policy.wrap([str(PYTHON), "-B", "-c", code], allowed, mechanism)
    return subprocess.run(
        command,
        env=env,
        cwd=allowed.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_honest_work_is_possible(tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]) -> None:
    work, data = tmp_path / "work", tmp_path / "data"
    work.mkdir()
    data.mkdir()
    (data / "shard").write_text("text")
    code = (
        "import numpy, os, shutil, socket, subprocess, sys, tempfile, threading\n"
        f"assert open({str(data / 'shard')!r}).read() == 'text'\n"
        "open('out', 'w').write('result'); shutil.copy('out', 'copy'); os.makedirs('a/b')\n"
        "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n"
        "os.memfd_create('shared'); tempfile.NamedTemporaryFile(dir='.').write(b'x')\n"
        "import asyncio, ctypes, fcntl, resource; fcntl.flock(open('out'), fcntl.LOCK_EX)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.prlimit(os.getpid(), resource.RLIMIT_CORE)\n"
        "os.nice(1); os.sched_setaffinity(0, os.sched_getaffinity(0))\n"
        "async def work(): return await (await asyncio.create_subprocess_exec('true')).wait()\n"
        "assert asyncio.run(work()) == 0\n"
        "libc = ctypes.CDLL(None); every = ctypes.create_string_buffer(b'\\xff' * 128)\n"
        "libc.pthread_self.restype = ctypes.c_ulong\n"
        "assert libc.pthread_setaffinity_np(ctypes.c_ulong(libc.pthread_self()), 128, every) == 0\n"
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run(['uname'], capture_output=True, text=True).stdout.strip(), os.cpu_count() > 0)\n"
        "print(float(numpy.ones(4).sum()), os.getcwd())\n"
    )
    allowed = Policy(writable=(work,), readable=(*packages, data), cwd=work)
    done = sandboxed(allowed, mechanism, code)
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["thread", "Linux True", f"4.0 {work}", ""]
    assert (work / "copy").read_text() == "result"


def test_exit_code_and_environment_pass_through(
    tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]
) -> None:
    allowed = Policy(writable=(tmp_path,), readable=packages, cwd=tmp_path)
    done = sandboxed(
        allowed, mechanism, "import os; print(sorted(os.environ)); raise SystemExit(7)", env={**CLEAN, "A": "1"}
    )
    assert done.returncode == 7
    assert set(json.loads(done.stdout.replace("'", '"'))) - {"LC_CTYPE", "PWD"} == {"A", "LANG", "PATH"}


def test_locked_files_in_the_working_folder(tmp_path: Path, packages: tuple[Path, ...]) -> None:
    mechanism = policy.choose()
    if mechanism.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {mechanism.note}")
    (tmp_path / "prepare.py").write_text("score = 1\n")
    allowed = Policy(writable=(tmp_path,), locked=(tmp_path / "prepare.py",), readable=packages, cwd=tmp_path)
    done = sandboxed(allowed, mechanism, "import prepare; open('new', 'w'); open('prepare.py', 'a')")
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "new").exists()


def test_broken_policy_ends_the_run(tmp_path: Path) -> None:
    inner = [sys.executable, "-I", "-S", "-B", launcher.__file__]
    whole = ["alone=1", "network=0", "accelerator=0", "processes=0", f"abi={launcher.landlock_abi()}", "read=/"]
    lacking = [whole[:at] + whole[at + 1 :] for at in range(5)]
    for words in (*lacking, [], ["nonsense"], [*whole, "alone=yes"], [*whole, "names=of-no-folder"]):
        command = [*inner, str(len(words)), *words, "/bin/true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == launcher.REFUSED_EXIT
        assert done.stderr.startswith("the sandbox could not be set up")


def test_command_not_found(tmp_path: Path, mechanism: Mechanism) -> None:
    command = policy.wrap(["no-such-command"], Policy(writable=(tmp_path,)), mechanism)
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "command not found: no-such-command\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel does not count root's processes")
def test_fork_bomb_is_limited(tmp_path: Path, packages: tuple[Path, ...]) -> None:
    mechanism = policy.choose()
    if mechanism.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {mechanism.note}")
    code = "import os, time\nfor n in range(200):\n    if os.fork() == 0: time.sleep(60)\n"
    done = sandboxed(Policy(writable=(tmp_path,), readable=packages, processes=40), mechanism, code)
    assert "BlockingIOError" in done.stderr


def start(folder: Path, mechanism: Mechanism, packages: tuple[Path, ...], code: str, timeout: float = 30) -> None:
    """A sandboxed trainer under its supervisor."""
    work, scratch = folder / "work", folder / "scratch"
    work.mkdir()
    scratch.mkdir()
    env = base_environment({}, python_bin=PYTHON, scratch=scratch)
    allowed = Policy(writable=(work, scratch), readable=packages, cwd=work)
    command = policy.wrap([str(PYTHON), "-c", code], allowed, mechanism)
    runner.start(folder, RunSpec(tuple(command), env, timeout_seconds=timeout, min_free_bytes=0, grace_seconds=0.2))


def end(folder: Path) -> Exit:
    wait_for(lambda: runner.look(folder).state is RunState.ENDED)
    ended = runner.look(folder).exit
    assert ended
    return ended


def marked(folder: Path) -> list[str]:
    """The living processes of a run."""
    mark = f"{runner.MARK}={folder.resolve()}".encode()
    names = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                names.append(process.name)
        except OSError:
            continue
    return names


FAMILY = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork(): os._exit(0)\n"
    "    open('daemon', 'w').write('x'); time.sleep(60)\n"
    "while not os.path.exists('daemon'): time.sleep(0.01)\n"
    "print('ready', flush=True)\n"
)


def test_sandboxed_run_ends_well(tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]) -> None:
    start(tmp_path, mechanism, packages, FAMILY + "open(os.environ['TMPDIR'] + '/x', 'w')")
    ended = end(tmp_path)
    assert (ended.reason, ended.exit_code) == ("finished", 0), (tmp_path / "run.log").read_text()
    assert marked(tmp_path) == []


def test_sandboxed_crash_keeps_its_reason(tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]) -> None:
    start(tmp_path, mechanism, packages, "import os; os.kill(os.getpid(), 11)")
    ended = end(tmp_path)
    assert ended.reason == "crashed"
    assert "signal 11" in ended.note


def test_sandboxed_run_times_out(tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]) -> None:
    start(tmp_path, mechanism, packages, FAMILY + "time.sleep(60)", timeout=1)
    assert end(tmp_path).reason == "timed out"
    assert marked(tmp_path) == []


def test_sandboxed_run_does_not_survive_its_supervisor(
    tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]
) -> None:
    start(tmp_path, mechanism, packages, FAMILY + "time.sleep(60)")
    wait_for(lambda: "ready" in (tmp_path / "run.log").read_text())
    started = runner.look(tmp_path).started
    assert started
    os.kill(started.supervisor_pid, 9)
    wait_for(lambda: runner.look(tmp_path).state is RunState.LOST)
    if mechanism.kind is Kind.LANDLOCK:  # without a namespace a daemon lives until it is swept
        runner.sweep(tmp_path)
    wait_for(lambda: marked(tmp_path) == [])


def test_without_bubblewrap_landlock_is_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not launcher.landlock_abi():
        pytest.skip("no Landlock in this kernel")
    monkeypatch.setattr(policy, "_bubblewraps", list)
    chosen = policy.choose.__wrapped__()
    assert (chosen.kind, chosen.program) == (Kind.LANDLOCK, None)
    assert "apt install bubblewrap" in chosen.note
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(policy, "_bubblewraps", lambda: [refusing])
    chosen = policy.choose.__wrapped__()
    assert chosen.kind is Kind.LANDLOCK
    assert "setting up uid map: Permission denied" in chosen.note
    monkeypatch.setattr(launcher, "landlock_abi", lambda: 0)
    assert policy.choose.__wrapped__().kind is Kind.NONE


def test_an_editable_install_shows_only_what_can_be_imported(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in (".git", "package", "notes"):
        (checkout / folder).mkdir(parents=True)
    (checkout / "package" / "__init__.py").touch()
    (checkout / "module.py").touch()
    (checkout / "secret.txt").touch()
    plain = tmp_path / "plain"
    plain.mkdir()
    prefix = tmp_path / "venv"
    (prefix / "bin").mkdir(parents=True)
    answer = json.dumps([str(prefix)] * 3 + ["", str(prefix / "lib"), str(checkout), str(plain), "/no/such/folder"])
    python = prefix / "bin" / "python"
    python.write_text(f"#!/bin/sh\necho '{answer}'\n")
    python.chmod(0o755)
    shown = policy.interpreter_paths(python)
    assert set(shown) == {prefix, plain, checkout / "package", checkout / "module.py"}


OWN = 4711  # the command's process, of which a filter knows


def decide(
    machine: str,
    alone: bool,
    number: int,
    *arguments: int,
    architecture: int = 0,
    network: bool = False,
    accelerator: bool = False,
) -> int:
    """The filter's answer to a system call, by running its program here."""
    first, second = (*arguments, 0, 0)[:2]
    architecture = architecture or launcher.MACHINES[machine][0]
    data = struct.pack("=IIQQQ", number, architecture, 0, first, second)
    program = launcher.build_filter(machine, alone, network, accelerator=accelerator, own=OWN)
    at, value = 0, 0
    while True:
        code, then, otherwise, operand = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        elif code == 0x54:
            value &= operand
        elif code == 0x06:
            return int(operand)
        else:
            test = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += then if test else otherwise


@pytest.mark.parametrize("machine", sorted(launcher.MACHINES))
@pytest.mark.parametrize("alone", [False, True])
def test_filter_on_every_machine(machine: str, alone: bool) -> None:
    column = launcher.MACHINES[machine][1]
    refuse, allow = launcher.ERROR | errno.EPERM, launcher.ALLOW

    def ask(call: tuple[int, int], *arguments: int) -> int:
        return decide(machine, alone, call[column], *arguments)

    for call in launcher.FORBIDDEN.values():
        assert ask(call) == refuse
    for call in launcher.ABSENT.values():
        assert ask(call) == launcher.ERROR | errno.ENOSYS
    for call in launcher.SHARED.values():
        assert ask(call) == (refuse if alone else allow)
    for call in launcher.PRETENDED.values():
        if call[column] >= 0:
            assert ask(call) == (launcher.ERROR if alone else allow)
    assert ask(launcher.SOCKET, 2) == refuse
    assert ask(launcher.SOCKET, 16) == refuse
    assert ask(launcher.SOCKET, 1) == (refuse if alone else allow)
    assert ask(launcher.CLONE, 0x10000000) == refuse
    assert ask(launcher.CLONE, 0x3D0F00) == allow
    assert ask(launcher.IOCTL, 5, 0x5412) == refuse
    assert ask(launcher.IOCTL, 5, 0xC0384600) == allow
    assert ask((0, 63)) == allow
    assert decide(machine, alone, 0, architecture=0x40000003) == launcher.KILL


STREAM, DATAGRAMS, SEQPACKET, CLOEXEC = 1, 2, 5, 0o2000000


@pytest.mark.parametrize("machine", sorted(launcher.MACHINES))
@pytest.mark.parametrize("alone", [False, True])
def test_filter_of_what_leads_to_others(machine: str, alone: bool) -> None:
    column = launcher.MACHINES[machine][1]
    refuse, allow = launcher.ERROR | errno.EPERM, launcher.ALLOW
    unsupported = launcher.ERROR | errno.EOPNOTSUPP

    def ask(call: tuple[int, int], *arguments: int, **around: bool) -> int:
        return decide(machine, alone, call[column], *arguments, **around)  # type: ignore[arg-type]

    here = refuse if alone else allow
    # An accelerator's driver binds and listens on one kind of socket, and nothing connects.
    for kind in (SEQPACKET, SEQPACKET | CLOEXEC):
        assert ask(launcher.SOCKET, 1, kind) == here
        assert ask(launcher.SOCKET, 1, kind, accelerator=True) == allow
        assert ask(launcher.SOCKET, 2, kind, accelerator=True) == refuse
    for kind in (STREAM, DATAGRAMS, STREAM | CLOEXEC, 3):
        assert ask(launcher.SOCKET, 1, kind, accelerator=True) == here
    for call in launcher.CONNECTING.values():
        assert ask(call, accelerator=True) == ask(call) == here
        assert ask(call, network=True) == allow
    assert ask(launcher.SOCKETPAIR, 1, STREAM | CLOEXEC) == ask(launcher.SOCKETPAIR, 1, SEQPACKET) == allow
    assert ask(launcher.SOCKETPAIR, 1, DATAGRAMS) == here
    assert ask(launcher.SOCKETPAIR, 1, DATAGRAMS, network=True) == refuse
    for call in launcher.OF_PROCESSES.values():
        assert ask(call, 0) == ask(call, OWN) == allow
        assert ask(call, 1) == ask(call, OWN + 1) == here
    for call, process in launcher.OF_KINDS.values():
        assert ask(call, process, 0) == ask(call, process, OWN) == allow
        assert ask(call, process, 1) == ask(call, process + 1, 0) == ask(call, process + 2, 0) == here
    assert ask(launcher.SCHED_SETAFFINITY, OWN) == allow
    assert ask(launcher.SCHED_SETAFFINITY, 1) == (launcher.ERROR if alone else allow)
    for command in (1024, 1026, 1036):
        assert ask(launcher.FCNTL, 5, command) == refuse
    assert ask(launcher.FCNTL, 5, 2) == ask(launcher.FCNTL, 5, 37) == allow
    for request in (0x40086602, 0x40046602, 0x401C5820, 0x40087602, 0x40806685, 0x800C6613, 0x5000940E, 0x40047211):
        assert ask(launcher.IOCTL, 5, request) == (unsupported if alone else allow), hex(request)
    for request in (0x80086601, 0x40049409, 0xC0384600, 0x30000001, 0x5421, 0x40046400):  # reads, clones, drivers
        assert ask(launcher.IOCTL, 5, request) == allow, hex(request)


DRIVER = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* What starting CUDA is known to need of the system: a socket that it listens on, and a name for its thread. */
int cuInit(unsigned flags) {
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    int length = snprintf(place.sun_path + 1, 100, "cuda-uvmfd-%d", getpid());
    int end = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (end < 0 || bind(end, (void *)&place, sizeof(sa_family_t) + 1 + length) || listen(end, 16))
        return 304;
    char name[64];
    snprintf(name, sizeof name, "/proc/self/task/%ld/comm", (long)syscall(SYS_gettid));
    int comm = open(name, O_RDWR);
    if (comm < 0 || write(comm, "cuda", 4) != 4)
        return 304;
    return CODE;
}
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A folder with a libcuda that asks of the system what NVIDIA's asks of it, and then answers with a code."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stand-in of the driver")

    def build(code: int) -> Path:
        folder = tmp_path_factory.mktemp("driver")
        (folder / "driver.c").write_text(DRIVER)
        command = [compiler, "-shared", "-fPIC", f"-DCODE={code}", "driver.c", "-o", "libcuda.so.1"]
        subprocess.run(command, cwd=folder, check=True)
        return folder

    return build


def gpu_policy(driver: Path, *nodes: str) -> Policy:
    """A sandbox with device nodes of these names."""
    for name in nodes:
        (driver / name).touch()
    return Policy(writable=(), readable=(driver,), devices=tuple(driver / name for name in nodes))


def test_cuda_starts_inside(
    mechanism: Mechanism, driver: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = driver(0)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    found = {
        each.name: each for each in self_test(gpu_policy(folder, "nvidia0", "nvidia-uvm"), mechanism, home=tmp_path)
    }
    assert found["accelerator"].holds, found["accelerator"]
    assert found["moving files"].holds
    # Under Landlock alone a rule holds for the process that has it, and children cannot write to their own /proc.
    assert found["accelerator in child processes"].holds == (mechanism.kind is Kind.BUBBLEWRAP)
    # With the driver's socket allowed, all else still holds.
    expected = {"locked files"} if mechanism.kind is Kind.LANDLOCK else set()
    assert {name for name in checks.NAMES if not found[name].holds} == expected


def test_the_drivers_socket_leads_nowhere(tmp_path: Path, mechanism: Mechanism, packages: tuple[Path, ...]) -> None:
    if mechanism.kind is not Kind.LANDLOCK:
        pytest.skip("bubblewrap has a network namespace in place of this filter")
    (tmp_path / "nvidia0").touch()
    code = (
        "import socket\n"
        "end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); end.bind('\\0mine'); end.listen(1)\n"
        "other = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        "def refused(attempt, *arguments):\n"
        "    try: attempt(*arguments)\n"
        "    except PermissionError: return True\n"
        "print(refused(other.connect, '\\0mine'), refused(end.accept))\n"
        "kinds = [(socket.AF_UNIX, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_DGRAM)]\n"
        "kinds += [(family, kind) for family in (socket.AF_INET, socket.AF_NETLINK) for kind in (1, 2, 5)]\n"
        "print(all(refused(socket.socket, *each) for each in kinds))\n"
    )
    allowed = Policy(writable=(tmp_path,), readable=packages, devices=(tmp_path / "nvidia0",), cwd=tmp_path)
    assert sandboxed(allowed, mechanism, code).stdout.split() == ["True"] * 3
    without = sandboxed(dataclasses.replace(allowed, devices=()), mechanism, code)
    assert "PermissionError" in without.stderr


@pytest.mark.parametrize(
    ("code", "nodes", "words"),
    [
        (304, ("nvidia0", "nvidiactl"), ("cuInit says 304", "nvidia-modprobe -u -c=0")),
        (803, ("nvidia0", "nvidia-uvm"), ("different versions", "nvidia-smi")),
        (100, ("nvidia0", "nvidia-uvm"), ("no device",)),
    ],
)
def test_an_accelerator_that_does_not_answer_is_named_with_its_remedy(
    driver: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    nodes: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    folder = driver(code)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    found = gpu_policy(folder, *nodes)
    checked = for_runs.check(found)
    assert "accelerator" in checked.fails
    reason = for_runs.why_not_unattended(checked)
    assert reason.startswith("runs cannot use the accelerator that is here")
    assert all(word in reason for word in words), reason
    # A lab that trains on the processors does not miss it.
    assert for_runs.why_not_unattended(for_runs.check(dataclasses.replace(found, trains=False))) == ""


def test_a_card_that_only_draws_is_no_accelerator(tmp_path: Path, mechanism: Mechanism) -> None:
    (tmp_path / "card0").touch()
    found = self_test(Policy(writable=(), devices=(tmp_path / "card0",)), mechanism, home=tmp_path)
    assert "accelerator" not in {each.name for each in found}


def test_an_old_kernel_cannot_keep_what_was_compiled(
    driver: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not launcher.landlock_abi():
        pytest.skip("no Landlock in this kernel")
    folder = driver(0)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    monkeypatch.setattr(launcher, "landlock_abi", lambda: 1)  # Linux 5.13 to 5.18
    found = gpu_policy(folder, "nvidia0", "nvidia-uvm")
    moves = {each.name: each for each in self_test(found, policy.landlock_only(), home=tmp_path)}["moving files"]
    assert not moves.holds
    assert moves.detail == "EXDEV"
    assert "needs Linux 5.19 or newer, or bubblewrap" in moves.remedy
    if policy.choose().kind is Kind.BUBBLEWRAP:
        inside = {each.name: each for each in self_test(found, policy.choose(), home=tmp_path)}
        assert inside["moving files"].holds
