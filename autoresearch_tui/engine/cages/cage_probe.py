"""Run inside a cage by :mod:`cage_check`: tries everything that must not work, one JSON line for each attempt.

Started as a script (`python -I -S -B cage_probe.py TARGETS`); TARGETS is JSON. `got` says that the attempt
succeeded as far as it can be seen from here; whoever started the probe looks at the other end as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

DNS_QUERY = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x07invalid\x00\x00\x01\x00\x01"
CLONE_NEWUSER = 0x10000000


class Refused(Exception):
    """The attempt did not work; the text says how."""


def tcp(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


def udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(DNS_QUERY, ("127.0.0.1", port))
    raise Refused("nothing left this network")  # the other end knows better


def unix(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        client.connect(address)


def read_any(paths: Iterable[str]) -> None:
    """Contents of a file, or the names in a folder."""
    last: OSError | None = None
    for path in paths:
        try:
            if Path(path).is_dir():
                found = bool(list(Path(path).iterdir()))
            else:
                with Path(path).open("rb") as file:
                    found = bool(file.read(1))
            if found:  # a cage may have something empty in its place
                return
        except OSError as error:
            last = error
    if last:
        raise last
    raise Refused("there is nothing to find")


def environment_of_others(key: str) -> None:
    """The key in any process's environment."""
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
    """By opening, by replacing, by removing, by a hard link, by renaming its folder."""
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

    first_success([by_opening, by_replacing, path.unlink, by_link, lambda: path.parent.rename(f"{path.parent}.old")])


def change_mode(name: str) -> None:
    first_success([lambda: Path(name).chmod(0o777), lambda: os.utime(name, (1, 1))])


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def nest() -> None:
    """A user namespace of one's own is the way to most kernel bugs."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def trace(_: object) -> None:
    """ptrace, on a process of one's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(5)"])
    try:
        if libc.ptrace(16, child.pid, None, None) != 0:  # PTRACE_ATTACH
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        child.kill()
        child.wait()


def accelerator() -> None:
    """The driver answers; here, other than everywhere else, success is wanted."""
    with contextlib.suppress(OSError):
        if (code := ctypes.CDLL("libcuda.so.1").cuInit(0)) == 0:
            return
        raise Refused(f"cuInit says {code}")
    for path in ("/dev/kfd", "/dev/dxg"):
        if Path(path).exists():
            os.close(os.open(path, os.O_RDWR))
            return
    raise Refused("no driver is to be found")


def first_success(attempts: Iterable[Callable[[], object]]) -> None:
    """Returns at the first attempt that works; raises the first one's OSError where none does."""
    errors: list[OSError] = []
    for attempt in attempts:
        try:
            attempt()
            return
        except OSError as error:
            errors.append(error)
    raise errors[0]


def report(name: str, attempt: Callable[[], object]) -> None:
    """One line: the name, whether it worked, and what was said."""
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
    """Every attempt, the most destructive ones last."""
    targets = json.loads(text)
    report("accelerator", accelerator)
    report("tcp", lambda: tcp(targets["tcp"]))
    report("udp and dns", lambda: udp(targets["udp"]))
    addresses = [targets["socket"], "\0" + targets["abstract"]]
    report("unix sockets", lambda: first_success([lambda a=a: unix(a) for a in addresses]))  # type: ignore[misc]
    report("home folder", lambda: read_any(targets["home"]))
    report("hidden files", lambda: read_any(targets["hidden"]))
    report("other files", lambda: read_any(targets["others"]))
    report("API key", lambda: environment_of_others(targets["key"]))
    report("writing outside", lambda: first_success([lambda f=f: write_new(f) for f in targets["folders"]]))  # type: ignore[misc]
    report("evaluator", lambda: overwrite(targets["evaluator"]))
    report("modes and times", lambda: change_mode(targets["mode"]))
    report("locked files", lambda: overwrite(targets["locked"]))
    report("signals", lambda: kill(targets["victim"]))
    report("debugging", lambda: trace(None))
    report("nesting", nest)


if __name__ == "__main__":
    main(sys.argv[1])
