"""The cage, tried from inside: everything that works without it must fail in it, and training must not."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_tui.engine.cages import cage_check, cage_launcher, sandbox
from autoresearch_tui.engine.cages.cage_check import Protection, self_test
from autoresearch_tui.engine.cages.environment import base_environment
from autoresearch_tui.engine.cages.sandbox import Cage, Kind, Sandbox
from autoresearch_tui.engine.running import runner
from autoresearch_tui.engine.running.runner import Exit, RunSpec, RunState
from tests.waiting import wait_for

PYTHON = Path(sys.executable)
CLEAN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
NOTHING = Sandbox(Kind.NONE)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no cage outside Linux")


@pytest.fixture(scope="module")
def packages() -> tuple[Path, ...]:
    return sandbox.interpreter_paths(PYTHON)


@pytest.fixture(params=["bubblewrap", "landlock"])
def mechanism(request: pytest.FixtureRequest) -> Sandbox:
    if request.param == "bubblewrap":
        if sandbox.choose().kind is not Kind.BUBBLEWRAP:
            pytest.skip(f"no bubblewrap: {sandbox.choose().note}")
        return sandbox.choose()
    if cage_launcher.landlock_abi() < 6:
        pytest.skip(f"Landlock {cage_launcher.landlock_abi()} of this kernel cannot keep signals in")
    return sandbox.landlock_only()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sandbox], dict[str, Protection]]:
    """What the self-test finds with each mechanism, with a home folder of its own; each asked once."""
    home = tmp_path_factory.mktemp("home")
    (home / "diary").write_text("private")
    known: dict[Kind, dict[str, Protection]] = {}

    def ask(mechanism: Sandbox) -> dict[str, Protection]:
        if mechanism.kind not in known:
            results = self_test(Cage(writable=()), mechanism, home=home)
            known[mechanism.kind] = {each.name: each for each in results}
        return known[mechanism.kind]

    return ask


@pytest.mark.parametrize("name", cage_check.NAMES)
def test_protection(name: str, mechanism: Sandbox, found: Callable[[Sandbox], dict[str, Protection]]) -> None:
    without = found(NOTHING)[name]
    if without.holds and name in ("debugging", "nesting"):
        pytest.skip(f"this machine allows it to nobody: {without.detail}")
    assert not without.holds, "the probe does not even get out without a cage"
    within = found(mechanism)[name]
    if mechanism.kind is Kind.LANDLOCK and name == "locked files":
        assert not within.holds
        assert "bubblewrap" in within.remedy
    else:
        assert within.holds, within


def test_self_test_finds_a_cage_that_does_not_close() -> None:
    broken = Sandbox(Kind.BUBBLEWRAP, Path("/bin/false"))
    results = self_test(Cage(writable=()), broken)
    assert [each.name for each in results] == list(cage_check.NAMES)
    assert not any(each.holds for each in results)
    assert all(each.detail.startswith("could not be tried") and each.remedy for each in results)


def test_self_test_looks_at_what_the_session_hides(tmp_path: Path, mechanism: Sandbox) -> None:
    (tmp_path / "lab" / ".git").mkdir(parents=True)
    (tmp_path / "lab" / ".git" / "HEAD").write_text("ref")
    (tmp_path / "lab" / ".autoresearch").mkdir()
    (tmp_path / "lab" / ".autoresearch" / "journal.jsonl").write_text("{}")
    (tmp_path / "data").mkdir()
    cage = Cage(
        writable=(),
        readable=(tmp_path / "data",),
        hidden=(tmp_path / "lab" / ".git", tmp_path / "lab" / ".autoresearch"),
    )
    results = {each.name: each for each in self_test(cage, mechanism)}
    assert results["hidden files"].holds


@pytest.mark.parametrize("top", [".", ".git", ".git/HEAD"])
def test_what_is_hidden_is_never_shown(tmp_path: Path, top: str) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ValueError, match="is to be hidden"):
        sandbox.wrap(["true"], Cage(writable=(tmp_path,), hidden=(tmp_path / top,)), NOTHING)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="is to be hidden"):
        sandbox.wrap(["true"], Cage((), readable=(tmp_path / "link",), hidden=(tmp_path / top,)), NOTHING)


def test_paths_are_absolute() -> None:
    with pytest.raises(ValueError, match="absolute"):
        sandbox.wrap(["true"], Cage(writable=(Path("work"),)), NOTHING)


def caged(
    cage: Cage, mechanism: Sandbox, code: str, *, env: dict[str, str] = CLEAN
) -> subprocess.CompletedProcess[str]:
    command = sandbox.wrap([str(PYTHON), "-B", "-c", code], cage, mechanism)
    return subprocess.run(
        command,
        env=env,
        cwd=cage.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_honest_work_is_possible(tmp_path: Path, mechanism: Sandbox, packages: tuple[Path, ...]) -> None:
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
        "thread = threading.Thread(target=print, args=('thread',)); thread.start(); thread.join()\n"
        "print(subprocess.run(['uname'], capture_output=True, text=True).stdout.strip(), os.cpu_count() > 0)\n"
        "print(float(numpy.ones(4).sum()), os.getcwd())\n"
    )
    cage = Cage(writable=(work,), readable=(*packages, data), cwd=work)
    done = caged(cage, mechanism, code)
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["thread", "Linux True", f"4.0 {work}", ""]
    assert (work / "copy").read_text() == "result"


def test_exit_code_and_environment_pass_through(tmp_path: Path, mechanism: Sandbox, packages: tuple[Path, ...]) -> None:
    cage = Cage(writable=(tmp_path,), readable=packages, cwd=tmp_path)
    done = caged(cage, mechanism, "import os; print(sorted(os.environ)); raise SystemExit(7)", env={**CLEAN, "A": "1"})
    assert done.returncode == 7
    assert set(json.loads(done.stdout.replace("'", '"'))) - {"LC_CTYPE", "PWD"} == {"A", "LANG", "PATH"}


def test_locked_files_in_the_working_folder(tmp_path: Path, packages: tuple[Path, ...]) -> None:
    mechanism = sandbox.choose()
    if mechanism.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {mechanism.note}")
    (tmp_path / "prepare.py").write_text("score = 1\n")
    cage = Cage(writable=(tmp_path,), locked=(tmp_path / "prepare.py",), readable=packages, cwd=tmp_path)
    done = caged(cage, mechanism, "import prepare; open('new', 'w'); open('prepare.py', 'a')")
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "new").exists()


def test_broken_policy_ends_the_run(tmp_path: Path) -> None:
    launcher = [sys.executable, "-I", "-S", "-B", cage_launcher.__file__]
    for policy in ("{}", "nonsense", '{"alone": true, "processes": 0, "read": ["/"]}'):
        done = subprocess.run([*launcher, policy, "/bin/true"], capture_output=True, text=True, check=False)
        assert done.returncode == cage_launcher.REFUSED_EXIT
        assert done.stderr.startswith("the cage could not be closed")


def test_command_not_found(tmp_path: Path, mechanism: Sandbox) -> None:
    command = sandbox.wrap(["no-such-command"], Cage(writable=(tmp_path,)), mechanism)
    done = subprocess.run(command, env=CLEAN, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "command not found: no-such-command\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="the kernel does not count root's processes")
def test_fork_bomb_is_limited(tmp_path: Path, packages: tuple[Path, ...]) -> None:
    mechanism = sandbox.choose()
    if mechanism.kind is not Kind.BUBBLEWRAP:
        pytest.skip(f"no bubblewrap: {mechanism.note}")
    code = "import os, time\nfor n in range(200):\n    if os.fork() == 0: time.sleep(60)\n"
    done = caged(Cage(writable=(tmp_path,), readable=packages, processes=40), mechanism, code)
    assert "BlockingIOError" in done.stderr


def start(folder: Path, mechanism: Sandbox, packages: tuple[Path, ...], code: str, timeout: float = 30) -> None:
    """A caged trainer under its supervisor."""
    work, scratch = folder / "work", folder / "scratch"
    work.mkdir()
    scratch.mkdir()
    env = base_environment({}, python_bin=PYTHON, scratch=scratch)
    cage = Cage(writable=(work, scratch), readable=packages, cwd=work)
    command = sandbox.wrap([str(PYTHON), "-c", code], cage, mechanism)
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


def test_caged_run_ends_well(tmp_path: Path, mechanism: Sandbox, packages: tuple[Path, ...]) -> None:
    start(tmp_path, mechanism, packages, FAMILY + "open(os.environ['TMPDIR'] + '/x', 'w')")
    ended = end(tmp_path)
    assert (ended.reason, ended.exit_code) == ("finished", 0), (tmp_path / "run.log").read_text()
    assert marked(tmp_path) == []


def test_caged_crash_keeps_its_reason(tmp_path: Path, mechanism: Sandbox, packages: tuple[Path, ...]) -> None:
    start(tmp_path, mechanism, packages, "import os; os.kill(os.getpid(), 11)")
    ended = end(tmp_path)
    assert ended.reason == "crashed"
    assert "signal 11" in ended.note


def test_caged_run_times_out(tmp_path: Path, mechanism: Sandbox, packages: tuple[Path, ...]) -> None:
    start(tmp_path, mechanism, packages, FAMILY + "time.sleep(60)", timeout=1)
    assert end(tmp_path).reason == "timed out"
    assert marked(tmp_path) == []


def test_caged_run_does_not_survive_its_supervisor(
    tmp_path: Path, mechanism: Sandbox, packages: tuple[Path, ...]
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
    if not cage_launcher.landlock_abi():
        pytest.skip("no Landlock in this kernel")
    monkeypatch.setattr(sandbox, "_bubblewraps", list)
    chosen = sandbox.choose.__wrapped__()
    assert (chosen.kind, chosen.program) == (Kind.LANDLOCK, None)
    assert "apt install bubblewrap" in chosen.note
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sandbox, "_bubblewraps", lambda: [refusing])
    chosen = sandbox.choose.__wrapped__()
    assert chosen.kind is Kind.LANDLOCK
    assert "setting up uid map: Permission denied" in chosen.note
    monkeypatch.setattr(cage_launcher, "landlock_abi", lambda: 0)
    assert sandbox.choose.__wrapped__().kind is Kind.NONE


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
    shown = sandbox.interpreter_paths(python)
    assert set(shown) == {prefix, plain, checkout / "package", checkout / "module.py"}


def decide(machine: str, alone: bool, number: int, *arguments: int, architecture: int = 0) -> int:
    """The filter's answer to a system call, by running its program here."""
    first, second = (*arguments, 0, 0)[:2]
    architecture = architecture or cage_launcher.MACHINES[machine][0]
    data = struct.pack("=IIQQQ", number, architecture, 0, first, second)
    program = cage_launcher.build_filter(machine, alone)
    at, value = 0, 0
    while True:
        code, then, otherwise, operand = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            value = struct.unpack_from("=I", data, operand)[0]
        elif code == 0x06:
            return int(operand)
        else:
            test = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += then if test else otherwise


@pytest.mark.parametrize("machine", sorted(cage_launcher.MACHINES))
@pytest.mark.parametrize("alone", [False, True])
def test_filter_on_every_machine(machine: str, alone: bool) -> None:
    column = cage_launcher.MACHINES[machine][1]
    refuse, allow = cage_launcher.ERROR | errno.EPERM, cage_launcher.ALLOW

    def ask(call: tuple[int, int], *arguments: int) -> int:
        return decide(machine, alone, call[column], *arguments)

    for call in cage_launcher.FORBIDDEN.values():
        assert ask(call) == refuse
    for call in cage_launcher.ABSENT.values():
        assert ask(call) == cage_launcher.ERROR | errno.ENOSYS
    for call in cage_launcher.SHARED.values():
        assert ask(call) == (refuse if alone else allow)
    for call in cage_launcher.PRETENDED.values():
        if call[column] >= 0:
            assert ask(call) == (cage_launcher.ERROR if alone else allow)
    assert ask(cage_launcher.SOCKET, 2) == refuse
    assert ask(cage_launcher.SOCKET, 16) == refuse
    assert ask(cage_launcher.SOCKET, 1) == (refuse if alone else allow)
    assert ask(cage_launcher.CLONE, 0x10000000) == refuse
    assert ask(cage_launcher.CLONE, 0x3D0F00) == allow
    assert ask(cage_launcher.IOCTL, 5, 0x5412) == refuse
    assert ask(cage_launcher.IOCTL, 5, 0xC0384600) == allow
    assert ask((0, 63)) == allow
    assert decide(machine, alone, 0, architecture=0x40000003) == cage_launcher.KILL
