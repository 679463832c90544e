from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import rasterio

from swath.data.layouts.sen1floods11 import CLASSES, DATES, S2_BANDS, Sen1Floods11
from swath.errors import ConfigError, InputError
from swath.verbs.options import NormaliseOptions
from swath.verbs.scene_data import contract_of

ONLY = pytest.mark.parametrize("built", ["sen1floods11"], indirect=True)


@ONLY
def test_a_chip_of_two_sensors(built) -> None:
    layout = Sen1Floods11(built.root, "test")
    (item,) = layout.items
    assert (item.id, item.group) == ("Mekong_9", "Mekong")
    sample = layout.read(0)
    s1, s2 = sample.cubes["sentinel1"], sample.cubes["sentinel2"]
    assert (s1.shape, s2.shape) == ((1, 2, 64, 64), (1, 13, 64, 64))
    # Events by the names of the chips: the authors' table calls this one Cambodia.
    assert (s1.dates, s2.dates) == ((dt.date(2018, 8, 5),), (dt.date(2018, 8, 4),))
    assert not s1.valid[:, :, :3].any() and s1.valid[:, :, 3:].all()
    assert not s2.valid[:, :, -2:].any() and s2.valid[:, :, :-2].all()
    assert (s1.encodings[0][0].unit, s2.encodings[0][0].level) == ("decibel", "L1C")
    assert s1.grid is not None and s1.grid.crs == "EPSG:4326" and s1.place.lat == pytest.approx(22, abs=0.01)
    assert tuple(b.name for b in s2.bands) == S2_BANDS and S2_BANDS[8] == "B8A"
    with rasterio.open(item.where) as file:
        np.testing.assert_array_equal(sample.target, file.read(1))
    assert (sample.target[:, :5] == -1).all() and set(np.unique(sample.target)) == {-1, 0, 1}


@ONLY
def test_chips_of_all_latitudes_are_of_one_pixel_size(built) -> None:
    for path in sorted(built.root.glob("v1.1/data/flood_events/HandLabeled/*/Mekong_9_*.tif")):
        with rasterio.open(path, "r+") as file:
            file.transform = rasterio.Affine(8.983152841195184e-05, 0, 12, 0, -8.983152841195184e-05, 52)
    layout = Sen1Floods11(built.root)
    cubes = [layout.read(i).cubes for i in range(len(layout.items))]
    assert {cube.gsd for both in cubes for cube in both.values()} == {10.0}
    places = sorted(both["sentinel1"].place.lat for both in cubes)
    assert places[-1] > 51 and places[0] < 21
    contract = contract_of([both["sentinel1"] for both in cubes], NormaliseOptions(scope="fixed"), 64)
    for both in cubes:
        contract.convert(both["sentinel1"])


@ONLY
def test_weak_chips_are_only_for_who_asks(built) -> None:
    assert len(Sen1Floods11(built.root).items) == 4
    weak = Sen1Floods11(built.root, "weak")
    assert [(i.id, i.split) for i in weak.items] == [("USA_1", "weak")]
    assert list(weak.read(0).cubes) == ["sentinel1"]
    other = Sen1Floods11(built.root, "weak", weak_labels="s1otsu").read(0)
    assert not np.array_equal(weak.read(0).target, other.target)
    with pytest.raises(ConfigError, match="no Sentinel-2"):
        Sen1Floods11(built.root, "weak", sensors=("sentinel2",))
    with pytest.raises(ConfigError, match="'magic' is unknown"):
        Sen1Floods11(built.root, "weak", weak_labels="magic")


@ONLY
def test_a_chip_without_labels_or_without_radar_is_still_a_chip(built) -> None:
    layout = Sen1Floods11(built.root, "test")
    for path, fill in (
        (layout.items[0].where, -1),
        (layout.items[0].where.replace("LabelHand", "S1Hand"), np.nan),
    ):
        with rasterio.open(path, "r+") as file:
            file.write(np.full((file.count, 64, 64), fill, file.dtypes[0]))
    sample = layout.read(0)
    assert (sample.target == -1).all() and not sample.cubes["sentinel1"].valid.any()
    assert sample.cubes["sentinel2"].valid.any()


@ONLY
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("Ghana_24_S1Hand.tif,Ghana_25_LabelHand.tif", "does not name one chip"),
        ("Ghana_24_S1Hand.tif", "does not name one chip"),
        ("Mekong_9_S1Hand.tif,Mekong_9_LabelHand.tif", "has too"),
    ],
)
def test_bad_lists(built, line: str, says: str) -> None:
    path = built.root / "v1.1/splits/flood_handlabeled/flood_train_data.csv"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=says):
        Sen1Floods11(built.root, "train")


@ONLY
def test_labels_of_another_value_or_place_are_refused(built) -> None:
    layout = Sen1Floods11(built.root, "test")
    with rasterio.open(layout.items[0].where, "r+") as file:
        file.write(np.full((1, 64, 64), 2, np.int16))
    with pytest.raises(InputError, match="unknown label values: 2"):
        layout.read(0)
    with rasterio.open(layout.items[0].where, "r+") as file:
        file.transform = rasterio.Affine(1e-4, 0, 99, 0, -1e-4, 9)
    with pytest.raises(InputError, match="another grid"):
        layout.read(0)


def test_the_table_of_dates_is_that_of_the_events() -> None:
    for dates in DATES.values():
        s1, s2 = (dt.date.fromisoformat(dates[k]) for k in ("sentinel1", "sentinel2"))
        assert abs((s1 - s2).days) <= 2
    assert len(DATES) == 12 and [c.value for c in CLASSES] == [0, 1]


@pytest.mark.shared_data
def test_the_real_chips(shared_data) -> None:
    layout = Sen1Floods11(shared_data / "sen1floods11-spain/sample")
    sample = layout.read(0)
    assert {n: c.shape for n, c in sample.cubes.items()} == {
        "sentinel1": (1, 2, 512, 512),
        "sentinel2": (1, 13, 512, 512),
    }
    assert sample.group == "Spain" and set(np.unique(sample.target)) == {-1, 0, 1}
    layout = Sen1Floods11(shared_data / "sen1floods11-s1-12/app/sample_data", sensors=("sentinel1",))
    assert [i.id for i in layout.items] == ["Ghana_53713", "India_900498", "Paraguay_34417", "USA_905409"]
    assert [layout.read(i).cube.valid.any() for i in range(4)] == [True, True, False, True]
