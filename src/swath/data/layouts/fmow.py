"""fMoW-Sentinel: a csv per split, and one GeoTIFF of 13 bands per image, of varied sizes.

    train.csv val.csv test_gt.csv             category, location_id, image_id, timestamp, polygon
    fmow-sentinel/train/airport/airport_0/airport_0_6.tif

882,779 composites of Sentinel-2 L1C over 90 days each (Cong et al., "SatMAE", NeurIPS 2022), at the 62 categories of
Functional Map of the World. Bands in the order of the sensor's numbering, B8A after B8.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from swath.bands import SENSORS
from swath.cube import Place, Sample
from swath.data.layouts.base import Item, LayoutInfo
from swath.data.layouts.disk import Listed, existing_folder, first_folder, read_table
from swath.data.layouts.native import not_all_zero
from swath.data.legend import LandClass, spread
from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.errors import InputError

CATEGORIES = (
    "airport",
    "airport_hangar",
    "airport_terminal",
    "amusement_park",
    "aquaculture",
    "archaeological_site",
    "barn",
    "border_checkpoint",
    "burial_site",
    "car_dealership",
    "construction_site",
    "crop_field",
    "dam",
    "debris_or_rubble",
    "educational_institution",
    "electric_substation",
    "factory_or_powerplant",
    "fire_station",
    "flooded_road",
    "fountain",
    "gas_station",
    "golf_course",
    "ground_transportation_station",
    "helipad",
    "hospital",
    "impoverished_settlement",
    "interchange",
    "lake_or_pond",
    "lighthouse",
    "military_facility",
    "multi-unit_residential",
    "nuclear_powerplant",
    "office_building",
    "oil_or_gas_facility",
    "park",
    "parking_lot_or_garage",
    "place_of_worship",
    "police_station",
    "port",
    "prison",
    "race_track",
    "railway_bridge",
    "recreational_facility",
    "road_bridge",
    "runway",
    "shipyard",
    "shopping_mall",
    "single-unit_residential",
    "smokestack",
    "solar_farm",
    "space_facility",
    "stadium",
    "storage_tank",
    "surface_mine",
    "swimming_pool",
    "toll_booth",
    "tower",
    "tunnel_opening",
    "waste_disposal",
    "water_treatment_facility",
    "wind_farm",
    "zoo",
)
BANDS = SENSORS["sentinel2"].names
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class FMoWSentinel(Listed):
    """Images of 62 categories; the target is the category's number. Sizes vary: nothing is resized here.

    Args:
        root: holds the csv files, and the images under fmow-sentinel/ or beside them.
        split: "train", "val", "test_gt", or None for all csv files that are there.
    """

    info: ClassVar[LayoutInfo] = LayoutInfo(
        name="fmow-sentinel",
        title="fMoW-Sentinel",
        tasks=("classification", "pretraining"),
        sensors={"sentinel2": BANDS},
        classes=tuple(
            LandClass(i, name, color)
            for i, (name, color) in enumerate(zip(CATEGORIES, spread(len(CATEGORIES)), strict=True))
        ),
        splits=("train", "val", "test_gt"),
        size="varies",
        dates="1 (composite over 90 days; its middle)",
        items="882,779 images (train 712,874, val 84,939, test 84,966)",
        unit="reflectance x 1e4, L1C",
        licence="images: Copernicus Sentinel data terms; categories and places: fMoW Challenge Public License",
        source="https://purl.stanford.edu/vg497cb6002",
        files=(
            "{train,val,test_gt}.csv",
            "fmow-sentinel/<split>/<category>/<category>_<location_id>/<category>_<location_id>_<image_id>.tif",
        ),
        notes=(
            "Sizes vary, also within one place: pack them as groups of shapes.",
            "Its description names the 8th and 9th band B8A and B8B; they are B8 and B8A.",
            "An image that failed to download is a file of one empty band, and an error.",
            "A pixel that is 0 in all bands is no data; B10 alone is often 0.",
            "Images of one place lie in one split; ids are unique with their category only.",
        ),
    )

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        folder = existing_folder(root)
        images = first_folder(folder, ("fmow-sentinel", ".")) or folder
        parts = [
            p for p in self.info.splits if split == p or (split is None and (folder / f"{p}.csv").is_file())
        ]
        items: list[Item] = []
        self._when: dict[str, tuple[str, str]] = {}
        for part in parts:
            path = folder / f"{part}.csv"
            for row in read_table(path, ("category", "location_id", "image_id")):
                category, numbers = row["category"], (row["location_id"], row["image_id"])
                if category not in _INDEX:
                    raise InputError(
                        f"names the unknown category '{category}'", where=path, mend="use the published csv"
                    )
                if not all(n.isdigit() for n in numbers):
                    raise InputError(
                        f"location_id and image_id are '{numbers[0]}' and '{numbers[1]}', not whole numbers",
                        where=path,
                        mend="use the published csv",
                    )
                place = f"{category}_{numbers[0]}"
                image = images / part / category / place / f"{place}_{numbers[1]}.tif"
                item = Item(f"{part}/{place}_{numbers[1]}", str(image), f"{part}/{place}", part)
                items.append(item)
                self._when[item.id] = (row.get("timestamp", ""), row.get("polygon", ""))
        super().__init__(folder, items, split)

    def read(self, index: int) -> Sample:
        """A cube "sentinel2" [1,13,H,W] and the category's number."""
        item = self.items[index]
        timestamp, polygon = self._when[item.id]
        date = _day(timestamp, item)
        spec = SceneSpec(
            item.where,
            sensor="sentinel2",
            bands=BANDS,
            dates=() if date is None else (date.isoformat(),),
            unit="reflectance",
            scale=1e-4,
            offset=0.0,
            level="L1C",
        )
        with open_scene(spec) as scene:
            cube = scene.read(0, 0, scene.height, scene.width)
        valid = cube.valid & not_all_zero(cube.pixels)
        cube = replace(cube, valid=valid, gsd=10.0, place=cube.place or _place(polygon)).with_statistics()
        category = item.id.split("/")[1].rsplit("_", 2)[0]
        return Sample({"sentinel2": cube}, item.id, np.asarray(_INDEX[category], np.int64), item.group)


_INDEX = {name: i for i, name in enumerate(CATEGORIES)}


def _day(text: str, item: Item) -> dt.date | None:
    if not text:
        return None
    try:
        return dt.datetime.fromisoformat(text).date()
    except ValueError:
        raise InputError(
            f"its timestamp '{text}' is no date", where=item.where, mend="use the published csv"
        ) from None


def _place(polygon: str) -> Place | None:
    """The middle of "POLYGON ((lon lat, lon lat, …))"."""
    numbers = [float(n) for n in _NUMBER.findall(polygon)]
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    lon, lat = numbers[0::2], numbers[1::2]
    return Place((min(lon) + max(lon)) / 2, (min(lat) + max(lat)) / 2)
