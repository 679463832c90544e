"""GreenEarthNet (EarthNet2021x): the series of EarthNet2021 as netCDF, with dates, places and newer cloud masks.

    train/29SND/29SND_2018-09-03_2019-01-30_441_569_2745_2873_6_86_42_122.nc
        s2_B02 s2_B03 s2_B04 s2_B8A [time,lat,lon]   reflectance on every fifth day, NaN on the days between
        s2_dlmask, s2_mask, s2_SCL  [time,lat,lon]   0 where there is no cloud or shadow; the scene classification
        time, lat, lon                               days; degrees

Benson et al., "Multi-modal learning for geospatial vegetation forecasting", CVPR 2024; variables and folders as on
https://earthnet.tech/resources/datasets/greenearthnet. netCDF-4 is HDF5: h5py reads what is stored.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from swath.bands import sensor
from swath.cube import BoolArray, Encoding, Grid, Sample
from swath.data.layouts import worldcereal as netcdf
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_split,
    existing_folder,
    make_cube,
    must_exist,
    one_of,
    visible,
)
from swath.data.layouts.earthnet import BANDS, EVERY, GSD, check_context, split_series
from swath.errors import InputError

log = logging.getLogger(__name__)
MASKS = ("dlmask", "mask", "none")
# Scene classes that the published score takes as clear: dark or not, plants, soil, water, unclassified.
_CLEAR = (1, 2, 4, 5, 6, 7)
_AXES = ("time", "lat", "lon")
_TILE = re.compile(r"(?:^|_)(\d{2}[A-Z]{3})(?=_|$)")


class GreenEarthNet(Listed):
    """Cube "sentinel2" [T,4,128,128], without a target.

    Args:
        root: the folder of `train` and the other parts.
        split: one of them, by the name of its folder.
        context: how many of the first dates are the cube "sentinel2"; the others then are the cube "future".
            0: all dates are "sentinel2". Published is 10 of 30.
        mask: valid is where "dlmask", the learnt mask, is 0 and the scene classification is none of cloud, shadow,
            snow and defect, as the published score has it; where "mask", the older one, is 0; or, with "none",
            wherever there is a number.

    The group is the Sentinel-2 tile that the file's name holds, and unknown if it holds none.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="greenearthnet",
        title="GreenEarthNet (EarthNet2021x)",
        tasks=("pretraining",),
        sensors={"sentinel2": BANDS, "future": BANDS},
        classes=(),
        splits=(
            "train",
            "iid",
            "ood",
            "extreme",
            "seasonal",
            "val_chopped",
            "iid_chopped",
            "ood-t_chopped",
            "ood-s_chopped",
            "ood-st_chopped",
        ),
        size="128 x 128 at 20 m, in degrees",
        dates="one in five days; 30 in 150 days (train and chopped parts), more in the others",
        items="the places of EarthNet2021",
        unit="surface reflectance, L2A, as floats unless the file says a scale",
        licence="not said with the structure of its files: see the source",
        source="https://earthnet.tech/resources/datasets/greenearthnet",
        files=("PART/FOLDER/NAME.nc",),
        notes=(
            "Sure by its pages: names of variables, and images on the fifth of every five days.",
            "Inferred from published code: names of the chopped parts, s2_dlmask, and reflectance as fractions.",
            "Inferred: lat and lon are the centres of pixels in degrees (WGS 84).",
            "Days between images are left out; if one holds numbers, the log says so.",
            "Weather, elevation and land cover are not read.",
        ),
    )

    def __init__(
        self, root: Path | str, split: str | None = None, *, context: int = 0, mask: str = "dlmask"
    ) -> None:
        check_split(self.info, split)
        self.context = check_context(context)
        self.mask = one_of("mask", mask, MASKS)
        top = existing_folder(root)
        super().__init__(top, _items(top, self.info.splits), split)

    def read(self, index: int) -> Sample:
        """One series, its dates in order."""
        item = self.items[index]
        with contextlib.closing(netcdf.open_file(must_exist(Path(item.where), "the series"))) as file:
            dates, grid = netcdf.dates_of(file, "time"), _grid(file)
            shape = (len(dates), grid.height, grid.width)
            if len(dates) < EVERY:
                raise InputError(
                    f"has {len(dates)} days, too few for one image", where=item.where, mend="fetch it anew"
                )
            read = [_band(file, f"s2_{band}", shape) for band in BANDS]
            valid = np.stack([good for _, good, _ in read], axis=1)
            if self.mask != "none":
                valid &= self._clear(file, shape)[:, None]
        cube = make_cube(
            np.stack([values for values, _, _ in read], axis=1),
            valid,
            sensor("sentinel2").select(BANDS),
            [encoding for _, _, encoding in read],
            dates=dates[EVERY - 1 :: EVERY],
            gsd=GSD,
            grid=grid,
            source=item.where,
        )
        return Sample(split_series(cube, self.context), item.id, group=item.group)

    def _clear(self, file: Any, shape: tuple[int, int, int]) -> BoolArray:
        """[T,H,W]; NaN is not clear."""
        name = f"s2_{self.mask}"
        if name not in file:
            raise InputError(
                f"holds no {name}",
                where=netcdf.name_of(file),
                mend=f"choose another mask: {', '.join(m for m in MASKS if m != self.mask)}",
            )
        clear: BoolArray = _days(file, name, shape)[EVERY - 1 :: EVERY] == 0
        if self.mask == "dlmask":
            clear &= np.isin(_days(file, "s2_SCL", shape)[EVERY - 1 :: EVERY], _CLEAR)
        return clear


def _items(top: Path, parts: tuple[str, ...]) -> Iterator[Item]:
    for part in parts:
        for path in visible(top / part, "*/*.nc"):
            tile = _TILE.search(path.stem)
            yield Item(
                f"{part}/{path.parent.name}/{path.stem}", str(path), None if tile is None else tile[1], part
            )


def _days(file: Any, name: str, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    """A variable on all its days, [time,lat,lon] whatever the order of its axes."""
    values = netcdf.read_variable(file, name)
    # Each axis knows the variable that it is counted by.
    axes = [next((scale.name.lstrip("/") for scale in dim.values()), "") for dim in file[name].dims]
    if sorted(axes) == sorted(_AXES):
        values = values.transpose([axes.index(a) for a in _AXES])
    if values.shape != shape:
        raise InputError(
            f"{name} is {values.shape}, its time, lat and lon are {shape}",
            where=netcdf.name_of(file),
            mend="fetch it anew",
        )
    return values


def _band(file: Any, name: str, shape: tuple[int, int, int]) -> tuple[npt.NDArray[Any], BoolArray, Encoding]:
    """Stored numbers and validity [T,H,W] of a band, and what the numbers mean."""
    values = _days(file, name, shape)
    attributes = file[name].attrs
    good: BoolArray = np.isfinite(values)
    for key in ("_FillValue", "missing_value"):
        if key in attributes:
            good &= values != np.ravel(attributes[key])[0]
    between = np.delete(good, np.s_[EVERY - 1 :: EVERY], axis=0)
    if between.any():
        days = int(between.any(axis=(1, 2)).sum())
        log.warning("%s: %s holds numbers on %d days between images", netcdf.name_of(file), name, days)
    values, good = values[EVERY - 1 :: EVERY], good[EVERY - 1 :: EVERY]
    if values.dtype.kind == "f" and "scale_factor" not in attributes and "add_offset" not in attributes:
        return values, good, Encoding("reflectance", 1.0, 0.0, "L2A")
    return values, good, netcdf.encoding_of(file, name)


def _grid(file: Any) -> Grid:
    """From the centres of pixels in degrees."""
    steps = []
    centres = [np.asarray(netcdf.read_variable(file, name), np.float64) for name in ("lon", "lat")]
    for name, at, most in zip(("lon", "lat"), centres, (180.0, 90.0), strict=True):
        step = np.diff(at) if at.ndim == 1 else np.zeros(0)
        if (
            step.size == 0
            or not np.allclose(step, step[0], rtol=0.05, atol=0)
            or not (np.abs(at) <= most).all()
        ):
            raise InputError(
                f"{name} is no even row of degrees", where=netcdf.name_of(file), mend="fetch it anew"
            )
        steps.append(float(at[-1] - at[0]) / step.size)
    (lon, lat), (x, y) = centres, steps
    corner = (x, 0.0, float(lon[0]) - x / 2, 0.0, y, float(lat[0]) - y / 2)
    return Grid("EPSG:4326", corner, len(lat), len(lon))
