"""Run inside a sandbox by :mod:`self_test`: tries everything that must not work, and prints a JSON line for each
attempt.

Started as a script (`python -I -S -B probe.py TARGETS`); TARGETS is JSON. `got` says that the attempt succeeded as far
as the probe can see; the caller checks the other end too. A few attempts must succeed, because training needs them.
With `accelerator` in place of TARGETS, only that is tried.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import importlib
import json
import os
import resource
import secrets
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

DNS_QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x07invalid\x00\x00\x01\x00\x01"
CLONE_NEWUSER = 0x10000000
SYSCALL = {  # on x86_64 and aarch64; Python has no names for these
    "ioprio_set": (251, 30),
    "file_setattr": (469, 469),
    "cachestat": (451, 451),
}
FS_IOC_SETFLAGS, FS_NODUMP = 0x40086602, 0x40
F_SET_RW_HINT = 1036
AT_FDCWD = -100


class Refused(Exception):
    """The attempt did not work; the text says how."""


def tcp(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


def udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(DNS_QUERY, ("127.0.0.1", port))
    raise Refused("nothing left this network")  # the other end knows better


def metadata_service() -> None:
    """A cloud's own address, which serves credentials. Nothing is sent; only a refusal counts as a refusal."""
    for family, address in ((socket.AF_INET, "169.254.169.254"), (socket.AF_INET6, "fd00:ec2::254")):
        try:
            client = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        with client:
            client.setblocking(False)
            number = client.connect_ex((address, 80))
            if number not in (errno.EACCES, errno.EPERM):
                return
    raise Refused("port 80 is closed")


def unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        client.connect(address)


def read_any(paths: Iterable[str]) -> None:
    """Reads a file, or lists a folder."""
    last: OSError | None = None
    for path in paths:
        try:
            if Path(path).is_dir():
                found = bool(list(Path(path).iterdir()))
            else:
                with Path(path).open("rb") as file:
                    found = bool(file.read(1))
            if found:  # a sandbox may have something empty in its place
                return
        except OSError as error:
            last = error
    if last:
        raise last
    raise Refused("there is nothing to find")


def environment_of_others(key: str) -> None:
    """Looks for the key in every process's environment."""
    denied = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if key.encode() in (process / "environ").read_bytes():
                return
        except OSError:
            denied += 1
    raise Refused(f"{denied} environments refused, none of the others has it")


def write_new(folder: str) -> None:
    Path(folder, "written").write_text("x")


def overwrite(name: str) -> None:
    """By opening, truncating, replacing, removing, a hard link, or renaming its folder."""
    path = Path(name)

    def by_opening() -> None:
        with path.open("ab") as file:
            file.write(b"# changed\n")

    def by_replacing() -> None:
        other = Path(name + ".new")
        other.write_text("x = 2\n")
        other.replace(path)

    def by_link() -> None:
        Path("linked").hardlink_to(path)

    by_cutting = lambda: os.truncate(name, 0)  # noqa: E731
    first_success(
        [by_opening, by_cutting, by_replacing, path.unlink, by_link, lambda: path.parent.rename(f"{path.parent}.old")]
    )


def change_mode(name: str) -> None:
    first_success([lambda: Path(name).chmod(0o777), lambda: os.utime(name, (1, 1))])


def system_call(name: str, *arguments: object) -> None:
    """Calls one that Python has no function for. Raises OSError."""
    number = SYSCALL[name][os.uname().machine == "aarch64"]
    if ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def change_attributes(name: str) -> None:
    """Changes attributes of a file that is open for reading only, by ioctl and by name."""
    with Path(name).open("rb") as file:
        flags = struct.pack("l", FS_NODUMP)
        by_name = ctypes.create_string_buffer(struct.pack("=QIIIII4x", FS_NODUMP, 0, 0, 0, 0, 0))
        first_success(
            [
                lambda: fcntl.ioctl(file, FS_IOC_SETFLAGS, flags),
                lambda: system_call("file_setattr", AT_FDCWD, name.encode(), by_name, ctypes.c_size_t(32), 0),
            ]
        )


def leave_a_note(name: str) -> None:
    """Leaves a mark on a file that every run reads: in its cached pages, a hint, or a lease that makes others wait."""
    with Path(name).open("rb") as file:
        span, found = ctypes.create_string_buffer(16), ctypes.create_string_buffer(40)
        first_success(
            [
                lambda: system_call("cachestat", file.fileno(), span, found, 0),
                lambda: os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED),
                lambda: fcntl.fcntl(file, F_SET_RW_HINT, struct.pack("Q", 2)),
                lambda: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK),
            ]
        )


def hold_back(pid: int) -> None:
    """Changes limits, priority and processors of another process."""
    first_success(
        [
            lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 40, 1 << 40)),
            lambda: os.setpriority(os.PRIO_PROCESS, pid, 5),
            lambda: system_call("ioprio_set", 1, pid, 3 << 13),
            lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
            lambda: os.sched_setaffinity(pid, {min(os.sched_getaffinity(pid))}),
        ]
    )
    raise Refused("nothing that this can see was refused")  # the other end knows better


def send_by_name(path: str) -> None:
    """Sends a datagram to a socket of the file system, from one half of a pair."""
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with mine, other:
        mine.sendto(b"x", path)


def settings_of_the_kernel() -> None:
    """Opens /proc/sys, which root may write without any capability. Writes nothing."""
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def nest() -> None:
    """A nested user namespace gives access to most kernel bugs."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def trace(_: object) -> None:
    """Uses ptrace on its own child."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(5)"])
    try:
        if libc.ptrace(16, child.pid, None, None) != 0:  # PTRACE_ATTACH
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        child.kill()
        child.wait()


def accelerator() -> None:
    """Whether the driver answers. Must succeed."""
    with contextlib.suppress(OSError):
        if (code := ctypes.CDLL("libcuda.so.1").cuInit(0)) == 0:
            return
        raise Refused(f"cuInit says {code}")
    for path in ("/dev/kfd", "/dev/dxg"):
        if Path(path).exists():
            os.close(os.open(path, os.O_RDWR))
            return
    raise Refused("no driver is to be found")


def accelerator_in_a_child() -> None:
    """The same in a child process, as `torchrun` and scripts start theirs. Must succeed."""
    command = [sys.executable, "-I", "-S", "-B", __file__, "accelerator"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stdout.strip() or f"exit code {done.returncode}")


def move_between_folders() -> None:
    """Compilers move their files into place like this. Must succeed."""
    for name in ("from", "to"):
        Path(name).mkdir()
    Path("from", "file").write_text("x")
    Path("from", "file").rename(Path("to", "file"))


def worker_processes() -> None:
    """Makes a lock in /dev/shm, as `multiprocessing` and DataLoader workers do first. Must succeed."""
    lock = importlib.import_module("_multiprocessing").SemLock
    lock(1, 1, 1, f"/autoresearch-{secrets.token_hex(4)}", True)


def first_success(attempts: Iterable[Callable[[], object]]) -> None:
    """Returns at the first attempt that works; raises the first one's OSError if none does."""
    errors: list[OSError] = []
    for attempt in attempts:
        try:
            attempt()
            return
        except OSError as error:
            errors.append(error)
    raise errors[0]


def report(name: str, attempt: Callable[[], object]) -> None:
    """Prints one line: the name, whether it worked, and details."""
    began = time.monotonic()
    try:
        attempt()
        got, detail = True, ""
    except OSError as error:
        got, detail = False, errno.errorcode.get(error.errno or 0, str(error))
    except Refused as refused:
        got, detail = False, str(refused)
    line = {"name": name, "got": got, "detail": detail, "seconds": round(time.monotonic() - began, 3)}
    os.write(1, f"{json.dumps(line)}\n".encode())


def main(text: str) -> None:
    """Runs every attempt, the most destructive ones last."""
    if text == "accelerator":
        try:
            accelerator()
        except (OSError, Refused) as error:
            os.write(1, f"{error}\n".encode())
            sys.exit(1)
        return
    targets = json.loads(text)
    if targets["accelerator"]:
        report("accelerator", accelerator)
        report("accelerator in child processes", accelerator_in_a_child)
        report("moving files", move_between_folders)
    report("worker processes", worker_processes)
    report("tcp", lambda: tcp(targets["tcp"]))
    report("metadata service", metadata_service)
    report("udp and dns", lambda: udp(targets["udp"]))
    addresses = [targets["socket"], "\0" + targets["abstract"]]
    by_name = [lambda: send_by_name(targets["datagrams"]), *(lambda a=a: unix(a) for a in addresses)]
    report("unix sockets", lambda: first_success(by_name))
    report("home folder", lambda: read_any(targets["home"]))
    report("hidden files", lambda: read_any(targets["hidden"]))
    report("other files", lambda: read_any(targets["others"]))
    report("API key", lambda: environment_of_others(targets["key"]))
    report(
        "writing outside",
        lambda: first_success([settings_of_the_kernel, *(lambda f=f: write_new(f) for f in targets["folders"])]),
    )
    report("evaluator", lambda: overwrite(targets["evaluator"]))
    report("modes and times", lambda: change_mode(targets["mode"]))
    report("attributes", lambda: change_attributes(targets["mode"]))
    report("notes on files", lambda: leave_a_note(targets["mode"]))
    report("locked files", lambda: overwrite(targets["locked"]))
    report("limits and priorities", lambda: hold_back(targets["victim"]))
    report("signals", lambda: kill(targets["victim"]))
    report("debugging", lambda: trace(None))
    report("nesting", nest)


if __name__ == "__main__":
    main(sys.argv[1])
