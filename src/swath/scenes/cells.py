"""Output on a coarser grid than the scene's: one cell for a square of pixels, as encoders give their features.

A plan then counts in cells. Windows and blocks start at whole cells, so that a cell is the same pixels in whatever
window it is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from swath.cube import Grid
from swath.errors import ConfigError
from swath.scenes.box import Box
from swath.scenes.reading import BlockInput
from swath.scenes.windows import HALO_SHARE, TILE, Block, Plan, make_plan

# A block's sides at most, in cells and in pixels, and the bytes of its features in float32: they bound memory.
_CELLS, _PIXELS, _BYTES = 512, 4096, 64 << 20


@dataclass(frozen=True)
class CellPlan(Plan):
    """A plan whose numbers are cells; its blocks may be smaller than those of a map, since a cell is many pixels."""

    # TIFF's tiles are multiples of 16.
    LEAST: ClassVar[int] = 16
    UNIT: ClassVar[str] = "cells"


def cell_plan(
    height: int,
    width: int,
    window: tuple[int, int],
    cell: int,
    overlap: int | None = None,
    features: int = 1,
) -> CellPlan:
    """A plan in cells for a scene in pixels.

    Its blocks are the smallest with at most 10 % of extra windows (`swath.scenes.windows.HALO_SHARE`), as far as
    features and pixels leave memory for it.

    Args:
        height: of the scene, pixels.
        width: of the scene, pixels.
        window: of the model, pixels.
        cell: pixels per cell.
        overlap: of windows, pixels; None: as `swath.scenes.windows.make_plan`.
        features: numbers per cell.

    Raises:
        ConfigError: window or overlap are no whole cells.
    """
    for name, sizes in (("window", window), ("overlap", (overlap or 0,))):
        if any(n % cell for n in sizes):
            raise ConfigError(
                f"{sizes} pixels are no whole cells of {cell}", where=name, mend=f"use a multiple of {cell}"
            )
    small = (window[0] // cell, window[1] // cell)
    if min(small) == 1:  # one cell has no neighbour in its window to share
        overlap = 0 if overlap is None else overlap
    h, w = -(-height // cell), -(-width // cell)
    given = make_plan(h, w, small, overlap=None if overlap is None else overlap // cell, block=512)
    return CellPlan(h, w, small, given.overlap, 0, _side(small, given.overlap, cell, features))


def _side(window: tuple[int, int], overlap: int, cell: int, features: int) -> int:
    """Of the blocks; like that of maps it does not depend on the scene."""
    side = CellPlan.LEAST
    while 2 * side <= _CELLS and 2 * side * cell <= _PIXELS and (2 * side) ** 2 * 4 * features <= _BYTES:
        many = CellPlan(8 * side, 8 * side, window, overlap, 0, side)
        if side * cell >= TILE and many.extra <= HALO_SHARE:
            break
        side *= 2
    return side


def in_pixels(box: Box, cell: int) -> Box:
    """A box of cells as one of pixels."""
    return Box(box.row * cell, box.col * cell, box.height * cell, box.width * cell)


def block_in_pixels(block: Block, cell: int) -> Block:
    """A block of cells as one of pixels."""
    windows = tuple(in_pixels(w, cell) for w in block.windows)
    return Block(in_pixels(block.box, cell), in_pixels(block.read, cell), windows)


def in_cells(given: BlockInput, cell: int) -> BlockInput:
    """What was read in pixels, with windows, coverage and holes in cells.

    A cell's coverage is the mean of its pixels', rounded down but at least 1 where any is. A hole is every cell that
    it touches.
    """
    h, w = (n // cell for n in given.coverage.shape)
    share = given.coverage.reshape(h, cell, w, cell)
    mean = share.sum(axis=(1, 3), dtype=np.int64) // (cell * cell)
    seen = tuple(Box(b.row // cell, b.col // cell, b.height // cell, b.width // cell) for b in given.seen)
    holes = []
    for b in given.holes:
        top, left = b.row // cell, b.col // cell
        holes.append(
            Box(top, left, -(-(b.row + b.height) // cell) - top, -(-(b.col + b.width) // cell) - left)
        )
    coverage = np.maximum(mean, share.any(axis=(1, 3))).astype(np.uint8)
    return replace(given, coverage=coverage, seen=seen, holes=tuple(holes))


def cell_grid(grid: Grid, cell: int) -> Grid:
    """The grid of the cells; the last ones may reach beyond the scene."""
    a, b, c, d, e, f = grid.transform
    return replace(
        grid,
        transform=(a * cell, b * cell, c, d * cell, e * cell, f),
        height=-(-grid.height // cell),
        width=-(-grid.width // cell),
    )
