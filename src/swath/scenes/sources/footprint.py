"""Where a grid or a box in degrees lies on another grid: outlines sent point by point, without a jump at 180°."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.warp import transform as warp_points

from swath.cube import Grid
from swath.data.gdal import guard
from swath.errors import InputError

# Points along each side: enough that a curved side's bulge between two is far below a pixel's share of a tile.
_POINTS = 65
Box = tuple[float, float, float, float]
_Floats = npt.NDArray[np.float64]


def outline(grid: Grid) -> tuple[_Floats, _Floats]:
    """Coordinates along a grid's four sides, in its own reference system."""
    t = np.linspace(0.0, 1.0, _POINTS)
    rows = np.concatenate([0 * t, t, 0 * t + 1, 1 - t]) * grid.height
    cols = np.concatenate([t, 0 * t + 1, 1 - t, 0 * t]) * grid.width
    a, b, c, d, e, f = grid.transform
    return a * cols + b * rows + c, d * cols + e * rows + f


def box_outline(bbox: Sequence[float]) -> tuple[_Floats, _Floats]:
    """Longitudes and latitudes along the sides of a box; east of 180° longitudes go on rising."""
    west, south, east, north = bbox
    east = east + 360 if east < west else east
    return outline(Grid("", (east - west, 0.0, west, 0.0, south - north, north), 1, 1))


def bounds_in(x: _Floats, y: _Floats, crs: str, into: str, near: float | None = None) -> Box:
    """Left, bottom, right, top of an outline in another reference system.

    In degrees, a shape across the antimeridian has a left below its right: longitudes go beyond 180°.

    Args:
        x: of the outline.
        y: of the outline.
        crs: of it.
        into: the other system.
        near: a longitude; of all turns by 360° the one whose middle is nearest to it is taken.

    Raises:
        InputError: the outline has no place in the other system.
    """
    with guard(into, "used as a reference system"):
        target = CRS.from_user_input(into)
        if crs != into:
            px, py = (np.asarray(v, float) for v in warp_points(CRS.from_user_input(crs), target, x, y))
        else:
            px, py = x, y
        degrees = bool(target.is_geographic)
    if not (np.isfinite(px).all() and np.isfinite(py).all()):
        raise InputError(
            f"an outline in {crs} has no place in {into}", mend="give a crs that covers the area (grid.crs)"
        )
    if degrees:
        px = np.unwrap(px, period=360.0)
        middle = float(px.min() + px.max()) / 2
        px = px - 360.0 * round((middle - (0.0 if near is None else near)) / 360.0)
    return float(px.min()), float(py.min()), float(px.max()), float(py.max())


def pixels_of(bounds: Box, grid: Grid) -> Box:
    """Top, left, bottom, right in (broken) pixels of a grid, of a box in its reference system."""
    a, b, c, d, e, f = grid.transform
    corners = [(x - c, y - f) for x in (bounds[0], bounds[2]) for y in (bounds[1], bounds[3])]
    size = a * e - b * d
    cols = [(e * x - b * y) / size for x, y in corners]
    rows = [(a * y - d * x) / size for x, y in corners]
    return min(rows), min(cols), max(rows), max(cols)


def whole(box: Box) -> tuple[int, int, int, int]:
    """Row, column, height and width of the whole pixels that hold a box; rounding does not add a pixel."""
    slack = 1e-6
    top, left = math.floor(box[0] + slack), math.floor(box[1] + slack)
    bottom, right = math.ceil(box[2] - slack), math.ceil(box[3] - slack)
    return top, left, max(bottom - top, 0), max(right - left, 0)
