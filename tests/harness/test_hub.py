"""Downloads from a stand-in for the hub: names, sizes, resumption, damage and a network that fails."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .conftest import fresh
from .test_prepare import words

hub = pytest.importorskip("huggingface_hub")


class Hub(ThreadingHTTPServer):
    """Serves files as the hub does, and breaks where it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, file, range
        self.cut_at = 0  # bytes after which the next download breaks off
        self.broken = False
        self.broken_after = False  # the cut


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, body: bool) -> None:
        name = self.path.rpartition("/")[2]
        wanted = self.headers.get("Range", "")
        self.server.asked.append((self.command, name, wanted))
        content = self.server.files.get(name)
        if content is None or self.server.broken:
            self.send_response(503 if self.server.broken else 404)
            self.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{len(content)}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            stop = self.server.cut_at or len(content)
            self.server.broken = bool(self.server.cut_at) and self.server.broken_after
            self.server.cut_at = 0
            self.wfile.write(content[start:stop])

    def do_HEAD(self) -> None:
        self.reply(body=False)

    def do_GET(self) -> None:
        self.reply(body=True)


def shard(seed: int) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [words(20_000, seed + i) for i in range(3)]}), out)
    return out.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    names = [f"shard_{i:05d}.parquet" for i in (0, 1, 2, 6541, 6542)]
    server.files = {name: shard(10 * i) for i, name in enumerate(names)}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield server
    server.shutdown()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    modules = fresh(tmp_path / "cache")
    monkeypatch.setattr(modules["corpus"].time, "sleep", lambda _: None)
    return modules


def run(tools: dict[str, ModuleType], shards: int = 2) -> int:
    return tools["encode"].run(
        tools["store"].layout("climbmix", 400), tools["settings"].Profile(32, 4096, 400, "climbmix"), shards, True
    )


def test_shards_lie_where_the_reference_keeps_them(tools, server) -> None:
    assert run(tools) == 0
    data = tools["settings"].CACHE_DIR / "data"
    private = tools["settings"].PRIVATE_DIR / "climbmix"
    assert sorted(p.name for p in data.glob("*.parquet")) == [f"shard_{i:05d}.parquet" for i in (0, 1)]
    assert sorted(p.name for p in private.glob("*.parquet")) == [f"shard_{i:05d}.parquet" for i in (6541, 6542)]
    assert all((data / name).read_bytes() == server.files[name] for name in ("shard_00000.parquet",))
    server.asked.clear()
    assert run(tools) == 0
    assert server.asked == []


def test_a_validation_shard_in_sight_is_put_away(tools, server) -> None:
    data, private = tools["settings"].CACHE_DIR / "data", tools["settings"].PRIVATE_DIR / "climbmix"
    data.mkdir(parents=True)
    (data / "shard_06542.parquet").write_bytes(server.files["shard_06542.parquet"])
    assert run(tools) == 0
    assert not (data / "shard_06542.parquet").exists()
    assert (private / "shard_06542.parquet").read_bytes() == server.files["shard_06542.parquet"]
    assert "shard_06542.parquet" not in {name for _, name, _ in server.asked}


def test_more_shards_fetch_only_what_is_missing(tools, server) -> None:
    run(tools)
    server.asked.clear()
    assert run(tools, 3) == 0
    assert {name for _, name, _ in server.asked} == {"shard_00002.parquet"}


@pytest.mark.parametrize("restart", [False, True])
def test_a_download_that_breaks_off_is_resumed(tools, server, monkeypatch, restart) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    server.cut_at, server.broken_after = 5500, restart
    if restart:  # the hub is gone for the rest of the first process
        assert run(tools) == 2
        server.broken = server.broken_after = False
        server.asked.clear()
    assert run(tools) == 0
    assert ("GET", "shard_06542.parquet", "bytes=5000-") in server.asked
    path = tools["settings"].PRIVATE_DIR / "climbmix" / "shard_06542.parquet"
    assert path.read_bytes() == server.files[path.name]


def test_a_damaged_shard_is_named_and_fetched_again(tools, server, capsys) -> None:
    run(tools)
    path = tools["settings"].CACHE_DIR / "data" / "shard_00001.parquet"
    path.write_bytes(path.read_bytes()[:3000])
    capsys.readouterr()
    assert run(tools) == 0
    notes = [json.loads(line)["note"] for line in capsys.readouterr().out.splitlines()]
    assert any("shard_00001.parquet is damaged" in note for note in notes)
    assert path.read_bytes() == server.files["shard_00001.parquet"]


def test_without_a_network_one_line_says_so(tools, server, capsys) -> None:
    server.broken = True
    assert run(tools) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "shard_06542.parquet" in line
    assert "check the network" in line
    server.broken = False
    assert run(tools) == 0


def test_without_the_package_one_line_says_how(tools, monkeypatch, capsys) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert run(tools) == 2
    assert "autoresearch-tui[data]" in capsys.readouterr().err
