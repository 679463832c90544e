from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import rasterio

from swath.data.layouts.multi_temporal_crops import CLASSES, MultiTemporalCrops
from swath.errors import InputError

ONLY = pytest.mark.parametrize("built", ["multi-temporal-crops"], indirect=True)


@ONLY
def test_the_eighteen_bands_are_time_major(built) -> None:
    layout = MultiTemporalCrops(built.root, "train")
    assert [i.id for i in layout.items] == ["chip_002_010", "chip_002_011"]
    sample = layout.read(0)
    cube = sample.cube
    with rasterio.open(layout.items[0].where) as file:
        stored = file.read()
    valid = np.s_[2:]
    for t in range(3):
        for b in range(6):
            np.testing.assert_array_equal(cube.pixels[t, b][valid], stored[6 * t + b][valid])
    # The reshape of hls-foundation-os and of TerraTorch before its fix, which scrambles bands and dates.
    scrambled = stored.reshape(6, 3, 224, 224).swapaxes(0, 1)
    assert not np.array_equal(cube.pixels[:, :, 2:], scrambled[:, :, 2:])
    assert cube.dates == (dt.date(2022, 3, 21), dt.date(2022, 6, 1), dt.date(2022, 9, 15))
    assert not cube.valid[:, :, :2].any() and sample.group == "15TXG"


@ONLY
def test_no_data_is_no_class(built) -> None:
    sample = MultiTemporalCrops(built.root, "validation").read(0)
    assert sample.target[0, :14].tolist() == [-1, *range(13)]
    assert [c.value for c in CLASSES] == list(range(1, 14))


@ONLY
def test_dates_that_are_wrong(built) -> None:
    table = built.root / "chips_df.csv"
    whole = table.read_text()
    for old, new, says in (
        ("2022-09-15", "2022-05-15", "dates are not in order"),
        ("2022-06-01", "June", "'June' is no date"),
        ("chip_002_010", "chip_999_999", "lacks the dates of chip_002_010"),
    ):
        table.write_text(whole.replace(old, new))
        with pytest.raises(InputError, match=says):
            MultiTemporalCrops(built.root, "train").read(0)
    (built.root / "training_data.txt").write_text("picture\n")
    table.write_text(whole)
    with pytest.raises(InputError, match="'picture', which is no chip"):
        MultiTemporalCrops(built.root, "train")
