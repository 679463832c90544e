"""Where a grid lies in longitude and latitude, as GeoJSON has it (RFC 7946)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.crs import CRS
from rasterio.warp import transform as warp_points

from swath.cube import Grid
from swath.data.gdal import GDAL_ERRORS, guard
from swath.errors import InputError
from swath.scenes.sources.footprint import outline

Ring = list[tuple[float, float]]
# Every so many points of an outline of 65 a side: curved sides stay curved, and the item short.
_STEP = 8
# A millionth of a degree is a tenth of a metre.
_DIGITS = 6


def footprint(grid: Grid) -> tuple[dict[str, Any] | None, list[float] | None]:
    """(geometry, bbox) of a grid; (None, None) without a reference system, or where it has no place on the globe.

    A grid across the antimeridian is cut there (section 3.1.9), and its box's west lies east of its east (5.2). Of a
    grid that holds a pole, all longitudes from its outermost latitude on.
    """
    if not grid.crs:
        return None, None
    x, y = outline(grid)
    keep = np.arange(len(x)).reshape(4, -1)[:, ::_STEP].reshape(-1)  # both ends of each side too
    try:
        with guard("grid", "placed (its reference system)"):
            lon, lat = warp_points(CRS.from_user_input(grid.crs), "EPSG:4326", x[keep], y[keep])
    except (*GDAL_ERRORS, InputError):
        return None, None
    east, north = np.asarray(lon, float), np.asarray(lat, float)
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        return None, None
    closed = np.unwrap(np.append(east, east[0]), period=360.0)
    if abs(closed[-1] - closed[0]) > 180:
        return _around_pole(north)
    east = closed[:-1]
    east = east - 360.0 * np.floor((east.min() + 180.0) / 360.0)
    return _polygons(east, north)


def _polygons(
    east: npt.NDArray[np.float64], north: npt.NDArray[np.float64]
) -> tuple[dict[str, Any], list[float]]:
    """Of an outline whose western end lies in [-180, 180)."""
    ring: Ring = list(zip(east.tolist(), north.tolist(), strict=True))
    south, top = float(north.min()), float(north.max())
    if east.max() <= 180:
        box = [float(east.min()), south, float(east.max()), top]
        return {"type": "Polygon", "coordinates": [_closed(ring)]}, _rounded(box)
    west = _closed(_cut(ring, 180.0, 1))
    over = _closed([(x - 360.0, y) for x, y in _cut(ring, 180.0, -1)])
    box = [float(east.min()), south, float(east.max()) - 360.0, top]
    return {"type": "MultiPolygon", "coordinates": [[west], [over]]}, _rounded(box)


def _around_pole(north: npt.NDArray[np.float64]) -> tuple[dict[str, Any], list[float]]:
    low, high = (float(north.min()), 90.0) if north.mean() > 0 else (-90.0, float(north.max()))
    ring: Ring = [(-180.0, low), (180.0, low), (180.0, high), (-180.0, high)]
    return {"type": "Polygon", "coordinates": [_closed(ring)]}, _rounded([-180.0, low, 180.0, high])


def _cut(ring: Ring, edge: float, side: int) -> Ring:
    """What of a ring lies west (1) or east (-1) of a longitude, both included."""
    found: Ring = []
    for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
        a_in, b_in = (edge - ax) * side >= 0, (edge - bx) * side >= 0
        if a_in:
            found.append((ax, ay))
        if a_in != b_in:
            found.append((edge, ay + (by - ay) * (edge - ax) / (bx - ax)))
    return found


def _closed(ring: Ring) -> list[list[float]]:
    """The ring with its first point at its end too, anticlockwise, without points that repeat the one before."""
    area = sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True))
    ordered = ring if area > 0 else ring[::-1]
    points: list[list[float]] = []
    for point in (*ordered, ordered[0]):
        if not points or points[-1] != _rounded(point):
            points.append(_rounded(point))
    if points[-1] != points[0]:
        points.append(points[0])
    return points


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(float(n), _DIGITS) for n in numbers]
