"""Putting a Cloud-Optimized GeoTIFF together from single files, each with its own kind of overviews.

GDAL's COG driver makes all bands' overviews in one way and keeps no colour table in a file of several bands.
So: a VRT (GDAL's virtual format) shows bands of several files, overviews included, as one; GDAL's GeoTIFF
driver copies that with the overviews in front of the data, which is the COG layout; and as that driver writes
a grey colour table when asked for a palette, the real colours are put in its place afterwards: same bytes,
other values.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree as Xml

import rasterio.shutil
from rasterio.errors import NotGeoreferencedWarning

from swath import __version__
from swath.cube import Grid
from swath.data.tiff import FIELD_BYTES
from swath.errors import OutputError
from swath.scenes.layers import NODATA, ClassLayers, palette

TILE = 512
_COLOR_MAP = 320  # TIFF 6.0, page 23: 256 reds, then greens, then blues, 16-bit
_SHORT = 3


def assemble(
    path: Path,
    grid: Grid,
    wkt: str,
    layers: ClassLayers,
    sources: Sequence[tuple[str, int]],
    overviews: int,
    tags: Mapping[str, str],
) -> None:
    """Write a COG whose band i is the one of (file name, band) i; the files lie beside `path`, each with that
    many overviews.
    """
    virtual = path.with_suffix(".vrt")
    virtual.write_bytes(_virtual(path.parent, grid, wkt, layers, sources, overviews, tags))
    with warnings.catch_warnings():
        # A scene without a place gives a map without a place: whoever opened the scene has said so already.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        rasterio.shutil.copy(
            str(virtual),
            str(path),
            driver="GTiff",
            copy_src_overviews="yes",
            photometric="palette",
            tiled="yes",
            blockxsize=TILE,
            blockysize=TILE,
            interleave="pixel",
            compress="deflate",
            bigtiff="if_safer",
        )
    colors = palette(layers.classes)
    # 0..255 to 0..65535.
    values = struct.Struct("<768H").pack(*(int(v) * 257 for v in colors.T.reshape(-1)))
    with path.open("r+b") as file:
        for directory in directories(file):
            entry = directory.entries.get(_COLOR_MAP)
            if entry is None or (entry.type, entry.count) != (_SHORT, 768):
                raise OutputError("GDAL wrote no colour table", where=path)
            file.seek(entry.offset)
            file.write(values)


@dataclass(frozen=True)
class Entry:
    """One tag of a TIFF directory; `offset` is where its values lie, in bytes from the file's start."""

    type: int
    count: int
    offset: int


@dataclass(frozen=True)
class Directory:
    """One image of a TIFF file, and where its directory begins."""

    offset: int
    entries: Mapping[int, Entry]


def directories(file: BinaryIO) -> Iterator[Directory]:
    """The directories of a little-endian TIFF or BigTIFF in order (TIFF 6.0, page 13; BigTIFF: 8-byte
    offsets).
    """
    file.seek(0)
    magic = file.read(16)
    if magic[:2] != b"II":
        raise ValueError("not a little-endian TIFF")
    big = struct.unpack("<H", magic[2:4])[0] == 43
    count, entry, link = ("<Q", "<HHQ", "<Q") if big else ("<H", "<HHI", "<I")
    (at,) = struct.unpack(link, magic[8:16] if big else magic[4:8])
    size, room = struct.calcsize(entry) + struct.calcsize(link), struct.calcsize(link)
    while at:
        file.seek(at)
        (entries,) = struct.unpack(count, file.read(struct.calcsize(count)))
        found = {}
        for i in range(entries):
            start = at + struct.calcsize(count) + i * size
            file.seek(start)
            tag, kind, n = struct.unpack(entry, file.read(struct.calcsize(entry)))
            inside = start + struct.calcsize(entry)
            (value,) = struct.unpack(link, file.read(room))
            found[tag] = Entry(kind, n, inside if FIELD_BYTES[kind] * n <= room else value)
        yield Directory(at, found)
        file.seek(at + struct.calcsize(count) + entries * size)
        (at,) = struct.unpack(link, file.read(room))


def _virtual(
    folder: Path,
    grid: Grid,
    wkt: str,
    layers: ClassLayers,
    sources: Sequence[tuple[str, int]],
    overviews: int,
    tags: Mapping[str, str],
) -> bytes:
    root = Xml.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if wkt:
        Xml.SubElement(root, "SRS").text = wkt
    a, b, c, d, e, f = grid.transform
    Xml.SubElement(root, "GeoTransform").text = ", ".join(repr(float(x)) for x in (c, a, b, f, d, e))
    metadata = Xml.SubElement(root, "Metadata")
    for key, value in {"TIFFTAG_SOFTWARE": f"swath {__version__}", **tags}.items():
        Xml.SubElement(metadata, "MDI", key=key).text = value
    for i, (layer, (name, band)) in enumerate(zip(layers.bands, sources, strict=True), 1):
        node = Xml.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(i))
        Xml.SubElement(node, "Description").text = layer.name
        if layer.unit:
            Xml.SubElement(node, "UnitType").text = layer.unit
        Xml.SubElement(node, "NoDataValue").text = str(NODATA)
        Xml.SubElement(node, "ColorInterp").text = "Palette" if i == 1 else "Undefined"
        # Overviews one by one: what GDAL finds by itself ends at 128 pixels, early for a narrow scene.
        names = [str(folder / name), *(f"GTIFF_DIR:{n}:{folder / name}" for n in range(2, overviews + 2))]
        for kind, filename in zip(["SimpleSource", *["Overview"] * overviews], names, strict=True):
            source = Xml.SubElement(node, kind)
            Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = filename
            Xml.SubElement(source, "SourceBand").text = str(band)
    return bytes(Xml.tostring(root))
