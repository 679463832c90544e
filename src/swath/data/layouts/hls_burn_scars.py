"""HLS burn scars: scenes of 512 x 512 pixels of HLS S30 with the scars of fires.

    {training,validation}/subsetted_512x512_HLS.S30.T10SEH.2018190.v1.4_merged.tif    6 bands, reflectance
    {training,validation}/subsetted_512x512_HLS.S30.T10SEH.2018190.v1.4.mask.tif      1 burnt, 0 not, -1 unknown

Bands are blue, green, red, narrow near infrared and two of short-wave infrared; -9999 is no data (IBM and NASA,
"hls_burn_scars", 2023).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from swath.bands import SIX_BANDS
from swath.cube import Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_split,
    existing_folder,
    must_exist,
    named,
    parse_date,
    read_plane,
    read_scene,
)
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec

CLASSES = (LandClass(0, "not burnt", (178, 223, 138)), LandClass(1, "burn scar", (178, 24, 43)))
_FOLDERS = {"train": "training", "validation": "validation"}
_FILE = re.compile(r"(subsetted_512x512_HLS\.S30\.(T\d{2}[A-Z]{3})\.(\d{7})\.v1\.4)_merged\.tif")


class HLSBurnScars(Listed):
    """Cube "hls_s30" [1,6,512,512] and burn scars [H,W] (-1 unknown).

    Args:
        root: the folder of `training` and `validation`.
        split: "train" or "validation"; there is no test part.

    The group is the tile of 110 km, whose scenes lie beside or upon each other.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="hls-burn-scars",
        title="HLS burn scars",
        tasks=("segmentation",),
        sensors={"hls_s30": SIX_BANDS},
        classes=CLASSES,
        splits=("train", "validation"),
        size="512 x 512 at 30 m",
        dates="1",
        items="804 (two thirds / one third)",
        unit="surface reflectance, float32",
        licence="CC-BY-4.0",
        source="https://huggingface.co/datasets/ibm-nasa-geospatial/hls_burn_scars (hls_burn_scars.tar.gz)",
        files=(
            "{training,validation}/subsetted_512x512_HLS.S30.<tile>.<YYYYDDD>.v1.4_merged.tif",
            "{training,validation}/subsetted_512x512_HLS.S30.<tile>.<YYYYDDD>.v1.4.mask.tif",
        ),
        notes=(
            "Already reflectance from 0 to 1: other sets of this family are stored x 1e4.",
            "The mask's name drops '_merged'.",
            "There is no test part; published numbers are of the validation part.",
            "One tile can lie in both parts, on other days.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        items = [
            Item(match[1], str(path), group=match[2], split=part)
            for part, folder in _FOLDERS.items()
            if (top / folder).is_dir()
            for path, match in named(top / folder, "*_merged.tif", _FILE)
        ]
        super().__init__(top, items, split)

    def read(self, index: int) -> Sample:
        """One scene."""
        item = self.items[index]
        path = must_exist(Path(item.where), "the scene")
        day = parse_date(item.id.split(".")[3], path)
        spec = SceneSpec(
            str(path),
            sensor="hls_s30",
            bands=SIX_BANDS,
            dates=(day.isoformat(),),
            unit="reflectance",
            scale=1.0,
            offset=0.0,
            level="HLS",
            nodata=-9999,
        )
        cube = read_scene(spec)
        mask = must_exist(path.with_name(f"{item.id}.mask.tif"), "the mask")
        values, valid = read_plane(mask, cube)
        target = to_indices(values, valid, CLASSES, ignore=(-1,), where=str(mask), allow_empty=True)
        return Sample({"hls_s30": cube}, item.id, target, item.group)
