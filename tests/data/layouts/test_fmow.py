from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.fmow import CATEGORIES
from swath.data.layouts.registry import open_layout
from swath.errors import InputError


@pytest.fixture
def root(tmp_path: Path, builders: Any) -> Path:
    builders.fmow(tmp_path)
    return tmp_path


def test_images_of_varied_sizes_with_their_category_day_and_place(root: Path) -> None:
    layout = open_layout("fmow-sentinel", root, "train")
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 62 and list(CATEGORIES) == sorted(CATEGORIES)
    samples = {s.id: s for s in (layout.read(i) for i in range(len(layout.items)))}
    home = samples["train/multi-unit_residential_1_0"]
    assert home.target is not None and CATEGORIES[int(home.target)] == "multi-unit_residential"
    assert home.cube.shape == (1, 13, 48, 57) and samples["train/zoo_3_100"].cube.shape == (1, 13, 45, 60)
    assert home.cube.dates == (dt.date(2017, 5, 16),) and home.group == "train/multi-unit_residential_1"
    assert home.cube.encodings[0][0].level == "L1C" and home.cube.place is not None
    # No data where all bands are 0; B10 is 0 everywhere and stays.
    assert not home.cube.valid[0, :, 0, 0].any() and home.cube.valid[0, :, 0, 1:].all()


def test_the_place_comes_from_the_csv_where_the_image_has_none(root: Path, builders: Any) -> None:
    path = root / "fmow-sentinel/val/airport/airport_0/airport_0_6.tif"
    builders.tif(path, builders.real(13, 20, 20).astype(np.uint16), crs=None)
    place = open_layout("fmow-sentinel", root, "val").read(0).cube.place
    assert place is not None and abs(place.lon - 10.2) < 1e-9 and abs(place.lat - 50.15) < 1e-9


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("0,moon_base,1,1,,", "unknown category 'moon_base'"),
        ("0,zoo,one,1,,", "not whole numbers"),
        ("0,airport,0,6,2017-05-16T00:00:00Z,\n1,airport,0,6,2017-05-16T00:00:00Z,", "occurs twice"),
    ],
)
def test_a_wrong_csv(root: Path, row: str, says: str) -> None:
    (root / "val.csv").write_text(f",category,location_id,image_id,timestamp,polygon\n{row}\n")
    with pytest.raises(InputError, match=says):
        open_layout("fmow-sentinel", root, "val")


def test_wrong_images(root: Path, builders: Any) -> None:
    layout = open_layout("fmow-sentinel", root, "val")
    path = Path(layout.items[0].where)
    builders.tif(path, np.zeros((20, 20), np.uint16))
    with pytest.raises(InputError, match="holds 1 band, but 13 are named"):
        layout.read(0)
    path.unlink()
    with pytest.raises(InputError, match=r"airport_0_6.tif: there is no such file"):
        layout.read(0)
    (root / "val.csv").write_text("category,location_id,image_id,timestamp\nairport,0,6,yesterday\n")
    with pytest.raises(InputError, match="'yesterday' is no date"):
        open_layout("fmow-sentinel", root, "val").read(0)
