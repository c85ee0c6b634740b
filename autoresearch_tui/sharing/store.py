"""What is shared, ours and others', in a bare repository of its own beside the lab's sessions.

The lab's own repository gets no object of a stranger's and gives no history away: what is pushed is made here, of
commits without parents. A session is one ref, `refs/autoresearch/shared/<who>/<session>`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from autoresearch_tui.lab.editable import LARGEST_BYTES
from autoresearch_tui.lab.git import SAFE, GitError, GitRepo
from autoresearch_tui.sharing import records
from autoresearch_tui.sharing.records import SharedExperiment, SharedSession, UnusableRecord
from autoresearch_tui.util import scratch
from autoresearch_tui.util.errors import Refused

FOLDER = "shared.git"
_PLAIN, _TREE = ("100644", "100755"), "40000"
# Folders of experiments, of at most five digits, in a tree of as many entries as a session may have.
_TREE_BYTES = 64 * (records.MOST_EXPERIMENTS + 2)
_SESSIONS_AT_ONCE = 50

Code = Mapping[str, str]
"""Texts by path, from the lab's folder."""


class Entry(NamedTuple):
    """What a name in a tree stands for. An empty mode is none that code can have."""

    mode: str
    object: str


@dataclass(frozen=True, slots=True)
class Shared:
    """One session of somebody's, as far as it can be used; `codes` has, by number, the tree of an experiment's code."""

    who: str
    name: str
    session: SharedSession
    experiments: tuple[SharedExperiment, ...]
    codes: Mapping[int, str]
    left_out: Counter[str] = field(default_factory=Counter)


class Store(GitRepo):
    """The bare repository in a lab's state folder. Raises GitError, OSError."""

    @classmethod
    def of(cls, state_folder: Path, like: GitRepo | None = None) -> Store:
        """Made if it is not there, with the object names of `like`."""
        folder = state_folder / FOLDER
        if not (folder / "HEAD").exists():
            folder.mkdir(parents=True, exist_ok=True)
            kind = ("--object-format=sha256",) if like is not None and len(like.head()) > 40 else ()
            words = ["git", *SAFE, "init", "--quiet", "--bare", "--template=", *kind, str(folder)]
            done = subprocess.run(words, capture_output=True, env=_plain_environment(), check=False, timeout=60)
            if done.returncode:
                raise GitError(done.stderr.decode("utf-8", "replace").strip() or "git init failed")
        return cls(folder)

    @classmethod
    def existing(cls, state_folder: Path) -> Store | None:
        """The one that is there."""
        folder = state_folder / FOLDER
        return cls(folder) if (folder / "HEAD").exists() else None

    @staticmethod
    def stamp(state_folder: Path) -> tuple[int, int, int]:
        """Another one after each fetch that brought something; zeros before the first."""
        try:
            found = (state_folder / FOLDER / "packed-refs").stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """No other command exchanges anything meanwhile. Raises Refused."""
        file = os.open(self.root / "exchange.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lab = self.root.parent.parent
                raise Refused(f"{lab}: another command exchanges something", "try again when it ends") from None
            for rest in (self.root / "objects" / "pack").glob("tmp_*"):  # of a fetch that was killed
                rest.unlink(missing_ok=True)
            yield
        finally:
            os.close(file)

    def has(self, commit: str) -> bool:
        """Whether it was made or fetched here."""
        return self.resolve(commit) is not None

    def settle(self) -> None:
        """After a fetch: one file has all refs, and readers see by it that something came."""
        self._git("pack-refs", "--all")

    # ── ours ────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, files: Mapping[str, str], message: str, when: str) -> str:
        """A commit of these files without a parent; the same call gives the same commit. No ref moves."""
        with scratch.folder("share") as folder:
            texts = list(dict.fromkeys(files.values()))
            for place, text in enumerate(texts):
                (folder / str(place)).write_bytes(text.encode("utf-8", "surrogateescape"))
            names = "".join(f"{folder / str(place)}\n" for place in range(len(texts))).encode()
            blobs = self._git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names).split()
            of_text = dict(zip(texts, blobs, strict=True))
            index = "".join(f"100644 {of_text[text]}\t{path}\0" for path, text in files.items())
            env = {"GIT_INDEX_FILE": str(folder / "index")}
            self._git("update-index", "-z", "--index-info", stdin=index.encode("utf-8", "surrogateescape"), env=env)
            tree = self._git("write-tree", env=env).strip()
        return self.commit_tree(tree, message, when)

    # ── others' ─────────────────────────────────────────────────────────────────────────────────────────────

    def sessions(self, paths: Sequence[str]) -> tuple[list[Shared], Counter[str]]:
        """Every session that can be read, with the code at `paths`; and what cannot, counted by the reason.

        A few calls of git, however many sessions there are.
        """
        found: list[Shared] = []
        left_out: Counter[str] = Counter()
        refs = sorted(self.refs(records.PREFIX).items())
        for start in range(0, len(refs), _SESSIONS_AT_ONCE):
            self._read_sessions(refs[start : start + _SESSIONS_AT_ONCE], paths, found, left_out)
        return found, left_out

    def _read_sessions(
        self, refs: Sequence[tuple[str, str]], paths: Sequence[str], found: list[Shared], left_out: Counter[str]
    ) -> None:
        trees = self._trees([f"{commit}^{{tree}}" for _, commit in refs], _TREE_BYTES)
        names = {records.SESSION: records.SESSION_BYTES, records.EXPERIMENTS: records.EXPERIMENTS_BYTES}
        wanted = {tree[name].object: limit for tree in trees.values() for name, limit in names.items() if name in tree}
        texts = self._blobs(wanted)
        some: list[Shared] = []
        for ref, commit in refs:
            try:
                some.append(self._session(ref, trees.get(f"{commit}^{{tree}}"), texts))
            except UnusableRecord as error:
                left_out[f"{error!s} in a session"] += 1
        folders = {tree: None for each in some for tree in each.codes.values()}
        problems = self._problems(list(folders), paths)
        for each in some:
            bad = {number: problems[tree] for number, tree in each.codes.items() if tree in problems}
            each.left_out.update(bad.values())
            codes = {number: tree for number, tree in each.codes.items() if number not in bad}
            found.append(replace(each, codes=codes))

    def _session(self, ref: str, tree: Mapping[str, Entry] | None, texts: Mapping[str, bytes | None]) -> Shared:
        named = records.parts(ref)
        if named is None:
            raise UnusableRecord("an odd name")
        if tree is None:
            raise UnusableRecord("no records, or too many files")
        session, table = (self._text(tree, name, texts) for name in (records.SESSION, records.EXPERIMENTS))
        facts = records.read_session(session)
        experiments, left_out = records.read_experiments(table)
        entries = ((each.number, tree.get(each.folder)) for each in experiments)
        codes = {number: entry.object for number, entry in entries if entry is not None and entry.mode == _TREE}
        return Shared(*named, facts, experiments, codes, left_out)

    @staticmethod
    def _text(tree: Mapping[str, Entry], name: str, texts: Mapping[str, bytes | None]) -> bytes:
        entry = tree.get(name)
        if entry is None or entry.mode not in _PLAIN:
            raise UnusableRecord("no records")
        text = texts.get(entry.object)
        if text is None:
            raise UnusableRecord("records that are too long")
        return text

    def _problems(self, trees: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
        """What is wrong with the code in folders of experiments: links, submodules, giants, nothing of ours in it."""
        asked = [(tree, f"{part}/{path}") for tree in trees for part in ("files", "base") for path in paths]
        entries = self._walk(asked)
        blobs = list({entry.object: None for entry in entries.values() if entry.mode in _PLAIN})
        sizes = dict(zip(blobs, self._sizes(blobs), strict=True))
        with_files = {tree for tree, path in entries if path.startswith("files/")}
        found = {tree: "no code of this lab's files" for tree in trees if tree not in with_files}
        for (tree, _), entry in entries.items():
            kind, size = sizes.get(entry.object) or ("", 0)
            if entry.mode not in _PLAIN or kind != "blob":
                found[tree] = "a link or a folder in place of code"
            elif size > LARGEST_BYTES:
                found[tree] = f"a file of more than {LARGEST_BYTES >> 20} MiB"
        return found

    def _walk(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Entry]:
        """What is at each path under each tree, as far as there is something: a step down is one look for all."""
        found: dict[tuple[str, str], Entry] = {}
        open_ = {(tree, path): (tree, path.split("/")) for tree, path in asked}
        while open_:
            trees = self._trees(list({tree: None for tree, _ in open_.values()}), _TREE_BYTES)
            deeper = {}
            for key, (tree, parts) in open_.items():
                entry = trees.get(tree, {}).get(parts[0])
                if entry is not None and len(parts) > 1 and entry.mode == _TREE:
                    deeper[key] = (entry.object, parts[1:])
                elif entry is not None:
                    found[key] = entry if len(parts) == 1 else Entry("", entry.object)
            open_ = deeper
        return found

    # ── objects ─────────────────────────────────────────────────────────────────────────────────────────────

    def _trees(self, names: Sequence[str], limit: int) -> dict[str, dict[str, Entry]]:
        """What is in each tree itself, by name; those that are no trees, or longer than `limit` bytes, are left out."""
        sizes = zip(names, self._sizes(names), strict=True)
        right = [name for name, size in sizes if size is not None and size[0] == "tree" and size[1] <= limit]
        width = len(names[0].partition("^")[0]) // 2 if names else 0
        return {name: _entries(data, width) for name, data in zip(right, self._contents(right), strict=True)}

    def _blobs(self, limits: Mapping[str, int]) -> dict[str, bytes | None]:
        """The bytes of each blob; None for one that is longer than its limit."""
        sizes = zip(limits, self._sizes(list(limits)), strict=True)
        right = [name for name, size in sizes if size is not None and size[0] == "blob" and size[1] <= limits[name]]
        return dict.fromkeys(limits) | dict(zip(right, self._contents(right), strict=True))

    def _sizes(self, names: Sequence[str]) -> list[tuple[str, int] | None]:
        """Kind and size of each object, None if there is none."""
        asked = "".join(f"{name}\n" for name in names).encode()
        lines = self._git("cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=asked).splitlines()
        words = [line.split() for line in lines]
        return [(w[0], int(w[1])) if len(w) == 2 and w[1].isdigit() else None for w in words]

    def _contents(self, names: Sequence[str]) -> list[bytes]:
        """The bytes of each object; all of them are there."""
        asked = "".join(f"{name}\n" for name in names).encode()
        data = self._git_bytes("cat-file", "--batch=%(objectsize)", stdin=asked) if names else b""
        found: list[bytes] = []
        place = 0
        for _ in names:
            end = data.index(b"\n", place)
            size = int(data[place:end])
            found.append(data[end + 1 : end + 1 + size])
            place = end + size + 2
        return found

    def codes(self, trees: Sequence[str], paths: Sequence[str]) -> dict[str, tuple[Code, Code]]:
        """:meth:`code` of many, by one git."""
        asked = [f"{part}/{path}" for part in ("files", "base") for path in paths]
        found = self.read_many(list(dict.fromkeys(trees)), asked)
        return {tree: (_under("files/", texts), _under("base/", texts)) for tree, texts in found.items()}

    def code(self, tree: str, paths: Sequence[str]) -> tuple[Code, Code]:
        """The texts of an experiment whose tree :class:`Shared` has, and those at its base."""
        return self.codes([tree], paths)[tree]


def _entries(tree: bytes, width: int) -> dict[str, Entry]:
    """A tree as git stores it: mode, blank, name, NUL, and the object's digest of `width` bytes."""
    found: dict[str, Entry] = {}
    place = 0
    while place < len(tree):
        end = tree.index(b"\0", place)
        mode, _, name = tree[place:end].partition(b" ")
        digest = tree[end + 1 : end + 1 + width]
        found[name.decode("utf-8", "replace")] = Entry(mode.decode("ascii", "replace"), digest.hex())
        place = end + 1 + width
    return found


def _under(folder: str, texts: Code) -> Code:
    return {path.removeprefix(folder): text for path, text in texts.items() if path.startswith(folder)}


def _plain_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
