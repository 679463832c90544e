"""From images to a mosaic: bands, dates, one grid, one encoding per date and band. No pixel is read."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from swath.bands import Band, Sensor
from swath.cube import Encoding, Grid
from swath.data.gdal import grid_of, is_remote, open_raster
from swath.data.grids import short_crs
from swath.errors import ConfigError, InputError
from swath.scenes.sources.footprint import (
    bounds_in,
    box_outline,
    outline,
    pixels_of,
    whole,
)
from swath.scenes.sources.images import Image, by_date
from swath.scenes.sources.mosaic import MosaicSpec, Window
from swath.scenes.sources.placed import TOLERANCE, same_crs, shift_between
from swath.scenes.sources.retry import retrying
from swath.scenes.sources.spec import SourceSpec

log = logging.getLogger(__name__)
# Files of many items are opened side by side: each costs a round trip and no computing.
_OPENERS = 8
# Warped pixels at the rim of an image may lie a little outside of its outline.
_MARGIN = 2


def plan_mosaic(images: Sequence[Image], spec: SourceSpec, device: Sensor, name: str) -> MosaicSpec:
    """Settle what a mosaic is made of.

    The grid is that of the images' finest band where they agree (same system, size of pixels, in step), as large as
    all of them together; else the one that `spec.grid` states. It is cut to `spec.search.bbox`.

    Raises:
        InputError: no image, a band is missing, grids disagree and none is stated, or encodings contradict.
    """
    if not images:
        raise InputError("there is no image", where=name, mend="widen the search")
    dates = by_date(images, spec.dates)
    chosen = [image for row in dates.values() for image in row]
    bands = _bands(chosen, spec, device)
    grids = _grids(chosen, bands, spec)
    grid = _common(chosen, grids, spec)
    if spec.search.bbox:
        grid = _cut(grid, spec.search.bbox, name)
    by_image = {id(image): own for image, own in zip(chosen, grids, strict=True)}
    placed = {key: _place(own, grid) for key, own in by_image.items()}
    encodings, shifted = _encodings(list(dates.values()), bands)
    dtype = _dtype(chosen[0], bands, spec)
    if shifted:
        if dtype.kind not in "iu":
            raise InputError(
                "images of one date have different offsets, and numbers that are not whole",
                where=name,
                mend="leave one of them out",
            )
        dtype = np.result_type(dtype, np.int32)
    # Images that miss the grid are left out; a date that none of its images reaches stays, all invalid.
    rows = [
        [image for image in row if placed[id(image)][2] and placed[id(image)][3]] for row in dates.values()
    ]
    return MosaicSpec(
        name,
        bands,
        tuple(dates),
        tuple(tuple(row) for row in rows),
        tuple(tuple(placed[id(image)] for image in row) for row in rows),
        grid,
        encodings,
        dtype.name,
        spec.mask,
        spec.resampling,
        spec.sparse,
        spec.retry,
    )


def _bands(images: Sequence[Image], spec: SourceSpec, device: Sensor) -> tuple[Band, ...]:
    """Those that are named, else those of the first image, which all must have."""
    wanted = device.select(spec.bands) or tuple(band for band, _ in images[0].layers)
    for image in images:
        for band in wanted:
            image.layer(band)
    return wanted


def _grids(images: Sequence[Image], bands: Sequence[Band], spec: SourceSpec) -> list[Grid]:
    """Of each image's finest wanted band."""
    finest = min(b.gsd_m for b in bands)
    # Bands that are finest by their nature; a product may hold them all at one resolution, or by their own.
    layers = [image.layer(next(b for b in bands if b.gsd_m == finest)) for image in images]

    def look(number: int) -> Grid:
        layer = layers[number]
        return layer.grid or retrying(lambda: _grid_at(layer.path), spec.retry, remote=is_remote(layer.path))

    with ThreadPoolExecutor(_OPENERS, "swath-open") as pool:
        return list(pool.map(look, range(len(layers))))


def _grid_at(path: str) -> Grid:
    source = open_raster(path, sparse=True)
    try:
        return grid_of(source)
    finally:
        source.close()


def _common(images: Sequence[Image], grids: Sequence[Grid], spec: SourceSpec) -> Grid:
    first, stated = grids[0], spec.grid
    odd = next((i for i, g in enumerate(grids) if not _in_step(g, first)), None)
    native = not stated.crs or same_crs(stated.crs, first.crs)
    own_size = not stated.resolution or math.isclose(
        stated.resolution, math.hypot(first.transform[0], first.transform[3])
    )
    if odd is None and native and own_size:
        return _union(grids)
    if not stated.crs and odd is not None and not same_crs(grids[odd].crs, first.crs):
        raise InputError(
            f"is in {short_crs(grids[odd].crs)}, but {images[0].id} in {short_crs(first.crs)}",
            where=images[odd].where,
            mend="state the grid to lay them on: grid.crs and grid.resolution",
        )
    if not stated.crs and not stated.resolution:
        assert odd is not None
        raise InputError(
            f"its pixels are not in step with those of {images[0].id}",
            where=images[odd].where,
            mend="state the grid to lay them on: grid.crs and grid.resolution",
        )
    crs = stated.crs or first.crs
    if not first.crs:
        raise InputError("names no reference system", where=images[0].where, mend="set it (gdal_edit -a_srs)")
    if not stated.resolution and not same_crs(crs, first.crs):
        raise ConfigError(
            f"no resolution is stated for {short_crs(crs)}",
            where="grid.resolution",
            mend="give it in units of that system",
        )
    size = stated.resolution or math.hypot(first.transform[0], first.transform[3])
    return stated_grid(grids, crs, size, spec.search.bbox)


def _in_step(grid: Grid, first: Grid) -> bool:
    if not same_crs(grid.crs, first.crs):
        return False
    shift = shift_between(first, grid)
    return shift is not None and shift.factor == 1


def _union(grids: Sequence[Grid]) -> Grid:
    """The grid of the first, as large as all together."""
    first = grids[0]
    top = left = bottom = right = 0
    for grid in grids:
        shift = shift_between(first, grid)
        assert shift is not None
        top, left = min(top, shift.row), min(left, shift.col)
        bottom, right = max(bottom, shift.row + grid.height), max(right, shift.col + grid.width)
    return first.window(top, left, bottom - top, right - left)


def stated_grid(grids: Sequence[Grid], crs: str, size: float, bbox: Sequence[float]) -> Grid:
    """The stated grid around all images, its pixels' edges at multiples of their size, as odc-geo lays it."""
    near = None if not bbox else (bbox[0] + (bbox[2] + 360 * (bbox[2] < bbox[0]))) / 2
    boxes = []
    for grid in grids:
        x, y = outline(grid)
        boxes.append(bounds_in(x, y, grid.crs, crs, near))
        # In degrees, neighbours across the antimeridian go on beside the first.
        near = (boxes[0][0] + boxes[0][2]) / 2 if near is None else near
    left, bottom = min(b[0] for b in boxes), min(b[1] for b in boxes)
    right, top = max(b[2] for b in boxes), max(b[3] for b in boxes)
    # A bound that is less than a hundredth of a pixel off an edge adds no pixel.
    slack = TOLERANCE
    west, south = math.floor(left / size + slack), math.floor(bottom / size + slack)
    east, north = math.ceil(right / size - slack), math.ceil(top / size - slack)
    transform = (size, 0.0, west * size, 0.0, -size, north * size)
    return Grid(crs, transform, max(north - south, 1), max(east - west, 1))


def _cut(grid: Grid, bbox: Sequence[float], name: str) -> Grid:
    """The part of a grid within a box in degrees."""
    x, y = box_outline(bbox)
    near = grid.xy(grid.height / 2, grid.width / 2)[0]
    top, left, height, width = whole(pixels_of(bounds_in(x, y, "EPSG:4326", grid.crs, near), grid))
    r0, c0 = max(top, 0), max(left, 0)
    r1, c1 = min(top + height, grid.height), min(left + width, grid.width)
    if r0 >= r1 or c0 >= c1:
        raise InputError(f"the images lie outside of {list(bbox)}", where=name, mend="correct search.bbox")
    return grid.window(r0, c0, r1 - r0, c1 - c0)


def _place(own: Grid, grid: Grid) -> Window:
    """Rows and columns of a grid that an image may touch."""
    shift = shift_between(own, grid) if same_crs(own.crs, grid.crs) else None
    if shift is not None:
        box = (-shift.row, -shift.col, own.height * shift.factor, own.width * shift.factor)
    else:
        x, y = outline(own)
        near = grid.xy(grid.height / 2, grid.width / 2)[0]
        top, left, height, width = whole(pixels_of(bounds_in(x, y, own.crs, grid.crs, near), grid))
        box = (top - _MARGIN, left - _MARGIN, height + 2 * _MARGIN, width + 2 * _MARGIN)
    r0, c0 = max(box[0], 0), max(box[1], 0)
    r1, c1 = min(box[0] + box[2], grid.height), min(box[1] + box[3], grid.width)
    return r0, c0, max(r1 - r0, 0), max(c1 - c0, 0)


def _encodings(
    rows: Sequence[Sequence[Image]], bands: Sequence[Band]
) -> tuple[tuple[tuple[Encoding, ...], ...], bool]:
    """One per (date, band), and whether stored numbers of some image have to be shifted to it.

    Images of one date may differ in their offset (Sentinel-2 products of two baselines), if it is so by whole stored
    numbers: adding these is exact.
    """
    found: list[tuple[Encoding, ...]] = []
    shifted = False
    for row in rows:
        line = []
        for band in bands:
            own = [image.layer(band).encoding for image in row]
            first = own[0]
            assert first is not None
            for image, other in zip(row, own, strict=True):
                assert other is not None
                if other == first:
                    continue
                step = (other.offset - first.offset) / first.scale
                plain = (other.unit, other.scale, other.level) == (first.unit, first.scale, first.level)
                if not plain or abs(step - round(step)) > 1e-6:
                    raise InputError(
                        f"band {band.name} has another unit, scale or level than in {row[0].id} of the same date",
                        where=image.where,
                        mend="leave one of them out, or state unit, scale and offset",
                    )
                shifted = shifted or round(step) != 0
            line.append(first)
        found.append(tuple(line))
    return tuple(found), shifted


def _dtype(image: Image, bands: Sequence[Band], spec: SourceSpec) -> np.dtype[np.generic]:
    """One type that holds all bands of an image exactly."""
    kinds = set()
    for path in {image.layer(b).path for b in bands}:

        def look(path: str = path) -> set[np.dtype[np.generic]]:
            source = open_raster(path, sparse=True)
            try:
                rows = {image.layer(b).index for b in bands if image.layer(b).path == path}
                if max(rows) > source.count:
                    raise InputError(f"holds {source.count} bands", where=path, mend="fetch it anew")
                return {np.dtype(source.dtypes[i - 1]) for i in rows}
            finally:
                source.close()

        kinds |= retrying(look, spec.retry, remote=is_remote(path))
    dtype: np.dtype[np.generic] = np.result_type(*kinds)
    if dtype.kind not in "fiu":
        raise InputError(f"is of type {dtype}, not real numbers", where=image.where, mend="use an intensity")
    return dtype
