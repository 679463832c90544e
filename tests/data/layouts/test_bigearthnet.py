from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from swath.data.demo import demo_folder
from swath.data.layouts.bigearthnet import BANDS, CLASSES, read_patch
from swath.errors import InputError

NAME = "S2A_MSIL2A_20171221T112501_56_35"


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_folder() / "bigearthnet" / NAME, tmp_path / NAME))


def test_a_patch(patch: Path) -> None:
    sample = read_patch(patch)
    cube = sample.cube
    assert [b.name for b in cube.bands] == list(BANDS)
    for i, band in enumerate(BANDS):
        with rasterio.open(patch / f"{NAME}_{band}.tif") as file:
            native = file.read(1)
        factor = 120 // native.shape[0]
        np.testing.assert_array_equal(cube.pixels[0, i], native.repeat(factor, 0).repeat(factor, 1))
    assert cube.pixels.dtype == np.uint16 and cube.gsd == 10
    assert {(e.unit, e.scale, e.offset, e.level) for e in cube.encodings[0]} == {
        ("reflectance", 1e-4, 0.0, "L2A")
    }
    assert sample.group == "T29SND" and sample.target is not None
    assert [CLASSES[i] for i in np.flatnonzero(sample.target)] == [
        "Complex cultivation patterns",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        "Broad-leaved forest",
        "Transitional woodland/shrub",
    ]
    assert len(CLASSES) == len(set(CLASSES)) == 43


def test_bilinear_leaves_fine_bands_alone_and_changes_coarse_ones(patch: Path) -> None:
    near, smooth = read_patch(patch).cube, read_patch(patch, resampling="bilinear").cube
    for i, band in enumerate(near.bands):
        assert np.array_equal(near.pixels[0, i], smooth.pixels[0, i]) == (band.gsd_m == 10)


def refused(folder: Path, *says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_patch(folder)
    assert "\n" not in str(caught.value) and caught.value.mend
    for text in says:
        assert text in str(caught.value)


def test_what_is_missing_or_damaged_is_named(patch: Path) -> None:
    labels = patch / f"{NAME}_labels_metadata.json"
    good = labels.read_text()
    labels.write_text(good.replace("Broad-leaved forest", "Enchanted forest"))
    refused(patch, "Enchanted forest")
    labels.write_text("{")
    refused(patch, labels.name, "no readable labels")
    labels.write_text(json.dumps({"projection": ""}))
    refused(patch, "no readable labels")
    labels.unlink()
    refused(patch, labels.name, "no such file")
    labels.write_text(good)
    band = patch / f"{NAME}_B8A.tif"
    band.write_bytes(band.read_bytes()[:500])
    refused(patch, band.name)
    band.unlink()
    refused(patch, "band B8A is missing")
    refused(patch.with_name("holiday"), "not named")
    refused(patch.with_name(NAME.replace("2017", "2018")), "no such folder")
