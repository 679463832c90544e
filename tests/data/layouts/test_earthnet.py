from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from swath.data.layouts.earthnet import EarthNet
from swath.errors import ConfigError, InputError


@pytest.fixture
def root(builders, tmp_path: Path) -> Path:
    builders.earthnet(tmp_path)
    return tmp_path


def test_a_training_series_has_its_days_bands_and_mask(builders, tmp_path: Path, real_pixels) -> None:
    name = "29SND_2017-06-20_2017-11-16_2105_2233_2873_3001_32_112_44_124.npz"
    builders.earthnet_file(tmp_path / "train/29SND" / name, 30, 7)
    layout = EarthNet(tmp_path, "train")
    sample = layout.read(0)
    cube = sample.cube
    assert (sample.group, sample.target, cube.shape, cube.gsd) == ("29SND", None, (30, 4, 128, 128), 20.0)
    assert cube.dates[0] == dt.date(2017, 6, 24) and cube.dates[-1] == dt.date(2017, 11, 16)
    assert {(b - a).days for a, b in zip(cube.dates, cube.dates[1:], strict=False)} == {5}
    assert (cube.encodings[0][0].unit, cube.encodings[0][0].scale) == ("reflectance", 1.0)
    np.testing.assert_array_equal(
        cube.pixels[7, :, 2:], (real_pixels(4, 128, 128, 7) / 1e4)[:, 2:].astype("f2")
    )
    assert not cube.valid[:, :, 0].any() and not cube.valid[:, :, 1, 0].any()
    assert cube.valid[:, :, 1, 1:].all() and cube.valid[:, :, 2:].all()


def test_a_test_series_is_its_context_and_its_target(root: Path) -> None:
    cube = EarthNet(root, "iid").read(0).cube
    assert (
        cube.shape[0] == 5 and cube.dates[0] == dt.date(2018, 2, 1) and cube.dates[-1] == dt.date(2018, 2, 21)
    )
    np.testing.assert_array_equal(cube.pixels[3:, :, 2:], cube.pixels[:2, :, 2:])  # both halves begin alike


def test_the_future_is_apart_and_does_not_show_in_the_statistics(root: Path) -> None:
    whole = EarthNet(root, "ood").read(0).cube
    cubes = EarthNet(root, "ood", context=3).read(0).cubes
    assert list(cubes) == ["sentinel2", "future"]
    assert cubes["sentinel2"].dates + cubes["future"].dates == whole.dates
    np.testing.assert_array_equal(np.concatenate([c.pixels for c in cubes.values()]), whole.pixels)
    assert cubes["sentinel2"].statistics == whole.at_dates(range(3)).with_statistics().statistics
    with pytest.raises(InputError, match="has 5 dates, of which 5 cannot be the context"):
        EarthNet(root, "ood", context=5).read(0)
    for bad in (-1, True):
        with pytest.raises(ConfigError, match="no number of dates"):
            EarthNet(root, context=bad)


def test_what_is_wrong_is_named(root: Path, builders) -> None:
    train = next((root / "train").rglob("*.npz"))
    builders.earthnet_file(train, 4, 7)
    with pytest.raises(InputError, match="holds 4 images for the 25 days of its name"):
        EarthNet(root, "train").read(0)
    np.savez(train, highresdynamic=np.zeros((128, 128, 6, 30), np.float16))
    with pytest.raises(InputError, match=r"29SND_2017\S+: highresdynamic is float16"):
        EarthNet(root, "train").read(0)
    context = next((root / "iid_test_split/context").rglob("*.npz"))
    context.unlink()
    with pytest.raises(InputError, match=r"context_32UQC\S+: the array file is missing"):
        EarthNet(root, "iid").read(0)
