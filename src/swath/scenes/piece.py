"""A finished block as it lies on the disk: the compressed tiles of the file it will be a part of, with a hash.

Whoever computes a block also compresses it, so that finishing a map is little more than putting bytes in a row.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from swath.errors import OutputError
from swath.scenes.box import Box
from swath.scenes.layers import Array, BlockMap, FeatureLayers, Layers
from swath.scenes.windows import Plan

# Higher levels take several times as long and save a few percent.
LEVEL = 4


@dataclass(frozen=True)
class Record:
    """What is known of a finished block.

    Attributes:
        block: its number in the plan.
        sha256: of its tiles.
        lengths: of its tiles in bytes, row by row.
        windows, empty_windows, nodata_pixels: see `swath.scenes.engine`.
        holes: what of it could not be read.
        beyond: values that the file cannot tell from the ends of its range.
    """

    block: int
    sha256: str
    lengths: tuple[int, ...]
    windows: int
    empty_windows: int
    nodata_pixels: int
    holes: tuple[Box, ...] = ()
    beyond: int = 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Record:
        """The record back. Raises ValueError (KeyError, TypeError) if the line is none."""
        data: Mapping[str, Any] = json.loads(line)
        holes = tuple(Box(**box) for box in data["holes"])
        lengths = tuple(int(n) for n in data["lengths"])
        return cls(**{**data, "lengths": lengths, "holes": holes})


@dataclass(frozen=True)
class Piece:
    """A finished block with its tiles."""

    record: Record
    data: bytes


def tile_side(plan: Plan) -> int:
    """Of the file's tiles: each lies in one block."""
    # The largest power of two in the block's side: 256 or 512 for maps, less where a cell is many pixels.
    return min(512, plan.side & -plan.side)


def tiles_of(plan: Plan, box: Box) -> tuple[int, int]:
    """How many tiles a block has, downwards and across."""
    side = tile_side(plan)
    return math.ceil(box.height / side), math.ceil(box.width / side)


def pack(plan: Plan, index: int, result: BlockMap, layers: Layers, pool: Executor | None = None) -> Piece:
    """Encodes and compresses a block; `pool` compresses several tiles at once."""
    side = tile_side(plan)
    rows, cols = tiles_of(plan, result.box)

    def tile(place: int) -> bytes:
        y, x = divmod(place, cols)
        # Tile by tile: what is made on the way stays in the caches.
        return _compress(layers.encode(_part(result, y * side, x * side, side)), side, layers.nodata)

    tiles = list((map if pool is None else pool.map)(tile, range(rows * cols)))
    data = b"".join(tiles)
    # Coverage is known everywhere; what lies below the threshold is no-data in all other bands.
    # Of maps of each date, a pixel that no date shows.
    short = (result.coverage < layers.min_coverage).reshape(-1, *result.coverage.shape[-2:])
    nodata = int(np.count_nonzero(short.all(0)))
    record = Record(
        index,
        hashlib.sha256(data).hexdigest(),
        tuple(map(len, tiles)),
        result.windows,
        result.empty_windows,
        nodata,
        result.holes,
        layers.beyond(result) if isinstance(layers, FeatureLayers) else 0,
    )
    return Piece(record, data)


def unpack(plan: Plan, piece: Piece, bands: int, dtype: str) -> Array:
    """[bands,h,w] of a block; the inverse of `pack`."""
    box, side = plan.block(piece.record.block).box, tile_side(plan)
    rows, cols = tiles_of(plan, box)
    whole = np.empty((bands, rows * side, cols * side), dtype)
    at = 0
    for i, length in enumerate(piece.record.lengths):
        y, x = divmod(i, cols)
        tile = decompress(piece.data[at : at + length], side, bands, dtype)
        whole[:, y * side : (y + 1) * side, x * side : (x + 1) * side] = tile
        at += length
    return whole[:, : box.height, : box.width]


def compress(tile: Array) -> bytes:
    """[bands,side,side] as a TIFF holds it: pixel by pixel, deflated."""
    return zlib.compress(np.ascontiguousarray(tile.transpose(1, 2, 0)).tobytes(), LEVEL)


def decompress(data: bytes, side: int, bands: int, dtype: str) -> Array:
    """[bands,side,side]; the inverse of `compress`."""
    try:
        flat = np.frombuffer(zlib.decompress(data), np.dtype(dtype).newbyteorder("<"))
        return flat.reshape(side, side, bands).transpose(2, 0, 1)
    except (zlib.error, ValueError) as err:
        raise OutputError("a finished block is damaged", mend="start the map anew with overwrite") from err


def _part(block: BlockMap, row: int, col: int, side: int) -> BlockMap:
    """What of a block lies in one tile."""
    box = block.box
    height, width = min(side, box.height - row), min(side, box.width - col)
    cut = np.s_[..., row : row + height, col : col + width]
    values = None if block.values is None else block.values[cut]
    return BlockMap(Box(box.row + row, box.col + col, height, width), values, block.coverage[cut])


def _compress(part: Array, side: int, nodata: float) -> bytes:
    if part.shape[1:] != (side, side):
        # Tiles at the edges are whole in the file; what lies beyond the scene is never seen.
        full = np.full((len(part), side, side), nodata, part.dtype)
        full[:, : part.shape[1], : part.shape[2]] = part
        part = full
    return compress(part)
