"""Where a data set lies on disk, and the manifest of what was prepared there. Standard library only.

Each file is written under another name and renamed when it is whole, and only then entered in the manifest with its
size and SHA-256, so an interrupted preparation continues where it was.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fixed.settings import (
    CACHE_DIR,
    DATASET,
    HANDOVER,
    PREFLIGHT,
    PRIVATE_DIR,
    PROFILE,
    PROFILES,
    REFEREE_FD,
    VOCAB_SIZE,
    Profile,
    fail,
)


class Layout(NamedTuple):
    """Where one data set with one vocabulary lies on disk."""

    dataset: str
    root: Path  # manifest.json, tokenizer/, tokens/
    data: Path  # parquet shards
    tokenizer: Path  # tokenizer.json, token_bytes.npy
    tokens: Path  # *.bin and *.idx.npy for each shard, val_<T>_<N>.bin
    manifest: Path
    private: Path  # rows/ and tokens/ of the val and sealed splits, token_bytes.npy
    private_data: Path  # their parquet shards


def layout(dataset: str = DATASET, vocab_size: int = VOCAB_SIZE) -> Layout:
    """Folders of a data set; climbmix with the reference's vocabulary lies where the reference keeps it."""
    name = dataset
    if dataset not in ("climbmix", "embedded"):
        path = str(Path(dataset).expanduser().resolve())
        slug = re.sub(r"[^a-z0-9]+", "-", Path(path).stem.lower()).strip("-") or "data"
        name = f"{slug}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
    plain = dataset == "climbmix" and vocab_size == PROFILES["reference"].vocab_size
    root = CACHE_DIR if plain else CACHE_DIR / f"{name}-{vocab_size}"
    data = CACHE_DIR / "data" if dataset == "climbmix" else root / "data"
    private = PRIVATE_DIR / f"{name}-{vocab_size}"
    hidden = PRIVATE_DIR / "climbmix" if dataset == "climbmix" else private / "data"
    return Layout(dataset, root, data, root / "tokenizer", root / "tokens", root / "manifest.json", private, hidden)


LAYOUT = layout()


def load_manifest(where: Layout = LAYOUT) -> dict[str, Any]:
    """The manifest, or an empty one where there is none that can be read."""
    try:
        manifest = json.loads(where.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) and manifest.get("version") == 2 else {}


def rows_path(split: str, where: Layout = LAYOUT, profile: Profile = PROFILE) -> Path:
    """File of the rows of the "val" or the "sealed" split that are scored."""
    return where.private / "rows" / f"{split}_{profile.max_seq_len}_{profile.eval_tokens}.bin"


def private_entries(where: Layout = LAYOUT) -> dict[str, Any]:
    """The manifest's entries of what runs do not see, by path relative to PRIVATE_DIR (or absolute)."""
    return load_manifest(where).get("private", {})


def find_problem(where: Layout = LAYOUT, profile: Profile = PROFILE, num_shards: int = 1) -> str:
    """What is missing before training can start, or an empty string. Looks at names and sizes only.

    A run that is scored by a referee does not see what that scores, nor what it hands over: there it is not looked for.
    """
    if not (where.tokenizer / "tokenizer.json").exists():
        return f"no tokenizer for {where.dataset} in {where.tokenizer}"
    manifest = load_manifest(where)
    files, private = manifest.get("files", {}), manifest.get("private", {})
    if str(rows_path("val", where, profile).relative_to(PRIVATE_DIR)) not in private:
        return f"no evaluation rows of {profile.max_seq_len} tokens for {where.dataset} in {PRIVATE_DIR}"
    if sum(1 for name in files if re.fullmatch(r"tokens/train_.*\.bin", name)) < num_shards:
        return f"fewer than {num_shards} training shards in {where.tokens}"
    if HANDOVER:
        files = {name: entry for name, entry in files.items() if not name.startswith(("data/", "tokens/"))}
    for path, entry in _entries(where, {} if REFEREE_FD else private, files):
        if not path.exists() or path.stat().st_size != entry["size"]:
            return f"{path} is missing or damaged"
    return ""


def _entries(where: Layout, private: dict[str, Any], files: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    yield from ((where.root / name, entry) for name, entry in files.items())
    yield from ((PRIVATE_DIR / name, entry) for name, entry in private.items())


def verify_manifest(where: Layout = LAYOUT) -> list[str]:
    """Every file of the manifest whose contents are not what was prepared."""
    manifest = load_manifest(where)
    entries = _entries(where, manifest.get("private", {}), manifest.get("files", {}))
    return [str(path) for path, entry in entries if file_sha256(path) != entry["sha256"]]


def data_id(where: Layout = LAYOUT) -> str:
    """Name of the data set and the first digits of a hash of its shards; scores compare only where it is equal."""
    manifest = load_manifest(where)
    entries = _entries(where, manifest.get("private", {}), manifest.get("files", {}))
    shards = sorted(entry["sha256"] for path, entry in entries if path.suffix == ".parquet")
    return f"{Path(where.dataset).name} {hashlib.sha256(' '.join(shards).encode()).hexdigest()[:12]}"


def identity(where: Layout = LAYOUT) -> str:
    """As :func:`data_id`, and the first digits of a hash of tokenizer and tokens: two machines train on the same."""
    manifest = load_manifest(where)
    entries = _entries(where, manifest.get("private", {}), manifest.get("files", {}))
    made = sorted(entry["sha256"] for path, entry in entries if path.parent.name in ("tokenizer", "tokens"))
    return f"{data_id(where)} {hashlib.sha256(' '.join(made).encode()).hexdigest()[:12]}"


def file_sha256(path: Path) -> str:
    """Hex digest of a file, empty if it cannot be read."""
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError:
        return ""


def require_ready() -> None:
    """Leave with one line on stderr and exit code 2 unless the data of this profile is ready."""
    if not PREFLIGHT and (problem := find_problem()):
        fail(f"{problem}: run `autoresearch-tui prepare`")


def token_paths(split: str, where: Layout = LAYOUT) -> list[Path]:
    """The token file of each shard of "train", "val" or "sealed"; `.idx.npy` beside it has the document offsets."""
    folder = where.tokens if split == "train" else where.private / "tokens"
    table, top = ("files", where.root) if split == "train" else ("private", PRIVATE_DIR)
    known = (top / name for name in load_manifest(where).get(table, {}))
    return sorted(p for p in known if p.parent == folder and re.fullmatch(rf"{split}_\d+\.bin", p.name))


# ---------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and goes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as f:
            os.fsync(f.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the folder's lock; a second preparation waits, then finds everything done."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".prepare.lock").open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


class Manifest:
    """manifest.json: version, dataset, corpus hash, and size and SHA-256 of every file, saved after each entry."""

    def __init__(self, where: Layout) -> None:
        self.where = where
        self.content = load_manifest(where)
        if not self.content:
            self.content = {"version": 2, "dataset": where.dataset, "python": sys.version.split()[0]}
            self.content |= {"files": {}, "private": {}}

    def place(self, path: Path) -> tuple[str, str]:
        """Table and name of a file: `private` for what runs do not see, the user's own files among it, or `files`."""
        if path.is_relative_to(PRIVATE_DIR):
            return "private", str(path.relative_to(PRIVATE_DIR))
        if path.is_relative_to(self.where.root):
            return "files", str(path.relative_to(self.where.root))
        return "files" if path.is_relative_to(self.where.data) else "private", str(path)

    def entry(self, path: Path) -> dict[str, Any]:
        table, name = self.place(path)
        return self.content[table].get(name, {})

    def has(self, path: Path, **facts: object) -> bool:
        """Is the file there, of the recorded size, and made from the same `facts`?"""
        entry = self.entry(path)
        if not entry or any(entry.get(k) != v for k, v in facts.items()):
            return False
        return path.exists() and path.stat().st_size == entry["size"]

    def add(self, path: Path, **facts: object) -> None:
        table, name = self.place(path)
        self.content[table][name] = {"size": path.stat().st_size, "sha256": file_sha256(path), **facts}
        self.save()

    def sha256(self, path: Path) -> str:
        return self.entry(path)["sha256"]

    def save(self) -> None:
        with replacing(self.where.manifest) as partial:
            partial.write_text(json.dumps(self.content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
