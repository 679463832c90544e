"""What a Zarr store or a netCDF file holds, told from its dimensions, coordinates and attributes alone.

Understood are CF conventions (`grid_mapping`, `scale_factor`, `add_offset`, `_FillValue`), the `spatial_ref` coordinate
that odc-stac and rioxarray write (`crs_wkt` or `spatial_ref`, `GeoTransform`), and a `crs` or `epsg` attribute. Pixels
lie at the places of the x and y coordinates, which are those of their centres.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.crs import CRS
from rasterio.errors import CRSError

from swath.bands import Band, Sensor, sensor
from swath.cube import Encoding, Grid
from swath.data.gdal import guard
from swath.data.stac_item import UNIT_WORDS, band_named
from swath.errors import InputError
from swath.scenes.sources.spec import SourceSpec
from swath.words import counted

AXES = {
    "t": ("time", "t", "date", "dates"),
    "c": ("band", "bands", "channel", "channels", "variable", "wavelength"),
    "y": ("y", "lat", "latitude", "northing"),
    "x": ("x", "lon", "longitude", "easting"),
}
_FILLS = ("_FillValue", "missing_value")
# Coordinates of centres that are off by less than this part of a pixel are evenly spaced.
_EVEN = 0.01


@dataclass(frozen=True)
class ArrayPlane:
    """One band: of which variable, at which place of its band axis (None: it has none), and its encoding."""

    variable: str
    place: int | None
    encoding: Encoding
    nodata: float | None


@dataclass(frozen=True)
class ArrayLayout:
    """Everything that is known before pixels are read.

    Attributes:
        bands, planes: C bands and where they lie.
        dates: T dates in order.
        steps: T places on the time axis; (None,) without one.
        grid: of the pixels.
        dtype: of the stored numbers.
        mask: the variable that says what a pixel is, or None.
        mask_nodata: its number where it says nothing, or None.
        axes: per variable, which dimension is time, band, y and x ("t", "c", "y", "x").
    """

    bands: tuple[Band, ...]
    planes: tuple[ArrayPlane, ...]
    dates: tuple[dt.date | None, ...]
    steps: tuple[int | None, ...]
    grid: Grid
    dtype: np.dtype[Any]
    mask: str | None
    mask_nodata: float | None
    axes: dict[str, dict[str, str]]


def layout_of(data: Any, spec: SourceSpec) -> ArrayLayout:
    """The layout of an open xarray data set.

    Raises:
        InputError: something is missing or ambiguous; the message says which option states it.
    """
    where = spec.name
    if spec.sensor is None:
        raise InputError(
            "no sensor is named", where=where, mend="name it: --sensor, or sensor: in YAML, such as sentinel2"
        )
    device = sensor(spec.sensor)
    found = _variables(data, spec, device)
    axes = {name: _axes(data[name], where) for name in {v for v, _ in found.values()}}
    first = next(iter(axes))
    mask = spec.mask.name or None
    if mask is not None:
        if mask not in data.variables:
            raise InputError(f"has no variable {mask}", where=where, mend="correct mask.name")
        axes[mask] = _axes(data[mask], where)
        if "c" in axes[mask]:
            raise InputError(f"{mask} has bands", where=where, mend="name a mask of one band")
    for name, own in axes.items():
        for axis in ("y", "x", *(("t",) if "t" in axes[first] else ())):
            if own.get(axis) != axes[first].get(axis):
                raise InputError(
                    f"{name} lies on other dimensions than {first}",
                    where=where,
                    mend="name variables of one grid",
                )
    dates, steps = _dates(data, axes[first].get("t"), spec)
    planes = tuple(
        ArrayPlane(v, place, _encoding(data[v], band, spec), _nodata(data[v], spec))
        for band, (v, place) in found.items()
    )
    dtype: np.dtype[Any] = np.result_type(*(data[p.variable].dtype for p in planes))
    if dtype.kind not in "fiu":
        raise InputError(f"is of type {dtype}, not real numbers", where=where, mend="name other variables")
    grid = _grid(data, data[first], axes[first], spec)
    mask_nodata = None if mask is None else _fill(data[mask])
    return ArrayLayout(tuple(found), planes, dates, steps, grid, dtype, mask, mask_nodata, axes)


def _variables(data: Any, spec: SourceSpec, device: Sensor) -> dict[Band, tuple[str, int | None]]:
    """Band -> (variable, place on its band axis)."""
    where, wanted = spec.name, device.select(spec.bands)
    if spec.variable:
        if spec.variable not in data.data_vars:
            names = ", ".join(map(str, data.data_vars)) or "none"
            raise InputError(
                f"has no variable {spec.variable} (it has {names})", where=where, mend="correct variable"
            )
        return _along_axis(data, spec.variable, spec, device)
    single = {b: str(v) for v in data.data_vars if (b := band_named(device, str(v))) is not None}
    if single:
        lacking = [b.name for b in wanted if b not in single]
        if lacking:
            has = ", ".join(b.name for b in single)
            raise InputError(
                f"has no variable for band {', '.join(lacking)} (it has {has})",
                where=where,
                mend="correct bands",
            )
        order = wanted or tuple(sorted(single, key=device.bands.index))
        return {b: (single[b], None) for b in order}
    flat = [str(v) for v in data.data_vars if data[v].ndim >= 3 and str(v) != spec.mask.name]
    if len(flat) != 1:
        names = ", ".join(map(str, data.data_vars)) or "none"
        raise InputError(
            f"no variable bears the name of a band of {device.name} (it has {names})",
            where=where,
            mend="set variable to the one that holds all bands",
        )
    return _along_axis(data, flat[0], spec, device)


def _along_axis(data: Any, name: str, spec: SourceSpec, device: Sensor) -> dict[Band, tuple[str, int | None]]:
    where, array, wanted = spec.name, data[name], device.select(spec.bands)
    axis = _axes(array, where).get("c")
    if axis is None:
        own = band_named(device, name)
        bands = wanted or ((own,) if own is not None else ())
        if len(bands) != 1:
            raise InputError(f"{name} has no band axis", where=where, mend="name its one band with bands")
        return {bands[0]: (name, None)}
    count = int(array.sizes[axis])
    labels = [str(v) for v in np.asarray(data[axis].values).tolist()] if axis in data.coords else []
    named = [band_named(device, label) for label in labels]
    if any(b is not None for b in named):
        known = {b: (name, i) for i, b in reversed(list(enumerate(named))) if b is not None}
        if len(known) != sum(b is not None for b in named):
            raise InputError(
                f"{axis} of {name} names a band twice", where=where, mend="correct its coordinate"
            )
        lacking = [b.name for b in wanted if b not in known]
        if lacking:
            raise InputError(
                f"band {', '.join(lacking)} is missing (it has {', '.join(labels)})",
                where=where,
                mend="correct bands",
            )
        return {b: known[b] for b in wanted or sorted(known, key=lambda b: known[b][1] or 0)}
    if len(wanted) != count:
        raise InputError(
            f"{name} has {count} bands without names of {device.name}, and {len(wanted)} are stated",
            where=where,
            mend="name one per band, in their order (bands: …)",
        )
    return {b: (name, i) for i, b in enumerate(wanted)}


def _axes(array: Any, where: str) -> dict[str, str]:
    """Which dimension is which: by its name, or time by its coordinate, whatever it is called ("timestamp")."""
    found: dict[str, str] = {}
    for dim in map(str, array.dims):
        axis = next((a for a, names in AXES.items() if dim.lower() in names), None)
        if axis is None and dim in array.coords and np.asarray(array.coords[dim].values).dtype.kind == "M":
            axis = "t"
        if axis is None or axis in found:
            raise InputError(
                f"dimension {dim} of {array.name} is none of time, band, y and x, or comes twice",
                where=where,
                mend="rename it, or choose another variable",
            )
        found[axis] = dim
    if "y" not in found or "x" not in found:
        raise InputError(
            f"{array.name} has no dimensions y and x (it has {', '.join(map(str, array.dims))})",
            where=where,
            mend="choose another variable",
        )
    return found


def _dates(
    data: Any, axis: str | None, spec: SourceSpec
) -> tuple[tuple[dt.date | None, ...], tuple[int | None, ...]]:
    """Dates in order of time, and where each lies."""
    stated = tuple(dt.date.fromisoformat(d) for d in spec.dates)
    if axis is None:
        if len(stated) > 1:
            raise InputError(f"{len(stated)} dates stated for one", where=spec.name, mend="correct dates")
        return (stated[0] if stated else None,), (None,)
    count = int(data.sizes[axis])
    values = data[axis].values if axis in data.coords else None
    if values is None or np.asarray(values).dtype.kind != "M":
        if stated and len(stated) != count:
            raise InputError(
                f"{counted(len(stated), 'date')} stated for {count}",
                where=spec.name,
                mend="state one per step of time",
            )
        own: list[dt.date | None] = list(stated) if stated else [None] * count
    else:
        days = np.asarray(values).astype("datetime64[D]")
        if np.isnat(days).any():
            raise InputError(f"{axis} holds a time that is none", where=spec.name, mend="correct the store")
        own = [d.item() for d in days]
        lacking = sorted(set(stated) - set(own), key=str)
        if lacking:
            raise InputError(
                f"there is no {', '.join(map(str, lacking))} on its axis {axis}",
                where=spec.name,
                mend="correct dates",
            )
        if stated:
            keep = [i for i, d in enumerate(own) if d in stated]
            order = sorted(keep, key=lambda i: own[i] or dt.date.min)
            return tuple(own[i] for i in order), tuple(order)
    order = sorted(range(count), key=lambda i: own[i] or dt.date.min)
    return tuple(own[i] for i in order), tuple(order)


def _encoding(array: Any, band: Band, spec: SourceSpec) -> Encoding:
    """What is stated, else the attributes of CF."""
    where = spec.name
    for name in ("scale", "offset", "level"):
        if isinstance(getattr(spec, name), tuple):
            raise InputError(f"one {name} per date is stated", where=where, mend="state one for all, or none")
    word = str(array.attrs.get("units", "")).strip().lower()
    unit = spec.unit or UNIT_WORDS.get(word)
    if unit is None:
        said = f"says its unit is '{word}'" if word else "does not say its unit"
        raise InputError(
            f"{array.name} {said}",
            where=where,
            mend="state unit, and scale and offset if they are not 1 and 0",
        )
    scale, offset = spec.scale, spec.offset
    level = spec.level if isinstance(spec.level, str) else None
    try:
        return Encoding(
            unit,
            float(array.attrs.get("scale_factor", 1.0))
            if not isinstance(scale, (int, float))
            else float(scale),
            float(array.attrs.get("add_offset", 0.0))
            if not isinstance(offset, (int, float))
            else float(offset),
            level,
        )
    except (TypeError, ValueError):
        raise InputError(
            f"scale_factor of {array.name} is no number", where=where, mend="state scale"
        ) from None


def _nodata(array: Any, spec: SourceSpec) -> float | None:
    return _fill(array) if spec.nodata is None else spec.nodata


def _fill(array: Any) -> float | None:
    for key in _FILLS:
        if key in array.attrs:
            value = np.asarray(array.attrs[key]).reshape(-1)
            return float(value[0]) if value.size and value.dtype.kind in "fiu" else None
    return None


def _grid(data: Any, array: Any, axes: dict[str, str], spec: SourceSpec) -> Grid:
    y, x = axes["y"], axes["x"]
    height, width = int(array.sizes[y]), int(array.sizes[x])
    mapping = _mapping(data, array)
    crs = _crs(data, array, mapping, spec)
    stated = None if mapping is None else mapping.attrs.get("GeoTransform")
    if stated is not None:
        numbers = [float(v) for v in (stated.split() if isinstance(stated, str) else np.ravel(stated))]
        if len(numbers) != 6:
            raise InputError("GeoTransform is no six numbers", where=spec.name, mend="correct the store")
        c, a, b, f, d, e = numbers
        grid = Grid(crs, (a, b, c, d, e, f), height, width)
        _check_corner(data, x, y, grid, spec.name)
        return grid
    if x not in data.coords or y not in data.coords:
        raise InputError(
            f"has no coordinates {y} and {x}, and no GeoTransform",
            where=spec.name,
            mend="write them with the store",
        )
    west, step_x = _even(data[x].values, x, spec.name)
    north, step_y = _even(data[y].values, y, spec.name)
    return Grid(crs, (step_x, 0.0, west - step_x / 2, 0.0, step_y, north - step_y / 2), height, width)


def _mapping(data: Any, array: Any) -> Any:
    """The variable that holds the reference system, or None."""
    # Where xarray decodes coordinates it moves the attribute to the encoding.
    named = array.attrs.get("grid_mapping") or array.encoding.get("grid_mapping")
    for name in (named, "spatial_ref", "crs"):
        if name and name in data.variables:
            return data[name]
    return None


def _crs(data: Any, array: Any, mapping: Any, spec: SourceSpec) -> str:
    texts = [spec.grid.crs]
    if mapping is not None:
        texts += [mapping.attrs.get(key, "") for key in ("crs_wkt", "spatial_ref", "epsg_code")]
    texts += [array.attrs.get("crs", ""), data.attrs.get("crs", "")]
    code = str(data.attrs.get("epsg", ""))
    texts += [f"EPSG:{code}"] if code.isdigit() else []
    for text in texts:
        if not text:
            continue
        with guard(spec.name, "used (its reference system)"):
            try:
                return str(CRS.from_user_input(text).to_string())
            except CRSError as err:
                raise InputError(
                    f"its reference system cannot be understood ({err})",
                    where=spec.name,
                    mend="state grid.crs",
                ) from err
    raise InputError(
        "names no reference system (grid_mapping, spatial_ref, crs or epsg)",
        where=spec.name,
        mend="state grid.crs",
    )


def _even(values: Any, name: str, where: str) -> tuple[float, float]:
    """First value and step of a coordinate."""
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or numbers.size < 2:
        raise InputError(
            f"coordinate {name} is not a row of two values or more", where=where, mend="write a GeoTransform"
        )
    step = (numbers[-1] - numbers[0]) / (numbers.size - 1)
    expected = numbers[0] + step * np.arange(numbers.size)
    if not (math.isfinite(step) and step != 0 and (np.abs(numbers - expected) <= _EVEN * abs(step)).all()):
        raise InputError(
            f"coordinate {name} is not evenly spaced", where=where, mend="resample it to a regular grid first"
        )
    return float(numbers[0]), float(step)


def _check_corner(data: Any, x: str, y: str, grid: Grid, where: str) -> None:
    """A GeoTransform that contradicts the coordinates: one of them is of another file."""
    _, b, _, d, _, _ = grid.transform
    if x not in data.coords or y not in data.coords or b or d:
        return
    own = float(np.ravel(data[x].values)[0]), float(np.ravel(data[y].values)[0])
    said = grid.xy(0.5, 0.5)
    size = max(abs(grid.transform[0]), abs(grid.transform[4]))
    if max(abs(own[0] - said[0]), abs(own[1] - said[1])) > _EVEN * size:
        raise InputError(
            f"its GeoTransform puts the first pixel at {said[0]:g}, {said[1]:g}, its coordinates at "
            f"{own[0]:g}, {own[1]:g}",
            where=where,
            mend="correct one of them",
        )
