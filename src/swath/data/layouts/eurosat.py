"""EuroSAT MS: patches of Sentinel-2 L1C, 64 x 64 pixels, one folder per class.

    AnnualCrop/AnnualCrop_1.tif    13 bands, uint16, reflectance x 1e4

**The bands lie as B01 … B08, B09, B10, B11, B12, B8A: B8A is the last**, though nothing in the files says so.
They are read by name here, in the sensor's order (Helber et al., "EuroSAT", JSTARS 2019; the order is that of
the authors' export, spec SpectralGPT §3.1).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.cube import Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_shape,
    check_split,
    existing_folder,
    must_exist,
    named,
    read_lines,
    read_scene,
    take_bands,
)
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import InputError

FILE_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SIZE = 64
CLASSES = (
    LandClass(0, "AnnualCrop", (246, 213, 92)),
    LandClass(1, "Forest", (27, 120, 55)),
    LandClass(2, "HerbaceousVegetation", (178, 223, 138)),
    LandClass(3, "Highway", (110, 110, 110)),
    LandClass(4, "Industrial", (152, 78, 163)),
    LandClass(5, "Pasture", (127, 191, 123)),
    LandClass(6, "PermanentCrop", (217, 140, 60)),
    LandClass(7, "Residential", (215, 48, 39)),
    LandClass(8, "River", (103, 169, 207)),
    LandClass(9, "SeaLake", (33, 102, 172)),
)
_NAMES = tuple(c.name for c in CLASSES)
_FILE = re.compile(rf"({'|'.join(_NAMES)})_\d+\.tif")
# The zip of the authors, the torchgeo mirror, and the folder of classes itself.
_INSIDE = (".", "ds/images/remote_sensing/otherDatasets/sentinel_2/tif", "EuroSAT_MS", "tif")
# Published names of the lists of Neumann et al., and plain ones.
_LISTS = ("eurosat-{}.txt", "{}.txt")


class EuroSAT(Listed):
    """Cube "sentinel2" [1,13,64,64] and the class number (0-d).

    Args:
        root: the folder of the ten class folders, or one above it.
        split: "train", "val" or "test": needs the list `eurosat-{split}.txt` (one name per line, any ending)
            in root. The lists in use are those of Neumann et al. 2019, "In-domain representation learning
            for remote sensing": 16,200 / 5,400 / 5,400. The authors of EuroSAT gave none.

    An item that a list names is an item though its file is missing: reading it says so.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="eurosat",
        title="EuroSAT, multispectral",
        tasks=("classification",),
        sensors={"sentinel2": BANDS},
        classes=CLASSES,
        splits=("train", "val", "test"),
        size="64 x 64 at 10 m",
        dates="1, unknown",
        items="27,000 (16,200 / 5,400 / 5,400 by the lists in use)",
        unit="reflectance x 1e4, L1C, uint16",
        licence="MIT",
        source="https://github.com/phelber/EuroSAT (EuroSATallBands.zip); the lists: storage.googleapis.com/"
        "remote_sensing_representations/eurosat-{train,val,test}.txt",
        files=("<Class>/<Class>_<n>.tif", "eurosat-{train,val,test}.txt"),
        notes=(
            "B8A is the last band in the files: taken by its place it is read as B12, and B9 to B12 shift.",
            "Coarser bands are already on 10 m.",
            "Patches may be neighbours, and nothing says which: random splits flatter.",
            "Dates are not published.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        inside = [top / n for n in _INSIDE if any((top / n / c).is_dir() for c in _NAMES)]
        self._folder = inside[0] if inside else top
        parts = self._parts(top, split)
        ids = {
            path.stem: None
            for name in _NAMES
            if (self._folder / name).is_dir()
            for path, match in named(self._folder / name, "*.tif", _FILE)
            if match[1] == name
        }
        ids.update(dict.fromkeys(parts))
        items = (Item(i, str(self._path(i)), split=parts.get(i)) for i in ids)
        super().__init__(top, items, split)

    def _parts(self, top: Path, split: str | None) -> dict[str, str]:
        """Official part of each listed id."""
        parts: dict[str, str] = {}
        for name in self.info.splits:
            found = [f for f in (top / form.format(name) for form in _LISTS) if f.is_file()]
            if not found:
                if name == split:
                    raise InputError(
                        f"the list of split '{name}' is missing",
                        where=top / _LISTS[0].format(name),
                        mend=f"fetch it ({self.info.source.split(' ')[0]} has none; see swath inspect --layouts)",
                    )
                continue
            for line in read_lines(found[0]):
                item = Path(line).stem
                if not _FILE.fullmatch(f"{item}.tif"):
                    raise InputError(
                        f"names '{line}', which is no EuroSAT patch", where=found[0], mend="correct the list"
                    )
                if parts.get(item, name) != name:
                    raise InputError(
                        f"names {item}, which split '{parts[item]}' has too",
                        where=found[0],
                        mend="correct the lists",
                    )
                parts[item] = name
        return parts

    def _path(self, item: str) -> Path:
        return self._folder / item.rsplit("_", 1)[0] / f"{item}.tif"

    def read(self, index: int) -> Sample:
        """One patch, its bands in the sensor's order."""
        item = self.items[index]
        path = must_exist(self._path(item.id), "the patch")
        spec = SceneSpec(
            str(path),
            sensor="sentinel2",
            bands=FILE_BANDS,
            unit="reflectance",
            scale=1e-4,
            offset=0.0,
            level="L1C",
        )
        cube = check_shape(path, take_bands(read_scene(spec), BANDS), SIZE, SIZE)
        label = _NAMES.index(item.id.rsplit("_", 1)[0])
        return Sample({"sentinel2": cube}, item.id, np.asarray(label, np.int64), item.group)
