"""WorldCereal training sites: one folder per 640 m site, netCDF files per sensor, labels per pixel.

    SITE/S2_L2A_10m_*.nc        B02 B03 B04 B08           [T,64,64]  uint16, reflectance x 1e4, 0 = no data
    SITE/S2_L2A_20m_*.nc        B05 B06 B07 B8A B11 B12   [T,32,32]  and SCL, the scene classification
    SITE/OUTPUT_*.nc            LC, CT                    [64,64]    land cover and crop type, 0 = no label

Layout and codes as in the WorldCereal project's test resources (ESA; van Tricht et al., 2023). All dates are
kept, cloudy ones too. netCDF-4 is HDF5: h5py reads the stored whole numbers, so nothing is rounded.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from pathlib import Path
from typing import Any

import numpy as np

from swath.bands import sensor
from swath.cube import BoolArray, Cube, Encoding, Grid, Sample, Unit
from swath.data.labels import to_indices
from swath.data.layouts.files import library
from swath.data.legend import LandClass
from swath.data.raster import place_of
from swath.errors import ConfigError, InputError

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
FINE = ("B02", "B03", "B04", "B08")
LAND_COVER = (
    LandClass(11, "temporary crops", (246, 213, 92)),
    LandClass(13, "grassland", (178, 223, 138)),
    LandClass(60, "built-up", (215, 48, 39)),
    LandClass(99, "no temporary crops", (150, 150, 150)),
)
# Sentinel-2 scene classification: 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus.
_CLOUDY = (3, 8, 9, 10)
_UNITS = re.compile(r"(seconds|minutes|hours|days) since (\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}:\d{2}))?")


def read_site(
    folder: Path | str, *, mask_clouds: bool = True, classes: tuple[LandClass, ...] = LAND_COVER
) -> Sample:
    """One site: a cube "sentinel2" [T,10,H,W] on the 10 m grid, and its land cover as class indices [H,W].

    The 20 m bands are repeated two by two (nearest). Statistics are of the valid pixels.

    Args:
        folder: of the site.
        mask_clouds: mark cloud, shadow and thin cirrus (of the scene classification) as invalid.
        classes: what the land-cover codes mean; unlabelled pixels become -1.

    Raises:
        ConfigError: h5py is not installed.
        InputError: a file or a band is missing, damaged, or the files do not belong together.
    """
    folder = Path(folder)
    cube = read_sentinel2(folder, mask_clouds=mask_clouds)
    with contextlib.closing(open_netcdf(folder, "OUTPUT_*.nc")) as labels:
        codes, where = read_variable(labels, "LC"), name_of(labels)
    if codes.shape != cube.shape[2:]:
        raise InputError(
            f"labels are {codes.shape}, the images {cube.shape[2]}x{cube.shape[3]}",
            where=where,
            mend="use files of one site and export",
        )
    target = to_indices(codes, codes != 0, classes, where=where)
    return Sample({"sentinel2": cube}, folder.name, target, group=folder.name)


def read_sentinel2(folder: Path, *, mask_clouds: bool = True) -> Cube:
    """The Sentinel-2 series [T,10,H,W] of a site; as `read_site`, without labels."""
    with contextlib.ExitStack() as opened:
        fine, coarse = (
            opened.enter_context(open_netcdf(folder, f"{name}_*.nc")) for name in ("S2_L2A_10m", "S2_L2A_20m")
        )
        dates, grid = dates_of(fine), grid_of(fine)
        if dates_of(coarse) != dates:
            raise InputError(
                f"has other dates than {name_of(fine)}",
                where=name_of(coarse),
                mend="use files of one site and export",
            )
        if _shape(coarse, "B05")[1:] != (grid.height // 2, grid.width // 2):
            raise InputError(
                f"is not half as fine as {name_of(fine)}",
                where=name_of(coarse),
                mend="use files of one site and export",
            )
        planes, encodings = [], []
        for band in BANDS:
            file = fine if band in FINE else coarse
            values = read_variable(file, band)
            planes.append(values if file is fine else values.repeat(2, axis=1).repeat(2, axis=2))
            encodings.append(encoding_of(file, band))
        pixels = np.stack(planes, axis=1)
        valid: BoolArray = pixels != 0
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels)
        if mask_clouds:
            cloudy = np.isin(read_variable(coarse, "SCL"), _CLOUDY).repeat(2, axis=1).repeat(2, axis=2)
            valid &= ~cloudy[:, None]
    return Cube(
        pixels=pixels,
        valid=valid,
        bands=sensor("sentinel2").select(BANDS),
        dates=dates,
        encodings=(tuple(encodings),) * len(dates),
        gsd=10.0,
        place=place_of(grid),
        grid=grid,
        source=str(folder),
    ).with_statistics()


def find_site(folder: Path | str) -> Path:
    """The folder itself if it is a site with labels, else the first such folder below it.

    Raises:
        ConfigError: there is none.
    """
    root = Path(folder)
    # Short of the 10 m bands or of labels, a site cannot be mapped and scored.
    sites = sorted(p.parent for p in root.rglob("S2_L2A_10m_*.nc") if any(p.parent.glob("OUTPUT_*.nc")))
    if not sites:
        raise ConfigError(
            "holds no WorldCereal site (S2_L2A_10m_*.nc beside OUTPUT_*.nc)"
            if root.is_dir()
            else "no such folder",
            where=root,
            mend="give the folder of a site, or one that holds sites",
        )
    return sites[0]


def open_netcdf(folder: Path, pattern: str) -> Any:
    """The one file of that pattern, opened by h5py. Raises ConfigError without h5py, InputError otherwise."""
    library("h5py", "series", folder)
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(
            f"holds {len(found)} files {pattern}, a WorldCereal site has one",
            where=folder,
            mend="check the folder",
        )
    return open_file(found[0])


def open_file(path: Path) -> Any:
    """A netCDF-4 file, opened by h5py. Raises ConfigError without h5py, InputError when it cannot be read."""
    h5py = library("h5py", "series", path)
    try:
        return h5py.File(path, "r")
    except OSError as err:
        raise InputError(
            f"cannot be read as netCDF-4 ({str(err).split(chr(10))[0][:120]})",
            where=path,
            mend="fetch it anew",
        ) from err


def name_of(file: Any) -> str:
    """The path of an open file, for messages."""
    return str(file.filename)


def _shape(file: Any, name: str) -> tuple[int, ...]:
    if name not in file:
        raise InputError(f"band {name} is missing", where=name_of(file), mend="use the complete file")
    return tuple(int(n) for n in file[name].shape)


def read_variable(file: Any, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    """A variable whole, in its stored numbers. Raises InputError when it is missing or damaged."""
    _shape(file, name)
    try:
        return np.asarray(file[name][()])
    except (OSError, ValueError) as err:
        raise InputError(f"band {name} cannot be read", where=name_of(file), mend="fetch it anew") from err


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def encoding_of(file: Any, name: str, unit: Unit = "reflectance", level: str = "L2A") -> Encoding:
    """What a variable's stored numbers mean, by its CF scale and offset."""
    attributes = file[name].attrs
    scale = float(np.ravel(attributes.get("scale_factor", np.nan))[0])
    offset = float(np.ravel(attributes.get("add_offset", 0.0))[0])
    try:
        return Encoding(unit, scale, offset, level)
    except InputError as err:
        raise InputError(
            f"band {name}: {err.what}", where=name_of(file), mend="correct scale_factor"
        ) from None


def dates_of(file: Any, name: str = "timestamp") -> tuple[dt.date, ...]:
    """Days from CF time: "seconds since 2017-08-04 10:53:28"."""
    _shape(file, name)
    time = file[name]
    units = _UNITS.match(_text(time.attrs.get("units", "")))
    if units is None:
        raise InputError("does not say the unit of its time", where=name_of(file), mend="add 'days since …'")
    start = dt.datetime.fromisoformat(f"{units[2]}T{units[3] or '00:00:00'}")
    return tuple((start + dt.timedelta(**{units[1]: float(v)})).date() for v in time[()])


def grid_of(file: Any) -> Grid:
    """From the centres of the pixels and the EPSG code."""
    for name in ("x", "y"):
        _shape(file, name)
    x, y = file["x"][()], file["y"][()]
    code = _text(np.ravel(file.attrs.get("epsg", ""))[0])
    if len(x) < 2 or len(y) < 2 or not code.isdigit():
        raise InputError(
            "does not say its grid (x, y and epsg)", where=name_of(file), mend="use the original file"
        )
    step_x, step_y = float(x[1] - x[0]), float(y[1] - y[0])
    corner = (step_x, 0.0, float(x[0]) - step_x / 2, 0.0, step_y, float(y[0]) - step_y / 2)
    return Grid(f"EPSG:{code}", corner, len(y), len(x))
