"""HLS water chips: 128 x 128 pixels of harmonised Landsat and Sentinel-2 with masks of open water.

    data/images/0.tif     12 bands, int16: 1-7 surface reflectance x 1e4, 8 Fmask bits, 9 and 10 elevation,
                          11 ESA WorldCover class, 12 water occurrence
    data/labels/0.png     0 no water, 1 water
    chips.csv             chip, median_elevation_m, elevation_band, water_fraction

Only bands 1 to 7 are ever inputs: the others tell the answer (the water bit of band 8 alone scores an IoU of
0.64). Fmask may mask clouds, and WorldCover may be the target.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.bands import sensor
from swath.cube import Array, BoolArray, Encoding, Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_shape,
    check_split,
    existing_folder,
    first_folder,
    make_cube,
    must_exist,
    named,
    one_of,
    read_plane,
    read_planes,
    read_table,
)
from swath.data.legend import LandClass
from swath.errors import ConfigError, InputError

SIZE = 128
# Bands 1 to 7 of the files, by their names on HLS L30.
INPUTS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07")
CLASSES = (LandClass(0, "no water", (217, 199, 160)), LandClass(1, "water", (33, 102, 172)))
WORLDCOVER = (
    LandClass(10, "tree cover", (0, 100, 0)),
    LandClass(20, "shrubland", (255, 187, 34)),
    LandClass(30, "grassland", (255, 255, 76)),
    LandClass(40, "cropland", (240, 150, 255)),
    LandClass(50, "built-up", (250, 0, 0)),
    LandClass(60, "bare or sparse vegetation", (180, 180, 180)),
    LandClass(70, "snow and ice", (240, 240, 240)),
    LandClass(80, "permanent water bodies", (0, 100, 200)),
    LandClass(90, "herbaceous wetland", (0, 150, 160)),
    LandClass(95, "mangroves", (0, 207, 117)),
    LandClass(100, "moss and lichen", (250, 230, 160)),
)
_FILE_BANDS, _FMASK, _WORLDCOVER = 12, 8, 11
# HLS user guide v2.0, Fmask: bit 1 cloud, bit 3 cloud shadow.
_CLOUDY = (1 << 1) | (1 << 3)
_NODATA = -9999
_FILE = re.compile(r"\d+\.tif")


class HLSWater(Listed):
    """Cube "hls_l30" [1,C,128,128], and water, or WorldCover classes, [H,W].

    Args:
        root: the folder with `data/` and `chips.csv`.
        split: there is none; groups are elevation bands, to be kept whole on one side of a split.
        bands: among B01 to B07; the default are the six bands of Prithvi and ST-SwinMAE.
        target: "water" or "worldcover".
        mask_clouds: mark Fmask's cloud and cloud shadow as invalid in the image (not in the target).
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="hls-water",
        title="HLS water chips",
        tasks=("segmentation",),
        sensors={"hls_l30": INPUTS[1:]},
        classes=CLASSES,
        splits=(),
        size="128 x 128 at 30 m",
        dates="1, unknown",
        items="306, of which 202 are development chips",
        unit="surface reflectance x 1e4, int16",
        licence="not stated (research and evaluation)",
        source="https://github.com/shahed137003/Water-Segmentation-project (data/)",
        files=("data/images/<chip>.tif", "data/labels/<chip>.png", "chips.csv"),
        notes=(
            "Only bands 1 to 7 are ever inputs: Fmask, elevation, WorldCover and occurrence tell the answer.",
            "Chips of one elevation band may be neighbours: band 0 has 148 of the 202; keep each band whole.",
            "There is no reference system, place or date.",
            "Masks named <i>_<j>.png have no image of their own and are not items.",
            "That the data come from HLS L30 or S30 is not said; bands 1-7 are read by their L30 names.",
            "target='worldcover' has the eleven classes of ESA WorldCover, values 10 to 100, 0 not labelled.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        bands: Sequence[str] = INPUTS[1:],
        target: str = "water",
        mask_clouds: bool = False,
    ) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        chosen = tuple(b.name for b in sensor("hls_l30").select(bands))
        others = [b for b in chosen if b not in INPUTS]
        if others or not chosen:
            raise ConfigError(
                f"{', '.join(others) or 'no band'} cannot be an input", where="bands", mend="use B01 to B07"
            )
        self._bands, self._mask_clouds = chosen, mask_clouds
        self._target = one_of("target", target, ("water", "worldcover"))
        self._data = first_folder(top, ("data", ".")) or top
        images = self._data / "images"
        found = [path.stem for path, _ in named(images, "*.tif", _FILE)] if images.is_dir() else []
        groups: dict[str, str] = {}
        if found:
            table = top / "chips.csv"
            rows = read_table(table, ("chip", "elevation_band"))
            groups = {row["chip"]: f"elevation-{row['elevation_band']}" for row in rows}
            lacking = [i for i in found if i not in groups]
            if lacking:
                raise InputError(
                    f"lacks chip {lacking[0]} ({len(lacking)} of {len(found)})",
                    where=table,
                    mend="add their elevation bands, which keep neighbours on one side of a split",
                )
        # A chip of the table is an item though its image is missing: reading it says so.
        items = (Item(i, str(images / f"{i}.tif"), group=g) for i, g in groups.items())
        super().__init__(top, items, split)

    @classmethod
    def describe(cls, *, target: str = "water", **others: object) -> LayoutInfo:
        """With the classes of its target."""
        return replace(cls.info, classes=WORLDCOVER if target == "worldcover" else CLASSES)

    def read(self, index: int) -> Sample:
        """One chip; statistics are of its valid pixels."""
        item = self.items[index]
        path = must_exist(self._data / "images" / f"{item.id}.tif", "the image")
        planes, good, _ = read_planes(path, bands=_FILE_BANDS)
        at = [INPUTS.index(b) for b in self._bands]
        pixels: Array = planes[at]
        valid: BoolArray = good[at] & (pixels != _NODATA)
        if self._mask_clouds:
            valid &= (planes[_FMASK - 1] & _CLOUDY) == 0
        cube = make_cube(
            pixels[None],
            valid[None],
            sensor("hls_l30").select(self._bands),
            Encoding("reflectance", 1e-4, 0.0, "HLS"),
            gsd=30.0,
            source=str(path),
        )
        check_shape(path, cube, SIZE, SIZE)
        if self._target == "worldcover":
            codes = planes[_WORLDCOVER - 1]
            target = to_indices(codes, codes > 0, WORLDCOVER, where=f"{path} (band 11)", allow_empty=True)
        else:
            label = must_exist(self._data / "labels" / f"{item.id}.png", "the label")
            values, known = read_plane(label, cube)
            target = to_indices(values, known, CLASSES, where=str(label), allow_empty=True)
        return Sample({"hls_l30": cube}, item.id, target.astype(np.int64), item.group)
