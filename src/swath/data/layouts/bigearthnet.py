"""BigEarthNet v1 (S2 and, of the same places, S1): one folder per patch of 1.2 km, one file per band, labels in JSON.

    BigEarthNet-v1.0/S2A_MSIL2A_20170613T101031_87_48/S2A_MSIL2A_20170613T101031_87_48_B01.tif … _labels_metadata.json
    BigEarthNet-S1-v1.0/S1A_IW_GRDH_1SDV_20170613T165043_33UUP_87_48/…_VV.tif …_VH.tif …_labels_metadata.json
    train.csv, val.csv, test.csv                names of S2 and, in a second column, S1 patches; no header

Twelve bands of Sentinel-2 L2A (no B10) at 10, 20 and 60 m (120, 60 and 20 pixels), uint16, reflectance x 1e4.
All patches are from 2017 and 2018, before baseline 04.00, so no offset. Labels are the level-3 CORINE
classes, 43 of the 44 (Sumbul et al., "BigEarthNet", IGARSS 2019), or their 19 groups ("BigEarthNet-MM", 2021).
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from swath.cube import Cube, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.corine import CLASSES_19, CLASSES_43, DROPPED, NAMES_19, NAMES_43, multi_hot
from swath.data.layouts.disk import Listed, check_split, existing_folder, first_folder, read_lines, read_scene
from swath.data.layouts.files import subfolders
from swath.data.spec import Resampling, SceneSpec
from swath.errors import ConfigError, InputError

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
CLASSES = NAMES_43
S2_FOLDERS = ("BigEarthNet-v1.0", "BigEarthNet-S2-v1.0", "BigEarthNet-S2", "BigEarthNet-S2-Example")
S1_FOLDERS = ("BigEarthNet-S1-v1.0", "BigEarthNet-S1", "BigEarthNet-S1-Example")
# S2B_MSIL2A_20170924T93020_69_24: some times lack their leading zero.
_NAME = re.compile(r"S2[AB]_MSIL2A_(\d{8})T\d{5,6}_\d+_\d+")
_S1_NAME = re.compile(r"S1[AB]_IW_GRDH_1SDV_(\d{8})T\d{6}_\d{2}[A-Z]{3}_\d+_\d+")
_TILE = re.compile(r"_T(\d{2}[A-Z]{3})_")


class BigEarthNet(Listed):
    """Patches with one date; the target is zeros and ones by class.

    Args:
        root: holds BigEarthNet-v1.0 (and BigEarthNet-S1-v1.0), or is the folder of the S2 patches.
        split: "train", "val" or "test": the patches of that csv, in root or root/splits. None: every patch there is.
        classes: 19 groups, or the 43 classes of the labels.
        s1: also read the Sentinel-1 patch of the same place, as a cube "sentinel1" of a day near it.
        resampling: how the 20 m and 60 m bands come to 10 m.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="bigearthnet",
        title="BigEarthNet v1 (S2; S1 of the same places)",
        tasks=("multilabel", "pretraining"),
        sensors={"sentinel2": BANDS, "sentinel1": ("VV", "VH")},
        classes=CLASSES_43,
        splits=("train", "val", "test"),
        size="120 x 120 (1.2 km at 10 m)",
        dates="1",
        items="590,326 patches; official lists without cloud and snow: 269,695, 123,723, 125,866",
        unit="reflectance x 1e4, L2A; decibel (S1)",
        licence="CDLA-Permissive-1.0",
        source="https://bigearth.net",
        files=(
            "BigEarthNet-v1.0/<patch>/<patch>_{B01,…,B12}.tif and _labels_metadata.json",
            "BigEarthNet-S1-v1.0/<patch>/<patch>_{VV,VH}.tif and _labels_metadata.json",
            "{train,val,test}.csv: names of S2 and S1 patches",
        ),
        notes=(
            f"19 classes are groups of the 43; in none are: {', '.join(DROPPED)}.",
            "A patch whose classes are all in no group has a target of zeros; the official lists of 19 leave it out.",
            "Patches of one tile lie side by side: the group is the tile, which the official splits divide.",
            "Some names lack a zero in the time, such as S2B_MSIL2A_20170924T93020_69_24.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        classes: Literal[19, 43] = 19,
        s1: bool = False,
        resampling: Resampling = "nearest",
    ) -> None:
        check_split(self.info, split)
        folder = existing_folder(root)
        if classes not in (len(NAMES_19), len(NAMES_43)):
            raise ConfigError(f"classes is {classes}", where="classes", mend="use 19 or 43")
        self.classes = classes
        self.resampling: Resampling = resampling
        self._s2 = first_folder(folder, S2_FOLDERS) or folder
        self._s1 = (
            (first_folder(folder, S1_FOLDERS) or first_folder(folder.parent, S1_FOLDERS)) if s1 else None
        )
        self._pairs: dict[str, str] | None = None
        self._strange: list[str] = []
        if s1 and self._s1 is None:
            raise InputError(
                f"holds no folder of Sentinel-1 ({', '.join(S1_FOLDERS)})",
                where=folder,
                mend="put it beside the patches of Sentinel-2, or leave s1 out",
            )
        if split is None:
            names = [p.name for p in subfolders(self._s2) if _NAME.fullmatch(p.name)]
        else:
            names, pairs = _listed(folder, split)
            self._pairs = pairs if len(pairs) == len(names) else None
        super().__init__(folder, (Item(n, str(self._s2 / n), split=split) for n in names), split)

    @classmethod
    def describe(cls, *, classes: int = 19, **others: object) -> LayoutInfo:
        """With the classes that its targets are numbered by."""
        return replace(cls.info, classes=CLASSES_19 if classes == len(NAMES_19) else CLASSES_43)

    def read(self, index: int) -> Sample:
        """Cubes "sentinel2" [1,12,120,120] and, if asked for, "sentinel1" [1,2,120,120]."""
        item = self.items[index]
        sample = read_patch(item.where, resampling=self.resampling, classes=self.classes)
        if self._s1 is None:
            return sample
        if self._pairs is None:
            self._pairs, self._strange = _pairs(self._s1)
        if item.id not in self._pairs:
            raise InputError(
                "has no patch of Sentinel-1",
                where=item.where,
                mend=f"look in {self._s1}" + (f" for {self._strange[0]}" if self._strange else ""),
            )
        cubes = {**sample.cubes, "sentinel1": read_s1(self._s1 / self._pairs[item.id])}
        return Sample(cubes, item.id, sample.target, sample.group)


def read_patch(
    folder: Path | str, *, resampling: Resampling = "nearest", classes: int = len(NAMES_43)
) -> Sample:
    """One patch on the 10 m grid: a cube "sentinel2" [1,12,120,120] and labels as 43 (or 19) zeros and ones.

    Args:
        folder: of the patch.
        resampling: how the 20 m and 60 m bands come to 10 m.
        classes: 43, or 19 groups.

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
    files = band_files(folder, BANDS)
    path = folder / f"{folder.name}_labels_metadata.json"
    labels, tile = _labels(path)
    cube = read_s2(files, name[1], resampling)
    target = multi_hot(labels, classes, path)
    return Sample({"sentinel2": cube}, folder.name, target, tile)


def band_files(folder: Path, bands: Sequence[str]) -> dict[str, Path]:
    """Files of a patch by band. Raises InputError if one is missing."""
    files = {band: folder / f"{folder.name}_{band}.tif" for band in bands}
    missing = [band for band, path in files.items() if not path.is_file()]
    if missing:
        raise InputError(f"band {', '.join(missing)} is missing", where=folder, mend="fetch the patch anew")
    return files


def read_s2(files: Mapping[str, Path], day: str, resampling: Resampling) -> Cube:
    """The bands of a patch on the 10 m grid [1,12,120,120], with its statistics; `day` is YYYYMMDD."""
    return read_scene(
        SceneSpec(
            tuple(str(path) for path in files.values()),
            sensor="sentinel2",
            bands=tuple(files),
            dates=(dt.datetime.strptime(day, "%Y%m%d").date().isoformat(),),
            unit="reflectance",
            scale=1e-4,
            offset=0.0,
            level="L2A",
            resampling=resampling,
        )
    )


def read_s1(folder: Path) -> Cube:
    """The Sentinel-1 patch of a folder [1,2,120,120], in decibels, with its statistics.

    Raises:
        InputError: a band is missing or damaged, or the folder is not a patch.
    """
    name = _S1_NAME.fullmatch(folder.name)
    if name is None or not folder.is_dir():
        what = "there is no such folder" if name else "is not named as a Sentinel-1 patch of BigEarthNet"
        raise InputError(what, where=folder, mend="check the path")
    spec = SceneSpec(
        tuple(str(p) for p in band_files(folder, ("VV", "VH")).values()),
        sensor="sentinel1",
        bands=("VV", "VH"),
        dates=(dt.datetime.strptime(name[1], "%Y%m%d").date().isoformat(),),
        unit="decibel",
        scale=1.0,
        offset=0.0,
        level="GRD",
    )
    return read_scene(spec)


def _listed(root: Path, split: str) -> tuple[list[str], dict[str, str]]:
    """Names of the S2 patches, and S2 -> S1 where the list has a second column."""
    path = next((p for p in (root / f"{split}.csv", root / "splits" / f"{split}.csv") if p.is_file()), None)
    if path is None:
        raise InputError(f"there is no {split}.csv", where=root, mend="fetch the official lists")
    rows = [line.split(",") for line in read_lines(path)]
    for row in rows:
        if not _NAME.fullmatch(row[0]) or (len(row) > 1 and not _S1_NAME.fullmatch(row[1])):
            raise InputError(
                f"'{','.join(row)[:80]}' names no patch", where=path, mend="use the official lists"
            )
    return [r[0] for r in rows], {r[0]: r[1] for r in rows if len(r) > 1}


def _pairs(folder: Path) -> tuple[dict[str, str], list[str]]:
    """S2 -> S1 from the labels of the Sentinel-1 patches, each opened once; and those that say nothing."""
    strange: list[str] = []
    pairs: dict[str, str] = {}
    for patch in subfolders(folder):
        if not _S1_NAME.fullmatch(patch.name):
            continue
        path = patch / f"{patch.name}_labels_metadata.json"
        try:
            pairs[str(json.loads(path.read_text(encoding="utf-8"))["corresponding_s2_patch"])] = patch.name
        except (OSError, ValueError, KeyError, TypeError):
            # The patch that lacks it is then told so; the others can be read.
            strange.append(str(path))
    return pairs, strange


def _labels(path: Path) -> tuple[list[str], str | None]:
    """Names of the classes, and the Sentinel-2 tile."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = [str(n) for n in data["labels"]]
    except FileNotFoundError:
        raise InputError("there is no such file", where=path, mend="fetch the patch anew") from None
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"holds no readable labels ({type(err).__name__})", where=path, mend="fetch the patch anew"
        ) from err
    tile = _TILE.search(str(data.get("tile_source", "")))
    return names, None if tile is None else f"T{tile[1]}"
