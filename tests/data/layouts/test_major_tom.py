from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.data.layouts.registry import open_layout
from swath.errors import ConfigError, InputError

NEW = "S2A_MSIL2A_20220706T085611_N0400_R007_T33NZA_20220706T153419"
OLD = "S2B_MSIL2A_20200223T032739_N9999_R018_T48QUE_20230924T183543"


@pytest.fixture
def root(tmp_path: Path, builders: Any) -> Path:
    for cell, product in (("0U_199R", NEW), ("199U_1099R", OLD)):
        folder = tmp_path / "S2L2A" / cell.split("_")[0] / cell / product
        for i, band in enumerate(
            ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
        ):
            step = {"B01": 6, "B09": 6, "B05": 2, "B06": 2, "B07": 2, "B8A": 2, "B11": 2, "B12": 2}.get(
                band, 1
            )
            plane = builders.real(12, 24, 24)[i][::step, ::step].astype(np.uint16) + 1000
            builders.tif(folder / f"{band}.tif", plane, res=10.0 * step)
        mask = np.zeros((24, 24), np.uint8)
        mask[0], mask[1] = 1, 3
        builders.tif(folder / "cloud_mask.tif", mask)
        (folder / "thumbnail.png").write_bytes(b"")
    return tmp_path


def test_the_offset_is_of_the_baseline_and_never_guessed(root: Path) -> None:
    layout = open_layout("major-tom", root)
    assert [i.id for i in layout.items] == [f"0U_199R/{NEW}", f"199U_1099R/{OLD}"]
    cube = layout.read(0).cubes["s2l2a"]
    assert cube.shape == (1, 12, 24, 24) and str(cube.dates[0]) == "2022-07-06" and cube.valid.all()
    assert cube.encodings[0][0].offset == -0.1
    with pytest.raises(InputError, match=r"is of baseline 99\.99, and nothing says"):
        layout.read(1)
    for offset in (0.0, -0.1):
        stated = open_layout("major-tom", root, offset_9999=offset).read(1).cubes["s2l2a"]
        assert stated.encodings[0][0].offset == offset
    with pytest.raises(ConfigError, match=r"use 0 or -0\.1"):
        open_layout("major-tom", root, offset_9999=1000)


def test_cloud_masks_when_asked(root: Path) -> None:
    cube = open_layout("major-tom", root, mask_clouds=True).read(0).cubes["s2l2a"]
    assert not cube.valid[0, :, :2].any() and cube.valid[0, :, 2:].all()


def test_radar_becomes_decibel_and_no_data_stays_out(tmp_path: Path, builders: Any) -> None:
    options = builders.major_tom(tmp_path)
    cube = open_layout("major-tom", tmp_path, **options).read(0).cubes["s1rtc"]
    linear = builders.real(2, 24, 24, 0).astype(np.float32) / 1e4
    np.testing.assert_allclose(cube.pixels[0, :, 1:], 10 * np.log10(linear[:, 1:]), rtol=1e-5)
    assert not cube.valid[0, :, 0, 0].any() and cube.valid[0, :, 1:].all()
    assert cube.encodings[0][0].unit == "decibel"


def test_each_fault_has_its_own_error(root: Path) -> None:
    with pytest.raises(ConfigError, match="'s3' is unknown"):
        open_layout("major-tom", root, product="s3")
    with pytest.raises(InputError, match="no such folder"):
        open_layout("major-tom", root, product="s1rtc")
    folder = root / "S2L2A/0U/0U_199R"
    (folder / NEW / "B8A.tif").unlink()
    with pytest.raises(InputError, match="band B8A is missing"):
        open_layout("major-tom", root).read(0)
    (folder / NEW).rename(folder / "product")
    with pytest.raises(InputError, match="is not the name of a product of S2L2A"):
        open_layout("major-tom", root).read(0)
