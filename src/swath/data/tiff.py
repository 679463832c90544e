"""Whether a TIFF is whole, from its directories alone.

GDAL opens a file that was cut short: it ignores tags that lie beyond the end (the no-data value, the names of
the bands, the georeference) and fails only when a missing tile is read, maybe after hours. The directories
say where every tag and tile lies, so a glance at them is enough. Layout: TIFF 6.0 (Adobe, 1992) and BigTIFF.

It also reads a tile that was never written, or whose place was lost, as zeros: GDAL takes an offset and a length of
0 for a sparse tile, and the start of the file for the pixels of a tile with an offset of 0 alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

# Bytes of one value by field type; 16 to 18 are BigTIFF's.
FIELD_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_NUMBERS = {3: "u2", 4: "u4", 16: "u8"}
# Strip or tile offsets, and their byte counts.
_OFFSETS, _COUNTS = (273, 324), (279, 325)
_SUBFILE, _REDUCED = 254, 1
_WIDTH, _LENGTH, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_LENGTH = (
    256,
    257,
    277,
    278,
    284,
    322,
    323,
)
_SIZES = (_SUBFILE, _WIDTH, _LENGTH, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _TILE_WIDTH, _TILE_LENGTH)
# BigTIFF's directories say their number of tags in 64 bits, a damaged one any number.
_MOST_TAGS = 4096


@dataclass
class TiffLayout:
    """What the directories of a TIFF say.

    Attributes:
        needed: how long the file must be to hold what they name.
        blocks: strips or tiles of its images at full size, masks included.
        absent: how many of them are not in the file (offset and length 0): sparse, or never written.
        lost: how many of them have a length but no place (offset 0).
        first: how many the first image has.
        wanted: how many its size asks for.
    """

    needed: int = 0
    blocks: int = 0
    absent: int = 0
    lost: int = 0
    first: int = 0
    wanted: int = 0
    _seen: set[int] = field(default_factory=set, repr=False)


def layout_of(path: Path) -> TiffLayout | None:
    """The directories of a file; None when it is not a TIFF.

    A file that ends within a directory needs at least one byte more than it has.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return None
        magic = struct.unpack(order + "H", head[2:4])[0]
        if magic not in (42, 43):
            return None
        found = TiffLayout()
        try:
            _walk(file, head, order, size, found, big=magic == 43)
        except (struct.error, ValueError):
            found.needed = size + 1
        return found


def bytes_needed(path: Path) -> int | None:
    """How long the file must be to hold what its directories name; None when it is not a TIFF."""
    found = layout_of(path)
    return None if found is None else found.needed


def _walk(file: BinaryIO, head: bytes, order: str, size: int, found: TiffLayout, *, big: bool) -> None:
    word, count_format, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    offset: int = struct.unpack(order + word, head[8:16] if big else head[4:8])[0]
    inline = struct.calcsize(word)
    while offset and offset not in found._seen and found.needed <= size:
        found._seen.add(offset)
        file.seek(min(offset, size))
        count = struct.unpack(order + count_format, file.read(struct.calcsize(order + count_format)))[0]
        if count > _MOST_TAGS:
            raise struct.error("a directory of that many tags is damaged")
        table = file.read(count * entry)
        following = struct.unpack(order + word, file.read(inline))[0]
        places: dict[int, np.ndarray[tuple[int], np.dtype[np.uint64]]] = {}
        sizes: dict[int, int] = {}
        for i in range(count):
            row = table[i * entry : (i + 1) * entry]
            tag, kind, number = struct.unpack(order + "HH" + word, row[: 4 + inline])
            length = FIELD_BYTES.get(kind, 1) * number
            value = row[4 + inline :]
            if length > inline:
                start: int = struct.unpack(order + word, value)[0]
                found.needed = max(found.needed, start + length)
                if found.needed > size:
                    return
                if tag in _OFFSETS + _COUNTS:
                    here = file.tell()
                    file.seek(start)
                    value = file.read(length)
                    file.seek(here)
            if kind in _NUMBERS and tag in _OFFSETS + _COUNTS + _SIZES:
                dtype = np.dtype(order + _NUMBERS[kind])
                numbers = np.frombuffer(value, dtype, count=number).astype(np.uint64)
                if tag in _SIZES:
                    sizes[tag] = int(numbers[0]) if numbers.size else 0
                else:
                    places[tag] = numbers
        for where, how_long in zip(_OFFSETS, _COUNTS, strict=True):
            if where in places and how_long in places and places[where].size:
                _blocks(places[where], places[how_long], found, sizes)
        offset = int(following)


def _blocks(
    where: np.ndarray[tuple[int], np.dtype[np.uint64]],
    how_long: np.ndarray[tuple[int], np.dtype[np.uint64]],
    found: TiffLayout,
    sizes: dict[int, int],
) -> None:
    if where.size != how_long.size:
        raise struct.error("as many lengths as places of blocks are needed")
    # As Python's numbers where 64 bits might not hold the sum.
    end = max(int(where.max()), int(how_long.max()))
    found.needed = max(found.needed, end if end >> 62 else int((where + how_long).max()))
    if not found.first:
        found.first, found.wanted = where.size, _wanted(sizes)
    if not sizes.get(_SUBFILE, 0) & _REDUCED:
        found.blocks += where.size
        found.absent += int(np.count_nonzero((where == 0) & (how_long == 0)))
        found.lost += int(np.count_nonzero((where == 0) & (how_long != 0)))


def _wanted(sizes: dict[int, int]) -> int:
    """Strips or tiles that an image of that size is cut into."""
    width, length = sizes.get(_WIDTH, 0), sizes.get(_LENGTH, 0)
    # One strip unless another height is named.
    high = sizes.get(_TILE_LENGTH) or min(sizes.get(_ROWS_PER_STRIP) or length, length) or 1
    wide = sizes.get(_TILE_WIDTH) or width or 1
    apart = sizes.get(_SAMPLES, 1) if sizes.get(_PLANAR, 1) == 2 else 1
    return -(-length // high) * -(-width // wide) * apart
