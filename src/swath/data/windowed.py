"""Pixels that are read by window, whatever they lie in: what all scenes share."""

from __future__ import annotations

import datetime as dt
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
from rasterio.crs import CRS
from rasterio.warp import transform as warp_points

from swath.bands import Band
from swath.cube import Array, BandStatistics, BoolArray, Cube, Encoding, Grid, Place
from swath.data.gdal import GDAL_ERRORS, guard
from swath.data.running import Running, together
from swath.errors import InputError
from swath.pages import pages

STATISTICS_BLOCK = 1024
METRES_PER_DEGREE = 111_320.0


class Windowed(ABC):
    """A scene [T,C,H,W] of which a kind of file says how a window within it is read.

    It is read by one thread; open it once in each thread or process that reads.

    Attributes:
        gsd: m per pixel, None when the grid has no reference system.
    """

    # How often reading holds a date's stored numbers at once, beside what it returns.
    COPIES: ClassVar[int] = 1

    def __init__(self, gsd: float | None) -> None:
        self.gsd = gsd
        self._statistics: BandStatistics | None = None

    @property
    @abstractmethod
    def source(self) -> str:
        """Its name in messages."""

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """Of its finest band."""

    @property
    @abstractmethod
    def bands(self) -> tuple[Band, ...]:
        """C bands."""

    @property
    @abstractmethod
    def dates(self) -> tuple[dt.date | None, ...]:
        """T dates, None where unknown."""

    @property
    @abstractmethod
    def encodings(self) -> tuple[tuple[Encoding, ...], ...]:
        """Per (date, band)."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Of the stored numbers, one for all bands."""

    @abstractmethod
    def _read_date(
        self, date: int, window: tuple[int, int, int, int]
    ) -> Iterator[tuple[int, BoolArray, Array]]:
        """(band, valid, pixels) of one date in a window inside the scene; bands that are not named are invalid."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files. The scene cannot be read afterwards."""

    @property
    def height(self) -> int:
        return self.grid.height

    @property
    def width(self) -> int:
        return self.grid.width

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W)."""
        return len(self.dates), len(self.bands), self.height, self.width

    def read(self, row: int, col: int, height: int, width: int) -> Cube:
        """A window; where it reaches beyond the scene it is invalid (and 0).

        The cube carries the scene's statistics once `statistics` has been called.

        Raises:
            InputError: the size is not positive.
            ReadError: a file is damaged there.
        """
        if height <= 0 or width <= 0:
            raise InputError(
                f"window {height}x{width} is empty", where=self.source, mend="ask for 1 pixel or more"
            )
        t, c, scene_height, scene_width = self.shape
        pixels = pages((t, c, height, width), self.dtype)
        valid: BoolArray = pages(pixels.shape, np.bool_)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, scene_height), min(col + width, scene_width)
        if top < bottom and left < right:
            window = (top, left, bottom - top, right - left)
            into = np.s_[top - row : bottom - row, left - col : right - col]
            for date in range(t):
                for band, good, values in self._read_date(date, window):
                    np.copyto(pixels[date, band][into], values, "unsafe", where=good)
                    valid[date, band][into] = good
        grid = self.grid.window(row, col, height, width)
        return Cube(
            pixels=pixels,
            valid=valid,
            bands=self.bands,
            dates=self.dates,
            encodings=self.encodings,
            gsd=self.gsd,
            place=place_of(grid),
            grid=grid,
            statistics=self._statistics,
            source=self.source,
        )

    def read_all(self) -> Cube:
        """The whole scene in memory, with its statistics."""
        self.statistics()
        return self.read(0, 0, self.height, self.width)

    def statistics(self) -> BandStatistics:
        """Per band over all valid pixels and dates, in the stored numbers; streamed once, then kept.

        Bands without a valid pixel have NaN and count 0.
        """
        if self._statistics is None:
            sums = [Running() for _ in self.bands]
            for date in range(len(self.dates)):
                for window in self.blocks(STATISTICS_BLOCK):
                    for band, good, values in self._read_date(date, window):
                        sums[band].add(values[good])
            self._statistics = together(sums)
        return self._statistics

    def require_valid(self) -> None:
        """Raise InputError when a band has no valid pixel on any date."""
        empty = [b.name for b, n in zip(self.bands, self.statistics().count, strict=True) if n == 0]
        if len(empty) == len(self.bands):
            raise InputError(
                "holds no valid pixel: everything is no-data",
                where=self.source,
                mend="check the file and its no-data",
            )
        if empty:
            raise InputError(
                f"band {', '.join(empty)} holds no valid pixel",
                where=self.source,
                mend="leave the band out of bands, or check its no-data",
            )

    def blocks(self, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Windows (row, col, height, width) that cover the scene once, row by row."""
        for row in range(0, self.height, size):
            for col in range(0, self.width, size):
                yield row, col, min(size, self.height - row), min(size, self.width - col)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def place_of(grid: Grid) -> Place | None:
    """Longitude and latitude of a grid's centre; None without a reference system, or off its area."""
    if not grid.crs:
        return None
    x, y = grid.xy(grid.height / 2, grid.width / 2)
    try:
        lon, lat = warp_points(grid.crs, "EPSG:4326", [x], [y])
    except GDAL_ERRORS:
        return None
    if not (math.isfinite(lon[0]) and math.isfinite(lat[0])):
        return None
    return Place(float(lon[0]), float(lat[0]))


def gsd_of(grid: Grid) -> float | None:
    """Ground sampling distance in m; for grids in degrees at the centre's latitude. None without a system."""
    if not grid.crs:
        return None
    a, b, _, d, e, _ = grid.transform
    size = math.sqrt(abs(a * e - b * d))
    with guard("grid", "placed (its reference system)"):
        crs = CRS.from_user_input(grid.crs)
        if crs.is_geographic:
            _, lat = grid.xy(grid.height / 2, grid.width / 2)
            return size * METRES_PER_DEGREE * math.sqrt(abs(math.cos(math.radians(lat))))
        if crs.is_projected:
            return size * float(crs.linear_units_factor[1])
    return None
