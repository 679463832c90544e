"""Bring cubes to another pixel size by a whole factor, with validity.

Coarser: a pixel is the mean of the valid pixels of its block, and it is valid where at least half of the block's
pixels are, for each date and band by itself; what a block at the lower or right edge lacks counts as invalid. Finer:
pixels are repeated, so that nothing is invented and no mean changes. Windows whose edges lie on those of coarse pixels
may be cut before or after: the same bits come out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from swath.cube import Array, BoolArray, Cube, Grid, band_statistics
from swath.errors import InputError

S = TypeVar("S", bound=np.generic)
# Pixel sizes are written with rounding: a factor is whole if it is so to this part.
TOLERANCE = 1e-6
# More is a slip of the pen: kilometres out of metres, or a hundredth of a pixel of any satellite's.
LARGEST = 1000


@dataclass(frozen=True)
class Step:
    """From one pixel size to another: `coarser` pixels a side become one, or one becomes `finer` a side."""

    coarser: int = 1
    finer: int = 1

    @property
    def still(self) -> bool:
        """Whether nothing changes."""
        return self.coarser == self.finer == 1

    def size(self, pixels: int) -> int:
        """How many pixels a side of `pixels` has afterwards."""
        return -(-pixels // self.coarser) * self.finer

    def source(self, start: int, count: int, side: int) -> tuple[int, int]:
        """(first, number of) those pixels of a side of `side` that a window of the result is made of."""
        first = start * self.coarser // self.finer
        stop = -(-(start + count) * self.coarser // self.finer)
        return first, min(stop, side) - first


def step_to(have: float | None, want: float, where: object) -> Step:
    """How pixels of `have` m become such of `want` m; a `want` of 0 leaves them as they are.

    Raises:
        InputError: `have` is not known, or no whole factor of 1000 or less leads from it to `want`.
    """
    if want == 0:
        return Step()
    if have is None:
        raise InputError(
            f"does not say how large its pixels are, so they cannot be brought to {want:g} m",
            where=where,
            mend="leave data.gsd out, or give data with a coordinate system",
        )
    coarse = want >= have
    factor = want / have if coarse else have / want
    if factor > LARGEST:
        raise InputError(
            f"has pixels of {have:.10g} m, and those asked for are of {want:.10g} m, {factor:.4g} times "
            f"{'wider' if coarse else 'narrower'}",
            where=where,
            mend="give data.gsd in metres, such as 20",
        )
    whole = round(factor)
    if not math.isclose(factor, whole, rel_tol=TOLERANCE):
        low = math.floor(factor)
        near = [have * n if coarse else have / n for n in (low, low + 1)]
        raise InputError(
            f"has pixels of {have:.10g} m, and no whole number of them is one of {want:.10g} m"
            if coarse
            else f"has pixels of {have:.10g} m, which are no whole number of {want:.10g} m",
            where=where,
            mend=f"set data.gsd to {near[0]:.10g} or {near[1]:.10g}, or give data of another pixel size",
        )
    return Step(coarser=whole) if coarse else Step(finer=whole)


def to_gsd(cube: Cube, gsd: float) -> Cube:
    """The cube with pixels of `gsd` m, and statistics of those if it had any; 0: as it is.

    Its place stays: the grid's corner does, and its centre moves by less than a pixel.

    Raises:
        InputError: no whole factor leads there.
    """
    return stepped(cube, step_to(cube.gsd, gsd, cube.source), gsd)


def stepped(cube: Cube, step: Step, gsd: float) -> Cube:
    """`to_gsd` by a step that is known."""
    if step.still:
        return cube
    pixels, valid = resized(cube.pixels, cube.valid, step)
    return replace(
        cube,
        pixels=pixels,
        valid=valid,
        gsd=gsd,
        grid=None if cube.grid is None else grid_after(cube.grid, step),
        statistics=None if cube.statistics is None else band_statistics(pixels, valid),
    )


def grid_after(grid: Grid, step: Step) -> Grid:
    """The grid of the same corner with the other pixel size."""
    a, b, c, d, e, f = grid.transform
    by = step.coarser / step.finer
    row = (a * by, b * by, c, d * by, e * by, f)
    return Grid(grid.crs, row, step.size(grid.height), step.size(grid.width))


def resized(pixels: Array, valid: BoolArray, step: Step) -> tuple[Array, BoolArray]:
    """Pixels and validity [T,C,H,W] after a step.

    Means are float32, of types that it does not hold (64 bits, 32-bit integers) float64; invalid ones are 0. Repeated
    pixels keep their type.
    """
    if step.finer > 1:
        return _repeated(pixels, step.finer), _repeated(valid, step.finer)
    if step.still:
        return pixels, valid
    t, c, height, width = pixels.shape
    shape = (t, c, step.size(height), step.size(width))
    kind = np.result_type(pixels.dtype, np.float32)
    out, known = np.empty(shape, kind), np.empty(shape, np.bool_)
    for date in range(t):
        for band in range(c):
            # Plane by plane: 64-bit numbers of a whole series would be the most that reading holds.
            out[date, band], known[date, band] = _means(pixels[date, band], valid[date, band], step.coarser)
    return out, known


def known_after(valid: BoolArray, step: Step) -> BoolArray:
    """Validity [T,C,H,W] after a step, without pixels."""
    if step.finer > 1:
        return _repeated(valid, step.finer)
    if step.still:
        return valid
    factor = step.coarser
    count = np.zeros((*valid.shape[:2], step.size(valid.shape[2]), step.size(valid.shape[3])), np.int32)
    for y in range(min(factor, valid.shape[2])):
        for x in range(min(factor, valid.shape[3])):
            good = valid[:, :, y::factor, x::factor]
            count[:, :, : good.shape[2], : good.shape[3]] += good
    known: BoolArray = 2 * count >= factor * factor
    return known


def _means(pixels: Array, valid: BoolArray, factor: int) -> tuple[npt.NDArray[np.float64], BoolArray]:
    """Block means of [H,W] in float64, 0 where less than half of a block is valid."""
    rows, cols = (-(-side // factor) for side in pixels.shape)
    total = np.zeros((rows, cols))
    count = np.zeros((rows, cols), np.int64)
    # Added up in one order, whatever window is looked at, so that cutting first gives the same bits.
    for y in range(min(factor, valid.shape[0])):
        for x in range(min(factor, valid.shape[1])):
            good = valid[y::factor, x::factor]
            here = np.s_[: good.shape[0], : good.shape[1]]
            total[here] += np.where(good, pixels[y::factor, x::factor], 0)
            count[here] += good
    known: BoolArray = 2 * count >= factor * factor
    return np.where(known, total / np.maximum(count, 1), 0.0), known


def _repeated(array: npt.NDArray[S], factor: int) -> npt.NDArray[S]:
    return array.repeat(factor, -2).repeat(factor, -1)
