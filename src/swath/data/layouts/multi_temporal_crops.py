"""Multi-temporal crops: three dates of HLS over the United States in 2022, and what grew there.

    training_chips/chip_000_001_merged.tif    18 bands, int16, reflectance x 1e4: **time-major**, all six bands of
    training_chips/chip_000_001.mask.tif      the first date, then of the second, then of the third
    training_data.txt, validation_data.txt    ids, one a line
    chips_df.csv                              chip_id, tile, first_img_date, middle_img_date, last_img_date

Published code reads the 18 bands as (bands, dates), which scrambles both (spec ST-SwinMAE §4.3); here date t and
band b are plane 6t + b. The tars were made on a Mac and hold `._*` files (Cecil et al., CC-BY-4.0).
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
    read_lines,
    read_plane,
    read_scene,
    read_table,
)
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import InputError

CLASSES = (
    LandClass(1, "natural vegetation", (147, 190, 120)),
    LandClass(2, "forest", (27, 120, 55)),
    LandClass(3, "corn", (255, 211, 0)),
    LandClass(4, "soybeans", (38, 112, 0)),
    LandClass(5, "wetlands", (128, 177, 177)),
    LandClass(6, "developed or barren", (156, 156, 156)),
    LandClass(7, "open water", (75, 112, 163)),
    LandClass(8, "winter wheat", (165, 112, 0)),
    LandClass(9, "alfalfa", (255, 165, 226)),
    LandClass(10, "fallow or idle cropland", (191, 191, 122)),
    LandClass(11, "cotton", (255, 38, 38)),
    LandClass(12, "sorghum", (255, 158, 15)),
    LandClass(13, "other", (90, 60, 120)),
)
DATES = ("first_img_date", "middle_img_date", "last_img_date")
_PARTS = {"train": "training", "validation": "validation"}
_ID = re.compile(r"chip_\d{3}_\d{3}")
_FILE = re.compile(r"(chip_\d{3}_\d{3})_merged\.tif")


class MultiTemporalCrops(Listed):
    """Cube "hls_s30" [3,6,224,224] and crops [H,W] (-1 where there is no label).

    Args:
        root: the folder of `training_chips`, `validation_chips`, their lists and `chips_df.csv`.
        split: "train" or "validation", by the published lists.

    The group is the HLS tile, if `chips_df.csv` has a column `tile`.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="multi-temporal-crops",
        title="Multi-temporal crop classification",
        tasks=("segmentation",),
        sensors={"hls_s30": SIX_BANDS},
        classes=CLASSES,
        splits=("train", "validation"),
        size="224 x 224 at 30 m (EPSG:5070)",
        dates="3, in order of time",
        items="3,854 (3,083 / 771)",
        unit="surface reflectance x 1e4, int16",
        licence="CC-BY-4.0",
        source="https://huggingface.co/datasets/ibm-nasa-geospatial/multi-temporal-crop-classification",
        files=(
            "{training,validation}_chips/chip_<RRR>_<CCC>_merged.tif",
            "{training,validation}_chips/chip_<RRR>_<CCC>.mask.tif",
            "{training,validation}_data.txt",
            "chips_df.csv",
        ),
        notes=(
            "The 18 bands are time-major; reshaping them to (6 bands, 3 dates) scrambles both, as published code does.",
            "Labels are 1 to 13; 0 is no data and is not scored.",
            "Archives hold ._* files, which are no images.",
            "There is no test part.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        check_split(self.info, split)
        top = existing_folder(root)
        self._table = table = top / "chips_df.csv"
        self._rows = {r["chip_id"]: r for r in read_table(table, ("chip_id", *DATES))}
        items = []
        for part, name in _PARTS.items():
            folder, listed = top / f"{name}_chips", top / f"{name}_data.txt"
            if listed.is_file() or split == part:
                ids = read_lines(listed)
                strange = next((i for i in ids if not _ID.fullmatch(i)), None)
                if strange is not None:
                    raise InputError(
                        f"names '{strange}', which is no chip", where=listed, mend="correct the list"
                    )
            else:
                ids = [m[1] for _, m in named(folder, "*_merged.tif", _FILE)] if folder.is_dir() else []
            for i in ids:
                tile = self._rows.get(i, {}).get("tile") or None
                items.append(Item(i, str(folder / f"{i}_merged.tif"), group=tile, split=part))
        super().__init__(top, items, split)

    def read(self, index: int) -> Sample:
        """One chip."""
        item = self.items[index]
        path = must_exist(Path(item.where), "the chip")
        spec = SceneSpec(
            str(path),
            sensor="hls_s30",
            bands=SIX_BANDS,
            stack_dates=3,
            dates=self._dates(item.id),
            unit="reflectance",
            scale=1e-4,
            offset=0.0,
            level="HLS",
            nodata=-9999,
        )
        cube = read_scene(spec)
        mask = must_exist(path.with_name(f"{item.id}.mask.tif"), "the mask")
        values, valid = read_plane(mask, cube)
        target = to_indices(values, valid, CLASSES, ignore=(0,), where=str(mask), allow_empty=True)
        return Sample({"hls_s30": cube}, item.id, target, item.group)

    def _dates(self, chip: str) -> tuple[str, ...]:
        table = self._table
        if chip not in self._rows:
            raise InputError(f"lacks the dates of {chip}", where=table, mend="fetch the original table")
        return tuple(parse_date(self._rows[chip][name], f"{table} ({chip})").isoformat() for name in DATES)
