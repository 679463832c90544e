"""One raster file seen on the grid of a scene, whatever its own grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT

from swath.cube import Array, BoolArray, Grid
from swath.data.gdal import grid_of, guard, open_raster, require_blocks
from swath.data.raster import read_valid
from swath.data.resample import enlarge, upsample
from swath.errors import ReadError

Window = tuple[int, int, int, int]
# As for grids of files: transforms are written with rounding.
TOLERANCE = 0.01
# Pixels by which GDAL may miss a transformed coordinate: none that shows (rasterio fails on a plain 0).
_EXACT = 1e-9


@dataclass(frozen=True)
class Shift:
    """A grid whose pixels are cut from those of a coarser or equal one without any resampling.

    Attributes:
        factor: fine pixels along one coarse pixel.
        row, col: of the fine grid's first pixel, in fine pixels from the coarse grid's first corner.
    """

    factor: int
    row: int
    col: int


def shift_between(own: Grid, onto: Grid) -> Shift | None:
    """How a grid lies within another of the same reference system; None if it needs resampling."""
    # Pixels of the own grid along one pixel of the other, down and across.
    across, down = (_steps(own, vector) for vector in (onto.transform[0::3], onto.transform[1::3]))
    if across[0] <= 0 or down[1] <= 0:
        return None
    factor = round(1 / across[0])
    # What is off by less than a hundredth of a pixel at the far corner is off by rounding alone.
    reach = TOLERANCE / max(onto.height, onto.width, 1)
    if factor < 1 or max(abs(across[0] * factor - 1), abs(down[1] * factor - 1)) > reach:
        return None
    if max(abs(down[0]), abs(across[1])) * factor > reach:
        return None
    x, y = onto.xy(0, 0)
    col, row = (v * factor for v in _steps(own, (x - own.transform[2], y - own.transform[5])))
    if max(abs(row - round(row)), abs(col - round(col))) > TOLERANCE:
        return None
    return Shift(factor, round(row), round(col))


def _steps(grid: Grid, vector: Sequence[float]) -> tuple[float, float]:
    """A way on the map as (columns, rows) of a grid."""
    a, b, _, d, e, _ = grid.transform
    x, y = vector
    size = a * e - b * d
    return (e * x - b * y) / size, (a * y - d * x) / size


class Placed:
    """An open file that is read by windows of a scene's grid.

    Where its own grid is the scene's, or coarser by a whole factor and in step with it, pixels are cut out, and
    coarser ones enlarged as `swath.data.resample` does. Otherwise they are warped by GDAL, with coordinates
    transformed exactly (no approximation along lines, which would differ from window to window).

    Args:
        path: of the file.
        onto: the scene's grid.
        resampling: "nearest" or "bilinear".
        nodata: in place of the file's own; None: the file's own.
        sparse: blocks that it leaves out are meant to be 0.
        crs: of the file, where it says none.
    """

    def __init__(
        self, path: str, onto: Grid, resampling: str, nodata: float | None = None, *, sparse: bool = False
    ) -> None:
        self._file = open_raster(path, sparse=sparse)
        self._sparse, self._nodata, self._method = sparse, nodata, resampling
        self.dtype = np.result_type(*(np.dtype(d) for d in self._file.dtypes))
        self._alpha = ColorInterp.alpha in self._file.colorinterp
        own = grid_of(self._file)
        self._shift = shift_between(own, onto) if same_crs(own.crs, onto.crs) else None
        self._size = own.height, own.width
        self._warped: Any = None
        if self._shift is None:
            try:
                self._warped = self._warp(onto)
            except BaseException:
                self._file.close()
                raise

    def read(self, indexes: Sequence[int], window: Window) -> tuple[Array, BoolArray]:
        """Pixels and validity [C,h,w] of a window of the scene; what the file does not cover is invalid (and 0).

        Raises:
            ReadError: it cannot be read there.
        """
        bands = list(indexes)
        if self._shift is None:
            # Beside an alpha band, GDAL does not count the no-data value as a mask.
            nodata = self._file.nodata if self._nodata is None and self._alpha else self._nodata
            values, valid = read_valid(self._warped, bands, window, nodata)
            return np.where(valid, values, 0), valid
        row, col, height, width = window
        factor = self._shift.factor
        top, left = row + self._shift.row, col + self._shift.col
        high, wide = self._size[0] * factor, self._size[1] * factor
        r0, r1 = max(top, 0), min(top + height, high)
        c0, c1 = max(left, 0), min(left + width, wide)
        pixels = np.zeros((len(bands), height, width), self.dtype)
        good: BoolArray = np.zeros(pixels.shape, np.bool_)
        if r0 >= r1 or c0 >= c1:
            return pixels, good
        fine = (r0, c0, r1 - r0, c1 - c0)
        cut = fine if factor == 1 else enlarge(fine, factor, self._method, self._size)
        if not self._sparse:
            require_blocks(self._file, bands, cut)
        values, valid = read_valid(self._file, bands, cut, self._nodata)
        into = np.s_[r0 - top : r1 - top, c0 - left : c1 - left]
        for place in range(len(bands)):
            v, g = values[place], valid[place]
            if factor > 1:
                v, g = upsample(v, g, cut[:2], fine, factor, self._method)
            pixels[place][into] = np.where(g, v, 0)
            good[place][into] = g
        return pixels, good

    def close(self) -> None:
        """Let go of the file."""
        if self._warped is not None:
            self._warped.close()
        self._file.close()

    def _warp(self, onto: Grid) -> Any:
        if self._file.crs is None:
            raise ReadError(
                "names no reference system, and its pixels are not in step with the scene's",
                where=self._file.name,
                mend="set it (gdal_edit -a_srs)",
            )
        nodata = self._file.nodata if self._nodata is None else self._nodata
        if nodata is None and self.dtype.kind == "f":
            nodata = math.nan
        masked = any(MaskFlags.per_dataset in flags for flags in self._file.mask_flag_enums)
        # Without a no-data value, an added alpha band says where the file has pixels.
        how: dict[str, Any] = (
            {"add_alpha": True} if nodata is None or masked else {"src_nodata": nodata, "nodata": nodata}
        )
        if self._alpha:
            # Its own alpha band goes along. Unless told, GDAL would then look at all bands of a pixel together, and
            # write a no-data value of one of them as the number beside it.
            how = (
                {} if nodata is None else {"src_nodata": nodata, "nodata": nodata, "UNIFIED_SRC_NODATA": "NO"}
            )
        with guard(self._file.name, "laid onto the scene's grid", ReadError):
            return WarpedVRT(
                self._file,
                crs=CRS.from_user_input(onto.crs),
                transform=Affine(*onto.transform),
                height=onto.height,
                width=onto.width,
                resampling=Resampling[self._method],
                tolerance=_EXACT,
                **how,
            )


def same_crs(a: str, b: str) -> bool:
    """Whether two texts name one reference system."""
    if a == b or not a or not b:
        return a == b
    with guard("grid", "placed (its reference system)"):
        return bool(CRS.from_user_input(a) == CRS.from_user_input(b))
