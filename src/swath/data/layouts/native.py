"""One date from one file per band, each band at its native size, brought to the grid of the finest by whole factors.

Data sets that were cut band by band have grids that do not quite nest: each size is cut at the centre of its own
pixels, so that in SSL4EO-S12 the 60 m bands lie two and a half fine pixels off. As everyone who uses them does, and as
the names of their sizes say (264, 132, 44), extents are taken as equal: a coarse pixel covers factor x factor
fine ones from the corner on. What lies further off than one coarse pixel is another place, and an error.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from swath.bands import sensor
from swath.cube import BoolArray, Cube, Encoding, Grid
from swath.data.grids import describe
from swath.data.raster import open_scene
from swath.data.resample import upsample
from swath.data.spec import Resampling, SceneSpec
from swath.errors import InputError


def read_native(
    files: Mapping[str, Path],
    *,
    device: str,
    date: dt.date | None,
    encoding: Encoding,
    nodata: float | None = None,
    zeros_are_nodata: bool = False,
    resampling: Resampling = "nearest",
    source: str,
) -> Cube:
    """A cube [1,C,H,W] with the bands in the order of `files`.

    Args:
        files: name of the band -> its file.
        device: name of the sensor.
        date: of acquisition.
        encoding: of all bands.
        nodata: the number that means no data, beside that of the files.
        zeros_are_nodata: a pixel that is 0 in all bands is invalid in all. A 0 in one band alone may be a
            measurement: the cirrus band of L1C is often 0.
        resampling: how coarser bands come to the finest grid.
        source: its name in messages.

    Raises:
        InputError: a file is missing or damaged, sizes are not whole multiples, or bands show other places.
    """
    missing = [band for band, path in files.items() if not path.is_file()]
    if missing:
        raise InputError(f"band {', '.join(missing)} is missing", where=source, mend="fetch it anew")
    order = sensor(device).select(files)
    groups: dict[float, list[int]] = {}
    for i, band in enumerate(order):
        groups.setdefault(band.gsd_m, []).append(i)
    paths = list(files.values())
    cubes = {
        gsd: _read([paths[i] for i in index], [order[i].name for i in index], device, encoding, nodata)
        for gsd, index in groups.items()
    }
    fine = cubes[min(cubes)]
    assert fine.grid is not None
    _, _, height, width = fine.shape
    dtype = np.result_type(*(c.pixels.dtype for c in cubes.values()))
    pixels = np.zeros((1, len(order), height, width), dtype)
    valid: BoolArray = np.zeros(pixels.shape, np.bool_)
    for gsd, index in groups.items():
        cube = cubes[gsd]
        factor = _factor(cube, fine)
        for place, i in enumerate(index):
            values, good = cube.pixels[0, place], cube.valid[0, place]
            if factor > 1:
                values, good = upsample(values, good, (0, 0), (0, 0, height, width), factor, resampling)
            pixels[0, i], valid[0, i] = np.where(good, values, 0), good
    if zeros_are_nodata:
        valid = valid & not_all_zero(pixels)
    return replace(
        fine,
        pixels=pixels,
        valid=valid,
        bands=order,
        dates=(date,),
        encodings=((encoding,) * len(order),),
        source=source,
    )


def not_all_zero(pixels: np.typing.NDArray[np.generic]) -> BoolArray:
    """[T,1,H,W] of [T,C,H,W]: where any band is not 0."""
    found: BoolArray = (pixels != 0).any(axis=1, keepdims=True)
    return found


def stack_dates(cubes: Sequence[Cube], *, total: int, source: str) -> Cube:
    """Cubes of one date each, in order, as one; followed by wholly invalid dates up to `total`.

    The grid is that of the first; the others must lie within one pixel of 60 m of it.

    Raises:
        InputError: sizes differ, or a date shows another place.
    """
    first = cubes[0]
    for cube in cubes[1:]:
        if cube.shape != first.shape:
            raise InputError(
                f"is {_size(cube)} pixels, but {first.source} {_size(first)}",
                where=cube.source,
                mend="use dates of one size",
            )
        _same_place(cube, first, reach=6.0)
    lacking = total - len(cubes)
    blank = np.zeros((max(lacking, 0), *first.shape[1:]))
    return replace(
        first,
        pixels=np.concatenate([*(c.pixels for c in cubes), blank.astype(first.pixels.dtype)]),
        valid=np.concatenate([*(c.valid for c in cubes), blank.astype(np.bool_)]),
        dates=(*(c.dates[0] for c in cubes), *(None,) * lacking),
        encodings=(*(c.encodings[0] for c in cubes), *(cubes[-1].encodings[0],) * lacking),
        source=source,
    ).with_statistics()


def _read(paths: list[Path], bands: list[str], device: str, encoding: Encoding, nodata: float | None) -> Cube:
    spec = SceneSpec(
        tuple(str(p) for p in paths),
        sensor=device,
        bands=tuple(bands),
        unit=encoding.unit,
        scale=encoding.scale,
        offset=encoding.offset,
        level=encoding.level,
        nodata=nodata,
    )
    with open_scene(spec) as scene:
        return scene.read(0, 0, scene.height, scene.width)


def _factor(cube: Cube, fine: Cube) -> int:
    """How many times coarser; checked to be whole, and to show the same place."""
    _, _, h, w = cube.shape
    _, _, height, width = fine.shape
    factor = height // h
    if factor < 1 or (h * factor, w * factor) != (height, width):
        raise InputError(
            f"is {_size(cube)} pixels, of which {_size(fine)} of {fine.source} is no whole multiple",
            where=cube.source,
            mend="fetch it anew",
        )
    _same_place(cube, fine, reach=float(max(factor, 1)))
    return factor


def _same_place(cube: Cube, fine: Cube, *, reach: float) -> None:
    a, b = cube.grid, fine.grid
    assert a is not None and b is not None
    if a.crs == b.crs and _apart(a, b) <= reach:
        return
    raise InputError(
        f"shows another place ({describe(a)}, {a.crs or 'no reference system'}) than {fine.source} "
        f"({describe(b)}, {b.crs or 'no reference system'})",
        where=cube.source,
        mend="fetch it anew",
    )


def _apart(a: Grid, b: Grid) -> float:
    """Between the centres, in pixels of `b`."""
    step = math.hypot(b.transform[0], b.transform[3])
    return math.dist(a.xy(a.height / 2, a.width / 2), b.xy(b.height / 2, b.width / 2)) / step


def _size(cube: Cube) -> str:
    return f"{cube.shape[2]} x {cube.shape[3]}"
