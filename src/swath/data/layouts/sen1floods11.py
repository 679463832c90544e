"""Sen1Floods11: chips of floods, Sentinel-1 and Sentinel-2, 446 labelled by hand and 4,385 by rule.

    v1.1/data/flood_events/HandLabeled/{S1Hand,S2Hand,LabelHand}/Spain_7370579_{S1Hand,S2Hand,LabelHand}.tif
    v1.1/data/flood_events/WeaklyLabeled/{S1Weak,S1OtsuLabelWeak,S2IndexLabelWeak}/…
    v1.1/splits/flood_handlabeled/flood_{train,valid,test,bolivia}_data.csv     X_S1Hand.tif,X_LabelHand.tif

S1 is float32 in dB, NaN where there is nothing; S2 int16, L1C, 0 = no data; labels int16: -1 not labelled,
0 no water, 1 water (Bonafilia et al., "Sen1Floods11", CVPR Workshops 2020).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from swath.cube import Cube, Sample
from swath.data.labels import to_indices
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import (
    Listed,
    check_split,
    existing_folder,
    first_folder,
    must_exist,
    named,
    one_of,
    read_lines,
    read_plane,
    read_scene,
)
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError

S1_BANDS = ("VV", "VH")
S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
CLASSES = (LandClass(0, "no water", (217, 199, 160)), LandClass(1, "water", (33, 102, 172)))
# Dates of the flood events by cube, from the authors' Sen1Floods11_Metadata.geojson (there Mekong is "Cambodia").
DATES: Mapping[str, Mapping[str, str]] = {
    "Bolivia": {"sentinel1": "2018-02-15", "sentinel2": "2018-02-15"},
    "Colombia": {"sentinel1": "2018-08-22", "sentinel2": "2018-08-23"},
    "Ghana": {"sentinel1": "2018-09-18", "sentinel2": "2018-09-19"},
    "India": {"sentinel1": "2016-08-12", "sentinel2": "2016-08-12"},
    "Mekong": {"sentinel1": "2018-08-05", "sentinel2": "2018-08-04"},
    "Nigeria": {"sentinel1": "2018-09-21", "sentinel2": "2018-09-20"},
    "Pakistan": {"sentinel1": "2017-06-28", "sentinel2": "2017-06-28"},
    "Paraguay": {"sentinel1": "2018-10-31", "sentinel2": "2018-10-31"},
    "Somalia": {"sentinel1": "2018-05-07", "sentinel2": "2018-05-05"},
    "Spain": {"sentinel1": "2019-09-17", "sentinel2": "2019-09-18"},
    "Sri-Lanka": {"sentinel1": "2017-05-30", "sentinel2": "2017-05-28"},
    "USA": {"sentinel1": "2019-05-22", "sentinel2": "2019-05-22"},
}
GSD = 10.0
_FILE = re.compile(r"([A-Za-z-]+_\d+)_(\w+)\.tif")
_HAND = {"sentinel1": "S1Hand", "sentinel2": "S2Hand", "label": "LabelHand"}
_WEAK_LABELS = {"s2index": "S2IndexLabelWeak", "s1otsu": "S1OtsuLabelWeak"}
# Where a layer may lie: in the bucket, below HandLabeled, beside root, and as in the authors' sample folder.
_SHORT = {"S1Hand": "S1", "S2Hand": "S2", "LabelHand": "Labels"}
_LISTS = ("v1.1/splits/flood_handlabeled", "splits/flood_handlabeled", "flood_handlabeled", ".")


class Sen1Floods11(Listed):
    """Cubes "sentinel1" [1,2,512,512] and "sentinel2" [1,13,512,512], and water [H,W] (-1 not labelled).

    Args:
        root: of the bucket, of its `v1.1`, or of the folders of the layers.
        split: "train", "valid", "test" or "bolivia" (hand-labelled, by the official lists), or "weak": the
            chips labelled by rule, which are for training only and have no Sentinel-2. None: all hand-labelled.
        sensors: which cubes to read; None: all that the split has.
        weak_labels: rule behind the weak labels: "s2index" or "s1otsu".

    The group is the event, since its chips are neighbours. The official train, valid and test parts run through
    events; Bolivia alone is held out as a place.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="sen1floods11",
        title="Sen1Floods11",
        tasks=("segmentation",),
        sensors={"sentinel1": S1_BANDS, "sentinel2": S2_BANDS},
        classes=CLASSES,
        splits=("train", "valid", "test", "bolivia", "weak"),
        size="512 x 512 at 10 m, in degrees (EPSG:4326)",
        dates="1 per sensor, up to two days apart",
        items="446 by hand (252 / 89 / 90 / 15) and 4,385 weakly labelled",
        unit="Sentinel-1 in dB, float32; Sentinel-2 reflectance x 1e4, L1C, int16",
        licence="not stated; the authors ask for citation",
        source="gs://sen1floods11/v1.1 (https://github.com/cloudtostreet/Sen1Floods11)",
        files=(
            "v1.1/data/flood_events/HandLabeled/{S1Hand,S2Hand,LabelHand}/<Event>_<id>_<Layer>.tif",
            "v1.1/splits/flood_handlabeled/flood_{train,valid,test,bolivia}_data.csv",
            "v1.1/data/flood_events/WeaklyLabeled/{S1Weak,S2IndexLabelWeak,S1OtsuLabelWeak}/<Event>_<id>_<Layer>.tif",
        ),
        notes=(
            "Some Sentinel-1 chips are NaN altogether, and some label chips are -1 altogether.",
            "Weakly labelled chips have no Sentinel-2; they are read only when split is 'weak'.",
            "The official train, valid and test parts share flood events; Bolivia is another place.",
            "Pixels are 10 m from north to south everywhere, and narrower away from the equator; all are taken as 10 m.",
            "Published numbers of Prithvi and ST-SwinMAE use the six bands B02 B03 B04 B8A B11 B12.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        sensors: Sequence[str] | None = None,
        weak_labels: str = "s2index",
    ) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        if sensors is None:
            sensors = ("sentinel1",) if split == "weak" else ("sentinel1", "sentinel2")
        if not sensors or len(set(sensors)) != len(sensors):
            raise ConfigError(
                "name each sensor once", where="sensors", mend="use sentinel1, sentinel2 or both"
            )
        self._sensors = tuple(one_of("sensors", s, tuple(self.info.sensors)) for s in sensors)
        self._layers = dict(_HAND)
        if split == "weak":
            if "sentinel2" in self._sensors:
                raise ConfigError(
                    "the weakly labelled chips have no Sentinel-2",
                    where="sensors",
                    mend="use sensors: [sentinel1]",
                )
            weak = _WEAK_LABELS[one_of("weak_labels", weak_labels, tuple(_WEAK_LABELS))]
            self._layers = {"sentinel1": "S1Weak", "label": weak}
            parts = dict.fromkeys(_on_disk(top, weak), "weak")
        else:
            parts = _lists(top, split)
            parts.update({i: "" for i in _on_disk(top, "LabelHand") if i not in parts})
        layer = self._layers["label"]
        items = (
            Item(i, str(_path(top, i, layer)), group=i.rsplit("_", 1)[0], split=part or None)
            for i, part in parts.items()
        )
        super().__init__(top, items, split)

    def read(self, index: int) -> Sample:
        """One chip. A cube without a valid pixel is kept: other sensors of the chip may have some."""
        item = self.items[index]
        cubes = {name: self._cube(item, name) for name in self._sensors}
        path = must_exist(_path(self.root, item.id, self._layers["label"]), "the label")
        values, valid = read_plane(path, next(iter(cubes.values())))
        for name, cube in cubes.items():
            if cube.shape[2:] != values.shape:
                raise InputError(
                    f"{name} is not of the label's size", where=cube.source, mend="use files of one chip"
                )
        target = to_indices(values, valid, CLASSES, ignore=(-1,), where=str(path), allow_empty=True)
        return Sample(cubes, item.id, target, item.group)

    def _cube(self, item: Item, name: str) -> Cube:
        path = must_exist(_path(self.root, item.id, self._layers[name]), f"the {name} chip")
        date = DATES.get(item.group or "", {}).get(name)
        dates = () if date is None else (date,)
        if name == "sentinel1":
            spec = SceneSpec(
                str(path), sensor=name, bands=S1_BANDS, dates=dates, unit="decibel", scale=1.0, offset=0.0
            )
        else:
            spec = SceneSpec(
                str(path),
                sensor=name,
                bands=S2_BANDS,
                dates=dates,
                unit="reflectance",
                scale=1e-4,
                offset=0.0,
                level="L1C",
                nodata=0,
            )
        # One step in degrees for all latitudes: on the ground 10 m by 10 m at the equator, by 7.9 m in Spain. The set
        # calls all of it 10 m, and networks that learn from it all see it as one.
        return replace(read_scene(spec), gsd=GSD)


def _folder(top: Path, layer: str) -> Path:
    kind = "WeaklyLabeled" if layer.endswith("Weak") else "HandLabeled"
    places = [
        f"{p}{kind}/{layer}" for p in ("v1.1/data/flood_events/", "data/flood_events/", "flood_events/", "")
    ]
    found = first_folder(top, [*places, layer, *([_SHORT[layer]] if layer in _SHORT else [])])
    return found or top / places[0]


def _path(top: Path, item: str, layer: str) -> Path:
    return _folder(top, layer) / f"{item}_{layer}.tif"


def _on_disk(top: Path, layer: str) -> list[str]:
    folder = _folder(top, layer)
    if not folder.is_dir():
        return []
    return [match[1] for _, match in named(folder, "*.tif", _FILE) if match[2] == layer]


def _lists(top: Path, split: str | None) -> dict[str, str]:
    """Official part of each listed chip. Raises InputError when a list is needed and missing, or is none."""
    parts: dict[str, str] = {}
    for name in ("train", "valid", "test", "bolivia"):
        places = [top / p / f"flood_{name}_data.csv" for p in _LISTS]
        path = next((p for p in places if p.is_file()), None)
        if path is None:
            if name == split:
                raise InputError(
                    f"the list of split '{name}' is missing", where=places[0], mend="fetch it from the bucket"
                )
            continue
        for line in read_lines(path):
            files = [f.strip() for f in line.split(",")]
            found = [_FILE.fullmatch(f) for f in files]
            if len(files) != 2 or any(m is None for m in found) or len({m[1] for m in found if m}) != 1:
                raise InputError(
                    f"'{line[:80]}' does not name one chip's S1Hand and LabelHand",
                    where=path,
                    mend="use the official list",
                )
            item = str(files[0].removesuffix("_S1Hand.tif"))
            if parts.get(item, name) != name:
                raise InputError(
                    f"names {item}, which split '{parts[item]}' has too", where=path, mend="correct the lists"
                )
            parts[item] = name
    return parts
