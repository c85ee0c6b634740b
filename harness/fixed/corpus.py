"""Where the text comes from, and which of it trains, validates or is sealed for the human alone.

Every source ends as parquet shards with one `text` column.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fixed.store import Layout, Manifest, file_sha256, load_manifest, replacing

VAL_SHARD = 6542  # the pinned validation shard, never trained on
SEALED_SHARD = 6541  # of the split that only the human sees, never trained on either
VAL_FILENAME = f"shard_{VAL_SHARD:05d}.parquet"
VAL_NAME = f"val_{VAL_SHARD:05d}"
SEALED_NAME = f"sealed_{SEALED_SHARD:05d}"
SEALED_FILENAME = f"shard_{SEALED_SHARD:05d}.parquet"
# Modules that training never imports: their text is scored, and a run does not see it.
STDLIB_VAL = ("aifc", "asynchat", "asyncore", "cgi", "ftplib", "mailbox", "nntplib", "poplib", "smtpd", "telnetlib")
STDLIB_VAL += ("tkinter", "turtle", "wsgiref", "xmlrpc")
STDLIB_SEALED = ("imaplib", "modulefinder", "plistlib", "smtplib", "trace")
HUB_REPO = "karpathy/climbmix-400b-shuffle"
ATTEMPTS = 5  # for a download, with pauses that double
SHARD_BYTES, VAL_BYTES = 64_000_000, 64_000_000  # text in one shard of a corpus built here
STDLIB_SKIP = {"site-packages", "__pycache__", "test", "tests", "idle_test", "encodings", "idlelib", "lib2to3"}
STDLIB_SKIP |= {"distutils", "pydoc_data", "turtledemo", "ensurepip", "lib-dynload"}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TEXT_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")


class PrepareError(Exception):
    """something the user can fix; the message says what, where and how."""


class DamagedShardError(PrepareError):
    """A parquet file that cannot be read."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(f"{path}: damaged shard ({str(cause).splitlines()[0][:80]})")
        self.path = path


class Progress:
    """Tells how far a stage is: a line rewritten in place, or JSON lines, at most ten a second.

    With `always` the note stands on a line of its own: stage "note" in JSON.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.last, self.stage = 0.0, ""
        self.open_line = False

    def __call__(self, stage: str, done: float, total: float, unit: str, note: str = "", always: bool = False) -> None:
        now = time.monotonic()
        if always:
            self.close()
            record = {"stage": "note", "done": 0, "total": 0, "unit": "", "note": note}
            print(json.dumps(record) if self.as_json else note, flush=True)
            return
        if now - self.last < 0.1 and done < total and stage == self.stage:
            return
        self.last, self.stage = now, stage
        if self.as_json:
            record = {"stage": stage, "done": round(done, 1), "total": round(total, 1), "unit": unit, "note": note}
            print(json.dumps(record), flush=True)
            return
        text = f"{stage}: {done:,.0f}/{total:,.0f} {unit} {note}".rstrip()
        self.open_line = done < total
        print(f"\r{text:<78}", end="" if self.open_line else "\n", flush=True)

    def close(self) -> None:
        """End a line that was left open, so that an error begins on its own."""
        if self.open_line and not self.as_json:
            print(flush=True)
        self.open_line = False


# ---------------------------------------------------------------------------
# Sources
# ---------------------------------------------------------------------------


def stdlib_documents(stdlib: Path) -> Iterator[tuple[str, str]]:
    """(group, source) of the standard library's modules by path; the group is the top-level module's name."""
    for path in sorted(stdlib.rglob("*.py")):
        parts = path.relative_to(stdlib).parts
        if STDLIB_SKIP.isdisjoint(parts) and not parts[0].startswith("config-"):
            try:
                yield parts[0].removesuffix(".py"), path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                continue


def user_documents(files: list[Path]) -> Iterator[tuple[str, str]]:
    """(group, text) of the user's files: JSONL and parquet by their `text`, other files in parts at blank lines."""
    size = min(8192, max(512, sum(path.stat().st_size for path in files) // 200))  # enough parts to keep some apart
    for path in files:
        try:
            if path.suffix == ".parquet":
                texts: Iterable[str] = read_shard(path)
            elif path.suffix == ".jsonl":
                texts = read_jsonl(path)
            else:
                texts = cut_paragraphs(path.read_text(encoding="utf-8"), size)
            for number, text in enumerate(texts):
                yield f"{path.name}:{number}", text
        except UnicodeDecodeError:
            raise PrepareError(f"{path}: not UTF-8; convert it or take it away") from None


def read_jsonl(path: Path) -> Iterator[str]:
    """The `text` of each line. Raises PrepareError that names the line without one."""
    with path.open(encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.strip():
                try:
                    text = json.loads(line)["text"]
                except (ValueError, KeyError, TypeError):
                    text = None
                if not isinstance(text, str):
                    raise PrepareError(f'{path}: line {number}: expected a JSON object with a string "text"')
                yield text


def cut_paragraphs(text: str, size: int) -> Iterator[str]:
    """Parts of about `size` characters that end at a blank line where there is one, at a line end otherwise."""
    start = 0
    while start < len(text):
        stop = min(start + size, len(text))
        if stop < len(text):
            cut = text.rfind("\n\n", start, stop) + 2
            cut = cut if cut > start + 2 else text.rfind("\n", start, stop) + 1
            stop = cut if cut > start else stop
        yield text[start:stop]
        start = stop


def split_documents(documents: Iterable[tuple[str, str]], side: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """("train", "val" or "sealed", text): `side` of its group; exact duplicates and tiny texts vanish."""
    seen = set()
    for group, text in documents:
        digest = hashlib.sha1(text.encode()).digest()
        if len(text) >= 64 and digest not in seen:
            seen.add(digest)
            yield side(group), text


def side_by_name(group: str) -> str:
    """Of the embedded corpus."""
    return "val" if group in STDLIB_VAL else "sealed" if group in STDLIB_SEALED else "train"


def side_by_hash(group: str) -> str:
    """Of the user's texts: one in twenty for validation, a quarter as many sealed."""
    number = int(hashlib.sha1(group.encode()).hexdigest(), 16) % 80
    return "val" if number % 20 == 0 else "sealed" if number == 1 else "train"


def build_shards(where: Layout, documents: Iterable[tuple[str, str]], tell: Progress, manifest: Manifest) -> None:
    """Write (side, text) documents as numbered training shards, one for validation and, where any, one sealed.

    Raises PrepareError where there is nothing to train on or to validate.
    """
    digest, number, done = hashlib.sha256(), 0, 0
    batches = {"train": Batch(), "val": Batch(), "sealed": Batch()}
    train = batches["train"]

    def flush(path: Path, batch: Batch) -> None:
        write_shard(path, batch.texts)
        manifest.add(path)
        batch.clear()

    for side, text in documents:
        raw = text.encode()
        digest.update(f"{side} {len(raw)}\n".encode() + raw)
        (batches[side] if batches[side].size < VAL_BYTES else train).append(text, len(raw))
        done += len(raw)
        tell("corpus", done / 1e6, done / 1e6 + 1, "MB")
        if train.size >= SHARD_BYTES:
            flush(where.data / f"shard_{number:05d}.parquet", train)
            number += 1
    if train.texts:
        flush(where.data / f"shard_{number:05d}.parquet", train)
        number += 1
    if not number or not batches["val"].texts:
        raise PrepareError(f"{where.dataset}: too little text to keep some of it for validation; add more")
    if batches["sealed"].texts:
        flush(where.private_data / SEALED_FILENAME, batches["sealed"])
    flush(where.private_data / VAL_FILENAME, batches["val"])
    manifest.content["corpus_sha256"] = digest.hexdigest()
    manifest.save()
    tell("corpus", done / 1e6, done / 1e6, "MB", f"{number + 1} shards")


class Batch:
    """Texts on their way to a shard, and their bytes."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.texts: list[str] = []
        self.size = 0

    def append(self, text: str, nbytes: int) -> None:
        self.texts.append(text)
        self.size += nbytes


def write_shard(path: Path, texts: list[str]) -> None:
    """One parquet file with the column `text`, compressed with zstd."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as partial:
        pq.write_table(pa.table({"text": texts}), partial, compression="zstd", row_group_size=1024)


def read_shard(path: Path) -> Iterator[str]:
    """The texts of a parquet shard in order. Raises PrepareError where it is not a readable one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if "text" not in file.schema_arrow.names:
                raise PrepareError(f"{path}: no column `text`")
            for batch in file.iter_batches(batch_size=512, columns=["text"]):
                yield from (text for text in batch.column(0).to_pylist() if text)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise DamagedShardError(path, error) from None


# ---------------------------------------------------------------------------
# The hub
# ---------------------------------------------------------------------------


def fetch_shards(where: Layout, num_shards: int, tell: Progress, manifest: Manifest) -> dict[str, Path]:
    """Have the first `num_shards` training shards of climbmix, its validation and its sealed shard on disk."""
    wanted = SEALED_SHARD if num_shards == -1 else min(num_shards, SEALED_SHARD)
    paths = [where.private_data / VAL_FILENAME, where.private_data / SEALED_FILENAME]
    for path in paths:
        if not path.exists() and (where.data / path.name).exists():  # the reference keeps them in sight
            path.parent.mkdir(parents=True, exist_ok=True)
            (where.data / path.name).replace(path)
    paths += [where.data / f"shard_{n:05d}.parquet" for n in range(wanted)]
    for number, path in enumerate(paths):
        if not manifest.has(path):
            if path.exists() and not is_parquet(path):
                tell("download", number, len(paths), "files", f"{path.name} is damaged: fetching it again", True)
                path.unlink()
            if not path.exists():
                fetch(path, partly(tell, number, len(paths), path.name))
            manifest.add(path)
        tell("download", number + 1, len(paths), "files", path.name)
    return named_shards(where)


def partly(tell: Progress, number: int, total: int, name: str) -> Callable[[int, int], None]:
    """Progress inside one file, as a part of all files."""

    def inside(done: int, size: int) -> None:
        note = f"{name} {done / 1e6:.0f} of {size / 1e6:.0f} MB"
        tell("download", number + 0.999 * done / size, total, "files", note)

    return inside


def is_parquet(path: Path) -> bool:
    """Does the file begin and end as a parquet file does? Finds cut and overwritten downloads at no cost."""
    with path.open("rb") as f:
        head = f.read(4)
        f.seek(max(0, path.stat().st_size - 4))
        return head == f.read(4) == b"PAR1"


def fetch(path: Path, tell: Callable[[int, int], None]) -> None:
    """Download one shard with huggingface_hub, going on where an earlier attempt or process left off.

    Its size, and its SHA-256 where the hub gives that, are checked. Raises PrepareError after ATTEMPTS failures.
    """
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.utils.logging import set_verbosity_error
    except ImportError:
        raise PrepareError("climbmix needs huggingface_hub: pip install 'autoresearch-tui[data]'") from None
    set_verbosity_error()
    url = hf_hub_url(HUB_REPO, path.name, repo_type="dataset")
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2**attempt / 2)
        try:
            found = get_hf_file_metadata(url)
            download(url, path, found.size or 0, found.etag or "", tell)
            return
        except Exception as error:  # the hub's, the network's and the disk's errors have no parent in common
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise PrepareError(f"{path.name}: {ATTEMPTS} attempts failed ({problem}); check the network and run this again")


def download(url: str, path: Path, size: int, etag: str, tell: Callable[[int, int], None]) -> None:
    """Add to what is there of this version of the file, and put it in place when it is whole and right."""
    from huggingface_hub.file_download import http_get

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{hashlib.sha256(etag.encode()).hexdigest()[:12]}.partial")
    if partial.exists() and partial.stat().st_size > size:
        partial.unlink()

    class Told(io.BufferedWriter):
        def write(self, data: bytes) -> int:
            written = super().write(data)
            tell(self.tell(), max(size, 1))
            return written

    with Told(io.FileIO(partial, "ab")) as f:
        http_get(url, f, resume_size=partial.stat().st_size, expected_size=size or None)
    if len(etag) == 64 and file_sha256(partial) != etag:
        partial.unlink()
        raise OSError("its contents are not what the hub has")
    partial.replace(path)


def user_files(path: Path) -> list[Path]:
    """The text files of a folder, or the one file given. Raises PrepareError where there are none."""
    if not path.exists():
        raise PrepareError(f"{path}: no such file or folder; --data takes climbmix, embedded or a path")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in TEXT_SUFFIXES)
    files = [p for p in files if p.suffix in TEXT_SUFFIXES]
    if not files:
        raise PrepareError(f"{path}: no {', '.join(TEXT_SUFFIXES)} files in it")
    return files


def named_shards(where: Layout) -> dict[str, Path]:
    """Token file name of each parquet shard of a data set; the pinned shards are in the private folder."""
    train = sorted(where.data.glob("shard_*.parquet"))
    pinned = {SEALED_NAME: where.private_data / SEALED_FILENAME, VAL_NAME: where.private_data / VAL_FILENAME}
    return {f"train_{p.stem[6:]}": p for p in train} | {name: p for name, p in pinned.items() if p.exists()}


def fingerprint(files: list[Path]) -> str:
    """Hash of names, sizes and times of change: what of the user's files can be compared at once."""
    stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()


def source_changed(where: Layout) -> bool:
    """Are the user's files others than those that were prepared? Where they are gone, what was prepared still holds."""
    prepared = load_manifest(where).get("source_sha256")
    path = Path(where.dataset).expanduser().resolve()
    return bool(prepared) and path.exists() and fingerprint(user_files(path)) != prepared


def gather_user(where: Layout, tell: Progress, manifest: Manifest) -> dict[str, Path]:
    """The user's own parquet shards where they lie, the last two sealed and for validation; any other text as shards
    built here."""
    files = user_files(Path(where.dataset).expanduser().resolve())
    found = fingerprint(files)
    if manifest.content.get("source_sha256") != found:
        for folder in (where.data, where.private):
            shutil.rmtree(folder, ignore_errors=True)  # shards of ours, of other text
        manifest.content.pop("corpus_sha256", None)
        manifest.content |= {"source_sha256": found, "files": {}, "private": {}}
    if len(files) > 2 and all(p.suffix == ".parquet" for p in files):
        for number, path in enumerate(files, 1):
            if not manifest.has(path):
                manifest.add(path)
            tell("shards", number, len(files), "files", path.name)
        return {f"train_{n:05d}": p for n, p in enumerate(files[:-2])} | {SEALED_NAME: files[-2], VAL_NAME: files[-1]}
    if not built(where, manifest):
        build_shards(where, split_documents(user_documents(files), side_by_hash), tell, manifest)
    return named_shards(where)


def built(where: Layout, manifest: Manifest) -> bool:
    """Are all the shards that were built here still as they were?"""
    shards = named_shards(where)
    return "corpus_sha256" in manifest.content and VAL_NAME in shards and all(map(manifest.has, shards.values()))


def gather(where: Layout, num_shards: int, tell: Progress, manifest: Manifest) -> dict[str, Path]:
    """Have every shard of the data set on disk; its token file's name and path for each, validation last."""
    if where.dataset == "climbmix":
        return fetch_shards(where, num_shards, tell, manifest)
    if where.dataset != "embedded":
        return gather_user(where, tell, manifest)
    if not built(where, manifest):
        stdlib = Path(sysconfig.get_path("stdlib"))
        build_shards(where, split_documents(stdlib_documents(stdlib), side_by_name), tell, manifest)
    return named_shards(where)


def text_bytes(path: Path) -> int:
    """Uncompressed size of a shard's text, from its footer. Raises PrepareError for a damaged file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        meta = pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise DamagedShardError(path, error) from None
    return sum(meta.row_group(i).column(0).total_uncompressed_size for i in range(meta.num_row_groups))
