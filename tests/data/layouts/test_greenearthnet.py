from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.greenearthnet import GreenEarthNet
from swath.errors import ConfigError, InputError

h5py = pytest.importorskip("h5py")


@pytest.fixture
def path(builders: Any, tmp_path: Path) -> Path:
    found: Path = builders.minicube(tmp_path / "train/29SND/29SND_2018-09-03_2018-09-27_1_2_3_4_5_6_7_8.nc")
    return found


def train(path: Path, **options: Any) -> GreenEarthNet:
    return GreenEarthNet(path.parents[2], "train", **options)


def test_a_series_has_its_days_place_and_clear_pixels(path: Path, real_pixels: Any) -> None:
    sample = train(path).read(0)
    cube = sample.cube
    assert (sample.group, sample.target, cube.shape, cube.gsd) == ("29SND", None, (5, 4, 16, 16), 20.0)
    assert cube.dates == tuple(dt.date(2018, 9, d) for d in (7, 12, 17, 22, 27))
    np.testing.assert_array_equal(
        cube.pixels[1, :, 2:], (real_pixels(4, 16, 16, 9) / 1e4)[:, 2:].astype("f4")
    )
    assert cube.place is not None and cube.place.lat == pytest.approx(38.5 - 2e-4 * 7.5)
    assert cube.place.lon == pytest.approx(-8.7 + 2e-4 * 7.5)
    clear = np.ones((16, 16), bool)
    clear[:2, :2] = clear[-2:] = clear[6] = False  # not seen, cloud by the mask, cloud by the scene's class
    assert (cube.valid == clear).all()
    clear[6] = True
    assert (train(path, mask="mask").read(0).cube.valid == clear).all()
    clear[-2:] = True
    assert (train(path, mask="none").read(0).cube.valid == clear).all()


def test_context_and_future(path: Path) -> None:
    cubes = train(path, context=2).read(0).cubes
    assert [c.shape[0] for c in cubes.values()] == [2, 3] and list(cubes) == ["sentinel2", "future"]


def test_axes_in_another_order_and_packed_numbers_are_the_same_series(path: Path) -> None:
    before = train(path).read(0).cube
    with h5py.File(path, "r+") as file:
        for band in ("s2_B02", "s2_B8A"):
            values = file[band][()]
            packed = np.where(np.isnan(values), -1, np.round(np.nan_to_num(values) * 1e4)).astype(np.int16)
            del file[band]
            file[band] = packed.transpose(2, 0, 1)
            file[band].attrs.update({"scale_factor": 1e-4, "_FillValue": np.int16(-1)})
            for axis, name in enumerate(("lon", "time", "lat")):
                file[band].dims[axis].attach_scale(file[name])
    after = train(path).read(0).cube
    assert (after.valid == before.valid).all() and after.encodings[0][0].scale == 1e-4
    assert after.encodings[0][1].scale == 1.0
    stored = np.where(after.valid, after.pixels, 0)[:, 0] * 1e-4
    np.testing.assert_allclose(stored, np.where(before.valid, before.pixels, 0)[:, 0], atol=1e-7)


def test_numbers_between_images_are_said(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with h5py.File(path, "r+") as file:
        file["s2_B03"][5] = 0.1
    with caplog.at_level(logging.WARNING):
        assert train(path).read(0).cube.shape[0] == 5
    assert "s2_B03 holds numbers on 1 days between images" in caplog.text


def test_a_name_without_a_tile_has_no_group(builders: Any, tmp_path: Path) -> None:
    builders.minicube(tmp_path / "ood-t_chopped/MJJ21/place_7.nc")
    (item,) = GreenEarthNet(tmp_path).items
    assert (item.id, item.group, item.split) == ("ood-t_chopped/MJJ21/place_7", None, "ood-t_chopped")


def test_what_is_wrong_is_named(path: Path) -> None:
    with pytest.raises(ConfigError, match="'clouds' is unknown"):
        train(path, mask="clouds")

    def broken(name: str, values: Any, words: str) -> None:
        whole = path.read_bytes()
        with h5py.File(path, "r+") as file:
            del file[name]
            if values is not None:
                file[name] = values
        with pytest.raises(InputError, match=rf"29SND_2018\S+: {words}"):
            train(path).read(0)
        path.write_bytes(whole)

    broken("s2_dlmask", None, "holds no s2_dlmask; choose another mask: mask, none")
    broken("s2_B8A", None, "band s2_B8A is missing")
    broken("s2_B04", np.zeros((3, 16, 16), np.float32), r"s2_B04 is \(3, 16, 16\), its time, lat and lon are")
    broken("lat", np.arange(16) * 20.0, "lat is no even row of degrees")
    broken("time", np.arange(25), "does not say the unit of its time")
    broken("s2_B02", np.zeros((25, 16, 16), np.int16), "band s2_B02: scale nan")
