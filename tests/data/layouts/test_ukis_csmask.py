from __future__ import annotations

import numpy as np
import pytest

from swath.data.layouts.ukis_csmask import UkisCsmask
from swath.errors import InputError

ONLY = pytest.mark.parametrize("built", ["ukis-csmask"], indirect=True)


@ONLY
def test_each_tile_is_its_sensor(built) -> None:
    layout = UkisCsmask(built.root)
    sample = layout.read(1)
    assert list(sample.cubes) == ["landsat7"]
    with np.load(layout.items[1].where) as held:
        np.testing.assert_array_equal(sample.cube.pixels[0, 3], held["img"][..., 3])
        np.testing.assert_array_equal(sample.target, held["msk"][..., 0])
    assert not sample.cube.valid[0, 0, 0, 0] and sample.cube.valid.sum() == sample.cube.valid.size - 1


@ONLY
@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"img": np.zeros((9, 9, 6), np.float32)}, "lacks array msk"),
        ({"img": np.zeros((6, 9, 9), np.float32), "msk": np.zeros((9, 9, 1), np.uint8)}, r"not \(H,W,6\)"),
        ({"img": np.zeros((9, 9, 6), np.float32), "msk": np.zeros((9, 9), np.uint8)}, r"not \(H,W,1\)"),
        ({"img": np.zeros((9, 9, 6), np.float32), "msk": np.zeros((9, 8, 1), np.uint8)}, "labels are 9x8"),
        ({"img": np.zeros((9, 9, 6), np.float32), "msk": np.full((9, 9, 1), 7, np.uint8)}, "values: 7"),
        ({"img": np.array([None]), "msk": np.zeros((9, 9, 1), np.uint8)}, "allow_pickle"),
    ],
)
def test_arrays_that_are_wrong(built, arrays, says: str) -> None:
    layout = UkisCsmask(built.root)
    np.savez(layout.items[0].where, **arrays)
    with pytest.raises(InputError, match=says):
        layout.read(0)


@pytest.mark.shared_data
def test_the_real_tile(shared_data) -> None:
    layout = UkisCsmask(shared_data / "ukis-csmask")
    sample = layout.read(0)
    assert sample.id == "landsat5" and sample.cube.shape == (1, 6, 512, 512)
    assert set(np.unique(sample.target)) == {0, 1, 3, 4}
    # Clouds are brighter than shadows: the mask's numbers mean what they are taken to mean.
    blue = sample.cube.pixels[0, 0]
    assert blue[sample.target == 4].mean() > blue[sample.target == 3].mean() > blue[sample.target == 0].mean()
