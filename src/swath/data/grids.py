"""When grids are one grid: reference system, place and size, to a part of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from swath.cube import Grid
from swath.data.gdal import grid_of
from swath.errors import InputError

# Grids that agree to a hundredth of a pixel are the same: transforms are written with rounding.
GRID_TOLERANCE = 0.01


def common_grid(sources: Sequence[Any]) -> tuple[Grid, list[int]]:
    """The finest grid, and how many times coarser each file is. InputError names two files that differ."""
    grids = [grid_of(s) for s in sources]
    finest = max(range(len(grids)), key=lambda i: grids[i].height)
    base, name = grids[finest], sources[finest].name
    factors: list[int] = []
    for grid, source in zip(grids, sources, strict=True):
        if grid.crs != base.crs and source.crs != sources[finest].crs:
            raise InputError(
                f"is in {short_crs(grid.crs)}, but {name} in {short_crs(base.crs)}",
                where=source.name,
                mend="reproject one to the other's grid (gdalwarp)",
            )
        factor = base.height // grid.height
        same_size = (grid.height * factor, grid.width * factor) == (base.height, base.width)
        if not same_size or not _same_place(grid, base, factor):
            raise InputError(
                f"covers another grid ({describe(grid)}) than {name} ({describe(base)})",
                where=source.name,
                mend="resample both to one grid or extent (gdalwarp -te -tr)",
            )
        factors.append(factor)
    return base, factors


def _same_place(grid: Grid, base: Grid, factor: int) -> bool:
    """Whether two grids of one extent agree at their corners, to a part of a fine pixel."""
    step = math.hypot(base.transform[0], base.transform[3]) * GRID_TOLERANCE
    return all(
        math.dist(grid.xy(r / factor, c / factor), base.xy(r, c)) <= step
        for r, c in ((0, 0), (0, base.width), (base.height, 0))
    )


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids have one size and place (their reference systems are not compared)."""
    return (a.height, a.width) == (b.height, b.width) and _same_place(a, b, 1)


def describe(grid: Grid) -> str:
    """A grid in a few words."""
    a, _, x, _, e, y = grid.transform
    return f"{grid.height}x{grid.width} pixels of {abs(a):g}x{abs(e):g} from {x:g}, {y:g}"


def short_crs(crs: str) -> str:
    """A reference system in a few words."""
    if not crs:
        return "no reference system"
    return crs if len(crs) <= 40 else crs[:37] + "..."
