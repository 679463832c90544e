"""The input of one block: read, converted by the contract, normalised; what cannot be read becomes a hole."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.bands import Band
from swath.contract import InputContract
from swath.cube import BandStatistics, BoolArray, Cube, Grid
from swath.errors import ReadError
from swath.pages import pages
from swath.scenes.box import Box
from swath.scenes.layers import Bytes
from swath.scenes.windows import Block

# Where a block cannot be read as one, the cells of this side that can be are read one by one.
CELL = 256
# Rows that are converted at once.
STRIP = 64


class SceneLike(Protocol):
    """Pixels that can be read by window; `swath.data.raster.Scene` is one, a mosaic or an array can be
    another.

    A scene may also have `source`, its name in messages, and `identity()`, text that is another when its pixels
    are: unfinished maps are only gone on with where it is the same.
    """

    @property
    def grid(self) -> Grid | None: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def bands(self) -> tuple[Band, ...]: ...

    def read(self, row: int, col: int, height: int, width: int) -> Cube:
        """A window, which may reach beyond the edges: what is outside is invalid.

        Raises ReadError where this window cannot be read, after all retries that make sense.
        """
        ...

    def statistics(self) -> BandStatistics:
        """Per band over all valid pixels of the scene, in stored numbers."""
        ...


@dataclass(frozen=True, eq=False)
class BlockInput:
    """What the network eats of one block and its halo.

    Attributes:
        pixels: [T,C,h,w] float32, normalised, 0 where invalid.
        valid: [T,C,h,w] bool.
        dates: T dates.
        coverage: [h,w] of the block without its halo, percent; or of each date, [T,h,w].
        seen: the windows that hold a valid pixel, in the plan's order.
        holes: what of the block (its halo left out) could not be read.
        source: in messages.
    """

    pixels: Tensor
    valid: Tensor
    dates: tuple[dt.date | None, ...]
    coverage: Bytes
    seen: tuple[Box, ...]
    holes: tuple[Box, ...]
    source: str


def read_block(
    scene: SceneLike,
    contract: InputContract,
    statistics: BandStatistics | None,
    block: Block,
    *,
    holes: bool = False,
    each_date: bool = False,
) -> BlockInput:
    """Reads, converts and normalises a block.

    Args:
        scene: where pixels come from.
        contract: what the network eats.
        statistics: of the whole scene, in stored numbers, where the contract normalises by them.
        block: with its halo.
        holes: go on where something cannot be read: it counts as invalid and is listed.
        each_date: whether coverage is wanted date by date.

    Raises:
        ContractError: the scene does not fit the model.
        ReadError: it cannot be read, and holes are not allowed.
    """
    whole = _whole(scene, block.read, holes)
    # Here, where the error is gone and with it what was read in vain.
    raw, lost = (whole, ()) if whole is not None else _read_cells(scene, block.read)
    t, _, height, width = raw.shape
    pixels = pages((t, len(contract.bands), height, width), np.float32, cleared=False)
    valid: BoolArray = pages(pixels.shape, np.bool_, cleared=False)
    coverage: Bytes = np.empty((*(t,) * each_date, height, width), np.uint8)
    for row in range(0, height, STRIP):
        # Strip by strip: what conversion makes on the way stays in the caches, and takes no memory of a block's size.
        rows = np.s_[..., row : row + STRIP, :]
        strip = replace(raw, pixels=raw.pixels[rows], valid=raw.valid[rows], grid=None)
        cube = converted(strip, contract, statistics)
        gain, bias = (x.astype(np.float32)[:, None, None] for x in contract.affine(cube))
        # As swath.feed.normalise.
        np.multiply(cube.pixels, gain, out=pixels[rows])
        pixels[rows] += bias
        pixels[rows][~cube.valid] = 0.0
        valid[rows] = cube.valid
        coverage[..., row : row + STRIP, :] = (
            _coverage_of_dates(cube.valid) if each_date else _coverage(cube.valid)
        )
    seen = tuple(w for w in block.windows if cut(coverage, block.read, w).any())
    return BlockInput(
        torch.from_numpy(pixels),
        torch.from_numpy(valid),
        cube.dates,
        cut(coverage, block.read, block.box).copy(),
        seen,
        tuple(b for b in (_common(hole, block.box) for hole in lost) if b is not None),
        cube.source,
    )


def _whole(scene: SceneLike, box: Box, holes: bool) -> Cube | None:
    """A box read as one; None where it cannot be, and holes are allowed."""
    try:
        return scene.read(box.row, box.col, box.height, box.width)
    except ReadError:
        if not holes:
            raise
        return None


def converted(cube: Cube, contract: InputContract, statistics: BandStatistics | None) -> Cube:
    """What the network eats before normalisation, with the whole scene's statistics."""
    if statistics is not None:
        cube = replace(cube, statistics=statistics)
    # A block has not the size of a window; the plan's windows have.
    return replace(contract, exact_size=False).convert(cube)


def cut(array: npt.NDArray[Any], read: Box, window: Box) -> npt.NDArray[Any]:
    """A window of what was read, a view."""
    y, x = window.row - read.row, window.col - read.col
    return array[..., y : y + window.height, x : x + window.width]


def _read_cells(scene: SceneLike, box: Box) -> tuple[Cube, tuple[Box, ...]]:
    """A box put together from cells of a grid over the whole scene, so that blocks agree on what is lost."""
    lost: list[Box] = []
    first: Cube | None = None
    pixels = valid = None
    error: ReadError | None = None
    top, left = max(box.row, 0), max(box.col, 0)
    bottom, right = min(box.row + box.height, scene.height), min(box.col + box.width, scene.width)
    for row in range(top // CELL * CELL, bottom, CELL):
        for col in range(left // CELL * CELL, right, CELL):
            cell = Box(row, col, min(CELL, scene.height - row), min(CELL, scene.width - col))
            try:
                cube = scene.read(cell.row, cell.col, cell.height, cell.width)
            except ReadError as err:
                lost.append(cell)
                # Without its traceback, which would hold on to what was read of each cell, and to this frame.
                error = ReadError(err.what, where=err.where, mend=err.mend)
                continue
            if first is None or pixels is None or valid is None:
                first = cube
                pixels = pages((*cube.shape[:2], box.height, box.width), cube.pixels.dtype)
                valid = pages(pixels.shape, np.bool_)
            part = _common(cell, box)
            assert part is not None
            cut(pixels, box, part)[...] = cut(cube.pixels, cell, part)
            cut(valid, box, part)[...] = cut(cube.valid, cell, part)
    if first is None or pixels is None or valid is None:
        # Not a pixel: what its bands and dates are shows at another place, if there is one that can be read.
        first = _any_pixel(scene, error)
        pixels = pages((*first.shape[:2], box.height, box.width), first.pixels.dtype)
        valid = pages(pixels.shape, np.bool_)
    grid = None if scene.grid is None else scene.grid.window(box.row, box.col, box.height, box.width)
    return replace(first, pixels=pixels, valid=valid, grid=grid), tuple(lost)


def _any_pixel(scene: SceneLike, error: ReadError | None) -> Cube:
    # Outside of the scene nothing has to be fetched, yet the cube says what it would be made of.
    try:
        return scene.read(-1, -1, 1, 1)
    except ReadError as err:
        raise error or err from None


def _common(a: Box, b: Box) -> Box | None:
    top, left = max(a.row, b.row), max(a.col, b.col)
    bottom, right = min(a.row + a.height, b.row + b.height), min(a.col + a.width, b.col + b.width)
    return Box(top, left, bottom - top, right - left) if top < bottom and left < right else None


def _coverage(valid: npt.NDArray[np.bool_]) -> Bytes:
    pairs = valid.shape[0] * valid.shape[1]
    count = valid.sum(axis=(0, 1), dtype=np.int32)
    percent: Bytes = np.maximum(count * 100 // pairs, count > 0).astype(np.uint8)
    return percent


def _coverage_of_dates(valid: npt.NDArray[np.bool_]) -> Bytes:
    """[T,h,w]: the same, date by date."""
    return np.stack([_coverage(one[None]) for one in valid])
