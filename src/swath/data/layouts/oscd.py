"""OSCD, the Onera change pairs: two dates of Sentinel-2 L1C over 24 cities, and where they changed.

    Onera Satellite Change Detection dataset - Images/<city>/imgs_{1,2}_rect/B01.tif … B12.tif, B8A.tif
    Onera Satellite Change Detection dataset - Images/<city>/dates.txt          date_1 : 20160316 …
    Onera Satellite Change Detection dataset - {Train,Test} Labels/<city>/cm/cm.png     0 same, 255 changed

The rect files are co-registered and all on one grid of 10 m (Daudt et al., IGARSS 2018). Nothing of `imgs_1`
and `imgs_2`, which are neither, is read.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.cube import Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_size,
    check_split,
    existing_folder,
    must_exist,
    one_of,
    parse_date,
    read_lines,
    read_planes,
    read_scene,
    visible,
)
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import InputError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
CLASSES = (LandClass(0, "unchanged", (200, 200, 200)), LandClass(255, "changed", (215, 48, 39)))
TRAIN = (
    "abudhabi", "aguasclaras", "beihai", "beirut", "bercy", "bordeaux", "cupertino", "hongkong", "mumbai", "nantes",
    "paris", "pisa", "rennes", "saclay_e",
)  # fmt: skip
TEST = (
    "brasilia", "chongqing", "dubai", "lasvegas", "milano", "montpellier", "norcia", "rio", "saclay_w", "valencia",
)  # fmt: skip
_DATE = re.compile(r"date_([12])\s*[:=]\s*(\d{8})")


class OSCD(Listed):
    """Cube "sentinel2" [2,13,H,W] in order of time, and change [H,W] as 0 and 1.

    Args:
        root: the folder that holds the folders "… Images", "… Train Labels" and "… Test Labels".
        split: "train" (14 cities) or "test" (10), as published.
        cities: only these of the published ones.

    All published cities of a split are items: reading one that is not there says so.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="oscd",
        title="Onera Satellite Change Detection",
        tasks=("change",),
        sensors={"sentinel2": BANDS},
        classes=CLASSES,
        splits=("train", "test"),
        size="varies (about 300 to 1,200 pixels at 10 m)",
        dates="2, in order of time",
        items="24 cities (14 / 10)",
        unit="reflectance x 1e4, L1C, uint16",
        licence="CC BY-NC-SA 4.0 (labels); Copernicus Sentinel data",
        source="https://rcdaudt.github.io/oscd/",
        files=(
            "* - Images/<city>/imgs_{1,2}_rect/<band>.tif",
            "* - Images/<city>/dates.txt",
            "* - {Train,Test} Labels/<city>/cm/cm.png",
        ),
        notes=(
            "imgs_1 and imgs_2 are not co-registered; imgs_1_rect and imgs_2_rect are.",
            "cm.png is 0 and 255; the cm.tif beside it is 1 and 2 and is not read.",
            "Only urban changes are labelled.",
        ),
    )

    def __init__(
        self, root: Path | str, split: str | None = None, *, cities: Sequence[str] | None = None
    ) -> None:
        check_split(self.info, split)
        for city in cities or ():
            one_of("cities", city, (*TRAIN, *TEST))
        top = existing_folder(root)
        self._images = _part(top, "Images")
        self._labels = {"train": _part(top, "Train Labels"), "test": _part(top, "Test Labels")}
        items = (
            Item(city, str(self._images / city), group=city, split=part)
            for part, published in (("train", TRAIN), ("test", TEST))
            for city in published
            if cities is None or city in cities
        )
        super().__init__(top, items, split)

    def read(self, index: int) -> Sample:
        """One city."""
        item = self.items[index]
        folder = self._images / item.id
        if not folder.is_dir():
            raise InputError(f"city {item.id} is missing", where=folder, mend="fetch it anew")
        dates = _dates(folder / "dates.txt")
        files = tuple(tuple(str(_band(folder / f"imgs_{n}_rect", b)) for b in BANDS) for n in (1, 2))
        spec = SceneSpec(
            files,
            sensor="sentinel2",
            bands=BANDS,
            dates=tuple(d.isoformat() for d in dates),
            unit="reflectance",
            scale=1e-4,
            offset=0.0,
            level="L1C",
        )
        cube = read_scene(spec)
        path = must_exist(self._labels[item.split or "train"] / item.id / "cm" / "cm.png", "the change map")
        planes, valid, _ = read_planes(path)
        check_size(path, planes.shape[1:], cube)
        if any(not np.array_equal(planes[0], p) for p in planes[1:3]):
            raise InputError("is a picture in colour, not a change map", where=path, mend="fetch it anew")
        target = to_indices(planes[0], valid[0], CLASSES, where=str(path))
        return Sample({"sentinel2": cube}, item.id, target, item.group)


def _part(top: Path, name: str) -> Path:
    found = [p for p in visible(top, f"*{name}") if p.is_dir()]
    if len(found) != 1:
        raise InputError(
            f"holds {len(found)} folders '* - {name}', one is needed",
            where=top,
            mend="unpack the three archives",
        )
    return found[0]


def _band(folder: Path, band: str) -> Path:
    found = visible(folder, f"*{band}.tif")
    if len(found) != 1:
        raise InputError(f"holds {len(found)} files *{band}.tif, not 1", where=folder, mend="fetch it anew")
    return found[0]


def _dates(path: Path) -> tuple[dt.date, dt.date]:
    found = {m[1]: m[2] for line in read_lines(path) if (m := _DATE.search(line))}
    if set(found) != {"1", "2"}:
        raise InputError("does not name date_1 and date_2", where=path, mend="write 'date_1 : 20160316'")
    first, second = (parse_date(found[n], path) for n in "12")
    if first > second:
        raise InputError("date_1 is later than date_2", where=path, mend="check the dates")
    return first, second
