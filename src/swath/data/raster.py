"""A scene on the disk: opened and checked once, read in windows of any place and size.

    scene = open_scene(SceneSpec("scene.tif", sensor="sentinel2", unit="reflectance", scale=1e-4))
    scene.statistics()                   # streamed over the valid pixels
    cube = scene.read(0, 0, 256, 256)    # carries them

A scene is read by one thread; open it once in each thread or process that reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.warp import transform as warp_points
from rasterio.windows import Window

from swath.bands import Band
from swath.cube import Array, BandStatistics, BoolArray, Cube, Encoding, Grid, Place
from swath.data.gdal import GDAL_ERRORS, guard, require_blocks
from swath.data.planes import Opened, Plane, open_planes
from swath.data.resample import enlarge, upsample
from swath.data.running import Running, together
from swath.data.spec import SceneSpec
from swath.errors import InputError, ReadError, SwathError

STATISTICS_BLOCK = 1024
METRES_PER_DEGREE = 111_320.0


class Scene:
    """Files that make one [T,C,H,W], read in windows. Use `open_scene`.

    Attributes:
        spec: what it was opened from.
        grid: of the finest band.
        bands, dates, encodings: as of the cubes that `read` returns.
        gsd: m per pixel, None when the grid has no reference system.
        dtype: of the stored numbers, one for all bands.
    """

    def __init__(self, spec: SceneSpec, opened: Opened) -> None:
        self.spec = spec
        self._opened = opened
        self._statistics: BandStatistics | None = None
        self.gsd = gsd_of(opened.grid)

    @property
    def grid(self) -> Grid:
        return self._opened.grid

    @property
    def bands(self) -> tuple[Band, ...]:
        return self._opened.bands

    @property
    def dates(self) -> tuple[Any, ...]:
        return self._opened.dates

    @property
    def encodings(self) -> tuple[tuple[Encoding, ...], ...]:
        return self._opened.encodings

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._opened.dtype

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

    @property
    def source(self) -> str:
        """Its name in messages: the first file."""
        return self.spec.name

    def read(self, row: int, col: int, height: int, width: int) -> Cube:
        """A window; where it reaches beyond the scene it is invalid (and 0).

        The cube carries the scene's statistics once `statistics` has been called.

        Raises:
            InputError: the size is not positive.
            ReadError: a file is damaged there.
        """
        if height <= 0 or width <= 0:
            raise InputError(f"window {height}x{width} is empty", where=self.source)
        t, c, scene_height, scene_width = self.shape
        pixels = np.zeros((t, c, height, width), self.dtype)
        valid: BoolArray = np.zeros(pixels.shape, np.bool_)
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, scene_height), min(col + width, scene_width)
        if top < bottom and left < right:
            window = (top, left, bottom - top, right - left)
            into = np.s_[top - row : bottom - row, left - col : right - col]
            for date in range(t):
                for band, good, values in self._read_date(date, window):
                    pixels[date, band][into] = np.where(good, values, 0)
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

    def _read_date(
        self, date: int, window: tuple[int, int, int, int]
    ) -> Iterator[tuple[int, BoolArray, Array]]:
        """(band, valid, pixels) of one date in a window inside the scene; one read per file."""
        files: dict[int, list[int]] = {}
        for band, plane in enumerate(self._opened.planes[date]):
            files.setdefault(plane.file, []).append(band)
        for file, bands in files.items():
            planes = [self._opened.planes[date][b] for b in bands]
            for band, (values, good) in zip(bands, self._read_file(file, planes, window), strict=True):
                yield band, good, values

    def _read_file(
        self, file: int, planes: list[Plane], window: tuple[int, int, int, int]
    ) -> Iterator[tuple[Array, BoolArray]]:
        source = self._opened.sources[file]
        factor, method = planes[0].factor, self.spec.resampling
        shape = (source.height, source.width)
        cut = window if factor == 1 else enlarge(window, factor, method, shape)
        if not self.spec.sparse:
            require_blocks(source, [p.index for p in planes], cut)
        values, good = read_valid(source, [p.index for p in planes], cut, self.spec.nodata)
        if self.spec.mask_band:
            row, col, height, width = cut
            with guard(source.name, f"read at row {row}, column {col}", ReadError):
                kind = source.read(self.spec.mask_band, window=Window(col, row, width, height))
            good &= ~np.isin(kind, self.spec.mask_values)
        for v, g in zip(values, good, strict=True):
            yield (v, g) if factor == 1 else upsample(v, g, cut[:2], window, factor, method)

    def close(self) -> None:
        """Close the files. The scene cannot be read afterwards."""
        for source in self._opened.sources:
            source.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_scene(spec: SceneSpec, *, require_valid: bool = False) -> Scene:
    """Open and check the files of a scene; no pixel but each file's last is read.

    Args:
        spec: the files and how to read them; "demo:…" names an embedded scene.
        require_valid: refuse a scene, or a band, without a valid pixel (this reads everything once, for the
            statistics).

    Raises:
        InputError: a file is missing, damaged or of another kind; files do not lie on one grid; a band, unit
            or date is missing, unknown or contradictory. The message names the file and the mend.
    """
    if spec.demo is not None:
        from swath.data.demo import demo_spec  # it imports this module

        chosen = demo_spec(spec.demo)
        own = (spec.mask_band, spec.mask_values) if spec.mask_band else (chosen.mask_band, chosen.mask_values)
        bands = spec.bands or chosen.bands
        spec = replace(chosen, bands=bands, mask_band=own[0], mask_values=own[1])
    scene = Scene(spec, open_planes(spec))
    if require_valid:
        try:
            scene.require_valid()
        except SwathError:
            scene.close()
            raise
    return scene


def read_valid(
    source: Any, indexes: list[int], window: tuple[int, int, int, int], nodata: float | None = None
) -> tuple[Array, BoolArray]:
    """Pixels and validity [C,h,w] of a window inside an open raster.

    Invalid is: the no-data value (stated, or else the file's own), a mask or alpha band, NaN and infinity.

    Raises:
        ReadError: the window cannot be read.
    """
    row, col, height, width = window
    cut = Window(col, row, width, height)
    with guard(source.name, f"read at row {row}, column {col}", ReadError):
        pixels = source.read(indexes, window=cut)
        masked = [i for i in indexes if MaskFlags.all_valid not in source.mask_flag_enums[i - 1]]
        own = [i for i in masked if nodata is None or MaskFlags.per_dataset in source.mask_flag_enums[i - 1]]
        valid: BoolArray = np.ones(pixels.shape, np.bool_)
        for place, i in enumerate(indexes):
            if i in own:
                valid[place] = source.read_masks(i, window=cut) != 0
    if nodata is not None:
        valid &= pixels != np.asarray(nodata).astype(pixels.dtype)
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels)
    return pixels, valid


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
