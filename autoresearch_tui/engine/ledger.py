"""Git by plumbing: a private index, compare-and-swap of refs, no hooks, never the user's checkout.

A kill at any instruction leaves at worst an unreferenced object. (GitPython's README calls itself unfit for
long-running processes, so the loop calls `git` itself; GitPython makes new repositories in `templates.py`.)
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from autoresearch_tui import scratch
from autoresearch_tui.errors import UserError

# A repository's own configuration must not run anything on our behalf.
_SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "protocol.ext.allow=never",
    "-c", "core.autocrlf=false",
    "-c", "gc.auto=0",
    "--no-optional-locks",
)  # fmt: skip
_TIMEOUT = 60.0
STALE_LOCK_SECONDS = 10.0
NO_COMMIT = ""  # as git has it too, whatever hashes the repository has


class GitError(Exception):
    """git refused; the message is its last line."""


class Ledger:
    """One lab's repository. Paths are relative to the lab's root, which may be a folder inside the repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            places = self._git("rev-parse", "--absolute-git-dir", "--git-common-dir", "--show-prefix").split("\n")
        except GitError as error:
            if owned := re.search(r"dubious ownership in repository at '(.+)'", str(error)):
                trust = f"git config --global --add safe.directory {shlex.quote(owned[1])}"
                raise UserError(f"{root}: belongs to another user, and git wants to be told: run `{trust}`") from None
            raise
        self.git_folder = Path(places[0])
        self._common = root / places[1]
        self.common_folder = self._common.resolve()
        self._prefix = places[2]

    def head(self) -> str:
        """The commit that is checked out. Raises UserError in a repository without one."""
        try:
            return self._git("rev-parse", "--verify", "HEAD^{commit}").strip()
        except GitError:
            raise UserError(
                f"{self.root}: the repository has no commit yet; run `git add -A && git commit -m lab` there"
            ) from None

    def resolve(self, ref: str) -> str | None:
        """The commit of a ref, or None."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
        except GitError:
            return None

    def branches(self) -> frozenset[str]:
        """Every branch's short name."""
        return frozenset(self._git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split())

    def whole_hashes(self, names: Sequence[str]) -> dict[str, str]:
        """The commit of each name that is the beginning of one's hash; other names are left out."""
        asked = [name for name in dict.fromkeys(names) if re.fullmatch(r"[0-9a-fA-F]{6,64}", name)]
        lines = self._git_bytes("cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in asked).encode())
        found = zip(asked, lines.decode("utf-8", "replace").splitlines(), strict=False)
        return {name: line.split()[0] for name, line in found if line.split()[1:2] == ["commit"]}

    def kept_on(self, branches: Sequence[str], paths: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """The commits on each branch that changed `paths`, oldest first, with subjects; none of the main branch."""
        trunk = [f"^refs/heads/{name}" for name in sorted(self.branches() & {"main", "master"})]
        found = {}
        for branch in branches:
            words = ("log", "--first-parent", "--reverse", "--format=%H %s", f"refs/heads/{branch}", *trunk)
            lines = self._git(*words, "--", *(f":(top){self._prefix}{path}" for path in paths)).splitlines()
            found[branch] = [(commit, subject) for commit, _, subject in (line.partition(" ") for line in lines)]
        return found

    def valid_branch(self, name: str) -> bool:
        """Whether git accepts `name` as a branch's."""
        return self._run(["check-ref-format", "--branch", name]).returncode == 0

    def refs(self, prefix: str) -> dict[str, str]:
        """Every ref under `prefix`, and its commit."""
        lines = self._git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def checked_out(self) -> frozenset[str]:
        """Branches that some worktree has checked out; moving one of these would touch the user's checkout."""
        lines = self._git("worktree", "list", "--porcelain").splitlines()
        return frozenset(line.removeprefix("branch refs/heads/") for line in lines if line.startswith("branch "))

    def read(self, commit: str, path: str) -> bytes:
        """A file's bytes at a commit. Raises GitError where there is none."""
        return self._git_bytes("cat-file", "blob", f"{commit}:{self._prefix}{path}")

    def read_texts(self, commit: str, paths: Sequence[str]) -> dict[str, str]:
        """Several files' texts at a commit; what is not there is left out."""
        texts: dict[str, str] = {}
        for path in paths:
            try:
                texts[path] = self.read(commit, path).decode("utf-8", "replace")
            except GitError:
                continue
        return texts

    def commit(self, base: str, files: Mapping[str, bytes], message: str, when: str) -> str:
        """A commit on top of `base` with these files' new contents; no ref moves.

        `when` (ISO 8601) dates it, so that the same call gives the same commit.
        """
        with self._private_index() as env:
            self._git("read-tree", base, env=env)
            for path, data in files.items():
                blob = self._git_bytes("hash-object", "-w", "--stdin", stdin=data).decode().strip()
                mode = self._mode(base, path)
                self._git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{self._prefix}{path}", env=env)
            tree = self._git("write-tree", env=env).strip()
        who = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (
                ("NAME", "autoresearch-tui"),
                ("EMAIL", "autoresearch-tui@localhost"),
                ("DATE", when),
            )
        }
        return self._git("commit-tree", tree, "-p", base, "-F", "-", stdin=message.encode(), env=who).strip()

    def diff(self, base: str, commit: str, paths: Sequence[str] = ()) -> str:
        """Unified diff between two commits, of the lab's folder."""
        names = [*paths] or ["."]
        return self._git(
            "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative",
            base, commit, "--", *names,
        )  # fmt: skip

    def changed_paths(self, base: str, commit: str) -> tuple[str, ...]:
        """Paths that differ between two commits, relative to the lab's folder."""
        names = self._git("diff", "--name-only", "--no-renames", "--relative", "-z", base, commit)
        return tuple(name for name in names.split("\0") if name)

    def modes(self, base: str, commit: str) -> dict[str, tuple[str, str]]:
        """Paths that differ between two commits, from the repository's top, with their modes before and after."""
        words = self._git("diff-tree", "-r", "--no-renames", "-z", base, commit).split("\0")
        pairs = zip(words[::2], words[1::2], strict=False)
        return {path: (said[1:7], said[8:14]) for said, path in pairs if path}

    def stat(self, base: str, commit: str) -> tuple[int, int]:
        """Lines added and removed between two commits."""
        added = removed = 0
        for line in self._git("diff", "--numstat", "--no-renames", base, commit).splitlines():
            plus, minus, _path = line.split("\t", 2)
            added += int(plus) if plus.isdigit() else 0
            removed += int(minus) if minus.isdigit() else 0
        return added, removed

    def set_ref(self, ref: str, commit: str, old: str | None = None) -> None:
        """Make `ref` point at `commit`; with `old` only where it points there now (NO_COMMIT: does not exist)."""
        words = ("update-ref", "--no-deref", ref, commit, *([] if old is None else [old]))
        try:
            self._git(*words)
        except GitError:
            if not self._drop_stale_lock(ref):
                raise
            self._git(*words)

    def export(self, commit: str, folder: Path) -> None:
        """The lab's tree at a commit as plain files in a new `folder`, without `.git`."""
        folder.mkdir(parents=True)
        with self._private_index() as env:
            self._git("read-tree", commit, env=env)
            # From the top of the repository, so that a lab inside a larger one finds its neighbours.
            self._git("checkout-index", "--all", "--force", f"--prefix={folder}/", env=env, cwd=self._top())

    def ignore(self, patterns: Sequence[str]) -> None:
        """Add patterns to `.git/info/exclude`, once."""
        path = self._common / "info" / "exclude"
        present = path.read_text("utf-8", "replace") if path.exists() else ""
        missing = [f"/{self._prefix}{pattern}" for pattern in patterns]
        missing = [pattern for pattern in missing if pattern not in present.splitlines()]
        if missing:
            path.parent.mkdir(exist_ok=True)
            lead = "" if not present or present.endswith("\n") else "\n"
            with path.open("a", encoding="utf-8") as file:
                file.write(lead + "".join(pattern + "\n" for pattern in missing))

    @property
    def prefix(self) -> str:
        """Where the lab is inside its repository: empty, or a path that ends with a slash."""
        return self._prefix

    def _drop_stale_lock(self, ref: str) -> bool:
        """Remove what a killed git left beside a ref of ours, which nobody else has reason to lock for long."""
        lock = self._common / f"{ref}.lock"
        try:
            if time.time() - lock.stat().st_mtime < STALE_LOCK_SECONDS:
                return False
            lock.unlink()
        except FileNotFoundError:
            return False
        return True

    def _top(self) -> Path:
        return Path(self._git("rev-parse", "--show-toplevel").strip())

    def _mode(self, base: str, path: str) -> str:
        listed = self._git("ls-tree", base, "--", path).split(maxsplit=1)
        return listed[0] if listed else "100644"

    @contextmanager
    def _private_index(self) -> Iterator[dict[str, str]]:
        with scratch.folder("index") as folder:
            yield {"GIT_INDEX_FILE": str(folder / "index")}

    def _git(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        return self._git_bytes(*args, stdin=stdin, env=env, cwd=cwd).decode("utf-8", "replace")

    def _git_bytes(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> bytes:
        done = self._run(args, stdin, env, cwd)
        if done.returncode != 0:
            raise GitError(_complaint(done.stderr) or f"git {args[0]} ended with {done.returncode}")
        return done.stdout

    def _run(
        self,
        args: Sequence[str],
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        # The user's GIT_DIR, GIT_INDEX_FILE and the like would point elsewhere.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        clean |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **(env or {})}
        try:
            return subprocess.run(
                ["git", *_SAFE, *args],
                cwd=cwd or self.root,
                input=stdin,
                capture_output=True,
                env=clean,
                timeout=_TIMEOUT,
                check=False,
            )
        except (FileNotFoundError, PermissionError):
            if not (cwd or self.root).is_dir():
                raise GitError(f"{cwd or self.root}: the folder is gone") from None
            raise UserError("git: not found; install it (Debian: apt install git)") from None
        except subprocess.TimeoutExpired:
            raise GitError(f"git {args[0]} did not end within {_TIMEOUT:.0f} s") from None


def _complaint(errors: bytes) -> str:
    """What git complains of: the line that says so, without the advice that follows it."""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
