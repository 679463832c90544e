"""How large a pixel is on the ground."""

from __future__ import annotations

import math

from rasterio.crs import CRS
from rasterio.errors import CRSError

from swath.cube import Grid

# Radius of the sphere with the area of the WGS 84 ellipsoid, km.
_AUTHALIC_KM = 6371.0072


def pixel_km2(grid: Grid | None) -> float | None:
    """Mean area of the grid's pixels in km²; None where the coordinate system is unknown.

    Projected systems: in the plane of the map, so as exact as the projection keeps areas. Degrees: on the
        sphere.
    """
    if grid is None or not grid.crs:
        return None
    a, b, _, d, e, _ = grid.transform
    try:
        crs = CRS.from_user_input(grid.crs)
    except CRSError:
        return None
    if crs.is_projected:
        metres = float(crs.linear_units_factor[1])
        return abs(a * e - b * d) * (metres / 1000) ** 2
    if not crs.is_geographic:
        return None
    # Of a sphere's zone: R² Δλ Δ(sin φ); the corners give the mean over the rows, exact for north-up grids.
    _, north = grid.xy(0, 0)
    _, south = grid.xy(grid.height, 0)
    if north == south:
        return None
    mean_cos = abs(math.sin(math.radians(north)) - math.sin(math.radians(south))) / math.radians(
        abs(north - south)
    )
    return abs(a * e - b * d) * math.radians(1) ** 2 * mean_cos * _AUTHALIC_KM**2
