"""Shared sessions, ours and others', in a bare repository of its own beside the lab's sessions.

So the lab's own repository gets no stranger's objects and gives away no history: what is pushed is made here, as
commits without parents. A session is one ref, `refs/autoresearch/shared/<who>/<session>`.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import field
from msgspec.structs import replace

from autoresearch_tui.lab import git_trees
from autoresearch_tui.lab.editable import LARGEST_BYTES, MOST_FILES, Editable
from autoresearch_tui.lab.git import SAFE, GitError, GitRepo
from autoresearch_tui.sharing import records
from autoresearch_tui.sharing.records import SharedExperiment, SharedSession, UnusableRecord
from autoresearch_tui.util.errors import Refused
from autoresearch_tui.util.frozen import Frozen

FOLDER = "shared.git"
_LOCK = "exchange.lock"
_PLAIN, _TREE = ("100644", "100755"), "40000"
# The largest tree: of a session with the most experiments, whose folders have at most five digits.
_TREE_BYTES = 64 * (records.MOST_EXPERIMENTS + 2)
_CODE, _BASE = "files/", "base/"
# The most entries that are read in the folder of one experiment.
_MOST_ENTRIES = 4 * MOST_FILES
_SESSIONS_AT_ONCE = 50

Code = Mapping[str, str]
"""Texts by path, from the lab's folder."""


class Entry(NamedTuple):
    """An entry of a tree."""

    mode: str
    object: str


class Shared(Frozen):
    """The usable part of another lab's session; `codes`: the tree of each experiment's code, by number."""

    who: str
    name: str
    session: SharedSession
    experiments: tuple[SharedExperiment, ...]
    codes: Mapping[int, str]
    left_out: Counter[str] = field(default_factory=Counter)


class Store(GitRepo):
    """The bare repository in a lab's state folder. Raises GitError, OSError."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if self.git_folder.resolve() != folder.resolve():  # git searched upward and found the lab's repository
            raise GitError(f"{folder} is no git repository any more")

    @classmethod
    def of(cls, state_folder: Path, like: GitRepo | None = None) -> Store:
        """The store, made if it is missing, with the same kind of hashes as `like`."""
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
        """The store; None if it is missing or damaged."""
        try:
            return cls(state_folder / FOLDER) if (state_folder / FOLDER / "HEAD").exists() else None
        except GitError:
            return None

    @staticmethod
    def stamp(state_folder: Path) -> tuple[int, int, int]:
        """Changes with each fetch that brought something; zeros before the first."""
        try:
            found = (state_folder / FOLDER / "packed-refs").stat()
        except OSError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps out other commands that use the store. Raises Refused."""
        file = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lab = self.root.parent.parent
                raise Refused(f"{lab}: another command exchanges something", "try again when it ends") from None
            for rest in self._left_by_killed():
                rest.unlink(missing_ok=True)
            yield
        finally:
            os.close(file)

    def _left_by_killed(self) -> list[Path]:
        """Half a pack, and locks of refs, left by a killed git: nothing else uses the store now."""
        locks = (*self.root.glob("*.lock"), *(self.root / "refs").rglob("*.lock"))
        return [*(self.root / "objects" / "pack").glob("tmp_*"), *(each for each in locks if each.name != _LOCK)]

    def settle(self) -> None:
        """After a fetch: pack all refs into one file, by which readers notice the change."""
        self._git("pack-refs", "--all")

    # ── ours ────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, files: Mapping[str, str], message: str, when: str) -> str:
        """A commit of these files without a parent; the same call gives the same commit, and no ref moves."""
        data = {path: text.encode("utf-8", "surrogateescape") for path, text in files.items()}
        return self.commit(None, data, message, when)

    # ── others' ─────────────────────────────────────────────────────────────────────────────────────────────

    def sessions(self, editable: Editable) -> tuple[list[Shared], Counter[str]]:
        """Every readable session, with the code at editable paths; and the number of unreadable ones by reason.

        It takes few git processes, however many sessions there are.
        """
        found: list[Shared] = []
        left_out: Counter[str] = Counter()
        refs = sorted(self.refs(records.PREFIX).items())
        for start in range(0, len(refs), _SESSIONS_AT_ONCE):
            self._read_sessions(refs[start : start + _SESSIONS_AT_ONCE], editable, found, left_out)
        return found, left_out

    def _read_sessions(
        self, refs: Sequence[tuple[str, str]], editable: Editable, found: list[Shared], left_out: Counter[str]
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
        problems = self._problems(list(folders), editable)
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

    def _problems(self, trees: Sequence[str], editable: Editable) -> dict[str, str]:
        """What is wrong with the code in folders of experiments: links, submodules, huge files, no editable file."""
        found, too_many = self._files(trees, editable)
        blobs = list({entry.object: None for files in found.values() for entry in files.values()})
        sizes = dict(zip(blobs, self._sizes(blobs), strict=True))
        problems: dict[str, str] = dict.fromkeys(too_many, "too many files")
        for tree, files in found.items():
            if not any(path.startswith(_CODE) for path in files):
                problems.setdefault(tree, "no code of this lab's files")
            for entry in files.values():
                kind, size = sizes.get(entry.object) or ("", 0)
                if entry.mode not in _PLAIN or kind != "blob":
                    problems[tree] = "a link or a folder in place of code"
                elif size > LARGEST_BYTES:
                    problems[tree] = f"a file of more than {LARGEST_BYTES >> 20} MiB"
        return problems

    def _files(self, trees: Sequence[str], editable: Editable) -> tuple[dict[str, dict[str, Entry]], frozenset[str]]:
        """The entries at editable paths in folders of experiments, by `files/<path>` and `base/<path>`, read level by
        level for all folders together. And the folders with too many entries, which were not read completely."""
        found: dict[str, dict[str, Entry]] = {tree: {} for tree in trees}
        seen: Counter[str] = Counter()
        level: dict[str, list[tuple[str, str]]] = {tree: [(tree, "")] for tree in trees}
        while level:
            entries = self._trees(list(level), _TREE_BYTES)
            deeper: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
            for each, places in level.items():
                for (tree, folder), (name, entry) in itertools.product(places, entries.get(each, {}).items()):
                    path = f"{folder}{name}"
                    part, _, inside = path.partition("/")
                    seen[tree] += 1
                    if seen[tree] > _MOST_ENTRIES or f"{part}/" not in (_CODE, _BASE):
                        continue
                    if inside in editable.plain or (inside and editable.covers(inside)):
                        found[tree][path] = entry
                    elif entry.mode == _TREE and (not inside or _leads(inside, editable)):
                        deeper[entry.object].append((tree, f"{path}/"))
            level = deeper
        return found, frozenset(tree for tree, count in seen.items() if count > _MOST_ENTRIES)

    # ── objects ─────────────────────────────────────────────────────────────────────────────────────────────

    def _trees(self, names: Sequence[str], limit: int) -> dict[str, dict[str, Entry]]:
        """The entries of each tree by name; objects that are no trees, or longer than `limit` bytes, are left out."""
        sizes = zip(names, self._sizes(names), strict=True)
        right = [name for name, size in sizes if size is not None and size[0] == "tree" and size[1] <= limit]
        width = len(names[0].partition("^")[0]) // 2 if names else 0
        return {name: _entries(data, width) for name, data in zip(right, self._contents(right), strict=True)}

    def _blobs(self, limits: Mapping[str, int]) -> dict[str, bytes | None]:
        """The bytes of each blob; None for one longer than its limit."""
        sizes = zip(limits, self._sizes(list(limits)), strict=True)
        right = [name for name, size in sizes if size is not None and size[0] == "blob" and size[1] <= limits[name]]
        return dict.fromkeys(limits) | dict(zip(right, self._contents(right), strict=True))

    def _sizes(self, names: Sequence[str]) -> list[tuple[str, int] | None]:
        """Kind and size of each object; None for missing ones."""
        asked = "".join(f"{name}\n" for name in names).encode()
        lines = self._git("cat-file", "--batch-check=%(objecttype) %(objectsize)", stdin=asked).splitlines()
        words = [line.split() for line in lines]
        return [(w[0], int(w[1])) if len(w) == 2 and w[1].isdigit() else None for w in words]

    def _contents(self, names: Sequence[str]) -> list[bytes]:
        return [each.data if each is not None else b"" for each in self._objects(names)]

    def codes(self, trees: Sequence[str], editable: Editable) -> dict[str, tuple[Code, Code]]:
        """The texts of experiments' code, by the trees in :class:`Shared`, and those of their bases."""
        trees = list(dict.fromkeys(trees))
        files, base = (self._texts(trees, part, editable) for part in (_CODE, _BASE))
        return {tree: (files[tree], base[tree]) for tree in trees}

    def _texts(self, trees: Sequence[str], part: str, editable: Editable) -> dict[str, dict[str, str]]:
        named = self.read_many(trees, [f"{part}{path}" for path in editable.plain])
        more: Mapping[str, Mapping[str, str]] = {}
        if editable.patterns:
            more = git_trees.texts(self._objects, git_trees.found(self._objects, trees, part, editable))
        return {
            tree: {**{path.removeprefix(part): text for path, text in texts.items()}, **more.get(tree, {})}
            for tree, texts in named.items()
        }


def _leads(folder: str, editable: Editable) -> bool:
    """Whether editable files may be below a folder."""
    return editable.reaches(folder) or any(path.startswith(f"{folder}/") for path in editable.plain)


def _entries(tree: bytes, width: int) -> dict[str, Entry]:
    return {name: Entry(mode, digest) for mode, name, digest in git_trees.entries(tree, width)}


def _plain_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
