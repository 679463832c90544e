"""BigEarthNet v2 (reBEN): patches in folders by tile, labels in Parquet, and a map of each patch.

    metadata.parquet                                       patch_id, labels, split, country, s1_name, …
    BigEarthNet-S2/<tile>/<patch>/<patch>_B01.tif …        tile: the patch's name without its last two fields
    BigEarthNet-S1/<scene>/<patch>/<patch>_VV.tif _VH.tif  scene: the patch's name without its last three fields
    Reference_Maps/<tile>/<patch>/<patch>_reference_map.tif   CORINE codes, 111 … 523

480,038 patches processed anew from L1C (Clasen et al., "reBEN", IGARSS 2025): baseline 99.99, without an offset;
the number 0 is no data, and bands say so. Labels are 19 groups of CORINE classes; the classes that are in no
group are unlabelled in the maps.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from swath.cube import Array, Cube, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.bigearthnet import BANDS, band_files, read_s1, read_s2
from swath.data.layouts.corine import CLASSES_19, DROPPED, NAMES_19, groups_of_codes, multi_hot
from swath.data.layouts.disk import Listed, existing_folder, must_exist, one_of, read_plane
from swath.data.layouts.files import library
from swath.data.spec import Resampling
from swath.errors import InputError

_NAME = re.compile(r"S2[AB]_MSIL2A_(\d{8})T\d{6}_N\d{4}_R\d{3}_(T\d{2}[A-Z]{3})_\d{2}_\d{2}")
_COLUMNS = ("patch_id", "labels", "split", "s1_name")


class BigEarthNetV2(Listed):
    """Patches with one date.

    Args:
        root: holds metadata.parquet and the folders.
        split: "train", "validation", "test", or None for all rows.
        target: "labels": zeros and ones [19]; "map": numbers of the 19 groups [120,120], -1 where in none.
        s1: also read the Sentinel-1 patch of the same place, as a cube "sentinel1".
        resampling: how the 20 m and 60 m bands come to 10 m.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="bigearthnet-v2",
        title="BigEarthNet v2 (reBEN)",
        tasks=("multilabel", "segmentation", "pretraining"),
        sensors={"sentinel2": BANDS, "sentinel1": ("VV", "VH")},
        classes=CLASSES_19,
        splits=("train", "validation", "test"),
        size="120 x 120 (1.2 km at 10 m)",
        dates="1",
        items="480,038 patches (train 237,871, validation 122,342, test 119,825)",
        unit="reflectance x 1e4, L2A; decibel (S1)",
        licence="CDLA-Permissive-1.0",
        source="https://bigearth.net, https://zenodo.org/records/10891137",
        files=(
            "metadata.parquet",
            "BigEarthNet-S2/<tile>/<patch>/<patch>_{B01,…,B12}.tif",
            "BigEarthNet-S1/<scene>/<patch>/<patch>_{VV,VH}.tif",
            "Reference_Maps/<tile>/<patch>/<patch>_reference_map.tif",
        ),
        notes=(
            "Folders may hold more patches than metadata.parquet names: cloud and snow are in a list of their own.",
            f"Unlabelled in the maps, and in no label: {', '.join(DROPPED)}.",
            "Class numbers here follow the nomenclature (urban fabric first), as in v1; reBEN's own code sorts names.",
            "Splits are blocks of a grid within each tile; the group is the tile, which they divide.",
        ),
    )

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        target: Literal["labels", "map"] = "labels",
        s1: bool = False,
        resampling: Resampling = "nearest",
    ) -> None:
        folder = existing_folder(root)
        self.target = one_of("target", target, ("labels", "map"))
        self.s1 = s1
        self.resampling: Resampling = resampling
        self._table = folder / "metadata.parquet"
        if not self._table.is_file():
            raise InputError(
                "the table of patches, with their labels and parts, is missing",
                where=self._table,
                mend=f"fetch it from {self.info.source.split(', ')[1]}; "
                "patches alone are a folder of your own (layout folder, docs/own-data.md)",
            )
        self._rows: dict[str, tuple[list[str], str]] = {}
        items: list[Item] = []
        for row in _read_rows(self._table):
            name = str(row["patch_id"])
            found = _NAME.fullmatch(name)
            if found is None or row["split"] not in self.info.splits:
                what = f"'{name}'" if found is None else f"split '{row['split']}' of {name}"
                raise InputError(f"{what} is none of reBEN's", where=self._table, mend="fetch it anew")
            where = folder / "BigEarthNet-S2" / name.rsplit("_", 2)[0] / name
            items.append(Item(name, str(where), found[2], str(row["split"])))
            self._rows[name] = ([str(n) for n in row["labels"] or ()], str(row["s1_name"] or ""))
        super().__init__(folder, items, split)

    @classmethod
    def describe(cls, *, target: str = "labels", **others: object) -> LayoutInfo:
        """With the task of its target."""
        return replace(cls.info, tasks=("segmentation" if target == "map" else "multilabel",))

    def read(self, index: int) -> Sample:
        """Cubes "sentinel2" [1,12,120,120] and, if asked for, "sentinel1" [1,2,120,120]."""
        item = self.items[index]
        labels, s1_name = self._rows[item.id]
        cube = read_s2(band_files(Path(item.where), BANDS), item.id.split("_")[2][:8], self.resampling)
        cubes = {"sentinel2": cube}
        if self.s1:
            cubes["sentinel1"] = read_s1(self.root / "BigEarthNet-S1" / s1_name.rsplit("_", 3)[0] / s1_name)
        target = (
            self._map(item.id, cube)
            if self.target == "map"
            else multi_hot(labels, len(NAMES_19), f"{self._table}: {item.id}")
        )
        return Sample(cubes, item.id, target, item.group)

    def _map(self, name: str, cube: Cube) -> Array:
        folder = self.root / "Reference_Maps" / name.rsplit("_", 2)[0] / name
        path = must_exist(folder / f"{name}_reference_map.tif", "the map")
        codes, valid = read_plane(path, cube)
        return groups_of_codes(np.where(valid, codes, 0), path)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    parquet = library("pyarrow.parquet", "parquet", path)
    try:
        have = set(parquet.read_schema(path).names)
        lacking = [c for c in _COLUMNS if c not in have]
        if lacking:
            raise InputError(f"lacks column {', '.join(lacking)}", where=path, mend="fetch it anew")
        rows: list[dict[str, Any]] = parquet.read_table(path, columns=list(_COLUMNS)).to_pylist()
    except (OSError, ValueError) as err:  # pyarrow's own errors are among these
        raise InputError(
            f"cannot be read as Parquet ({' '.join(str(err).split())[:100]})",
            where=path,
            mend="fetch it anew",
        ) from err
    return rows
