"""A scene on the disk: opened and checked once, read in windows of any place and size.

    scene = open_scene(SceneSpec("scene.tif", sensor="sentinel2", unit="reflectance", scale=1e-4))
    scene.statistics()                   # streamed over the valid pixels
    cube = scene.read(0, 0, 256, 256)    # carries them

A scene is read by one thread; open it once in each thread or process that reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from swath.bands import Band
from swath.cube import Array, BoolArray, Encoding, Grid
from swath.data.gdal import guard, is_remote, require_blocks
from swath.data.planes import Opened, Plane, open_planes
from swath.data.resample import enlarge, upsample
from swath.data.spec import SceneSpec
from swath.data.windowed import Windowed, gsd_of
from swath.data.windowed import place_of as place_of
from swath.errors import ReadError, SwathError
from swath.pages import pages

# Types of stored numbers that rasterio and numpy call by one name.
_PLAIN = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"}


class Scene(Windowed):
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
        super().__init__(gsd_of(opened.grid))

    @property
    def source(self) -> str:
        """Its name in messages: the first file."""
        return self.spec.name

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
    def files(self) -> tuple[str, ...]:
        """What it is read from: its files, with those that a virtual raster names and masks of their own."""
        named = [s.files if not is_remote(s.name) else [] for s in self._opened.sources]
        own = [path for row in self.spec.file_table for path in row] if self.spec.demo is None else []
        return tuple(
            dict.fromkeys([*own, *self.spec.mask_files, *(path for found in named for path in found)])
        )

    @property
    def known(self) -> tuple[tuple[str, ...], ...]:
        """Per (date, band), who says what the numbers mean, in words."""
        return self._opened.known

    @property
    def factors(self) -> tuple[int, ...]:
        """Per band, how many times coarser its file is than the grid."""
        return tuple(plane.factor for plane in self._opened.planes[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._opened.dtype

    def _read_date(
        self, date: int, window: tuple[int, int, int, int]
    ) -> Iterator[tuple[int, BoolArray, Array]]:
        """(band, valid, pixels) of one date in a window inside the scene; one read per file."""
        files: dict[int, list[int]] = {}
        for band, plane in enumerate(self._opened.planes[date]):
            files.setdefault(plane.file, []).append(band)
        clear = self._read_mask(self._opened.masks[date], window) if self._opened.masks else None
        for file, bands in files.items():
            planes = [self._opened.planes[date][b] for b in bands]
            for band, (values, good) in zip(bands, self._read_file(file, planes, window), strict=True):
                yield band, good if clear is None else good & clear, values

    def _read_mask(self, plane: Plane, window: tuple[int, int, int, int]) -> BoolArray:
        """Where the mask's own file leaves pixels valid, in a window of the scene's grid."""
        source, factor = self._opened.sources[plane.file], plane.factor
        shape = (source.height, source.width)
        cut = window if factor == 1 else enlarge(window, factor, "nearest", shape)
        row, col, height, width = cut
        with guard(source.name, f"read at row {row}, column {col}"):
            kind = source.read(plane.index, window=Window(col, row, width, height))
        clear = self._clear(kind)
        return clear if factor == 1 else upsample(clear, clear, cut[:2], window, factor, "nearest")[1]

    def _clear(self, kind: npt.NDArray[Any]) -> BoolArray:
        """Where a mask's numbers mean that a pixel can be seen."""
        clear: BoolArray = ~np.isin(kind, self.spec.mask_values)
        if self.spec.mask_bits:
            bits = sum(1 << bit for bit in set(self.spec.mask_bits))
            clear &= (kind.astype(np.int64) & bits) == 0
        return clear

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
            good &= self._clear(kind)
        for v, g in zip(values, good, strict=True):
            yield (v, g) if factor == 1 else upsample(v, g, cut[:2], window, factor, method)

    def close(self) -> None:
        """Close the files. The scene cannot be read afterwards."""
        for source in self._opened.sources:
            source.close()


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
        own = spec if spec.mask_band or spec.mask_files else chosen
        spec = replace(
            chosen,
            bands=spec.bands or chosen.bands,
            mask_band=own.mask_band,
            mask_files=own.mask_files,
            mask_values=own.mask_values,
            mask_bits=own.mask_bits,
        )
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
    # Before the guard: that memory does not suffice is no fault of the file.
    kinds = {source.dtypes[i - 1] for i in indexes}
    plain = len(kinds) == 1 and kinds <= _PLAIN
    room = pages((len(indexes), height, width), kinds.pop(), cleared=False) if plain else None
    valid: BoolArray = pages((len(indexes), height, width), np.bool_, cleared=False)
    valid[...] = True
    with guard(source.name, f"read at row {row}, column {col}", ReadError):
        pixels = source.read(indexes, window=cut, out=room)
        masked = [i for i in indexes if MaskFlags.all_valid not in source.mask_flag_enums[i - 1]]
        own = [i for i in masked if nodata is None or MaskFlags.per_dataset in source.mask_flag_enums[i - 1]]
        alphas = [i for i, meaning in enumerate(source.colorinterp, 1) if meaning is ColorInterp.alpha]
        for place, i in enumerate(indexes):
            if i in own and alphas and MaskFlags.nodata in source.mask_flag_enums[i - 1]:
                # Beside alpha, rasterio warns of a no-data value every time that it makes a mask of it.
                valid[place] = pixels[place] != source.nodatavals[i - 1]
            elif i in own:
                valid[place] = source.read_masks(i, window=cut) != 0
        # GDAL counts alpha as the mask in files of two or four bands alone, and not where there is a no-data value.
        for i in (i for i in alphas if i not in indexes):
            valid &= source.read(i, window=cut) != 0
    if nodata is not None:
        valid &= pixels != np.asarray(nodata).astype(pixels.dtype)
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels)
    return pixels, valid
