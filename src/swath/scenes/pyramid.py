"""Overviews, tile by tile: each is made of four tiles of the level below, whatever the size of the map."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from swath.scenes.layers import Array, Layers
from swath.scenes.piece import Record, compress, decompress, tile_side, tiles_of
from swath.scenes.windows import Plan

# Overviews are halved until they fit a tile of this side.
_SMALLEST = 256


class Level(Protocol):
    """One resolution of the map as compressed tiles.

    Attributes:
        height, width: pixels.
        rows, cols: tiles.
        lengths: of the tiles in bytes, row by row.
    """

    height: int
    width: int
    rows: int
    cols: int

    @property
    def lengths(self) -> Sequence[int]: ...

    def tile(self, row: int, col: int) -> bytes:
        """The compressed tile there."""
        ...


class BaseLevel:
    """Full resolution, read from the files of finished blocks.

    Args:
        plan: how the scene was cut.
        records: of all blocks, by number.
        folder: of `00000000.tiles`.
    """

    def __init__(self, plan: Plan, records: dict[int, Record], folder: Path) -> None:
        self.height, self.width = plan.height, plan.width
        self._plan, self._folder = plan, folder
        side = tile_side(plan)
        self._per_block = plan.side // side
        self.rows, self.cols = -(-plan.height // side), -(-plan.width // side)
        self._blocks_across = -(-plan.width // plan.side)
        lengths = array("Q", bytes(8 * self.rows * self.cols))
        self.lengths: Sequence[int] = lengths
        self._places = array("Q", bytes(8 * self.rows * self.cols))
        for block in range(plan.block_count):
            at = 0
            y0, x0 = (n * self._per_block for n in divmod(block, self._blocks_across))
            _, across = tiles_of(plan, plan.block(block).box)
            for i, length in enumerate(records[block].lengths):
                place = (y0 + i // across) * self.cols + x0 + i % across
                lengths[place], self._places[place] = length, at
                at += length
        self._open: tuple[int, BinaryIO] | None = None

    def tile(self, row: int, col: int) -> bytes:
        """The compressed tile there."""
        block = row // self._per_block * self._blocks_across + col // self._per_block
        if self._open is None or self._open[0] != block:
            self.close()
            self._open = block, (self._folder / f"{block:08d}.tiles").open("rb")
        place = row * self.cols + col
        self._open[1].seek(self._places[place])
        return self._open[1].read(self.lengths[place])

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


class SmallLevel:
    """An overview in a file of its own.

    Args:
        below: the level of twice the resolution.
        file: where its tiles go.
        side: of the tiles.
        layers: how each band is reduced.
    """

    def __init__(self, below: Level, file: BinaryIO, side: int, layers: Layers) -> None:
        self.height, self.width = -(-below.height // 2), -(-below.width // 2)
        self.rows, self.cols = -(-self.height // side), -(-self.width // side)
        lengths = array("Q")
        self.lengths: Sequence[int] = lengths
        self._places = array("Q")
        self._file = file
        at = 0
        bands, dtype = len(layers.bands), layers.dtype
        for row in range(self.rows):
            for col in range(self.cols):
                four = np.full((bands, 2 * side, 2 * side), layers.nodata, dtype)
                for y in range(2 * row, min(2 * row + 2, below.rows)):
                    for x in range(2 * col, min(2 * col + 2, below.cols)):
                        part = decompress(below.tile(y, x), side, bands, dtype)
                        top, left = (y - 2 * row) * side, (x - 2 * col) * side
                        four[:, top : top + side, left : left + side] = part
                data = compress(reduce(four, layers))
                file.write(data)
                lengths.append(len(data))
                self._places.append(at)
                at += len(data)

    def tile(self, row: int, col: int) -> bytes:
        """The compressed tile there."""
        place = row * self.cols + col
        self._file.seek(self._places[place])
        return self._file.read(self.lengths[place])


def overview_count(height: int, width: int) -> int:
    """How many overviews a map of that size has."""
    count = 0
    while max(height, width) > _SMALLEST << count:
        count += 1
    return count


def reduce(bands: Array, layers: Layers) -> Array:
    """[n,2h,2w] to [n,h,w]: of four pixels the most frequent class, or their mean; no-data does not count.

    Of classes that are equally frequent, the first counts (row by row).
    """
    out = np.empty((len(bands), bands.shape[1] // 2, bands.shape[2] // 2), bands.dtype)
    for i, layer in enumerate(layers.bands):
        four = np.stack([bands[i, y::2, x::2] for y in (0, 1) for x in (0, 1)])
        known = ~np.isnan(four) if bands.dtype.kind == "f" else four != layers.nodata
        out[i] = (_mode if layer.overview == "mode" else _mean)(four, known, layers.nodata)
    return out


def _mode(four: Array, known: Array, nodata: float) -> Array:
    votes = np.zeros(four.shape, np.int8)
    for i in range(4):
        for j in range(4):
            votes[i] += known[j] & (four[i] == four[j])
    votes[~known] = -1
    chosen: Array = np.take_along_axis(four, votes.argmax(axis=0)[None], axis=0)[0]
    return np.where(known.any(axis=0), chosen, four.dtype.type(nodata))


def _mean(four: Array, known: Array, nodata: float) -> Array:
    count = known.sum(axis=0)
    some = np.maximum(count, 1)
    if four.dtype.kind == "f":
        total = np.where(known, four, 0).sum(axis=0, dtype=np.float64)
        mean: Array = (total / some).astype(four.dtype)
    else:
        whole = np.where(known, four, 0).sum(axis=0, dtype=np.int64)
        mean = ((2 * whole + some) // (2 * some)).astype(four.dtype)
    return np.where(count > 0, mean, four.dtype.type(nodata))
