from __future__ import annotations

import numpy as np
import pytest
import rasterio

from swath.data.layouts.otbtf import OTBTF
from swath.errors import InputError

ONLY = pytest.mark.parametrize("built", ["otbtf"], indirect=True)


@ONLY
@pytest.mark.parametrize(("variant", "size", "bands"), [("10m", 16, 4), ("20m", 8, 6)])
def test_patches_lie_below_each_other(built, variant: str, size: int, bands: int) -> None:
    layout = OTBTF(built.root, "A", variant=variant)
    assert [i.id for i in layout.items] == [f"A/{i:05d}" for i in range(7)]
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(layout.items[0].where) as file:
        stored = file.read().reshape(bands, 7, size, size)
    for i in range(7):
        sample = layout.read(i)
        np.testing.assert_array_equal(sample.cube.pixels[0], stored[:, i])
        assert int(sample.target) == (i if variant == "10m" else 6 - i) % 6


@ONLY
def test_labels_of_another_set(built) -> None:
    folder = built.root / "test/data"
    (folder / "s2_10m_labels_A.tif").write_bytes((folder / "s2_10m_labels_B.tif").read_bytes())
    with pytest.raises(InputError, match="56x8, which is not 8 patches of 8x8"):
        OTBTF(built.root, variant="20m").read(0)


@pytest.mark.shared_data
def test_the_real_patches(shared_data) -> None:
    root = shared_data / "otbtf-s2patches"
    ten, twenty = OTBTF(root), OTBTF(root, "A", variant="20m")
    assert (len(ten.items), len(twenty.items)) == (3000, 5957)
    labels = [int(ten.read(i).target) for i in range(len(ten.items))]
    assert np.bincount(labels).tolist() == [500] * 6
    assert twenty.read(5956).cube.shape == (1, 6, 8, 8)
