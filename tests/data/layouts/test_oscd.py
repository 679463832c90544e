from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import rasterio

from swath.data.layouts.oscd import BANDS, OSCD, TEST, TRAIN
from swath.errors import ConfigError, InputError

ONLY = pytest.mark.parametrize("built", ["oscd"], indirect=True)


def test_the_published_cities() -> None:
    assert (len(TRAIN), len(TEST)) == (14, 10) and not set(TRAIN) & set(TEST)
    assert "saclay_e" in TRAIN and "saclay_w" in TEST


@ONLY
def test_a_pair_in_order_of_time(built) -> None:
    layout = OSCD(built.root, "train", **built.options)
    assert [i.id for i in layout.items] == ["beirut", "saclay_e"]
    sample = layout.read(1)
    cube = sample.cube
    assert cube.shape == (2, 13, 40, 56) and cube.dates == (dt.date(2016, 3, 16), dt.date(2017, 10, 11))
    folder = built.root / "Onera Satellite Change Detection dataset - Images" / "saclay_e"
    for date in (0, 1):
        for i, band in enumerate(BANDS):
            with rasterio.open(folder / f"imgs_{date + 1}_rect" / f"{band}.tif") as file:
                np.testing.assert_array_equal(cube.pixels[date, i], file.read(1))
    np.testing.assert_array_equal(sample.target, cube.pixels[1, 3] > 600)


@ONLY
def test_what_is_wrong_is_named(built) -> None:
    with pytest.raises(InputError, match="city abudhabi is missing"):
        OSCD(built.root, "train").read(0)
    with pytest.raises(ConfigError, match="'munich' is unknown"):
        OSCD(built.root, cities=("munich",))
    layout = OSCD(built.root, **built.options)
    folder = built.root / "Onera Satellite Change Detection dataset - Images" / "beirut"
    for lines, says in (
        ("date_1 : 20171011\ndate_2 : 20160316\n", "later than"),
        ("date_1 : 20171311\ndate_2 : 20180316\n", "is no date"),
        ("date_1 : 20171011\n", "does not name"),
    ):
        (folder / "dates.txt").write_text(lines)
        with pytest.raises(InputError, match=says):
            layout.read(0)
    (folder / "dates.txt").write_text("date_1: 20160101\ndate_2: 20160101\n")
    (folder / "imgs_1_rect" / "copy_B08.tif").write_bytes(b"")
    with pytest.raises(InputError, match=r"2 files \*B08.tif"):
        layout.read(0)
