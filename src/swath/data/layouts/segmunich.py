"""SegMunich: Munich by Sentinel-2, 128 x 128 pixels, ten bands, thirteen classes.

    {train,val}/img/<id>.tif      10 bands: B1 … B7, B8A, B11, B12
    {train,val}/label/<id>.tif    CORINE-like codes
    dataset/{train,val}.txt       ids, one a line

Hong et al., "SpectralGPT", TPAMI 2024 (spec SpectralGPT §3.2). The network's twelve slots are not made here.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from swath.bands import sensor
from swath.cube import Cube, Encoding, Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_shape,
    check_split,
    existing_folder,
    make_cube,
    must_exist,
    read_lines,
    read_plane,
    read_planes,
    visible,
)
from swath.data.legend import LandClass
from swath.errors import ConfigError, InputError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B8A", "B11", "B12")
SIZE = 128
# Codes of the label files, in the order of the published class numbers 0 to 12.
CLASSES = (
    LandClass(0, "background", (0, 0, 0)),
    LandClass(21, "arable land", (246, 213, 92)),
    LandClass(22, "permanent crops", (217, 140, 60)),
    LandClass(23, "pastures", (178, 223, 138)),
    LandClass(31, "forests", (27, 120, 55)),
    LandClass(5, "surface water", (43, 140, 190)),
    LandClass(32, "shrub", (166, 118, 29)),
    LandClass(33, "open spaces", (217, 199, 160)),
    LandClass(41, "wetlands", (128, 177, 177)),
    LandClass(13, "mine dump", (110, 110, 110)),
    LandClass(14, "artificial vegetation", (127, 191, 123)),
    LandClass(11, "urban fabric", (215, 48, 39)),
    LandClass(12, "buildings", (152, 78, 163)),
)


class SegMunich(Listed):
    """Cube "sentinel2" [1,10,128,128] and classes [H,W].

    Args:
        root: the folder of `train` and `val`, or the one above it (TUM_128).
        split: "train" or "val", by the lists, or by the folders where there are none.
        unit: "dn" (default), or "reflectance" if you know that the numbers are reflectance x 1e4: the published
            files and papers do not say.

    Patches overlap by half and lie in copies in the published archive: they are one group, "munich", and any
    split but the published one would put the same pixels on both sides.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="segmunich",
        title="SegMunich",
        tasks=("segmentation",),
        sensors={"sentinel2": BANDS},
        classes=CLASSES,
        splits=("train", "val"),
        size="128 x 128 at 10 m",
        dates="1, unknown",
        items="about 10 augmented copies of each patch, over 20,000 files; GFM-Bench repacks 3,000 / 403 / 403",
        unit="not stated (digital numbers; state unit='reflectance' for x 1e4)",
        licence="not stated",
        source="https://github.com/danfenghong/IEEE_TPAMI_SpectralGPT (TUM_128.zip)",
        files=("{train,val}/img/<id>.tif", "{train,val}/label/<id>.tif", "dataset/{train,val}.txt"),
        notes=(
            "Bands are B1 to B7, B8A, B11 and B12: no B8 and no B9.",
            "Published networks eat twelve slots, the last two being the mean band twice; that is not done here.",
            "Patches overlap by half and were augmented before they were stored.",
            "Class names by code come from forks of the published code; background counts as a class there.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None, *, unit: str = "dn") -> None:
        check_split(self.info, split)
        if unit not in ("dn", "reflectance"):
            raise ConfigError(f"unit is '{unit}'", where="unit", mend="use 'dn' or 'reflectance'")
        self._encoding = Encoding("dn") if unit == "dn" else Encoding("reflectance", 1e-4, 0.0, "L2A")
        top = existing_folder(root)
        inside = next(
            (p for p in (top, top / "TUM_128") if any((p / n).is_dir() for n in self.info.splits)), top
        )
        items = []
        for part in self.info.splits:
            listed = next(
                (p for p in (inside / "dataset", top / "dataset") if (p / f"{part}.txt").is_file()), None
            )
            if listed is not None:
                ids = [Path(line).stem for line in read_lines(listed / f"{part}.txt")]
            else:
                ids = [p.stem for p in visible(inside / part / "img", "*.tif")]
            items += [
                Item(f"{part}/{i}", str(inside / part / "img" / f"{i}.tif"), group="munich", split=part)
                for i in ids
            ]
        super().__init__(top, items, split)

    def read(self, index: int) -> Sample:
        """One patch. GDAL reads bands of interleaved and of planar files alike."""
        item = self.items[index]
        path = must_exist(Path(item.where), "the image")
        cube = self._cube(path)
        label = must_exist(path.parents[1] / "label" / path.name, "the label")
        values, valid = read_plane(label, cube)
        return Sample(
            {"sentinel2": cube}, item.id, to_indices(values, valid, CLASSES, where=str(label)), item.group
        )

    def _cube(self, path: Path) -> Cube:
        pixels, valid, grid = read_planes(path)
        if len(pixels) != len(BANDS):
            raise InputError(f"holds {len(pixels)} bands, not {len(BANDS)}", where=path, mend="fetch it anew")
        cube = make_cube(
            pixels[None],
            valid[None],
            sensor("sentinel2").select(BANDS),
            self._encoding,
            gsd=10.0,
            grid=grid if grid.crs else None,
            source=str(path),
        )
        return check_shape(path, cube, SIZE, SIZE)
