"""Whether a TIFF is whole, from its directories alone.

GDAL opens a file that was cut short: it ignores tags that lie beyond the end (the no-data value, the names of
the bands, the georeference) and fails only when a missing tile is read, maybe after hours. The directories
say where every tag and tile lies, so a glance at them is enough. Layout: TIFF 6.0 (Adobe, 1992) and BigTIFF.
"""

from __future__ import annotations

import struct
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


def bytes_needed(path: Path) -> int | None:
    """How long the file must be to hold what its directories name; None when it is not a TIFF.

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
        try:
            return _walk(file, head, order, size, big=magic == 43)
        except struct.error:
            return size + 1


def _walk(file: BinaryIO, head: bytes, order: str, size: int, *, big: bool) -> int:
    word, count_format, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    offset: int = struct.unpack(order + word, head[8:16] if big else head[4:8])[0]
    inline = struct.calcsize(word)
    need: int = 0
    seen: set[int] = set()
    while offset and offset not in seen and need <= size:
        seen.add(offset)
        file.seek(offset)
        count = struct.unpack(order + count_format, file.read(struct.calcsize(order + count_format)))[0]
        table = file.read(count * entry)
        following = struct.unpack(order + word, file.read(inline))[0]
        ends: dict[int, np.ndarray[tuple[int], np.dtype[np.uint64]]] = {}
        for i in range(count):
            row = table[i * entry : (i + 1) * entry]
            tag, kind, number = struct.unpack(order + "HH" + word, row[: 4 + inline])
            length = FIELD_BYTES.get(kind, 1) * number
            value = row[4 + inline :]
            if length > inline:
                start: int = struct.unpack(order + word, value)[0]
                need = max(need, start + length)
                if need > size:
                    return need
                if tag in _OFFSETS + _COUNTS:
                    here = file.tell()
                    file.seek(start)
                    value = file.read(length)
                    file.seek(here)
            if tag in _OFFSETS + _COUNTS and kind in _NUMBERS:
                dtype = np.dtype(order + _NUMBERS[kind])
                ends[tag] = np.frombuffer(value, dtype, count=number).astype(np.uint64)
        for where, how_long in zip(_OFFSETS, _COUNTS, strict=True):
            if where in ends and how_long in ends and ends[where].size:
                need = max(need, int((ends[where] + ends[how_long]).max()))
        offset = int(following)
    return need
