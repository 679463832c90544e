"""A Cloud-Optimized GeoTIFF out of finished blocks, in one pass and in constant memory.

GDAL's drivers make all bands' overviews in one way, keep no colour table in a file of several bands, and take
memory that grows with the width. So the tiles are put in a row here; what GDAL knows better, how a coordinate
system, names and units are written, is taken from a small file that it writes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from swath import __version__
from swath.cube import Grid
from swath.scenes.layers import Array, Layers, palette
from swath.scenes.piece import Record, decompress, tile_side
from swath.scenes.pyramid import BaseLevel, Level, SmallLevel, overview_count
from swath.scenes.tiff import LONG, SHORT, Image, Value, needs_big, read_tags, write_front, write_tile
from swath.scenes.windows import Plan

_SOFTWARE, _COLOR_MAP, _NODATA = 305, 320, 42113
# Georeference, GDAL's metadata and no-data, and the software.
_FROM_GDAL = (_SOFTWARE, 33550, 33922, 34264, 34735, 34736, 34737, 42112, _NODATA)
_DEFLATE, _GREY, _PALETTE = 8, 1, 3
_FORMATS = {"u": 1, "f": 3}
# The quick look is made of the largest overview that is no larger.
LOOK = 1024


def assemble(
    path: Path,
    grid: Grid,
    crs: CRS | None,
    layers: Layers,
    plan: Plan,
    records: dict[int, Record],
    folder: Path,
    tags: Mapping[str, str],
    *,
    look: bool = False,
) -> Array | None:
    """Writes the file, and returns the first band of an overview of at most 1024 pixels [1,h,w] if `look`.

    Args:
        path: of the file.
        grid: where the map lies.
        crs: its coordinate system, or None.
        layers: its bands.
        plan: how it was cut.
        records: of all blocks.
        folder: of the blocks' tiles; overviews are made in it.
        tags: text for the metadata.
        look: whether the overview is wanted.
    """
    side = tile_side(plan)
    with ExitStack() as stack:
        base = BaseLevel(plan, records, folder)
        stack.callback(base.close)
        levels: list[Level] = [base]
        for i in range(overview_count(plan.height, plan.width)):
            file = stack.enter_context((folder / f"overview{i}").open("w+b"))
            levels.append(SmallLevel(levels[-1], file, side, layers))
        known = _tags_by_gdal(grid, crs, layers, tags)
        images = [
            Image(_tags(level, i, side, layers, known), level.lengths) for i, level in enumerate(levels)
        ]
        with path.open("wb") as out:
            write_front(out, images, big=needs_big(images))
            for level in reversed(levels):
                for row in range(level.rows):
                    for col in range(level.cols):
                        write_tile(out, level.tile(row, col))
        if not look:
            return None
        small = next((lv for lv in levels if max(lv.height, lv.width) <= LOOK), levels[-1])
        return _first_band(small, side, layers)


def _tags(
    level: Level, index: int, side: int, layers: Layers, known: Mapping[int, Value]
) -> dict[int, Value]:
    n = len(layers.bands)
    dtype = np.dtype(layers.dtype)
    colours = dtype == np.uint8 and bool(layers.classes)
    tags = {
        254: Value.of(LONG, int(index > 0)),
        256: Value.of(LONG, level.width),
        257: Value.of(LONG, level.height),
        258: Value.of(SHORT, *[dtype.itemsize * 8] * n),
        259: Value.of(SHORT, _DEFLATE),
        262: Value.of(SHORT, _PALETTE if colours else _GREY),
        277: Value.of(SHORT, n),
        284: Value.of(SHORT, 1),
        322: Value.of(SHORT, side),
        323: Value.of(SHORT, side),
        339: Value.of(SHORT, *[_FORMATS[dtype.kind]] * n),
    }
    if n > 1:
        tags[338] = Value.of(SHORT, *[0] * (n - 1))
    if colours:
        # TIFF 6.0, page 23: 256 reds, then greens, then blues, 0 to 65535.
        tags[_COLOR_MAP] = Value.of(SHORT, *(int(v) * 257 for v in palette(layers.classes).T.reshape(-1)))
    wanted = _FROM_GDAL if index == 0 else (_NODATA,)
    return {**tags, **{k: known[k] for k in wanted if k in known}}


def _tags_by_gdal(grid: Grid, crs: CRS | None, layers: Layers, tags: Mapping[str, str]) -> dict[int, Value]:
    """Tags of a small file with the map's place, names, units and metadata."""
    with warnings.catch_warnings(), MemoryFile() as memory:
        # A scene without a place gives a map without a place: whoever opened the scene has said so already.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            memory.name,
            "w",
            driver="GTiff",
            height=1,
            width=1,
            count=len(layers.bands),
            # Which GDAL makes half-precision files differs: the tags that are taken from here do not.
            dtype="float32" if layers.dtype == "float16" else layers.dtype,
            nodata=layers.nodata,
            crs=crs,
            transform=rasterio.Affine(*grid.transform),
            photometric="minisblack",
        ) as small:
            small.update_tags(**{"TIFFTAG_SOFTWARE": f"swath {__version__}", **tags})
            for i, band in enumerate(layers.bands, 1):
                small.set_band_description(i, band.name)
            small.units = tuple(b.unit for b in layers.bands)
            small.scales = tuple(b.scale for b in layers.bands)
            small.offsets = tuple(b.offset for b in layers.bands)
        memory.seek(0)
        return next(read_tags(memory))


def _first_band(level: Level, side: int, layers: Layers) -> Array:
    """[1,h,w]; of features there may be a thousand more, which all together fit no memory."""
    whole = np.empty((1, level.rows * side, level.cols * side), layers.dtype)
    for row in range(level.rows):
        for col in range(level.cols):
            part = decompress(level.tile(row, col), side, len(layers.bands), layers.dtype)
            whole[:, row * side : (row + 1) * side, col * side : (col + 1) * side] = part[:1]
    return whole[:, : level.height, : level.width]
