"""Cloud masks of ukis-csmask: tiles of Sentinel-2 and Landsat 5, 7 and 8 with clouds, shadows, snow and water.

    landsat5.npz, landsat7.npz, landsat8.npz, sentinel2.npz
        img  (512,512,6) float32   top-of-atmosphere reflectance: blue, green, red, NIR, SWIR 1, SWIR 2
        msk  (512,512,1) uint8     0 shadow, 1 water, 2 snow, 3 clear land, 4 cloud

Wieland et al., "Multi-sensor cloud and cloud shadow segmentation", RSE 2019; the meaning of the mask's numbers
was found by looking at the tiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.bands import sensor
from swath.cube import Encoding, Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_size,
    check_split,
    existing_folder,
    make_cube,
    npz_arrays,
    visible,
)
from swath.data.legend import LandClass
from swath.errors import InputError

CLASSES = (
    LandClass(0, "cloud shadow", (60, 60, 90)),
    LandClass(1, "water", (43, 140, 190)),
    LandClass(2, "snow and ice", (220, 240, 255)),
    LandClass(3, "clear land", (120, 170, 90)),
    LandClass(4, "cloud", (255, 255, 255)),
)
# Files are named after the sensor, whose own band names these are.
BANDS = {
    "sentinel2": ("B02", "B03", "B04", "B08", "B11", "B12"),
    "landsat5": ("B1", "B2", "B3", "B4", "B5", "B7"),
    "landsat7": ("B1", "B2", "B3", "B4", "B5", "B7"),
    "landsat8": ("B2", "B3", "B4", "B5", "B6", "B7"),
}


class UkisCsmask(Listed):
    """One cube [1,6,512,512], named after its sensor, and classes [H,W].

    Args:
        root: the folder of the .npz files, or one above (`tests/testfiles`).
        split: there is none.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="ukis-csmask",
        title="ukis-csmask test tiles",
        tasks=("segmentation",),
        sensors=BANDS,
        classes=CLASSES,
        splits=(),
        size="512 x 512, about 30 m",
        dates="1, unknown",
        items="4, one per sensor",
        unit="top-of-atmosphere reflectance from 0 to 1, float32",
        licence="Apache-2.0 (repository); Copernicus Sentinel and USGS Landsat data",
        source="https://github.com/dlr-eoc/ukis-csmask (tests/testfiles)",
        files=("<sensor>.npz with img and msk",),
        notes=(
            "Each tile is another sensor: a sample's cube is named after it.",
            "Rows, columns and bands are in this order in the arrays, the band last.",
            "The near infrared of Sentinel-2 is taken for B08; the files do not say.",
            "Some reflectances are a little below 0; they are valid.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        inside = top / "tests" / "testfiles"
        folder = inside if inside.is_dir() else top
        found = [p for p in visible(folder, "*.npz") if p.stem in BANDS]
        super().__init__(top, [Item(p.stem, str(p), group=p.stem) for p in found], split)

    def read(self, index: int) -> Sample:
        """One tile."""
        item = self.items[index]
        path = Path(item.where)
        image, mask = npz_arrays(path, ("img", "msk"))
        if image.ndim != 3 or image.shape[2] != 6 or image.dtype.kind != "f":
            raise InputError(
                f"img is {image.dtype} {image.shape}, not (H,W,6) floats", where=path, mend="fetch it anew"
            )
        if mask.ndim != 3 or mask.shape[2] != 1 or mask.dtype.kind not in "iu":
            raise InputError(
                f"msk is {mask.dtype} {mask.shape}, not (H,W,1)", where=path, mend="fetch it anew"
            )
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))[None]
        cube = make_cube(
            planes,
            np.isfinite(planes),
            sensor(item.id).select(BANDS[item.id]),
            Encoding("reflectance", 1.0, 0.0, "TOA"),
            source=str(path),
        )
        check_size(path, mask.shape[:2], cube)
        codes = mask[..., 0]
        target = to_indices(codes, np.ones(codes.shape, np.bool_), CLASSES, where=str(path))
        return Sample({item.id: cube}, item.id, target, item.group)
