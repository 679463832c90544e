"""Raster files (GeoTIFF, COG, VRT, JPEG 2000, …) on this machine or another: `swath.data.raster`, tried again."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from swath.bands import Band
from swath.cube import Array, BoolArray, Encoding, Grid
from swath.data.gdal import is_remote, zip_of
from swath.data.raster import Scene, open_scene
from swath.data.spec import SceneSpec
from swath.data.windowed import Windowed
from swath.errors import InputError, ReadError
from swath.scenes.sources.retry import retrying
from swath.scenes.sources.spec import RetryOptions, SourceSpec


class FileSource(Windowed):
    """A scene of raster files. Use `open_source`.

    Attributes:
        spec: what it was opened from.
    """

    def __init__(self, spec: SceneSpec, retry: RetryOptions) -> None:
        self.spec, self._retry = spec, retry
        self._remote = any(is_remote(path) for row in spec.file_table for path in row)
        self._scene = self._open()
        super().__init__(self._scene.gsd)

    @property
    def scene(self) -> Scene:
        """The scene as `swath.data.raster` opens it."""
        return self._scene

    @property
    def source(self) -> str:
        return self._scene.source

    @property
    def grid(self) -> Grid:
        return self._scene.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return self._scene.bands

    @property
    def dates(self) -> tuple[dt.date | None, ...]:
        return self._scene.dates

    @property
    def encodings(self) -> tuple[tuple[Encoding, ...], ...]:
        return self._scene.encodings

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._scene.dtype

    def identity(self) -> str:
        """Text that is another when the spec is, or a file on this machine; how often it is retried is no part."""
        spec = self.spec
        plain = replace(spec, retry=RetryOptions()) if isinstance(spec, SourceSpec) else spec
        # Desktop programs write statistics and overviews beside a file: its pixels are the same.
        return identity_of(plain, [path for path in self.files if not path.endswith((".aux.xml", ".ovr"))])

    @property
    def files(self) -> tuple[str, ...]:
        """What it is read from."""
        return self._scene.files

    def close(self) -> None:
        self._scene.close()

    def _open(self) -> Scene:
        return retrying(lambda: open_scene(self.spec), self._retry, remote=self._remote)

    def _again(self) -> None:
        # A handle that has failed once may keep what it half read.
        before = self._scene
        before.close()
        try:
            self._scene = self._open()
        except InputError as err:
            # It was there when it was opened first: a window is lost, not the scene.
            raise ReadError(err.what, where=err.where, mend=err.mend) from err
        same = (before.grid, before.dtype, before.encodings)
        if (self._scene.grid, self._scene.dtype, self._scene.encodings) != same:
            raise ReadError("is another file than when it was opened", where=self.source, mend="start anew")

    def _read_date(
        self, date: int, window: tuple[int, int, int, int]
    ) -> Iterator[tuple[int, BoolArray, Array]]:
        def whole() -> list[tuple[int, BoolArray, Array]]:
            return list(self._scene._read_date(date, window))

        yield from retrying(whole, self._retry, remote=self._remote, again=self._again)


def on_disk(path: str) -> Path:
    """The file itself, or the zip that it is packed into."""
    return Path(zip_of(path) or path)


def identity_of(value: object, paths: Iterable[str]) -> str:
    """A digest of a plain value and of the sizes and times of the files of a scene that are on this machine."""
    rows = [repr(value)]
    for path in paths:
        file = on_disk(path)
        if not is_remote(path) and file.is_file():
            stat = file.stat()
            rows.append(f"{stat.st_size}@{stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
