"""From a SceneSpec to opened files: which band of which file is which (date, band), checked."""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from swath.bands import Band, Sensor, sensor
from swath.cube import UNITS, Encoding, Grid, Unit
from swath.data.gdal import grid_of, open_raster, probe
from swath.data.spec import SceneSpec
from swath.errors import InputError

log = logging.getLogger(__name__)
# Grids that agree to a hundredth of a pixel are the same: transforms are written with rounding.
GRID_TOLERANCE = 0.01


@dataclass(frozen=True)
class Plane:
    """One (date, band) on the disk.

    Attributes:
        file: index into `Opened.sources`.
        index: band within the file, from 1.
        factor: how many times coarser than the scene's grid.
    """

    file: int
    index: int
    factor: int


@dataclass(frozen=True)
class Opened:
    """Everything that is known of a scene before its pixels are read. `planes` and `encodings` are [T][C]."""

    sources: tuple[Any, ...]
    planes: tuple[tuple[Plane, ...], ...]
    bands: tuple[Band, ...]
    dates: tuple[dt.date | None, ...]
    encodings: tuple[tuple[Encoding, ...], ...]
    grid: Grid
    dtype: np.dtype[Any]


def open_planes(spec: SceneSpec) -> Opened:
    """Open and check all files of a spec. Closes what it opened when it raises (InputError, ConfigError)."""
    if spec.sensor is None:
        raise InputError("no sensor is named", where=spec.name, mend="set sensor, such as sensor: sentinel2")
    device = sensor(spec.sensor)
    if spec.mask_band and (spec.stack_dates != 1 or any(len(row) != 1 for row in spec.file_table)):
        raise InputError(
            "mask_band is for one file per date", where=spec.name, mend="put each date into one file"
        )
    sources: list[Any] = []
    try:
        found: list[dict[Band, tuple[int, int]]] = []  # per date: band -> (file, index)
        order: list[Band] | None = None
        for row in spec.file_table:
            first = len(sources)
            for path in row:
                sources.append(open_raster(path, sparse=spec.sparse))
                probe(sources[-1])
            files = sources[first:]
            if len(row) == 1:
                per_date = _name_stack(files[0], first, device, spec)
            else:
                per_date = [_name_files(files, first, device, spec)]
            for here in per_date:
                order = list(here) if order is None else order
                if set(here) != set(order):
                    _differ(order, here, row[0])
                found.append(here)
        assert order is not None
        bands = tuple(order)
        grid, factors = _common_grid(sources)
        dates = _dates(spec, len(found))
        planes = tuple(tuple(Plane(f, i, factors[f]) for f, i in (here[b] for b in bands)) for here in found)
        encodings = tuple(
            tuple(
                _encoding(spec, t, len(planes), sources[p.file], p.index, b)
                for p, b in zip(row, bands, strict=True)
            )
            for t, row in enumerate(planes)
        )
        return Opened(tuple(sources), planes, bands, dates, encodings, grid, _dtype(sources, planes, spec))
    except BaseException:
        for source in sources:
            source.close()
        raise


def _described(source: Any, index: int, device: Sensor) -> Band | None:
    """The band that the file itself names at this index, or None when it names none of this sensor."""
    text = source.descriptions[index - 1]
    if not text or not str(text).strip():
        return None
    try:
        return device.band(str(text))
    except InputError:
        return None


def _name_stack(source: Any, file: int, device: Sensor, spec: SceneSpec) -> list[dict[Band, tuple[int, int]]]:
    """Bands of one file that holds them all, by the names in the file or by the spec; one dict per date."""
    path = source.name
    pixels = [
        i
        for i, meaning in zip(source.indexes, source.colorinterp, strict=True)
        if meaning is not ColorInterp.alpha and i != spec.mask_band
    ]
    if spec.mask_band > source.count:
        raise InputError(
            f"has {source.count} bands, and mask_band is {spec.mask_band}",
            where=path,
            mend="correct mask_band",
        )
    if len(pixels) % spec.stack_dates:
        raise InputError(
            f"holds {len(pixels)} bands, which {spec.stack_dates} dates do not divide",
            where=path,
            mend="correct stack_dates",
        )
    count = len(pixels) // spec.stack_dates
    wanted = _select(device, spec.bands, path)
    result: list[dict[Band, tuple[int, int]]] = []
    for t in range(spec.stack_dates):
        indexes = pixels[t * count : (t + 1) * count]
        named: dict[Band, tuple[int, int]] = {}
        for i in indexes:
            band = _described(source, i, device)
            if band is not None and band in named:
                raise InputError(f"names band {band.name} twice", where=path, mend="correct its descriptions")
            if band is not None:
                named[band] = (file, i)
        if named and (not wanted or set(wanted) <= set(named)):
            result.append({b: named[b] for b in (wanted or named)})
            continue
        if not wanted:
            raise InputError(
                f"its {count} bands bear no names of {device.name}",
                where=path,
                mend=f"name them in file order, bands: [{', '.join(device.names[:3])}, …]",
            )
        if len(named) == count or len(wanted) != count:
            _missing(wanted, named, count, device, path)
        for band, i in zip(wanted, indexes, strict=True):
            _agree(_described(source, i, device), band, path, i)
        result.append({b: (file, i) for b, i in zip(wanted, indexes, strict=True)})
    return result


def _name_files(
    sources: Sequence[Any], first: int, device: Sensor, spec: SceneSpec
) -> dict[Band, tuple[int, int]]:
    """Bands of single-band files."""
    if spec.stack_dates != 1:
        raise InputError(
            "stack_dates is for one file per date or stack", where=spec.name, mend="leave stack_dates out"
        )
    for source in sources:
        if source.count != 1:
            raise InputError(
                f"holds {source.count} bands where one file per band is expected",
                where=source.name,
                mend="if each file is a date, set files_are: dates",
            )
    described = [_described(s, 1, device) for s in sources]
    wanted = _select(device, spec.bands, spec.name)
    if wanted:
        if len(wanted) != len(sources):
            raise InputError(
                f"{len(sources)} files, but {len(wanted)} bands are named",
                where=spec.name,
                mend="name one band per file, in the order of the files",
            )
        for source, has, band in zip(sources, described, wanted, strict=True):
            _agree(has, band, source.name, 1)
    else:
        for source, has in zip(sources, described, strict=True):
            if has is None:
                raise InputError(
                    f"bears no band name of {device.name}",
                    where=source.name,
                    mend="name the bands in the order of the files (bands: …)",
                )
        wanted = tuple(b for b in described if b is not None)
        for band in wanted:
            if wanted.count(band) > 1:
                raise InputError(
                    f"band {band.name} comes from {wanted.count(band)} files",
                    where=spec.name,
                    mend="give one file per band; for a series set files_are: dates",
                )
    return {b: (first + i, 1) for i, b in enumerate(wanted)}


def _select(device: Sensor, names: Sequence[str], path: str) -> tuple[Band, ...]:
    try:
        return device.select(names)
    except InputError as err:
        raise InputError(err.what, where=path, mend=err.mend) from None


def _agree(described: Band | None, stated: Band, path: str, index: int) -> None:
    if described is not None and described != stated:
        raise InputError(
            f"band {index} calls itself {described.name}, but is stated to be {stated.name}",
            where=path,
            mend="correct the order of bands, or the file's descriptions",
        )


def _missing(
    wanted: Sequence[Band], named: dict[Band, tuple[int, int]], count: int, device: Sensor, path: str
) -> None:
    lacking = [b.name for b in wanted if b not in named]
    has = ", ".join(b.name for b in named)
    if named and lacking:
        raise InputError(
            f"band {', '.join(lacking)} of {device.name} is missing (it has {has})",
            where=path,
            mend="add the band, or leave it out of bands",
        )
    raise InputError(
        f"holds {count} bands, but {len(wanted)} are named",
        where=path,
        mend="name one band per band of the file, in its order",
    )


def _differ(order: Sequence[Band], here: dict[Band, tuple[int, int]], path: str) -> None:
    lacking = [b.name for b in order if b not in here]
    extra = [b.name for b in here if b not in order]
    what = " and ".join(
        [f"lacks band {', '.join(lacking)}"] * bool(lacking)
        + [f"has band {', '.join(extra)} besides"] * bool(extra)
    )
    raise InputError(
        f"{what}, unlike the first date",
        where=path,
        mend="give every date the same bands, or choose with bands",
    )


def _common_grid(sources: Sequence[Any]) -> tuple[Grid, list[int]]:
    """The finest grid, and how many times coarser each file is. InputError names two files that differ."""
    grids = [grid_of(s) for s in sources]
    finest = max(range(len(grids)), key=lambda i: grids[i].height)
    base, name = grids[finest], sources[finest].name
    factors: list[int] = []
    for grid, source in zip(grids, sources, strict=True):
        if grid.crs != base.crs and source.crs != sources[finest].crs:
            raise InputError(
                f"is in {short_crs(grid.crs)}, but {name} in {short_crs(base.crs)}",
                where=source.name,
                mend="reproject one to the other's grid (gdalwarp)",
            )
        factor = base.height // grid.height
        same_size = (grid.height * factor, grid.width * factor) == (base.height, base.width)
        if not same_size or not _same_place(grid, base, factor):
            raise InputError(
                f"covers another grid ({describe(grid)}) than {name} ({describe(base)})",
                where=source.name,
                mend="resample both to one grid or extent (gdalwarp -te -tr)",
            )
        factors.append(factor)
    return base, factors


def _same_place(grid: Grid, base: Grid, factor: int) -> bool:
    """Whether two grids of one extent agree at their corners, to a part of a fine pixel."""
    step = math.hypot(base.transform[0], base.transform[3]) * GRID_TOLERANCE
    return all(
        math.dist(grid.xy(r / factor, c / factor), base.xy(r, c)) <= step
        for r, c in ((0, 0), (0, base.width), (base.height, 0))
    )


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids have one size and place (their reference systems are not compared)."""
    return (a.height, a.width) == (b.height, b.width) and _same_place(a, b, 1)


def describe(grid: Grid) -> str:
    """A grid in a few words."""
    a, _, x, _, e, y = grid.transform
    return f"{grid.height}x{grid.width} pixels of {abs(a):g}x{abs(e):g} from {x:g}, {y:g}"


def short_crs(crs: str) -> str:
    """A reference system in a few words."""
    if not crs:
        return "no reference system"
    return crs if len(crs) <= 40 else crs[:37] + "..."


def _dates(spec: SceneSpec, count: int) -> tuple[dt.date | None, ...]:
    if not spec.dates:
        return (None,) * count
    if len(spec.dates) != count:
        raise InputError(
            f"{len(spec.dates)} dates are stated, the files hold {count}",
            where=spec.name,
            mend="state one date per file of the series, in their order"
            if count > 1
            else "set files_are: dates, or stack_dates, if this is a series",
        )
    dates = tuple(dt.date.fromisoformat(d) for d in spec.dates)
    if list(dates) != sorted(dates):
        raise InputError("dates are not in order", where=spec.name, mend="sort the files by date")
    return dates


def _encoding(spec: SceneSpec, t: int, dates: int, source: Any, index: int, band: Band) -> Encoding:
    """What is stated wins over the file's tags; what neither says is an error."""
    where = source.name
    unit = spec.unit
    if unit is None:
        tag = (source.units[index - 1] or "").strip().lower()
        if tag not in UNITS:
            said = f"says its unit is '{tag}'" if tag else "does not say its unit"
            raise InputError(
                f"band {band.name} {said}",
                where=where,
                mend=f"state unit ({', '.join(UNITS)}), and scale and offset if they are not 1 and 0",
            )
        unit = _unit(tag)
    level = _at(spec.level, t, dates, "level", where)
    scale, offset = _at(spec.scale, t, dates, "scale", where), _at(spec.offset, t, dates, "offset", where)
    for name, stated, tag_value in (("scale", scale, source.scales), ("offset", offset, source.offsets)):
        own = tag_value[index - 1]
        if stated is not None and own != {"scale": 1.0, "offset": 0.0}[name] and own != stated:
            log.info("%s: stated %s %g is used in place of the file's %g", where, name, stated, own)
    try:
        return Encoding(
            unit,
            float(source.scales[index - 1] if scale is None else scale),
            float(source.offsets[index - 1] if offset is None else offset),
            level,
        )
    except InputError as err:
        raise InputError(f"band {band.name}: {err.what}", where=where, mend=err.mend) from None


def _unit(tag: str) -> Unit:
    return next(u for u in UNITS if u == tag)


def _at(value: Any, t: int, dates: int, name: str, where: str) -> Any:
    """A value that is one for all, or one per date."""
    if not isinstance(value, tuple):
        return value
    if len(value) != dates:
        raise InputError(
            f"{len(value)} values of {name} are stated for {dates} dates",
            where=where,
            mend="state one per date",
        )
    return value[t]


def _dtype(sources: Sequence[Any], planes: Sequence[Sequence[Plane]], spec: SceneSpec) -> np.dtype[Any]:
    """One type that holds all planes exactly."""
    kinds = set()
    for plane in (p for row in planes for p in row):
        source = sources[plane.file]
        dtype = np.dtype(source.dtypes[plane.index - 1])
        if dtype.kind not in "fiu":
            raise InputError(
                f"band {plane.index} is of type {dtype}, not real numbers",
                where=source.name,
                mend="use the intensity, or a calibrated product",
            )
        if spec.nodata is not None:
            _check_nodata(spec.nodata, dtype, source.name)
        kinds.add(dtype)
    return np.result_type(*kinds)


def _check_nodata(nodata: float, dtype: np.dtype[Any], where: str) -> None:
    if dtype.kind == "f":
        return
    limits = np.iinfo(dtype)
    if not (math.isfinite(nodata) and float(nodata).is_integer() and limits.min <= nodata <= limits.max):
        raise InputError(
            f"no-data {nodata:g} cannot occur in {dtype} pixels",
            where=where,
            mend="state another nodata, or none",
        )
