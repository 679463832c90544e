"""WorldCereal training sites as a layout: every site below a folder, with the sensors and the target asked for.

`swath.data.layouts.worldcereal` reads Sentinel-2 and the land cover of one site; here Sentinel-1 and Landsat 8
come beside, and the crop codes as a target:

    SITE/S1_GRD-*_20m_*.nc     VV VH              [T,32,32] int32, dB x 1e4, 0 = no data
    SITE/L8_SR_10m_*.nc        B02 … B07 B10 B11  [T,64,64] uint16, reflectance x 1e4, kelvin x 10, and pixel_qa
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from swath.bands import sensor
from swath.cube import BoolArray, Cube, Encoding, Grid, Sample, Unit
from swath.data.labels import to_indices
from swath.data.layouts import worldcereal as site
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import Listed, check_split, existing_folder, make_cube, one_of, visible
from swath.data.legend import LandClass
from swath.errors import ConfigError, InputError

S1_BANDS = ("VV", "VH")
# By the names in the files; the sensor calls them B2 … B11.
L8_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B10", "B11")
# Groups of the Indicative Crop Classification, FAO: the first digit of a crop code (1200 maize is a cereal).
CROPS = (
    LandClass(1, "cereals", (246, 213, 92)),
    LandClass(2, "vegetables and melons", (102, 166, 30)),
    LandClass(3, "fruit and nuts", (231, 41, 138)),
    LandClass(4, "oilseed crops", (230, 171, 2)),
    LandClass(5, "root and tuber crops", (166, 118, 29)),
    LandClass(6, "beverage and spice crops", (117, 112, 179)),
    LandClass(7, "leguminous crops", (27, 158, 119)),
    LandClass(8, "sugar crops", (217, 95, 2)),
    LandClass(9, "other crops, grass and fodder", (178, 223, 138)),
)
# 9998 is a crop that is not known.
_UNKNOWN = (9998, 9999)
# Landsat Collection 1 pixel_qa: bit 3 cloud shadow, bit 5 cloud.
_QA_CLOUDY = (1 << 3) | (1 << 5)
_TARGETS = {"land_cover": "LC", "crops": "CT"}


class WorldCereal(Listed):
    """Cubes of each site at 10 m, and land cover or crops [H,W] (-1 without a label).

    Args:
        root: a folder with sites below it, at any depth.
        split: there is none; a site is one group.
        sensors: among "sentinel2" [T,10,64,64], "sentinel1" [T,2,64,64] (20 m pixels repeated) and "landsat8"
            [T,8,64,64]; each has its own dates.
        target: "land_cover" or "crops" (groups by the first digit of the code).
        mask_clouds: mark cloud and shadow as invalid in the optical sensors, and thin cirrus in Sentinel-2.

    A site that lacks a sensor that is asked for is an item: reading it says so.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="worldcereal",
        title="WorldCereal training sites",
        tasks=("segmentation",),
        sensors={"sentinel2": site.BANDS},
        classes=site.LAND_COVER,
        splits=(),
        size="64 x 64 at 10 m",
        dates="72 to 146 in 16 to 24 months, clouds left in",
        items="one per 640 m site",
        unit="reflectance x 1e4 (Sentinel-2 L2A, Landsat 8), dB x 1e4 (Sentinel-1), kelvin x 10 (Landsat 8)",
        licence="MIT (repository); Copernicus Sentinel and USGS Landsat data",
        source="https://github.com/WorldCereal/worldcereal-classification (history of its test resources)",
        files=(
            "<site>/OUTPUT_*.nc",
            "<site>/S2_L2A_10m_*.nc, S2_L2A_20m_*.nc",
            "<site>/S1_GRD-*_20m_*.nc",
            "<site>/L8_SR_10m_*.nc",
        ),
        notes=(
            "About two fifths of the dates are cloudy; they are kept, their clouded pixels invalid.",
            "A stored 0 is no data; for Landsat so is pixel_qa 0, under which -999 is stored, wrapped to 64537.",
            "target='crops' has nine groups by the first digit of the crop code; unknown crops are not scored.",
            "Sentinel-1 has two passes of one day at times.",
            "Reading needs the extra 'series' (h5py).",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        sensors: Sequence[str] = ("sentinel2",),
        target: str = "land_cover",
        mask_clouds: bool = True,
    ) -> None:
        check_split(self.info, split)
        known = ("sentinel2", "sentinel1", "landsat8")
        if not sensors or len(set(sensors)) != len(sensors):
            raise ConfigError("name each sensor once", where="sensors", mend=f"use {', '.join(known)}")
        self._sensors = tuple(one_of("sensors", s, known) for s in sensors)
        self._target, self._mask_clouds = one_of("target", target, tuple(_TARGETS)), mask_clouds
        top = existing_folder(root)
        folders = sorted({p.parent for p in visible(top, "**/OUTPUT_*.nc")})
        super().__init__(top, [Item(p.name, str(p), group=p.name) for p in folders], split)

    @classmethod
    def describe(cls, *, target: str = "land_cover", **others: object) -> LayoutInfo:
        """With the classes of its target."""
        return replace(cls.info, classes=CROPS if target == "crops" else site.LAND_COVER)

    def read(self, index: int) -> Sample:
        """One site."""
        item = self.items[index]
        folder = Path(item.where)
        target, grid = self._labels(folder)
        cubes: dict[str, Cube] = {}
        for name in self._sensors:
            if name == "sentinel2":
                cubes[name] = site.read_sentinel2(folder, mask_clouds=self._mask_clouds)
            elif name == "sentinel1":
                cubes[name] = _sentinel1(folder)
            else:
                cubes[name] = _landsat8(folder, self._mask_clouds)
            if cubes[name].shape[2:] != target.shape:
                raise InputError(
                    f"{name} is {cubes[name].shape[2:]}, the labels {(grid.height, grid.width)}",
                    where=folder,
                    mend="use files of one site and export",
                )
        return Sample(cubes, item.id, target, item.group)

    def _labels(self, folder: Path) -> tuple[npt.NDArray[np.int64], Grid]:
        with contextlib.closing(site.open_netcdf(folder, "OUTPUT_*.nc")) as file:
            where, grid = site.name_of(file), site.grid_of(file)
            codes = site.read_variable(file, _TARGETS[self._target])
        if codes.shape != (grid.height, grid.width):
            raise InputError(
                f"labels are {codes.shape}, the grid {(grid.height, grid.width)}",
                where=where,
                mend="fetch it anew",
            )
        if self._target == "land_cover":
            return to_indices(codes, codes != 0, site.LAND_COVER, where=where, allow_empty=True), grid
        known = (codes != 0) & ~np.isin(codes, _UNKNOWN)
        return to_indices(codes // 1000, known, CROPS, where=where, allow_empty=True), grid


def _sentinel1(folder: Path) -> Cube:
    with contextlib.closing(site.open_netcdf(folder, "S1_GRD-*_20m_*.nc")) as file:
        planes = np.stack([site.read_variable(file, b) for b in S1_BANDS], axis=1)
        encodings = [site.encoding_of(file, b, "decibel", "GRD") for b in S1_BANDS]
        dates, grid, where = site.dates_of(file), site.grid_of(file), site.name_of(file)
    a, b, x, d, e, y = grid.transform
    fine = Grid(grid.crs, (a / 2, b / 2, x, d / 2, e / 2, y), grid.height * 2, grid.width * 2)
    planes = planes.repeat(2, axis=2).repeat(2, axis=3)
    bands = sensor("sentinel1").select(S1_BANDS)
    return make_cube(planes, planes != 0, bands, encodings, dates=dates, gsd=10.0, grid=fine, source=where)


def _landsat8(folder: Path, mask_clouds: bool) -> Cube:
    units: dict[str, Unit] = {b: "kelvin" if b in ("B10", "B11") else "reflectance" for b in L8_BANDS}
    with contextlib.closing(site.open_netcdf(folder, "L8_SR_10m_*.nc")) as file:
        planes = np.stack([site.read_variable(file, b) for b in L8_BANDS], axis=1)
        encodings: list[Encoding] = [site.encoding_of(file, b, units[b], "SR") for b in L8_BANDS]
        quality = site.read_variable(file, "pixel_qa")
        if planes.dtype == np.uint16:
            # Landsat's numbers are signed; the export wrapped them, so that -999 stands there as 64537.
            planes = planes.view(np.int16)
        valid: BoolArray = (planes != 0) & (quality != 0)[:, None]
        if mask_clouds:
            valid &= (quality & _QA_CLOUDY == 0)[:, None]
        dates, grid, where = site.dates_of(file), site.grid_of(file), site.name_of(file)
    bands = sensor("landsat8").select(L8_BANDS)
    return make_cube(planes, valid, bands, encodings, dates=dates, gsd=10.0, grid=grid, source=where)
