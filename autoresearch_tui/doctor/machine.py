"""Checks of the machine: Python, git, sandbox, disk, clock, and what ends processes at logout."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from autoresearch_tui.doctor.item import Item, ok, problem, warning
from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.runs.limits import in_words
from autoresearch_tui.session import events as ev
from autoresearch_tui.util import memory as ram

OLDEST_PYTHON = (3, 11)
OLDEST_GIT = (2, 25)
TOOL_SECONDS = 3.0
_GIB = 2**30
LITTLE_DISK, TOO_LITTLE_DISK = 5 * _GIB, 1 * _GIB
_SETTLED = datetime(2025, 1, 1, tzinfo=UTC)


def ask(command: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """A tool's exit code and output; 127 if it is missing, 124 if it does not answer."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environ, "LC_ALL": "C.UTF-8"},
            timeout=TOOL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {TOOL_SECONDS:g} s"
    except OSError as error:
        return 127, error.strerror or str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def python(version: tuple[int, ...] = tuple(sys.version_info[:3]), system: str = platform.system()) -> Item:
    found = f"{'.'.join(map(str, version))} on {system} {platform.release()} {platform.machine()}"
    if version[:2] < OLDEST_PYTHON:
        return problem("python", found, "install Python 3.11 or newer, and autoresearch-tui with it")
    if system not in ("Linux", "Darwin"):
        return problem("python", found, "use Linux, macOS, or WSL on Windows: file locks and signals are POSIX's")
    return ok("python", found)


def git(environ: Mapping[str, str]) -> Item:
    code, output = ask(["git", "--version"], environ)
    install = "install git 2.25 or newer (Debian: apt install git)"
    if code == 127:
        return problem("git", "not found", install)
    numbers = re.search(r"(\d+)\.(\d+)(\.\d+)*", output)
    if code != 0 or numbers is None:
        return problem("git", f"`git --version` says: {output or f'exit code {code}'}", install)
    if (int(numbers[1]), int(numbers[2])) < OLDEST_GIT:
        return problem("git", f"{numbers[0]} is too old", install)
    return ok("git", f"{numbers[0]}; no identity is needed: commits are made as autoresearch-tui")


def sandbox(lab: Lab | None) -> list[Item]:
    """The protections of a run, tested from inside such a sandbox, and the scored text that it hides."""
    from autoresearch_tui.sandbox import for_runs, policy
    from autoresearch_tui.sandbox.scored_data import in_words

    if lab is not None:
        whole = Launcher(lab, GitRepo(lab.root)).sandbox_policy()
    else:
        devices = policy.accelerator_devices()
        whole = policy.Policy(writable=(), readable=policy.interpreter_paths(Path(sys.executable)), devices=devices)
    masked = [ok("scored text", f"hidden from runs where it lies elsewhere: {in_words(whole.masked)}")]
    return [_confined(for_runs.check(whole)), *(masked if whole.masked else [])]


def _confined(checked: ev.SandboxChecked) -> Item:
    from autoresearch_tui.sandbox import for_runs
    from autoresearch_tui.sandbox.self_test import CHILDREN, WORKERS
    from autoresearch_tui.session.state import NEEDED

    total = len(checked.holds) + len(checked.fails)
    if not checked.fails:
        return ok("sandbox", f"{checked.kind}; all {total} protections hold: {', '.join(checked.holds)}")
    found = f"{checked.kind}; {len(checked.holds)} of {total} protections hold, not: {', '.join(checked.fails)}"
    note = checked.note or "read what the sandbox of this kind can hold in the documentation"
    if WORKERS in checked.fails:
        found += "; `multiprocessing` and DataLoader workers need bubblewrap, which gives a run its own /dev/shm"
    if CHILDREN in checked.fails:
        found += "; only `run.command`'s own process can use the accelerator: let it be the Python that trains"
    if not NEEDED.isdisjoint(checked.fails):
        return problem("sandbox", found, f"runs cannot use the accelerator: {note}")
    if for_runs.why_not_unattended(checked):
        return problem(
            "sandbox",
            found,
            f"{note}; until then runs wait while no cockpit is open ({for_runs.NO_SANDBOX}=1 accepts it)",
        )
    return warning("sandbox", found, note)


def namespaces(kernel: Path = Path("/proc/sys"), system: str = platform.system()) -> list[Item]:
    """Whether users may make namespaces, which bubblewrap needs. No items outside Linux."""
    name = "namespaces"
    if system != "Linux":
        return []
    off = "bubblewrap cannot work, and runs are held by Landlock alone"
    if _setting(kernel / "user" / "max_user_namespaces") == "0":
        remedy = "`sysctl user.max_user_namespaces=15000`; in a container, start it with user namespaces allowed"
        return [warning(name, f"user namespaces are off (user.max_user_namespaces is 0): {off}", remedy)]
    if _setting(kernel / "kernel" / "unprivileged_userns_clone") == "0" and os.getuid() != 0:
        text = f"user namespaces are for root alone (kernel.unprivileged_userns_clone is 0): {off}"
        return [warning(name, text, "`sysctl kernel.unprivileged_userns_clone=1`")]
    if _setting(kernel / "kernel" / "apparmor_restrict_unprivileged_userns") == "1":
        text = "AppArmor allows them to programs with a profile alone; whether bubblewrap has one, `sandbox` says"
        return [ok(name, text)]
    return [ok(name, "the kernel allows them")]


def _setting(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def memory(root: str = "") -> list[Item]:
    """The memory that runs and engine share, and whether it is all the machine has. No items if the system does not
    tell."""
    (whole, _), (total, available) = ram.of_machine(root), ram.room(root)
    if not total:
        return []
    found = f"{in_words(total)}, {in_words(available)} available"
    if total < whole:
        found += f"; the machine has {in_words(whole)}, this container or service may have no more"
    return [ok("memory", found)]


def disk(places: Mapping[str, Path]) -> Item:
    """Free space and write permission on the file systems that a night writes to."""
    seen: dict[int, str] = {}
    least: tuple[int, str] | None = None
    for name, place in {**places, "temporary files": Path(tempfile.gettempdir())}.items():
        present = next(folder for folder in (place, *place.parents) if folder.exists())
        if not os.access(present, os.W_OK):
            return problem("disk", f"{present} ({name}) cannot be written to", f"run `chmod u+w {present}`, or own it")
        device = present.stat().st_dev
        free = shutil.disk_usage(present).free
        if device in seen:
            continue
        seen[device] = f"{free / _GIB:.1f} GiB free for {name}"
        if least is None or free < least[0]:
            least = (free, str(present))
    assert least is not None
    found = ", ".join(seen.values())
    if least[0] < TOO_LITTLE_DISK:
        return problem("disk", found, f"free at least {TOO_LITTLE_DISK // _GIB} GiB on the disk of {least[1]}")
    if least[0] < LITTLE_DISK:
        return warning("disk", found, f"a night of logs and data can fill the disk of {least[1]}; free some")
    return ok("disk", found)


def clock(latest: tuple[str, float] | None, now: float | None = None) -> Item:
    """Whether the time can be right. `latest` is the lab's latest event, and its time (seconds since 1970)."""
    now = time.time() if now is None else now
    today = datetime.fromtimestamp(now, UTC)
    found = f"{today:%Y-%m-%d %H:%M} UTC"
    remedy = "set the clock (`timedatectl set-ntp true`); secure connections and the table's times depend on it"
    if today < _SETTLED:
        return problem("clock", f"{found} cannot be", remedy)
    if latest is not None and now < latest[1] - 60:
        return warning("clock", f"{found} is {_span(latest[1] - now)} before {latest[0]}", remedy)
    return ok("clock", found)


def _span(seconds: float) -> str:
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"


def logout(environ: Mapping[str, str], *, booted: Path = Path("/run/systemd/system"), user: int | None = None) -> Item:
    """Whether the system ends a user's processes at logout."""
    name = "logout"
    user = os.getuid() if user is None else user
    if not booted.exists():
        return ok(name, "no systemd here: nothing ends what you leave running")
    if user == 0:
        return ok(name, "systemd leaves root's processes alone")
    manager = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
    code, output = ask(["busctl", "get-property", *manager, "KillUserProcesses"], environ)
    if code == 0 and output == "b false":
        return ok(name, "systemd leaves your processes alone when you log out")
    start = "start it as `systemd-run --user --scope autoresearch-tui` after `loginctl enable-linger`"
    if code == 0 and output == "b true":
        return problem(name, "systemd ends all your processes when you log out (KillUserProcesses)", start)
    return warning(name, f"systemd does not say whether it ends your processes at logout ({output})", start)
