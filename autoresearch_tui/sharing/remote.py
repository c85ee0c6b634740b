"""Exchanges refs with a remote, within limits of time, bytes and refs, and without prompts."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_tui.lab.git import SAFE, GitRepo
from autoresearch_tui.sharing import records
from autoresearch_tui.sharing.store import Store
from autoresearch_tui.util.errors import Refused, UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.secrets import passwords
from autoresearch_tui.util.text import describe

LIST_SECONDS, EXCHANGE_SECONDS = 60.0, 300.0
LIST_BYTES = 8 << 20
PACK_BYTES = 256 << 20
"""The limit for one fetch."""
_REFS_AT_ONCE = 200
_LINE = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\t(refs/\S+)", re.ASCII)
# Settings of the lab's own repository that affect how git reaches a remote.
_CONFIGURED = r"^(credential|http|url|ssh)\.|^core\.(sshcommand|gitproxy)$"
_PASSED_ON = ("GIT_SSH", "GIT_SSH_VARIANT", "GIT_SSL_", "GIT_HTTP_", "GIT_PROXY_")


class Remote(Frozen):
    """A remote; `shown`: its address without a password. `config`: the lab's settings for reaching it."""

    url: str
    shown: str
    config: tuple[tuple[str, str], ...] = ()


def find(repo: GitRepo, named: str) -> Remote:
    """The remote `named` by a name or an address; by default the one that the branch tracks, else `origin`, else the
    only one. Raises Refused, UserError."""
    known = repo.setting_lines("--get-regexp", r"^remote\..*\.(push)?url$")
    names = list(dict.fromkeys(key.removeprefix("remote.").rpartition(".")[0] for key, _ in known))
    name = named or _default(repo, names)
    if not name:
        raise Refused(f"{repo.root}: the repository has no remote", "`git remote add origin ADDRESS`, or name one")
    if name.startswith("-") or not name.isprintable():
        raise UserError(f"{describe(name)!r}: neither the name nor the address of a remote")
    url = dict(reversed(known)).get(f"remote.{name}.url", "") if name in names else name
    if name not in names and "://" not in name and not re.match(r"[^/]+:", name):
        path = Path(name).expanduser()
        if not path.is_dir():
            there = f"there are {', '.join(names)}" if names else "`git remote add` makes one"
            raise Refused(f"{name}: no such remote, and no folder", there)
        url = str(path.resolve())
    elif name in names and "://" not in url and not re.match(r"[^/]+:", url) and not url.startswith("/"):
        url = str((repo.top() / url).resolve())
    return Remote(url, describe(_shown(url, url), 200), tuple(repo.setting_lines("--get-regexp", _CONFIGURED)))


def _shown(text: str, url: str) -> str:
    """A text without the password in an address."""
    for password in passwords(url):
        text = text.replace(password, "…")
    return text


def _default(repo: GitRepo, names: Sequence[str]) -> str:
    branch = repo.branch()
    tracked = dict(repo.setting_lines("--get-regexp", r"^branch\..*\.remote$")).get(f"branch.{branch}.remote", "")
    if tracked not in ("", "."):
        return tracked
    return "origin" if "origin" in names else names[0] if len(names) == 1 else ""


def shared_refs(remote: Remote, store: Store) -> tuple[dict[str, str], bool]:
    """The remote's refs of sessions with their commits; and whether it has more than were read."""
    pattern = f"{records.PREFIX}*"
    words = ("ls-remote", "--refs", "--", remote.url, pattern)
    code, out, errors = _git(remote, store, words, LIST_SECONDS, LIST_BYTES)
    cut = len(out) >= LIST_BYTES
    if code and not cut:
        raise Refused(f"{remote.shown}: {_why(errors, remote)}")
    found = (_LINE.fullmatch(line) for line in out.decode("utf-8", "replace").splitlines())
    return {line[2]: line[1] for line in found if line}, cut


def push(remote: Remote, store: Store, moves: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Push refs by compare-and-swap: to each `(commit, before)`; `before` is empty for a new ref.

    Returns why refs were refused. Raises Refused if the remote cannot be reached.
    """
    leases = [f"--force-with-lease={ref}:{before}" for ref, (_, before) in moves.items()]
    specs = [f"{commit}:{ref}" for ref, (commit, _) in moves.items()]
    plain = ("--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
    words = ("push", *plain, *leases, "--", remote.url, *specs)
    code, out, errors = _git(remote, store, words, EXCHANGE_SECONDS, PACK_BYTES)
    lines = [line.split("\t") for line in out.decode("utf-8", "replace").splitlines()]
    refused = {w[1].rpartition(":")[2]: describe(w[2], 200) for w in lines if len(w) == 3 and w[0] == "!"}
    if code and not refused:
        raise Refused(f"{remote.shown}: {_why(errors, remote)}")
    return refused


def fetch(remote: Remote, store: Store, refs: Sequence[str]) -> dict[str, str]:
    """Fetch these refs under the same names. Returns by person why theirs could not be fetched: what git refuses of one
    person does not keep out others'."""
    refused: dict[str, str] = {}
    for start in range(0, len(refs), _REFS_AT_ONCE):
        some = refs[start : start + _REFS_AT_ONCE]
        if not _fetch(remote, store, some):
            continue
        by_who: dict[str, list[str]] = {}
        for ref in some:
            by_who.setdefault(ref.removeprefix(records.PREFIX).partition("/")[0], []).append(ref)
        for who, own in by_who.items():
            if why := _fetch(remote, store, own):
                refused[who] = why
    store.settle()
    return refused


def _fetch(remote: Remote, store: Store, refs: Sequence[str]) -> str:
    """Why it failed; empty if it did not."""
    bounds = ("-c", "fetch.fsckObjects=true", "-c", "fetch.unpackLimit=1", "-c", "core.bigFileThreshold=4m")
    plain = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-prune", "--refmap=")
    words = (*bounds, "fetch", *plain, "--", remote.url, *(f"+{ref}:{ref}" for ref in refs))
    code, _, errors = _git(remote, store, words, EXCHANGE_SECONDS, PACK_BYTES)
    return _why(errors, remote) if code else ""


def _git(remote: Remote, store: Store, words: Sequence[str], seconds: float, largest: int) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors; it writes no file larger than `largest` bytes. Raises Refused if it takes too long.

    In a session of its own: without a terminal it cannot ask for a password, and its whole process group can be killed.
    """

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["git", *SAFE, *words],
            cwd=store.root,
            env={**_environment(remote), "GIT_DIR": str(store.root)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
            preexec_fn=limited,  # noqa: PLW1509 (these commands have one thread)
        )
        try:
            code = process.wait(seconds)
        except BaseException as error:
            # With everything that it started, such as ssh.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Refused(f"{remote.shown}: no answer within {seconds:.0f} s") from None
            raise
        out.seek(0)
        errors.seek(0)
        return code, out.read(), errors.read(1 << 16)


def _environment(remote: Remote) -> dict[str, str]:
    """The user's environment without variables that redirect git, and without prompts."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith(_PASSED_ON)}
    env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "LC_ALL": "C.UTF-8"}
    configured = dict(remote.config)
    ssh = os.environ.get("GIT_SSH_COMMAND") or configured.get("core.sshcommand") or "ssh"
    if "GIT_SSH" not in env or ssh != "ssh":
        quiet = Path(ssh.split()[0]).name == "ssh"
        env["GIT_SSH_COMMAND"] = f"{ssh} -o BatchMode=yes -o ConnectTimeout=20" if quiet else ssh
    env.pop("SSH_ASKPASS", None)
    own = [(key, value) for key, value in remote.config if key != "core.sshcommand"]
    env["GIT_CONFIG_COUNT"] = str(len(own))
    for place, (key, value) in enumerate(own):
        env |= {f"GIT_CONFIG_KEY_{place}": key, f"GIT_CONFIG_VALUE_{place}": value}
    return env


def _why(errors: bytes, remote: Remote) -> str:
    """The error of git, or of what it started, in one line without a password."""
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    known = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:", "remote: error", "remote: fatal"))]
    first = next((line for line in known if "Could not read from remote" not in line), (known or lines or [""])[0])
    if "terminal prompts disabled" in first or "could not read Username" in first or "could not read Password" in first:
        return "wants a password, and there is nobody to ask; set up a credential helper or a key"
    if "Permission denied (publickey" in " ".join(lines):
        return "does not know this user's ssh key; `ssh-add` it, or set one up"
    return (
        describe(_shown(first, remote.url).removeprefix("fatal: ").removeprefix("error: "), 200)
        if first
        else "git failed"
    )
