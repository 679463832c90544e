"""The bytes of a tiled TIFF: directories first, then tiles, written in one pass.

TIFF 6.0 (Adobe, 1992), BigTIFF (8-byte offsets), and what GDAL calls a Cloud-Optimized GeoTIFF: all directories
in front, the full resolution's first; then the tiles, the smallest overview's first, each led by its size and
trailed by its last four bytes, as a note in front of the directories promises.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from swath.data.tiff import FIELD_BYTES

BYTE, ASCII, SHORT, LONG, DOUBLE, LONG8 = 1, 2, 3, 4, 12, 16
_CODES = {SHORT: "H", LONG: "I", DOUBLE: "d", LONG8: "Q"}
OFFSETS, COUNTS = 324, 325
# Room for the directories, and for whatever was miscounted, below the 4 GiB that classic TIFF can address.
_CLASSIC = (1 << 32) - (1 << 24)
_LEADER = 4
_LAYOUT = (
    "LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)


@dataclass(frozen=True)
class Value:
    """The value of a tag: its type, count and little-endian bytes."""

    type: int
    count: int
    data: bytes

    @classmethod
    def of(cls, kind: int, *values: float) -> Value:
        """Numbers of one type."""
        return cls(kind, len(values), struct.pack(f"<{len(values)}{_CODES[kind]}", *values))


@dataclass(frozen=True, eq=False)
class Image:
    """One resolution: its tags without the tiles' offsets and lengths, and those lengths, row by row."""

    tags: Mapping[int, Value]
    lengths: Sequence[int]


def needs_big(images: Sequence[Image], extra: int = 0) -> bool:
    """Whether the file outgrows classic TIFF."""
    total = sum(sum(i.lengths) + len(i.lengths) * 24 for i in images)
    return total + extra > _CLASSIC


def write_front(file: BinaryIO, images: Sequence[Image], *, big: bool) -> None:
    """Header, note and directories; `images` are the full resolution and its overviews, large to small.

    The tiles must follow from the smallest to the full resolution, each by `write_tile`.
    """
    link, head, entry, room = ("Q", "<Q", "<HHQ", 8) if big else ("I", "<H", "<HHI", 4)
    kind = LONG8 if big else LONG
    note = f"GDAL_STRUCTURAL_METADATA_SIZE={len(_LAYOUT):06d} bytes\n{_LAYOUT}".encode("ascii")
    at = (16 if big else 8) + len(note)
    at += at % 2
    places, sizes = [], []
    for image in images:
        places.append(at)
        tags = {**image.tags, OFFSETS: _blank(kind, image), COUNTS: _blank(LONG, image)}
        size = struct.calcsize(head) + len(tags) * (struct.calcsize(entry) + room) + room
        size += sum(len(v.data) + len(v.data) % 2 for v in tags.values() if len(v.data) > room)
        sizes.append(size)
        at += size + size % 2
    # Where the tiles will lie: the smallest overview's first.
    offsets: list[list[int]] = [[] for _ in images]
    for i in reversed(range(len(images))):
        for length in images[i].lengths:
            offsets[i].append(at + _LEADER)
            at += length + 2 * _LEADER
    file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, places[0]) if big else b"")
    file.write(b"" if big else struct.pack("<2sHI", b"II", 42, places[0]))
    file.write(note)
    for i, image in enumerate(images):
        file.write(bytes(places[i] - file.tell()))
        after = places[i + 1] if i + 1 < len(images) else 0
        tags = dict(image.tags)
        tags[OFFSETS] = Value.of(kind, *offsets[i])
        tags[COUNTS] = Value.of(LONG, *image.lengths)
        _write_directory(file, tags, after, head, entry, link, room)
    file.write(bytes((places[-1] + sizes[-1] + sizes[-1] % 2) - file.tell()))


def write_tile(file: BinaryIO, tile: bytes) -> None:
    """One tile with what leads and trails it."""
    file.write(struct.pack("<I", len(tile)))
    file.write(tile)
    file.write(tile[-_LEADER:].rjust(_LEADER, b"\0"))


def _blank(kind: int, image: Image) -> Value:
    n = len(image.lengths)
    return Value(kind, n, bytes(n * FIELD_BYTES[kind]))


def _write_directory(
    file: BinaryIO, tags: Mapping[int, Value], after: int, head: str, entry: str, link: str, room: int
) -> None:
    start = file.tell()
    table = struct.calcsize(head) + len(tags) * (struct.calcsize(entry) + room) + room
    at = start + table
    rows, values = [], []
    for number in sorted(tags):
        value = tags[number]
        if len(value.data) <= room:
            inside = value.data.ljust(room, b"\0")
        else:
            inside = struct.pack(f"<{link}", at)
            padded = value.data + bytes(len(value.data) % 2)
            values.append(padded)
            at += len(padded)
        rows.append(struct.pack(entry, number, value.type, value.count) + inside)
    file.write(struct.pack(head, len(tags)) + b"".join(rows) + struct.pack(f"<{link}", after))
    file.write(b"".join(values))


def read_tags(file: BinaryIO) -> Iterator[dict[int, Value]]:
    """The tags of every directory of a little-endian TIFF or BigTIFF, in order."""
    file.seek(0)
    magic = file.read(16)
    if magic[:2] != b"II":
        raise ValueError("not a little-endian TIFF")
    big = struct.unpack("<H", magic[2:4])[0] == 43
    head, entry, link = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
    room, size = struct.calcsize(link), struct.calcsize(entry) + struct.calcsize(link)
    (at,) = struct.unpack(link, magic[8:16] if big else magic[4:8])
    while at:
        file.seek(at)
        (count,) = struct.unpack(head, file.read(struct.calcsize(head)))
        rows = [file.read(size) for _ in range(count)]
        (at,) = struct.unpack(link, file.read(room))
        found = {}
        for row in rows:
            number, kind, n = struct.unpack(entry, row[:-room])
            length = FIELD_BYTES[kind] * n
            if length > room:
                file.seek(struct.unpack(link, row[-room:])[0])
                found[number] = Value(kind, n, file.read(length))
            else:
                found[number] = Value(kind, n, row[-room : len(row) - room + length])
        yield found
