"""From a SceneSpec to opened files: which band of which file is which (date, band), checked."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from swath.bands import Band, Sensor, sensor
from swath.cube import Encoding, Grid
from swath.data.gdal import grid_of, open_raster, probe
from swath.data.grids import common_grid
from swath.data.spec import SceneSpec
from swath.data.units import meaning_of
from swath.errors import InputError
from swath.words import counted


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
    """Everything that is known of a scene before its pixels are read.

    `planes`, `encodings` and `known` (who says what the numbers mean) are [T][C]; `masks` are [T], or empty.
    """

    sources: tuple[Any, ...]
    planes: tuple[tuple[Plane, ...], ...]
    bands: tuple[Band, ...]
    dates: tuple[dt.date | None, ...]
    encodings: tuple[tuple[Encoding, ...], ...]
    known: tuple[tuple[str, ...], ...]
    grid: Grid
    dtype: np.dtype[Any]
    masks: tuple[Plane, ...] = ()


def open_planes(spec: SceneSpec) -> Opened:
    """Open and check all files of a spec. Closes what it opened when it raises (InputError, ConfigError)."""
    if spec.sensor is None:
        raise InputError(
            "no sensor is named",
            where=spec.name,
            mend="name it: --sensor, or sensor: in YAML, such as sentinel2",
        )
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
        grid, factors = common_grid(sources)
        dates = _dates(spec, len(found))
        planes = tuple(tuple(Plane(f, i, factors[f]) for f, i in (here[b] for b in bands)) for here in found)
        meanings = tuple(
            tuple(
                meaning_of(spec, t, len(planes), sources[p.file], p.index, b, place)
                for place, (p, b) in enumerate(zip(row, bands, strict=True))
            )
            for t, row in enumerate(planes)
        )
        dtype = _dtype(sources, planes, spec)
        masks = _open_masks(spec, len(found), grid, sources)
        return Opened(
            tuple(sources),
            planes,
            bands,
            dates,
            tuple(tuple(m.encoding for m in row) for row in meanings),
            tuple(tuple(m.known for m in row) for row in meanings),
            grid,
            dtype,
            masks,
        )
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
            f"has {counted(source.count, 'band')}, and mask_band is {spec.mask_band}",
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
                mend=f"name them in file order: --bands, or bands: in YAML, such as [{', '.join(device.names[:3])}, …]",
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
                f"holds {counted(source.count, 'band')} where one file per band is expected",
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
        f"holds {counted(count, 'band')}, but {len(wanted)} are named",
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


def _open_masks(spec: SceneSpec, dates: int, base: Grid, sources: list[Any]) -> tuple[Plane, ...]:
    """One mask per date, on the scene's grid or coarser by a whole factor; opened files join `sources`."""
    if not spec.mask_files:
        return ()
    if len(spec.mask_files) != dates:
        raise InputError(
            f"{len(spec.mask_files)} mask_files are named for {dates} dates",
            where=spec.name,
            mend="name one per date, in their order",
        )
    masks: list[Plane] = []
    finest = max(sources, key=lambda s: int(s.height))
    for path in spec.mask_files:
        sources.append(open_raster(path))
        source = sources[-1]
        probe(source)
        if np.dtype(source.dtypes[0]).kind not in "iu":
            raise InputError(
                f"is a mask of type {source.dtypes[0]}, not whole numbers", where=path, mend="name the mask"
            )
        grid = grid_of(source)
        if grid.height > base.height:
            raise InputError(
                f"is a mask of {grid.height}x{grid.width} pixels, finer than the bands "
                f"({base.height}x{base.width})",
                where=path,
                mend="bring the mask to the bands' grid (gdalwarp -r mode or max)",
            )
        _, factors = common_grid([finest, source])
        masks.append(Plane(len(sources) - 1, 1, factors[1]))
    return tuple(masks)


def _dates(spec: SceneSpec, count: int) -> tuple[dt.date | None, ...]:
    if not spec.dates:
        return (None,) * count
    if len(spec.dates) != count:
        raise InputError(
            f"{counted(len(spec.dates), 'date')} stated, the files hold {count}",
            where=spec.name,
            mend="state one date per file of the series, in their order"
            if count > 1
            else "set files_are: dates, or stack_dates, if this is a series",
        )
    dates = tuple(dt.date.fromisoformat(d) for d in spec.dates)
    if list(dates) != sorted(dates):
        raise InputError("dates are not in order", where=spec.name, mend="sort the files by date")
    return dates


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
