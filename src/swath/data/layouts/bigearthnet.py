"""BigEarthNet-S2 v1: one folder per patch of 1.2 km, one file per band, labels in JSON.

    S2A_MSIL2A_20170613T101031_87_48/S2A_MSIL2A_20170613T101031_87_48_B01.tif … _labels_metadata.json

Twelve bands of Sentinel-2 L2A (no B10) at 10, 20 and 60 m (120, 60 and 20 pixels), uint16, reflectance x 1e4.
All patches are from 2017 and 2018, before baseline 04.00, so no offset. Labels are the level-3 CORINE
classes, 43 of the 44 (Sumbul et al., "BigEarthNet", IGARSS 2019).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import numpy as np

from swath.cube import Sample
from swath.data.raster import open_scene
from swath.data.spec import Resampling, SceneSpec
from swath.errors import InputError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
CLASSES = (
    "Continuous urban fabric",
    "Discontinuous urban fabric",
    "Industrial or commercial units",
    "Road and rail networks and associated land",
    "Port areas",
    "Airports",
    "Mineral extraction sites",
    "Dump sites",
    "Construction sites",
    "Green urban areas",
    "Sport and leisure facilities",
    "Non-irrigated arable land",
    "Permanently irrigated land",
    "Rice fields",
    "Vineyards",
    "Fruit trees and berry plantations",
    "Olive groves",
    "Pastures",
    "Annual crops associated with permanent crops",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland",
    "Moors and heathland",
    "Sclerophyllous vegetation",
    "Transitional woodland/shrub",
    "Beaches, dunes, sands",
    "Bare rock",
    "Sparsely vegetated areas",
    "Burnt areas",
    "Inland marshes",
    "Peatbogs",
    "Salt marshes",
    "Salines",
    "Intertidal flats",
    "Water courses",
    "Water bodies",
    "Coastal lagoons",
    "Estuaries",
    "Sea and ocean",
)
# S2B_MSIL2A_20170924T93020_69_24: some times lack their leading zero.
_NAME = re.compile(r"S2[AB]_MSIL2A_(\d{8})T\d{5,6}_\d+_\d+")
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})_")


def read_patch(folder: Path | str, *, resampling: Resampling = "nearest") -> Sample:
    """One patch on the 10 m grid: a cube "sentinel2" [1,12,120,120] and labels as 43 zeros and ones.

    Args:
        folder: of the patch.
        resampling: how the 20 m and 60 m bands come to 10 m.

    The sample's group is the Sentinel-2 tile, so that patches that lie side by side stay in one split.

    Raises:
        InputError: a band or the labels are missing or damaged, or the folder is not a patch.
    """
    folder = Path(folder)
    name = _NAME.fullmatch(folder.name)
    if name is None:
        raise InputError(
            "is not named as a BigEarthNet patch",
            where=folder,
            mend="use names such as S2A_MSIL2A_20170613T101031_87_48",
        )
    if not folder.is_dir():
        raise InputError("there is no such folder", where=folder, mend="check the path")
    files = {band: folder / f"{folder.name}_{band}.tif" for band in BANDS}
    missing = [band for band, path in files.items() if not path.is_file()]
    if missing:
        raise InputError(f"band {', '.join(missing)} is missing", where=folder, mend="fetch the patch anew")
    labels, tile = _labels(folder / f"{folder.name}_labels_metadata.json")
    date = dt.datetime.strptime(name[1], "%Y%m%d").date()
    spec = SceneSpec(
        tuple(str(path) for path in files.values()),
        sensor="sentinel2",
        bands=BANDS,
        dates=(date.isoformat(),),
        unit="reflectance",
        scale=1e-4,
        offset=0.0,
        level="L2A",
        resampling=resampling,
    )
    with open_scene(spec) as scene:
        cube = scene.read_all()
    target = np.zeros(len(CLASSES), np.int64)
    target[labels] = 1
    return Sample({"sentinel2": cube}, folder.name, target, tile)


def _labels(path: Path) -> tuple[list[int], str | None]:
    """Indices into CLASSES, and the Sentinel-2 tile."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = [str(n) for n in data["labels"]]
    except FileNotFoundError:
        raise InputError("there is no such file", where=path, mend="fetch the patch anew") from None
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"holds no readable labels ({type(err).__name__})", where=path, mend="fetch the patch anew"
        ) from err
    unknown = [n for n in names if n not in CLASSES]
    if unknown:
        raise InputError(
            f"names unknown classes: {', '.join(unknown)}",
            where=path,
            mend="use the 43 CORINE names of BigEarthNet v1",
        )
    tile = _TILE.search(str(data.get("tile_source", "")))
    return [CLASSES.index(n) for n in names], None if tile is None else f"T{tile[1]}"
