"""Shards in object storage (S3, GCS, Azure, HTTP): records by byte ranges of the same files, kept on the local disk.

The cache holds copies of the remote files with holes in them, and beside each which records are in it. It takes
records until it is full and keeps those: when every record is read once per epoch, no other choice finds more.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from swath.cube import Array
from swath.errors import ConfigError, InputError, OutputError
from swath.feed.shard_format import MANIFEST, ArraySpec

log = logging.getLogger(__name__)
T = TypeVar("T")
CACHE_VARIABLE = "SWATH_CACHE"
CACHE_BYTES = 100 * 2**30
_HELD_BYTES = 2**30
_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.25
_CONNECTIONS = 16


class Bucket:
    """Shards at an address such as s3://bucket/folder. Credentials and endpoints come from the usual variables
    (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, …).

    Args:
        address: of the folder.
        cache: a local folder; None: that of the variable SWATH_CACHE, or ~/.cache/swath; "": no cache.
        cache_bytes: most bytes of these shards in the cache.

    Raises:
        ConfigError: obstore is not installed, or the address is of no known kind.
    """

    def __init__(
        self, address: str, *, cache: Path | str | None = None, cache_bytes: int = CACHE_BYTES
    ) -> None:
        try:
            self._obstore: Any = importlib.import_module("obstore")
            stores: Any = importlib.import_module("obstore.store")
        except ImportError as err:
            raise ConfigError(
                "reading object storage needs obstore",
                where=address,
                mend='install it: pip install "swath[cloud]"',
            ) from err
        self.where = address.rstrip("/")
        try:
            self._store: Any = stores.from_url(self.where)
        except Exception as err:  # obstore has a class of its own for every kind of store
            raise ConfigError(
                f"is no address of a store ({' '.join(str(err).split())})",
                where=address,
                mend="write it as s3://bucket/folder, gs://…, az://… or https://…",
            ) from err
        self._pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="swath-fetch")
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, int], Array] = OrderedDict()
        self._held_bytes = 0
        self._cache: _Cache | None = None
        if cache != "":
            root = Path(cache or os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "swath")
            # Other shards at the same address, packed later, are other shards.
            digest = hashlib.sha256(self.where.encode() + b"\n" + self._get(MANIFEST)).hexdigest()[:32]
            self._cache = _Cache(root / "shards" / digest, cache_bytes)

    def text(self, name: str) -> str:
        try:
            return self._get(name).decode("utf-8")
        except UnicodeDecodeError as err:
            raise InputError(f"holds no readable {name}", where=self.where) from err

    def column(self, name: str, size: int) -> Array:
        data = self._get(name)
        try:
            if len(data) != size:
                raise ValueError(f"has {len(data)} bytes, not {size}")
            found: Array = np.load(io.BytesIO(data), allow_pickle=False)
        except ValueError as err:
            raise InputError(
                f"is damaged ({err})", where=f"{self.where}/{name}", mend="copy the shards there again"
            ) from err
        return found

    def record(self, file: Mapping[str, Any], spec: ArraySpec, place: int) -> Array:
        name = str(file["name"])
        if self._cache is not None:
            kept = self._cache.get(file, spec, place)
            if kept is not None:
                return kept
        with self._lock:
            held = self._held.get((name, place))
        if held is not None:
            return held
        start = int(file["offset"]) + place * spec.record_bytes
        data = self._again(
            name, lambda: self._obstore.get_range(self._store, name, start=start, length=spec.record_bytes)
        )
        array = np.frombuffer(bytes(data), spec.dtype)
        if array.nbytes != spec.record_bytes:
            raise InputError(
                f"ends before record {place}",
                where=f"{self.where}/{name}",
                mend="copy the shards there again",
            )
        array = array.reshape(spec.shape)
        if self._cache is not None and self._cache.put(file, spec, place, array):
            return array
        with self._lock:
            self._held[name, place] = array
            self._held_bytes += array.nbytes
            while self._held_bytes > _HELD_BYTES:
                self._held_bytes -= self._held.popitem(last=False)[1].nbytes
        return array

    def fetch(self, wanted: Sequence[tuple[Mapping[str, Any], ArraySpec, int]]) -> None:
        """Gets many records at once; `record` then finds them here."""
        list(self._pool.map(lambda one: self.record(*one), wanted))

    def _get(self, name: str) -> bytes:
        return self._again(name, lambda: bytes(self._obstore.get(self._store, name).bytes()))

    def _again(self, name: str, get: Callable[[], T]) -> T:
        """obstore tries again by itself where a request is refused; here also where a body breaks off."""
        for attempt in range(_ATTEMPTS):
            try:
                return get()
            except FileNotFoundError as err:
                raise InputError(
                    f"holds no {name}", where=self.where, mend="give the address of a folder of shards"
                ) from err
            except Exception as err:  # obstore has a class of its own for every kind of failure
                if attempt + 1 == _ATTEMPTS:
                    raise InputError(
                        f"{name} cannot be read ({' '.join(str(err).split())[:200]})",
                        where=self.where,
                        mend="check the connection, the endpoint and the credentials",
                    ) from err
                log.info("%s/%s: trying again after %s", self.where, name, type(err).__name__)
                time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
        raise AssertionError("unreachable")


class _Cache:
    """Sparse copies of files, and for each which records are there."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._files: dict[str, tuple[Array, Array]] = {}
        self._lock = threading.Lock()
        self._bytes = sum(self._used(marks) for marks in folder.rglob("*.there"))

    @staticmethod
    def _used(marks: Path) -> int:
        """Bytes of the records that an earlier process left in one file."""
        there = np.fromfile(marks, np.uint8)
        whole = marks.with_name(marks.name.removesuffix(".there"))
        if not len(there) or not whole.is_file():
            return 0
        return int(there.sum(dtype=np.int64)) * (whole.stat().st_size // len(there))

    def get(self, file: Mapping[str, Any], spec: ArraySpec, place: int) -> Array | None:
        records, there = self._open(file, spec)
        if not there[place]:
            return None
        found: Array = records[place]
        return found

    def put(self, file: Mapping[str, Any], spec: ArraySpec, place: int, array: Array) -> bool:
        """Whether it was taken."""
        records, there = self._open(file, spec)
        with self._lock:
            if self._bytes + array.nbytes > self.limit:
                return False
            self._bytes += array.nbytes
        records[place] = array
        there[place] = 1  # last: a killed process leaves no half record that looks whole
        return True

    def _open(self, file: Mapping[str, Any], spec: ArraySpec) -> tuple[Array, Array]:
        name = str(file["name"])
        with self._lock:
            if name not in self._files:
                path, marks = self.folder / name, self.folder / f"{name}.there"
                count = int(file["records"])
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    for one, size in ((path, count * spec.record_bytes), (marks, count)):
                        with one.open("ab") as handle:
                            handle.truncate(size)
                    records = np.memmap(path, spec.dtype, "r+", 0, (count, *spec.shape))
                    there = np.memmap(marks, np.uint8, "r+", 0, (count,))
                except OSError as err:
                    raise OutputError(
                        f"cannot be written ({err.strerror or err})",
                        where=self.folder,
                        mend=f"name another folder in {CACHE_VARIABLE}",
                    ) from err
                self._files[name] = (records, there)
            return self._files[name]
