"""Landsat change pairs: two dates of Landsat 7 as ENVI files, with some pixels known as changed or unchanged.

    Taizhou/2000TM + 2000TM.HDR     6 bands (1, 2, 3, 4, 5, 7), uint8 digital numbers
    Taizhou/2003TM + 2003TM.HDR
    Taizhou/change.bmp, unchanged.bmp     255 where it is known

Labels are sparse: pixels in neither map are unknown (-1) and count in no score (Wu et al., 2014; Du et al.,
2019; as in ChangeDetectionRepository).
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.cube import Sample
from swath.data.gdal import open_raster
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_split,
    existing_folder,
    must_exist,
    parse_date,
    read_lines,
    read_plane,
    read_scene,
    visible,
)
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import InputError

BANDS = ("B1", "B2", "B3", "B4", "B5", "B7")
CLASSES = (LandClass(0, "unchanged", (200, 200, 200)), LandClass(1, "changed", (215, 48, 39)))
_YEAR = re.compile(r"(\d{4})TM")
# The metadata file that ENVI names in each band's description: L71119038_03820000317_MTL.txt
_DAY = re.compile(r"L\d{8}_\d{3}(\d{8})_MTL")


class LandsatChange(Listed):
    """Cube "landsat7" [2,6,H,W] in order of time, and change [H,W] (1, 0, -1 unknown).

    Args:
        root: the folder of the pairs' folders, or one above (`Dataset/Landsat`).
        split: there is none; a pair is one place and one group.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="landsat-change",
        title="Landsat change pairs (Taizhou, Nanjing)",
        tasks=("change",),
        sensors={"landsat7": BANDS},
        classes=CLASSES,
        splits=(),
        size="400 x 400 (Taizhou), 800 x 800 (Nanjing) at 30 m",
        dates="2, in order of time",
        items="2 pairs",
        unit="digital numbers, uint8",
        licence="USGS Landsat, public domain; the authors ask for citation",
        source="https://github.com/ChenHongruixuan/ChangeDetectionRepository (Dataset/Landsat)",
        files=("<place>/<year>TM with <year>TM.HDR, two years", "<place>/change.bmp, unchanged.bmp"),
        notes=(
            "Labels are sparse: score changed and unchanged pixels only.",
            "Numbers are uncalibrated and differ in haze and sun between the dates.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        inside = top / "Dataset" / "Landsat"
        base = inside if inside.is_dir() else top
        folders = [p for p in (base, *visible(base, "*")) if p.is_dir() and _dates_of(p)]
        super().__init__(top, [Item(p.name, str(p), group=p.name) for p in folders], split)

    def read(self, index: int) -> Sample:
        """One pair."""
        item = self.items[index]
        folder = Path(item.where)
        files = _dates_of(folder)
        if len(files) != 2:
            raise InputError(f"holds {len(files)} images <year>TM, not 2", where=folder, mend="fetch it anew")
        for path in files:
            _check_header(path.with_name(f"{path.name}.HDR"))
        days = [_day(path) for path in files]
        spec = SceneSpec(
            tuple(str(p) for p in files),
            sensor="landsat7",
            bands=BANDS,
            files_are="dates",
            dates=tuple(d.isoformat() for d in days if d is not None) if None not in days else (),
            unit="dn",
            scale=1.0,
            offset=0.0,
        )
        cube = read_scene(spec)
        maps = [must_exist(folder / name, "the label") for name in ("change.bmp", "unchanged.bmp")]
        changed, unchanged = (read_plane(path, cube)[0] != 0 for path in maps)
        if (changed & unchanged).any():
            raise InputError(
                f"{int((changed & unchanged).sum())} pixels are both changed and unchanged",
                where=maps[1],
                mend="fetch both maps anew",
            )
        target = np.where(changed, 1, np.where(unchanged, 0, -1)).astype(np.int64)
        return Sample({"landsat7": cube}, item.id, target, item.group)


def _dates_of(folder: Path) -> list[Path]:
    return [p for p in visible(folder, "*TM") if _YEAR.fullmatch(p.name)]


def _check_header(path: Path) -> None:
    """Raise InputError for a header that ends early: GDAL takes what there is, and loses place and date."""
    text = " ".join(read_lines(must_exist(path, "the ENVI header")))
    if text.count("{") != text.count("}") or "map info" not in text or "band names" not in text:
        raise InputError(
            "is no whole ENVI header with map info and band names", where=path, mend="fetch it anew"
        )


def _day(path: Path) -> dt.date | None:
    """The day that the header tells, and that its file's year agrees with; None where it tells none."""
    source = open_raster(str(path))
    try:
        found = {m[1] for text in source.descriptions if text and (m := _DAY.search(text))}
        need = source.width * source.height * sum(np.dtype(t).itemsize for t in source.dtypes)
        driver = source.driver
    finally:
        source.close()
    # GDAL reads what a raw file lacks as zeros, without a word.
    have = path.stat().st_size
    if driver == "ENVI" and have < need:
        raise InputError(f"is cut short ({have} bytes of {need})", where=path, mend="fetch it anew")
    if not found:
        return None
    if len(found) > 1 or not next(iter(found)).startswith(path.name[:4]):
        raise InputError(
            f"its bands are of {', '.join(sorted(found))}",
            where=path,
            mend="use one date's image under its year",
        )
    return parse_date(found.pop(), path)
