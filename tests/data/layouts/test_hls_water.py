from __future__ import annotations

import numpy as np
import pytest
import rasterio

from swath.data.layouts.hls_water import HLSWater
from swath.errors import ConfigError, InputError

ONLY = pytest.mark.parametrize("built", ["hls-water"], indirect=True)


def planes_of(path: str) -> np.ndarray:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(path) as file:
        return file.read()


@ONLY
def test_a_chip_and_its_neighbours(built) -> None:
    layout = HLSWater(built.root)
    assert [(i.id, i.group) for i in layout.items] == [
        ("0", "elevation-0"),
        ("10", "elevation-0"),
        ("2", "elevation-5"),
    ]
    planes = planes_of(layout.items[0].where)
    sample = layout.read(0)
    np.testing.assert_array_equal(sample.cube.pixels[0], planes[1:7])
    np.testing.assert_array_equal(sample.target, planes[4] < 1500)
    assert sample.cube.gsd == 30 and sample.cube.valid.all()
    first = HLSWater(built.root, bands=("B07", "B01")).read(0).cube
    np.testing.assert_array_equal(first.pixels[0], planes[[6, 0]])
    assert not first.valid[0, 1, 0, 0] and first.valid.sum() == first.valid.size - 1


@ONLY
@pytest.mark.parametrize("bands", [("B09",), ("B02", "B10"), ()])
def test_what_tells_the_answer_is_no_input(built, bands: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="cannot be an input"):
        HLSWater(built.root, bands=bands)


@ONLY
def test_clouds_and_worldcover(built) -> None:
    layout = HLSWater(built.root, mask_clouds=True, target="worldcover")
    sample = layout.read(1)
    cube = sample.cube
    assert not cube.valid[:, :, 5:7].any() and cube.valid[:, :, 7:].all() and cube.valid[:, :, :5].all()
    assert sample.target[0, :5].tolist() == [-1, 0, 7, 9, 10]
    with pytest.raises(ConfigError, match="'height' is unknown"):
        HLSWater(built.root, target="height")


@ONLY
def test_a_chip_that_the_table_lacks(built) -> None:
    table = built.root / "chips.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(InputError, match=r"lacks chip 2 \(1 of 3\)"):
        HLSWater(built.root)
    table.write_text("chip,height\n0,1\n")
    with pytest.raises(InputError, match="lacks column elevation_band"):
        HLSWater(built.root)


@pytest.mark.shared_data
def test_the_real_chips(shared_data) -> None:
    layout = HLSWater(shared_data / "hls-water-306")
    assert len(layout.items) == 202
    assert sum(i.group == "elevation-0" for i in layout.items) == 148
    index = next(i for i, item in enumerate(layout.items) if item.id == "73")
    sample = layout.read(index)
    assert sample.cube.shape == (1, 6, 128, 128) and sample.target.mean() == pytest.approx(0.986, abs=5e-4)
