"""Git by plumbing: a private index, compare-and-swap of refs, no hooks, never the user's checkout.

A kill at any instruction leaves at worst an unreferenced object. (GitPython's README calls itself unfit for
long-running processes, so the loop calls `git` itself; GitPython makes new repositories in `lab/creation.py`.)
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autoresearch_tui.lab import git_filters, git_import, git_trees
from autoresearch_tui.lab.editable import Editable, is_pattern
from autoresearch_tui.lab.git_trees import GitObject
from autoresearch_tui.lab.reverts import Change
from autoresearch_tui.util import scratch
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.line_ends import like

# A repository's own configuration must not run anything on our behalf.
SAFE = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "protocol.ext.allow=never",
    "-c", "gc.auto=0",
    "--no-optional-locks",
)  # fmt: skip
# Commits and exports are exact bytes; only the user's checkout is read with the user's line-end settings.
_AS_IT_IS = ("-c", "core.autocrlf=false")
_TIMEOUT = 60.0
STALE_LOCK_SECONDS = 10.0
_WHOLE_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEPT_BLOBS = 32
_KEPT_TEXTS = 8
_PLAIN = "100644"
NO_COMMIT = ""  # as for git, with any kind of hashes


class GitError(Exception):
    """git failed; the message is its error line."""


class GitRepo:
    """One lab's repository. Paths are relative to the lab's root, which may be a folder inside the repository."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.filter_failure = ""  # of the last export with a failing filter, for a human
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
        self._top: Path | None = None
        self._read_once = functools.lru_cache(_KEPT_BLOBS)(self._read)
        self._mode = functools.lru_cache(_KEPT_BLOBS)(self._read_mode)
        # Texts at whole hashes never change, and are read many times from a proposal to its verdict.
        self._kept_texts: dict[tuple[str, Editable], dict[str, str]] = {}

    def head(self) -> str:
        """The checked-out commit. Raises UserError in a repository without one."""
        try:
            return self._git("rev-parse", "--verify", "HEAD^{commit}").strip()
        except GitError:
            raise UserError(
                f"{self.root}: the repository has no commit yet", "run `git add -A && git commit -m lab` there"
            ) from None

    def resolve(self, ref: str) -> str | None:
        """The commit of a ref, or None."""
        try:
            return self._git("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
        except GitError:
            return None

    def branch(self) -> str:
        """The short name of the checked-out branch; empty if there is none."""
        try:
            return self._git("symbolic-ref", "--quiet", "--short", "HEAD").strip()
        except GitError:
            return ""

    def user(self) -> str:
        """The user's name in git's configuration; empty if unset."""
        try:
            return self._git("config", "user.name").strip()
        except GitError:
            return ""

    def setting_lines(self, *words: str) -> list[tuple[str, str]]:
        """Settings of this repository and of files that it includes, as `git config` finds them."""
        try:
            found = self._git("config", "--local", "--includes", "--null", *words)
        except GitError:  # none
            return []
        return [(key, value) for key, _, value in (each.partition("\n") for each in found.split("\0")) if key]

    def branches(self) -> frozenset[str]:
        """Every branch's short name."""
        return frozenset(self._git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").split())

    def whole_hashes(self, names: Sequence[str]) -> dict[str, str]:
        """The commits of those names that are abbreviated hashes."""
        asked = [name for name in dict.fromkeys(names) if re.fullmatch(r"[0-9a-fA-F]{6,64}", name)]
        lines = self._git_bytes("cat-file", "--batch-check", stdin="".join(f"{name}\n" for name in asked).encode())
        found = zip(asked, lines.decode("utf-8", "replace").splitlines(), strict=False)
        return {name: line.split()[0] for name, line in found if line.split()[1:2] == ["commit"]}

    def changes_on(self, branches: Sequence[str], paths: Sequence[str]) -> list[Change]:
        """The commits on the branches, but not on the main branch, that changed `paths`; each once, oldest first."""
        heads = [f"refs/heads/{name}" for name in branches]
        trunk = [f"^refs/heads/{name}" for name in sorted(self.branches() & {"main", "master"})]
        asked = "".join(f"{line}\n" for line in (*heads, *trunk, "--", *self._from_top(paths)))
        words = ("log", "--stdin", "--first-parent", "--topo-order", "--reverse", "--source", "--raw", "--no-abbrev")
        if not heads:
            return []
        found = self._git(*words, "--no-renames", "-z", "--format=%x01%H%x02%S%x02%s%x02%b%x02", stdin=asked.encode())
        return [_change(record) for record in found.split("\x01")[1:]]

    def _from_top(self, paths: Sequence[str]) -> list[str]:
        literal = re.sub(r"([*?[\\\]])", r"\\\1", self._prefix)
        return [
            f":(top,glob){literal}{path}{'**' if path.endswith('/') else ''}"
            if is_pattern(path)
            else f":(top,literal){self._prefix}{path}"
            for path in paths
        ]

    def valid_branch(self, name: str) -> bool:
        """Whether git accepts `name` for a branch."""
        return _run(self.root, ["check-ref-format", "--branch", name]).returncode == 0

    def refs(self, prefix: str) -> dict[str, str]:
        """Every ref under `prefix`, and its commit."""
        lines = self._git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def checked_out(self) -> frozenset[str]:
        """Branches checked out in some worktree; moving one would affect the user's checkout."""
        lines = self._git("worktree", "list", "--porcelain").splitlines()
        return frozenset(line.removeprefix("branch refs/heads/") for line in lines if line.startswith("branch "))

    def read(self, commit: str, path: str) -> bytes:
        """A file's bytes at a commit. Raises GitError if there is none."""
        # Files at whole hashes never change, and a launch reads the same few many times.
        return self._read_once(commit, path) if _WHOLE_HASH.fullmatch(commit) else self._read(commit, path)

    def _read(self, commit: str, path: str) -> bytes:
        return self._git_bytes("cat-file", "blob", f"{commit}:{self._prefix}{path}")

    def read_many(self, commits: Sequence[str], paths: Sequence[str]) -> dict[str, dict[str, str]]:
        """:meth:`read_texts` of many commits, with one git process."""
        asked = [(commit, path) for commit in commits for path in paths]
        texts: dict[str, dict[str, str]] = {commit: {} for commit in commits}
        found = self._objects([f"{commit}:{self._prefix}{path}" for commit, path in asked])
        for (commit, path), each in zip(asked, found, strict=True):
            if each is not None and each.kind == "blob":
                texts[commit][path] = each.data.decode("utf-8", "replace")
        return texts

    def editable_of_many(self, commits: Sequence[str], editable: Editable) -> dict[str, dict[str, str]]:
        """The texts of every editable file at each of many commits: single files, then those of patterns."""
        kept = {
            commit: dict(texts) for commit in commits if (texts := self._kept_texts.get((commit, editable))) is not None
        }
        read = self._read_editable([commit for commit in commits if commit not in kept], editable)
        for commit, texts in [*read.items()][-_KEPT_TEXTS:]:
            if _WHOLE_HASH.fullmatch(commit) and texts.keys() >= {*editable.plain}:
                self._kept_texts[commit, editable] = dict(texts)
        for oldest in [*self._kept_texts][:-_KEPT_TEXTS]:
            self._kept_texts.pop(oldest, None)
        return {commit: kept[commit] if commit in kept else read[commit] for commit in commits}

    def _read_editable(self, commits: Sequence[str], editable: Editable) -> dict[str, dict[str, str]]:
        texts = self.read_many(commits, editable.plain)
        if not editable.patterns:
            return texts
        more = git_trees.texts(self._objects, git_trees.found(self._objects, commits, self._prefix, editable))
        return {commit: {**files, **more[commit]} for commit, files in texts.items()}

    def editable_texts(self, commit: str, editable: Editable) -> dict[str, str]:
        """The texts of every editable file at a commit."""
        return self.editable_of_many([commit], editable)[commit]

    def paths(self, commit: str) -> tuple[str, ...]:
        """Every path of the lab's folder at a commit, of any kind."""
        names = self._git("ls-tree", "-r", "-z", "--name-only", commit)
        return tuple(name for name in names.split("\0") if name)

    def _objects(self, names: Sequence[str]) -> list[GitObject | None]:
        """The objects of these names, with one git process; None for missing ones."""
        data = self._git_bytes("cat-file", "--batch", stdin="".join(f"{n}\n" for n in names).encode()) if names else b""
        found: list[GitObject | None] = []
        place = 0
        for _ in names:
            end = data.index(b"\n", place)
            words = data[place:end].decode("utf-8", "replace").split()
            place = end + 1
            if words[-1] == "missing":
                found.append(None)
                continue
            size = int(words[-1])
            found.append(GitObject(words[0], words[-2], data[place : place + size]))
            place += size + 1
        return found

    def read_texts(self, commit: str, paths: Sequence[str]) -> dict[str, str]:
        """Several files' texts at a commit; missing files are left out."""
        texts: dict[str, str] = {}
        for path in paths:
            try:
                texts[path] = self.read(commit, path).decode("utf-8", "replace")
            except GitError:
                continue
        return texts

    def commit(self, base: str | None, files: Mapping[str, bytes | None], message: str, when: str) -> str:
        """A commit on top of `base`, or without a parent, with these files' new contents (None removes a file).

        No ref moves. `when` (ISO 8601) dates it, so that the same call gives the same commit.
        """
        at = {
            f"{self._prefix}{path}": None if data is None else (self._mode(base, path) if base else _PLAIN, data)
            for path, data in files.items()
        }
        done = _run(self.root, (*_AS_IT_IS, *git_import.WORDS), git_import.stream(base, at, message, when))
        if done.returncode:
            git_import.clear_report(done.stderr.decode("utf-8", "replace"), self.root)
        return _answer(done, git_import.WORDS).decode().strip()

    def commit_tree(self, tree: str, message: str, when: str) -> str:
        """A commit by us without a parent; the same call gives the same commit."""
        who = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (
                ("NAME", "autoresearch-tui"),
                ("EMAIL", "autoresearch-tui@localhost"),
                ("DATE", when),
            )
        }
        return self._git("commit-tree", tree, "-F", "-", stdin=message.encode(), env=who).strip()

    def message(self, commit: str) -> str:
        """A commit's message."""
        return self._git("show", "--no-patch", "--format=%B", commit).strip()

    def diff(self, base: str, commit: str) -> str:
        """Unified diff between two commits, of the lab's folder."""
        return self.diff_and_stat(base, commit)[0]

    def stat(self, base: str, commit: str) -> tuple[int, int]:
        """Lines added and removed between two commits, in the lab's folder."""
        return self.diff_and_stat(base, commit)[1]

    def diff_and_stat(self, base: str, commit: str) -> tuple[str, tuple[int, int]]:
        """:meth:`diff` and :meth:`stat`, with one git process."""
        words = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--relative", "--numstat", "--patch")
        found = self._git("-c", "core.quotePath=false", "diff", *words, base, commit, "--", ".")
        numbers, _, diff = found.partition("\n\n")
        counts = [line.split("\t", 2)[:2] for line in numbers.splitlines()]
        # A binary file has no lines.
        added, removed = (sum(int(pair[side]) for pair in counts if pair[side].isdigit()) for side in (0, 1))
        return diff, (added, removed)

    def modes(self, base: str, commit: str) -> dict[str, tuple[str, str]]:
        """Paths that differ between two commits, from the repository's top, with their modes before and after."""
        words = self._git("diff-tree", "-r", "--no-renames", "-z", base, commit).split("\0")
        pairs = zip(words[::2], words[1::2], strict=False)
        return {path: (meta[1:7], meta[8:14]) for meta, path in pairs if path}

    def set_ref(self, ref: str, commit: str, old: str | None = None) -> None:
        """Make `ref` point at `commit`; with `old` only if it points there now (NO_COMMIT: does not exist)."""
        words = ("update-ref", "--no-deref", ref, commit, *([] if old is None else [old]))
        try:
            self._git(*words)
        except GitError:
            if not self._drop_stale_lock(ref):
                raise
            self._git(*words)

    def pack_refs(self) -> None:
        """Pack the refs into one file, as `git gc` does, so that tens of thousands are listed quickly."""
        self._git("pack-refs", "--all")

    def delete_ref(self, ref: str, commit: str) -> None:
        """Remove `ref`, which points at `commit`. Harmless if it is gone."""
        if self.resolve(ref) is not None:
            self._git("update-ref", "--no-deref", "-d", ref, commit)

    def export(self, commit: str, folder: Path, exact: Sequence[str] = ()) -> None:
        """The lab's tree at a commit as plain files in a new `folder`, without `.git`.

        Filters run as in any checkout, unless their program is missing or fails; then their files are as committed, as
        are the paths in `exact`.
        """
        folder.mkdir(parents=True)
        drivers = self._filters()
        missing = [name for name, command in drivers.items() if git_filters.is_missing(command)]
        with scratch.folder("index") as index:  # a private one
            env = {"GIT_INDEX_FILE": str(index / "index")}
            self._git("read-tree", commit, env=env)
            # From the top of the repository, so that a lab inside a larger one finds its neighbours.
            words, top = ("checkout-index", "--all", "--force", f"--prefix={folder}/"), self.top()
            try:
                self._git(*git_filters.without(missing), *words, env=env, cwd=top)
            except GitError as error:
                if len(missing) == len(drivers):
                    raise
                self._git(*git_filters.without(drivers), *words, env=env, cwd=top)
                self.filter_failure = f"a filter fails ({error}); its files stay as committed"
        for path in exact:
            file = folder / self._prefix / path
            if file.is_file() and not file.is_symlink():
                file.write_bytes(self.read(commit, path))

    def unfiltered(self, commit: str) -> dict[str, list[str]]:
        """The filters that cannot run here, with the commit's paths that need them."""
        drivers = self._filters()
        names = self._git_bytes("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
        attributes = self._git_bytes("check-attr", "-z", "--stdin", "filter", stdin=names, cwd=self.top())
        words = attributes.decode("utf-8", "replace").split("\0")
        found: dict[str, list[str]] = {}
        for path, name in zip(words[::3], words[2::3], strict=False):
            known = name in ("unspecified", "unset", "set") or not git_filters.is_missing(drivers.get(name, name))
            if not known:
                found.setdefault(name, []).append(path)
        return found

    def dirty(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The contents of those files that differ from HEAD, as git would commit them from the user's checkout, with
        the user's filters and line-end settings. Raises OSError for an unreadable file."""
        found: dict[str, bytes] = {}
        for path in paths:
            data = (self.root / path).read_bytes()
            committed = self._committed(path)
            if data == committed or (committed is not None and self._is_clean(path)):
                continue
            data = self._cleaned(path, data)
            if committed is not None:
                data = _in_line_ends_of(data, committed)
            if data != committed:
                found[path] = data
        return found

    def _committed(self, path: str) -> bytes | None:
        try:
            return self.read("HEAD", path)
        except GitError:
            return None

    def _is_clean(self, path: str) -> bool:
        try:
            return not self._git("status", "--porcelain", "-z", "--", self._from_top([path])[0], as_user=True)
        except GitError:
            return False

    def _cleaned(self, path: str, data: bytes) -> bytes:
        """As git would commit it; unchanged if a filter fails."""
        try:
            words = ("hash-object", "-w", "--stdin", f"--path={self._prefix}{path}")
            blob = self._git_bytes(*words, stdin=data, cwd=self.top(), as_user=True).decode().strip()
            return self._git_bytes("cat-file", "blob", blob)
        except GitError:
            return data

    def _filters(self) -> dict[str, str]:
        try:
            return git_filters.drivers(self._git("config", "--null", "--get-regexp", git_filters.CONFIGURED))
        except GitError:  # none
            return {}

    def untracked(self) -> tuple[str, ...]:
        """Untracked paths of the work tree, ignored or not, from the top; a whole folder counts as one."""
        words = ("ls-files", "--others", "--directory", "--no-empty-directory", "-z")
        return tuple(name.rstrip("/") for name in self._git(*words, cwd=self.top()).split("\0") if name)

    def special(self) -> tuple[tuple[str, str], ...]:
        """The links (mode 120000) and submodules (160000) of the checked-out commit, from the top."""
        lines = self._git("ls-tree", "-r", "-z", "--full-tree", "HEAD").split("\0")
        found = ((line.partition("\t")[2], line[:6]) for line in lines)
        return tuple((name, mode) for name, mode in found if mode in ("120000", "160000"))

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
        """The lab's path inside its repository: empty, or ending with a slash."""
        return self._prefix

    def _drop_stale_lock(self, ref: str) -> bool:
        """Remove the lock that a killed git left beside a ref of ours, which nothing else locks for long."""
        lock = self._common / f"{ref}.lock"
        try:
            if time.time() - lock.stat().st_mtime < STALE_LOCK_SECONDS:
                return False
            lock.unlink()
        except FileNotFoundError:
            return False
        return True

    def top(self) -> Path:
        """The work tree's own folder."""
        if self._top is None:
            self._top = Path(self._git("rev-parse", "--show-toplevel").strip())
        return self._top

    def _read_mode(self, base: str, path: str) -> str:
        listed = self._git("ls-tree", base, "--", path).split(maxsplit=2)
        return listed[0] if listed[1:2] == ["blob"] else _PLAIN

    def _git(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        as_user: bool = False,
    ) -> str:
        return self._git_bytes(*args, stdin=stdin, env=env, cwd=cwd, as_user=as_user).decode("utf-8", "replace")

    def _git_bytes(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        as_user: bool = False,
    ) -> bytes:
        return git(cwd or self.root, *(args if as_user else (*_AS_IT_IS, *args)), stdin=stdin, env=env)


def git(folder: Path, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
    """Run git in a folder, and return its output. Raises GitError; UserError if git is missing."""
    return _answer(_run(folder, args, stdin, env), args)


def _answer(done: subprocess.CompletedProcess[bytes], args: Sequence[str]) -> bytes:
    if done.returncode != 0:
        command = next(word for word in args if not word.startswith("-") and "=" not in word)
        raise GitError(_complaint(done.stderr) or f"git {command} ended with {done.returncode}")
    return done.stdout


def _run(
    folder: Path, args: Sequence[str], stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    # The user's GIT_DIR, GIT_INDEX_FILE and the like would redirect git.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    clean |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        return subprocess.run(
            ["git", *SAFE, *args],
            cwd=folder,
            input=stdin,
            capture_output=True,
            env=clean,
            timeout=_TIMEOUT,
            check=False,
        )
    except (FileNotFoundError, PermissionError):
        if not folder.is_dir():
            raise GitError(f"{folder}: the folder is gone") from None
        raise UserError("git: not found", "install it (Debian: apt install git)") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {args[0]} did not end within {_TIMEOUT:.0f} s") from None


def _in_line_ends_of(data: bytes, committed: bytes) -> bytes:
    try:
        return like(data.decode("utf-8"), committed.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return data


def _change(record: str) -> Change:
    """One record of :meth:`GitRepo.changes_on`: the message; for each file `:modes hashes letter`, NUL, path, NUL."""
    commit, ref, subject, body, raw = record.split("\x02", 4)
    words = raw.strip("\0\n").split("\0")
    pairs = (pair for pair in zip(words[::2], words[1::2], strict=False) if pair[0].lstrip().startswith(":"))
    blobs = {path: (fields[2], fields[3]) for meta, path in pairs if len(fields := meta.split()) >= 4}
    return Change(commit, ref.removeprefix("refs/heads/"), subject, body, blobs)


def _complaint(errors: bytes) -> str:
    """The line of git's error, without advice."""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
