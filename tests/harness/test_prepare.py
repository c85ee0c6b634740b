"""Preparation: sources, repeats, interruptions, damage, and one line for each thing that can be wrong."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import HARNESS, fresh

VOCAB, LENGTH = 400, 32


def words(size: int, seed: int = 0) -> str:
    """Paragraphs of made-up words, always the same for a seed."""
    rng = random.Random(seed)
    stems = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(400)]
    text = ""
    while len(text) < size:
        text += " ".join(rng.choices(stems, k=60)) + rng.choice([".\n\n", " 12345.\n", " naïve 🙂\n\n"])
    return text


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, ModuleType]:
    return fresh(tmp_path / "cache")


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A folder with one text file, enough for a small vocabulary."""
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "a.txt").write_text(words(200_000), encoding="utf-8")
    return folder


def run(tools: dict[str, ModuleType], source: Path | str, vocab: int = VOCAB, shards: int = 10) -> int:
    profile = tools["settings"].Profile
    return tools["encode"].run(where(tools, source, vocab), profile(LENGTH, 4096, vocab, ""), shards, True)


def where(tools: dict[str, ModuleType], source: Path | str, vocab: int = VOCAB) -> object:
    return tools["store"].layout(str(source), vocab)


def problem(tools: dict[str, ModuleType], source: Path | str) -> str:
    return tools["store"].find_problem(where(tools, source), tools["settings"].Profile(LENGTH, 4096, VOCAB, ""))


def hashes(tools: dict[str, ModuleType], source: Path | str) -> dict[str, str]:
    """Hash of every prepared file, measured now."""
    found = {}
    for name, top in (("", where(tools, source).root), ("private/", where(tools, source).private)):
        files = [p for p in top.rglob("*") if p.is_file() and p.name not in ("manifest.json", ".prepare.lock")]
        found |= {f"{name}{p.relative_to(top)}": tools["store"].file_sha256(p) for p in files}
    return found


def test_the_same_text_gives_the_same_files(tools, book, tmp_path) -> None:
    assert run(tools, book) == 0
    first = hashes(tools, book)
    assert {name.split("/")[0] for name in first} == {"data", "tokenizer", "tokens", "private"}
    again = fresh(tmp_path / "another")
    assert run(again, book) == 0
    assert hashes(again, book) == first


def test_ready_means_nothing_to_do(tools, book, capsys) -> None:
    run(tools, book)
    before = {p: p.stat().st_mtime_ns for p in where(tools, book).root.rglob("*")}
    capsys.readouterr()
    assert run(tools, book) == 0
    assert [json.loads(line)["stage"] for line in capsys.readouterr().out.splitlines()] == ["done"]
    assert {p: p.stat().st_mtime_ns for p in where(tools, book).root.rglob("*")} == before


def test_progress_is_one_json_object_a_line(tools, book, capsys) -> None:
    run(tools, book)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(set(r) == {"stage", "done", "total", "unit", "note"} for r in records)
    assert all(0 <= r["done"] <= r["total"] for r in records)
    assert [s for i, s in enumerate(r["stage"] for r in records) if i == 0 or records[i - 1]["stage"] != s] == [
        "corpus",
        "tokenizer",
        "tokens",
        "done",
    ]


@pytest.mark.parametrize("killed", [False, True])
def test_interrupted_at_every_file_it_goes_on(tools, book, tmp_path, monkeypatch, killed) -> None:
    """Stop before the n-th file is put in place, for every n; with `killed`, leave the half-made files as well."""
    (book / "a.txt").write_text(words(8_000), encoding="utf-8")
    run(tools, book)
    expected, stopped, real = hashes(tools, book), 0, Path.replace
    for n in range(100):
        target, left = (
            fresh(tmp_path / f"cache{n}", ("fixed.settings", "fixed.store", "fixed.corpus", "fixed.encode")),
            n,
        )

        def stop(self: Path, other: Path) -> Path:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return real(self, other)

        with monkeypatch.context() as m:
            m.setattr(Path, "replace", stop)
            if killed:
                m.setattr(Path, "unlink", lambda self, missing_ok=False: None)
            code = run(target, book)
        if code == 0:
            break
        assert code == 130
        stopped += 1
        assert problem(target, book)
        assert run(target, book) == 0
        assert {k: v for k, v in hashes(target, book).items() if not k.endswith(".partial")} == expected
    assert stopped >= 8


def test_a_finished_shard_is_not_tokenised_again(tools, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for i in range(4):
        pq.write_table(pa.table({"text": [words(30_000, i)]}), folder / f"part-{i}.parquet")
    encode, calls, real = tools["encode"], [], tools["encode"].tokenize_shard

    def counting(source, *rest):
        calls.append(source.name)
        if calls == ["part-0.parquet", "part-1.parquet"]:
            raise KeyboardInterrupt
        return real(source, *rest)

    monkeypatch.setattr(encode, "tokenize_shard", counting)
    assert run(tools, folder) == 130
    assert run(tools, folder) == 0
    assert calls == ["part-0.parquet", "part-1.parquet"] + [f"part-{i}.parquet" for i in (1, 2, 3)]
    assert not (where(tools, folder).root / "data").exists()  # shards are read where they lie


def test_lines_of_json_and_a_single_file_are_sources_too(tools, tmp_path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": words(3000, i)}) + "\n" for i in range(80)), encoding="utf-8")
    assert run(tools, path) == 0
    text = words(150_000)
    single = tmp_path / "one.md"
    single.write_text(text, encoding="utf-8")
    assert run(tools, single) == 0
    parts = list(tools["corpus"].cut_paragraphs(text, 1000))
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 1000


@pytest.mark.parametrize(
    ("answer", "installed", "offered"),
    [
        ("9.0", False, True),
        ("8.9\n9.0", False, True),
        ("9.0", True, False),
        ("8.9", False, False),
        ("12.0", False, False),
        ("Failed to initialize NVML: Driver/library version mismatch", False, False),
    ],
)
def test_flash_attn_3_is_offered_on_hopper(
    tools, book, tmp_path, monkeypatch, capsys, answer: str, installed: bool, offered: bool
) -> None:
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\ncase '{answer}' in F*) exit 18;; esac\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}:{os.environ['PATH']}")
    if installed:
        (tmp_path / "flash_attn_interface.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
    assert run(tools, book) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    notes = [record["note"] for record in records if record["stage"] == "note"]
    assert [f"{sys.executable} -m pip install flash-attn-3" in note for note in notes] == [True] * offered
    assert records[-1]["stage"] == "done"


def test_changed_sources_are_prepared_anew(tools, book, tmp_path, capsys) -> None:
    run(tools, book)
    before = hashes(tools, book)
    (book / "b.txt").write_text(words(50_000, 7), encoding="utf-8")
    corpus = tools["corpus"]
    capsys.readouterr()
    assert run(tools, book) == 0
    notes = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [n["note"] for n in notes if n["stage"] == "note"] == [
        f"{book} has changed since it was prepared: preparing it anew"
    ]
    assert hashes(tools, book) != before
    assert len(corpus.user_files(book)) == 2
    again = fresh(tmp_path / "another")
    assert run(again, book) == 0
    assert hashes(again, book) == hashes(tools, book)  # nothing of the old text is left
    shutil.rmtree(book)
    assert run(tools, book) == 0  # what was prepared still holds


@pytest.mark.parametrize("victim", ["tokens/train_00000.bin", "tokenizer/tokenizer.json", "data/shard_00000.parquet"])
def test_a_damaged_file_is_made_again(tools, book, victim) -> None:
    run(tools, book)
    expected, path = hashes(tools, book), where(tools, book).root / victim
    path.write_bytes(path.read_bytes()[:-7])
    assert victim.split("/")[-1] in problem(tools, book)
    assert run(tools, book) == 0
    assert hashes(tools, book) == expected


def test_verify_names_a_file_that_changed_in_place(tools, book) -> None:
    prepare = tools["prepare"]
    run(tools, book)
    assert prepare.verify_manifest(where(tools, book)) == []
    path = where(tools, book).private / "tokens" / "val_06542.bin"
    raw = bytearray(path.read_bytes())
    raw[10] ^= 1
    path.write_bytes(raw)
    assert prepare.verify_manifest(where(tools, book)) == [str(path)]


def complaint(tools, source, capsys, vocab: int = VOCAB) -> str:
    """What a preparation that must fail says: one line, exit code 2, nothing ready."""
    capsys.readouterr()
    assert run(tools, source, vocab) == 2
    line = capsys.readouterr().err
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert problem(tools, source)
    return line


def test_what_cannot_be_prepared_is_said_in_one_line(tools, tmp_path, capsys) -> None:
    assert "no such file or folder" in complaint(tools, tmp_path / "nowhere", capsys)
    folder = tmp_path / "x"
    folder.mkdir()
    assert ".jsonl" in complaint(tools, folder, capsys)
    (folder / "a.txt").write_text("too short", encoding="utf-8")
    assert "too little text" in complaint(tools, folder, capsys)
    (folder / "a.txt").write_bytes(b"\xff\xfe" + b"x" * 1000)
    assert "not UTF-8" in complaint(tools, folder, capsys)
    (folder / "a.txt").unlink()
    (folder / "a.jsonl").write_text('{"text": "fine"}\n{"txt": 1}\n', encoding="utf-8")
    assert "line 2" in complaint(tools, folder, capsys)


def test_little_text_fills_a_part_of_the_vocabulary_and_that_is_said(tools, tmp_path, capsys) -> None:
    source = tmp_path / "notes.md"
    source.write_text(words(30_000), encoding="utf-8")
    assert run(tools, source, vocab=2048) == 0
    notes = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (said,) = [n["note"] for n in notes if n["stage"] == "note"]
    assert "of 2048 tokens stay unused" in said
    prepare, layout = tools["prepare"], where(tools, source, 2048)
    tokenizer = prepare.Tokenizer.from_directory(layout.tokenizer)
    assert tokenizer.get_vocab_size() == 2048
    sizes = prepare.get_token_bytes(where=layout)
    text = "<|unused_7|> is text, naïve"
    assert int(sizes[tokenizer.encode(text)].sum()) == len(text.encode())
    assert int(sizes[2047]) == 0


def test_a_vocabulary_the_text_cannot_fill_is_refused(tools, book, capsys) -> None:
    line = complaint(tools, book, capsys, vocab=60_000)
    assert "60000" in line
    assert "smaller vocabulary" in line


def test_users_damaged_and_empty_shards_are_named(tools, tmp_path, capsys) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    for i in range(3):
        pq.write_table(pa.table({"text": [words(60_000, i)]}), folder / f"{i}.parquet")
    (folder / "1.parquet").write_bytes(b"PAR1 not really")
    assert "1.parquet: damaged shard" in complaint(tools, folder, capsys)
    assert (folder / "1.parquet").exists()  # the user's files are never taken away
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), folder / "1.parquet")
    assert "1.parquet: no text" in complaint(tools, folder, capsys)
    pq.write_table(pa.table({"content": ["x"]}), folder / "1.parquet")
    assert "no column `text`" in complaint(tools, folder, capsys)


def test_a_full_disk_is_said_and_nothing_is_left_half_made(tmp_path, book) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    env = {"AUTORESEARCH_CACHE": str(tmp_path / "c"), "AUTORESEARCH_DATA": str(book), "PATH": os.environ["PATH"]}
    code = "from fixed import encode, settings, store\n"
    code += "raise SystemExit(encode.run(store.LAYOUT, settings.Profile(32, 4096, 400, ''), 1, True))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=HARNESS, env=env, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list((tmp_path / "c").rglob("*.partial"))
    done = subprocess.run(command, cwd=HARNESS, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_check_is_quick_and_loads_nothing_heavy(cache: Path, tmp_path: Path) -> None:
    code = (
        "import sys, prepare\ncode = prepare.main(['--check'])\n"
        "heavy = {'numpy', 'torch', 'pyarrow', 'tokenizers', 'huggingface_hub'} & set(sys.modules)\n"
        "raise SystemExit(code or bool(heavy))"
    )
    env = {"AUTORESEARCH_CACHE": str(cache), "AUTORESEARCH_PROFILE": "demo"}
    ready = subprocess.run([sys.executable, "-c", code], cwd=HARNESS, env=env, check=False)
    assert ready.returncode == 0
    env["AUTORESEARCH_CACHE"] = str(tmp_path)
    command = [sys.executable, "prepare.py", "--check"]
    missing = subprocess.run(command, cwd=HARNESS, env=env, capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert missing.stderr.startswith("no tokenizer for embedded")
    assert missing.stderr.endswith("run `autoresearch-tui prepare`\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTORESEARCH_PROFILE", "h900"), ("AUTORESEARCH_TIME_BUDGET", "soon"), ("AUTORESEARCH_TOKEN_BUDGET", "-5")],
)
def test_wrong_environment_is_one_line(name: str, value: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        fresh(tmp_path, **{name: value})
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith(f"{name}={value}: ")


def test_the_layouts_do_not_meet(tools) -> None:
    prepare = tools["prepare"]
    reference = prepare.layout("climbmix", 8192)
    assert (reference.data, reference.tokenizer) == (prepare.CACHE_DIR / "data", prepare.CACHE_DIR / "tokenizer")
    roots = {prepare.layout(d, v).root for d in ("climbmix", "embedded", "/a/x", "/b/x") for v in (4096, 8192)}
    assert len(roots) == 8


def test_the_reference_profile_has_the_references_constants(tmp_path: Path) -> None:
    prepare = fresh(tmp_path, AUTORESEARCH_PROFILE="")["prepare"]
    assert prepare.PROFILE_NAME == "reference"
    assert (prepare.MAX_SEQ_LEN, prepare.EVAL_TOKENS, prepare.VOCAB_SIZE) == (2048, 40 * 524288, 8192)
    assert (prepare.TIME_BUDGET, prepare.TOKEN_BUDGET, prepare.DATASET) == (300, 0, "climbmix")


def test_embedded_split_keeps_packages_together(cache: Path) -> None:
    tools = fresh(cache)
    import sysconfig

    corpus = tools["corpus"]
    groups: dict[str, set[str]] = {}
    documents = list(corpus.stdlib_documents(Path(sysconfig.get_path("stdlib"))))
    sides = {text: side for side, text in corpus.split_documents(documents, corpus.side_by_name)}
    for group, text in documents:
        if text in sides:
            groups.setdefault(group, set()).add(sides[text])
    assert {"train", "val", "sealed"} == {side for found in groups.values() for side in found}
    assert all(len(found) == 1 for found in groups.values())
    assert not {"test", "idlelib", "encodings", "site-packages"} & set(groups)


def test_what_is_scored_lies_apart_and_says_what_else_shows_it(tools, book) -> None:
    run(tools, book)
    there = where(tools, book)
    assert not list(there.root.rglob("*val*"))
    assert not list(there.root.rglob("*6542*"))
    assert json.loads((there.private / "hidden.json").read_text()) == {"modules": [], "paths": [str(book)]}
    embedded = tools["store"].layout("embedded", 2048)
    tools["encode"].write_hidden(embedded)
    modules = json.loads((embedded.private / "hidden.json").read_text())["modules"]
    assert set(tools["corpus"].STDLIB_VAL) < set(modules)


def test_validation_text_from_before_it_was_private_goes(tools, book) -> None:
    run(tools, book)
    there = where(tools, book)
    there.manifest.write_text(there.manifest.read_text().replace('"version": 2', '"version": 1'))
    (there.tokens / "val_32_4096.bin").write_bytes(b"rows")
    (there.data / "shard_06542.parquet").write_bytes(b"text")
    assert "evaluation rows" in problem(tools, book)
    assert run(tools, book) == 0
    assert not (there.tokens / "val_32_4096.bin").exists()
    assert not (there.data / "shard_06542.parquet").exists()


def test_a_run_that_has_a_referee_misses_no_private_file(tools, book, tmp_path, monkeypatch) -> None:
    run(tools, book)
    there = where(tools, book)
    there.private.rename(tmp_path / "away")
    assert "missing" in problem(tools, book)
    for name in ("store", "loader"):
        monkeypatch.setattr(tools[name], "REFEREE_FD", "7")
    assert problem(tools, book) == ""
    with pytest.raises(tools["settings"].NotReadyError, match="runs do not see them"):
        tools["loader"].load_tokens("val", there)


def test_a_check_tells_the_data_from_other_data(cache: Path, tmp_path: Path) -> None:
    def told(place: Path) -> str:
        env = {"AUTORESEARCH_CACHE": str(place), "AUTORESEARCH_PROFILE": "demo"}
        command = [sys.executable, "prepare.py", "--check", "--json"]
        return subprocess.run(command, cwd=HARNESS, env=env, capture_output=True, text=True, check=True).stdout

    first = json.loads(told(cache))
    assert first["stage"] == "ready" and re.fullmatch(r"embedded [0-9a-f]{12} [0-9a-f]{12}", first["data"])
    for link in (tmp_path / "copy", tmp_path / "other"):
        link.mkdir()
        for entry in cache.iterdir():
            (link / entry.name).symlink_to(entry)
    assert json.loads(told(tmp_path / "copy")) == first
    (folder,) = (tmp_path / "other").glob("embedded-*")
    entries = list(folder.iterdir())
    folder.unlink()
    folder.mkdir()
    for entry in entries:
        (folder / entry.name).symlink_to((cache / folder.name / entry.name).resolve())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["tokenizer/tokenizer.json"]["sha256"] = "0" * 64
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert json.loads(told(tmp_path / "other")) != first
