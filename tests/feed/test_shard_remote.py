"""Shards on a real object store: the same batches in the same order, over a connection that fails now and then."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_layout import Toy, same_sample

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.data.collection import Collection
from swath.errors import ConfigError, InputError
from swath.feed import shard_remote
from swath.feed.shard_feed import ShardFeed
from swath.feed.shard_remote import Bucket
from swath.feed.shards import Shards
from swath.verbs.packing import pack

ADDRESS = "s3://swath/data sets/toy"


class Trouble:
    """What the proxy does wrong: every n-th request is refused, or its answer breaks off in the middle."""

    every = 0
    kind = "503"
    requests = 0
    ranges = 0
    sent = 0


def proxy(port: int) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_GET(self) -> None:
            Trouble.requests += 1
            Trouble.ranges += "Range" in self.headers
            bad = Trouble.every and Trouble.requests % Trouble.every == 0
            if bad and Trouble.kind == "503":
                self.send_error(503)
                return
            there = http.client.HTTPConnection("127.0.0.1", port)
            there.request(
                "GET", self.path, headers={k: v for k, v in self.headers.items() if k.lower() != "host"}
            )
            answer = there.getresponse()
            body = answer.read()
            there.close()
            Trouble.sent += len(body)
            self.send_response(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if bad:
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(body)

    return Proxy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        pack(Collection(Toy(21, radar=False, bad=(3,)), limit=0.1), path, about={}, shard_bytes=3000)
    return path


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[int]:
    """A real S3 server that holds the shards, behind a proxy; gives the proxy's port."""
    moto = pytest.importorskip("moto.server")
    obstore = pytest.importorskip("obstore")
    from obstore.store import S3Store

    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    front = ThreadingHTTPServer(("127.0.0.1", 0), proxy(port))
    threading.Thread(target=front.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{front.server_port}",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(key, value)
        patch.setattr(shard_remote, "_FIRST_WAIT_SECONDS", 0.01)
        link = http.client.HTTPConnection("127.0.0.1", port)
        link.request("PUT", "/swath")
        link.getresponse().read()
        link.close()
        straight = S3Store("swath", endpoint=f"http://127.0.0.1:{port}", client_options={"allow_http": True})
        for path in folder.rglob("*"):
            if path.is_file():
                obstore.put(
                    straight, f"data sets/toy/{path.relative_to(folder).as_posix()}", path.read_bytes()
                )
        yield front.server_port
    front.shutdown()
    front.server_close()
    server.stop()


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    yield
    Trouble.every = 0


CONTRACT = contract_for(
    "sentinel2",
    ("B04", "B02"),
    Encoding("reflectance", 1e-4, 0.0, "L2A"),
    Normalisation("standard", "record"),
)


@pytest.mark.parametrize(
    ("kind", "cached"),
    [
        ("broken off", True),
        ("503", False),
        pytest.param("calm", True, marks=pytest.mark.slow),
        pytest.param("503", True, marks=pytest.mark.slow),
        pytest.param("broken off", False, marks=pytest.mark.slow),
    ],
)
def test_the_same_batches_as_from_the_disk(
    store: int, folder: Path, tmp_path: Path, kind: str, cached: bool
) -> None:
    wanted = ShardFeed(Shards(folder), CONTRACT, 6, seed=3).take(5, 30)
    Trouble.every, Trouble.kind = 0 if kind == "calm" else 5, kind
    bucket = Bucket(ADDRESS, cache=tmp_path if cached else "")
    found = ShardFeed(Shards(bucket), CONTRACT, 6, seed=3).take(5, 30)
    assert found.ids == wanted.ids
    for name in ("pixels", "valid", "days", "gain", "bias", "target"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert a.shape == b.shape and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))


def test_only_what_is_asked_for_comes_and_comes_once(store: int, folder: Path, tmp_path: Path) -> None:
    shards = Shards(Bucket(ADDRESS, cache=tmp_path))
    before, sent = Trouble.ranges, Trouble.sent
    sample = shards.sample(7)
    assert Trouble.ranges - before == 3  # pixels, validity, target
    size = sum(shards.groups[0].arrays()[name].record_bytes for name in shards.groups[0].arrays())
    assert Trouble.sent - sent == size
    assert same_sample(sample, Shards(folder).sample(7))
    again = Shards(Bucket(ADDRESS, cache=tmp_path))
    before = Trouble.ranges
    assert same_sample(again.sample(7), sample) and Trouble.ranges == before
    # A full cache keeps what it has, and the rest still comes.
    small = Shards(Bucket(ADDRESS, cache=tmp_path, cache_bytes=2 * size))
    for i in range(len(small)):
        assert same_sample(small.sample(i), Shards(folder).sample(i))
    spec = shards.groups[0].arrays()
    held = 0
    for marks in tmp_path.rglob("*.there"):
        array = marks.name.split(".", 1)[1].removesuffix(".npy.there")
        held += int(np.fromfile(marks, np.uint8).sum()) * spec[array].record_bytes
    assert size < held <= 2 * size


@pytest.mark.slow
def test_what_is_not_there_or_never_answers_is_said(
    store: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"holds no shards\.json"):
        Shards(Bucket("s3://swath/elsewhere", cache=tmp_path))
    with pytest.raises(ConfigError, match="is no address of a store"):
        Bucket("gopher://swath/toy")
    shards = Shards(Bucket(ADDRESS, cache=""))
    Trouble.every, Trouble.kind = 1, "broken off"
    with pytest.raises(InputError, match="cannot be read"):
        shards.sample(1)
    monkeypatch.setattr(shard_remote.importlib, "import_module", _absent)
    with pytest.raises(ConfigError, match=r'pip install "swath\[cloud\]"'):
        Bucket(ADDRESS)


def _absent(name: str) -> object:
    raise ImportError(name)
