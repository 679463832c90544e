"""Major TOM Core, unpacked: one folder per product in one per grid cell, one file per band.

    S2L2A/0U/0U_199R/S2A_MSIL2A_20220706T085611_N0400_R007_T33NZA_20220706T153419/B01.tif … cloud_mask.tif
    S2L1C/…/S2A_MSIL1C_…/B01.tif … B12.tif (with B10)
    S1RTC/0U/0U_199R/S1A_IW_GRDH_1SDV_20220703T043413_…_rtc/vv.tif vh.tif

Cells of 10 km (Francis & Czerkawski, "Major TOM", IGARSS 2024), 1068 x 1068 pixels of 10 m, so that neighbours
overlap. The offset of Sentinel-2 is told by the baseline in the product's name. Sentinel-1 is linear backscatter,
here turned into decibels; a number of 0 or less is no data.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.cube import Cube, Encoding, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import Listed, existing_folder, must_exist, read_plane
from swath.data.layouts.files import subfolders
from swath.data.layouts.native import read_native
from swath.data.layouts.ssl4eo import L1C, L2A
from swath.data.sentinel2_meta import encoding_of
from swath.data.spec import Resampling
from swath.errors import ConfigError, InputError

FOLDERS = {"s2l2a": "S2L2A", "s2l1c": "S2L1C", "s1rtc": "S1RTC"}
BANDS = {"s2l2a": L2A, "s2l1c": L1C, "s1rtc": ("VV", "VH")}
_CELL = re.compile(r"\d+[UD]_\d+[LR]")
_S2 = re.compile(r"S2[A-C]_MSIL[12][AC]_(\d{8})T\d{6}_N(\d{2})(\d{2})_R\d{3}_T\d{2}[A-Z]{3}_\d{8}T\d{6}")
_S1 = re.compile(r"S1[A-C]_IW_GRDH_1S[A-Z]{2}_(\d{8})T\d{6}_\w+_rtc")
# Made with a user's own processor: the name then says nothing of an offset.
_NO_BASELINE = (99, 99)


class MajorTOM(Listed):
    """Products by cell. An item's id is the cell and the product: "0U_199R/S2A_MSIL2A_…".

    Args:
        root: holds the folders S2L2A, S2L1C, S1RTC; only the one that is asked for need be there.
        split: it has none.
        product: "s2l2a", "s2l1c" or "s1rtc".
        offset_9999: what is added to number x 1e-4 for Sentinel-2 products of baseline 99.99 (N9999), whose names do
            not say it: 0 or -0.1. None: such a product is an error.
        mask_clouds: mark what cloud_mask.tif calls thick cloud, thin cloud or shadow (1, 2, 3) as invalid.
        resampling: how bands of 20 m and 60 m come to 10 m.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="major-tom",
        title="Major TOM Core (S2L2A, S2L1C, S1RTC), unpacked",
        tasks=("pretraining",),
        sensors=BANDS,
        classes=(),
        splits=(),
        size="1068 x 1068 (10.68 km at 10 m)",
        dates="1",
        items="2,245,886 cells of S2, 1,469,955 of S1",
        unit="reflectance x 1e4, + 1000 since baseline 04.00 (S2); linear backscatter, read as decibel (S1)",
        licence="CC-BY-SA-4.0",
        source="https://huggingface.co/Major-TOM",
        files=(
            "{S2L2A,S2L1C}/<row>/<cell>/<product>/{B01,…,B12,cloud_mask}.tif",
            "S1RTC/<row>/<cell>/<product>_rtc/{vv,vh}.tif",
        ),
        notes=(
            "Cells of 10 km are cut at 10.68 km: neighbours overlap, so split by blocks of cells.",
            "Products of baseline 99.99 do not say whether numbers carry +1000: state offset_9999.",
            "Bands of 20 m and 60 m are cut at their own pixels: extents are taken as equal.",
            "The published Parquet files hold the same GeoTIFFs as bytes; unpack them with the MajorTOM tools.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        product: str = "s2l2a",
        offset_9999: float | None = None,
        mask_clouds: bool = False,
        resampling: Resampling = "nearest",
    ) -> None:
        if product not in FOLDERS:
            raise ConfigError(
                f"'{product}' is unknown", where="product", mend=f"use one of {', '.join(FOLDERS)}"
            )
        if offset_9999 not in (None, 0.0, -0.1):
            raise ConfigError(f"offset_9999 is {offset_9999}", where="offset_9999", mend="use 0 or -0.1")
        self.product, self.offset_9999, self.mask_clouds = product, offset_9999, mask_clouds
        self.resampling: Resampling = resampling
        base = existing_folder(Path(root) / FOLDERS[product])
        items = [
            Item(f"{cell.name}/{scene.name}", str(scene), cell.name)
            for row in subfolders(base)
            for cell in subfolders(row)
            if _CELL.fullmatch(cell.name)
            for scene in subfolders(cell)
        ]
        super().__init__(base, items, split)

    def read(self, index: int) -> Sample:
        """A cube named as the product, [1,C,1068,1068]."""
        item = self.items[index]
        scene = Path(item.where)
        found = (_S1 if self.product == "s1rtc" else _S2).fullmatch(scene.name)
        if found is None:
            raise InputError(
                f"is not the name of a product of {FOLDERS[self.product]}",
                where=scene,
                mend="use the published names",
            )
        date = dt.datetime.strptime(found[1], "%Y%m%d").date()
        cube = (
            self._radar(scene, date)
            if self.product == "s1rtc"
            else self._optical(scene, date, found.groups())
        )
        return Sample({self.product: cube.with_statistics()}, item.id, group=item.group)

    def _optical(self, scene: Path, date: dt.date, fields: Sequence[str]) -> Cube:
        level = "L1C" if self.product == "s2l1c" else "L2A"
        baseline = (int(fields[1]), int(fields[2]))
        if baseline != _NO_BASELINE:
            encoding = encoding_of(baseline, level)
        elif self.offset_9999 is None:
            raise InputError(
                "is of baseline 99.99, and nothing says whether its numbers carry +1000",
                where=scene,
                mend="set offset_9999 to 0 or -0.1",
            )
        else:
            encoding = Encoding("reflectance", 1e-4, self.offset_9999, level)
        files = {b: scene / f"{b}.tif" for b in BANDS[self.product]}
        cube = read_native(
            files,
            device="sentinel2",
            date=date,
            encoding=encoding,
            zeros_are_nodata=True,
            resampling=self.resampling,
            source=str(scene),
        )
        if not self.mask_clouds:
            return cube
        mask, _ = read_plane(must_exist(scene / "cloud_mask.tif", "the cloud mask"), cube)
        return replace(cube, valid=cube.valid & ~np.isin(mask, (1, 2, 3)))

    def _radar(self, scene: Path, date: dt.date) -> Cube:
        cube = read_native(
            {b: scene / f"{b.lower()}.tif" for b in BANDS["s1rtc"]},
            device="sentinel1",
            date=date,
            encoding=Encoding("dn"),
            source=str(scene),
        )
        valid = cube.valid & np.greater(cube.pixels.astype(np.float32), 0)
        decibel = 10 * np.log10(np.where(valid, cube.pixels, 1).astype(np.float32))
        encoding = Encoding("decibel", level="RTC")
        return replace(
            cube, pixels=decibel.astype(np.float32), valid=valid, encodings=((encoding,) * len(cube.bands),)
        )
