from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from swath.data.layouts.landsat_change import LandsatChange
from swath.errors import InputError

ONLY = pytest.mark.parametrize("built", ["landsat-change"], indirect=True)


@ONLY
def test_a_pair_with_sparse_labels(built, tif_writer) -> None:
    layout = LandsatChange(built.root)
    assert [i.id for i in layout.items] == ["Nanjing", "Taizhou"]
    sample = layout.read(1)
    assert sample.cube.dates == (dt.date(2000, 3, 17), dt.date(2003, 2, 6))
    assert sample.cube.shape == (2, 6, 40, 50) and sample.cube.encodings[0][0].unit == "dn"
    assert sample.target[:, 0].tolist() == [1] * 5 + [-1] * 4 + [0] * 5 + [-1] * 26
    both = np.full((40, 50), 255, np.uint8)
    tif_writer(built.root / "Dataset/Landsat/Taizhou/unchanged.bmp", both, crs=None, driver="BMP")
    with pytest.raises(InputError, match="250 pixels are both"):
        layout.read(1)


@ONLY
def test_an_image_of_another_year_is_noticed(built) -> None:
    folder = built.root / "Dataset/Landsat/Taizhou"
    for name in ("2003TM", "2003TM.HDR"):
        (folder / name).rename(folder / name.replace("2003", "2001"))
    with pytest.raises(InputError, match="its bands are of 20030206"):
        LandsatChange(built.root).read(1)


@pytest.mark.shared_data
def test_the_real_pair(shared_data) -> None:
    layout = LandsatChange(shared_data / "cd-landsat")
    sample = layout.read(0)
    assert sample.cube.shape == (2, 6, 400, 400) and sample.cube.dates[0] == dt.date(2000, 3, 17)
    # The counts that come with the data.
    assert [(sample.target == v).sum() for v in (1, 0)] == [4227, 17163]
