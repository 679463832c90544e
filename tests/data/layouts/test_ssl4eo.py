from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from swath.data.layouts.registry import open_layout
from swath.errors import ConfigError, InputError

SCENES = (
    "20210309T054639_20210309T054831_T43RDP",
    "20200604T054639_20200604T054831_T43RCP",
    "20201121T055049_20201121T055049_T43RCP",
    "20200823T054639_20200823T055618_T43RCP",
)
DATES = (dt.date(2020, 6, 4), dt.date(2020, 8, 23), dt.date(2020, 11, 21), dt.date(2021, 3, 9))


@pytest.fixture
def place(tmp_path: Path, builders: Any) -> Path:
    """One place of Sentinel-2 L1C at a tenth of its size, its folders written in no order."""
    for t, scene in enumerate(SCENES):
        builders.ssl4eo_date(tmp_path / "s2c" / "0000200" / scene, start=t, size=24)
    return tmp_path / "s2c" / "0000200"


def test_seasons_come_in_the_order_of_time_with_all_bands_on_one_grid(place: Path) -> None:
    """Not in random order, nor with dates among the bands: [4,13,H,W]."""
    cube = open_layout("ssl4eo-s12", place.parents[1]).read(0).cubes["s2c"]
    assert cube.shape == (4, 13, 24, 24) and cube.dates == DATES and cube.gsd == 10
    for t, date in enumerate(DATES):
        scene = next(s for s in SCENES if s.startswith(date.strftime("%Y%m%d")))
        for i, band in enumerate(cube.bands):
            with rasterio.open(place / scene / f"{band.name[0]}{band.name[1:].lstrip('0')}.tif") as file:
                native = file.read(1)
            factor = 24 // native.shape[0]
            np.testing.assert_array_equal(cube.pixels[t, i], native.repeat(factor, 0).repeat(factor, 1))
    # B10 is 0 everywhere: measured, not missing.
    assert cube.valid.all() and not cube.pixels[:, 10].any()
    assert {(e.scale, e.offset, e.level) for row in cube.encodings for e in row} == {(1e-4, 0.0, "L1C")}


def test_sentinel1_is_sorted_by_day_though_names_begin_with_the_satellite(
    tmp_path: Path, builders: Any
) -> None:
    builders.ssl4eo(tmp_path)
    layout = open_layout("ssl4eo-s12", tmp_path, modalities=["s1"])
    # Gaps in the ids are no items.
    assert [i.id for i in layout.items] == ["0000117", "0000200", "0100000"]
    cube = layout.read(1).cubes["s1"]
    assert [str(d) for d in cube.dates] == ["2020-03-03", "2020-06-07", "2020-09-03", "2020-12-07"]
    assert cube.encodings[0][0].unit == "decibel" and cube.pixels.dtype == np.float32


def test_missing_dates_are_an_error_or_invalid_as_stated(place: Path) -> None:
    shutil.rmtree(place / SCENES[1])
    with pytest.raises(InputError, match=r"holds 3 dates of s2c, not 4; fetch it anew, or set missing_dates"):
        open_layout("ssl4eo-s12", place.parents[1]).read(0)
    cube = open_layout("ssl4eo-s12", place.parents[1], missing_dates="invalid").read(0).cubes["s2c"]
    assert cube.dates == (*DATES[1:], None)
    assert cube.valid[:3].all() and not cube.valid[3].any()


def test_a_pixel_of_zeros_in_all_bands_is_no_data(place: Path) -> None:
    for path in (place / SCENES[1]).glob("*.tif"):
        with rasterio.open(path, "r+") as file:
            plane = file.read(1)
            plane[: max(1, 6 * plane.shape[0] // 24)] = 0
            file.write(plane, 1)
    cube = open_layout("ssl4eo-s12", place.parents[1]).read(0).cubes["s2c"]
    assert not cube.valid[0, :, :6].any() and cube.valid[0, :, 6:].all() and cube.valid[1:].all()


def break_it(place: Path, how: str, builders: Any) -> None:
    scene = place / SCENES[0]
    if how == "five":
        shutil.copytree(scene, place / "20190309T054639_20190309T054831_T43RDP")
    elif how == "band":
        (scene / "B8A.tif").unlink()
    elif how == "name":
        scene.rename(place / "summer")
    elif how == "size":
        shutil.rmtree(scene)
        builders.ssl4eo_date(scene, start=0, size=48)
    elif how == "swapped":
        (scene / "B5.tif").unlink()
        shutil.copyfile(scene / "B4.tif", scene / "B5.tif")
    elif how == "place":
        for path in scene.glob("*.tif"):
            with rasterio.open(path, "r+") as file:
                t = file.transform
                file.transform = rasterio.Affine(t.a, t.b, t.c + 1, t.d, t.e, t.f)
    elif how == "cut":
        path = scene / "B11.tif"
        path.write_bytes(path.read_bytes()[:300])
    elif how == "baseline":
        (scene / "metadata.json").write_text(json.dumps({"PROCESSING_BASELINE": "soon"}))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("five", "holds 5 dates of s2c"),
        ("band", "band B8A is missing"),
        ("name", "'summer' is not the name of a scene of s2c"),
        ("size", "is 48 x 48 pixels"),
        ("swapped", "covers another grid"),
        ("place", "shows another place"),
        ("cut", "B11.tif"),
        ("baseline", "processing baseline 'soon'"),
    ],
)
def test_each_fault_has_its_own_error(place: Path, builders: Any, how: str, says: str) -> None:
    layout = open_layout("ssl4eo-s12", place.parents[1])
    break_it(place, how, builders)
    with pytest.raises(InputError, match=says) as caught:
        layout.read(0)
    assert "\n" not in str(caught.value) and caught.value.where and caught.value.mend


def test_the_offset_follows_the_baseline(place: Path) -> None:
    (place / SCENES[0] / "metadata.json").write_text(json.dumps({"PROCESSING_BASELINE": "04.00"}))
    cube = open_layout("ssl4eo-s12", place.parents[1]).read(0).cubes["s2c"]
    assert [row[0].offset for row in cube.encodings] == [0, 0, 0, -0.1]
    (place / SCENES[0] / "metadata.json").unlink()
    late = place / SCENES[0].replace("2021", "2023")
    (place / SCENES[0]).rename(late)
    with pytest.raises(InputError, match="is from 2023-03-09, and nothing says its processing baseline"):
        open_layout("ssl4eo-s12", place.parents[1]).read(0)


@pytest.mark.parametrize(
    "options",
    [{"modalities": ["s3"]}, {"modalities": []}, {"missing_dates": "zero"}, {"modalities": ["s1", "s1"]}],
)
def test_wrong_options(place: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        open_layout("ssl4eo-s12", place.parents[1], **options)


@pytest.mark.shared_data
def test_the_real_place(shared_data: Path) -> None:
    root = shared_data / "rico-hdl-samples/integration_tests/tiffs/SSL4EO-S12"
    if not root.is_dir():
        pytest.skip("the SSL4EO-S12 sample is not there")
    layout = open_layout("ssl4eo-s12", root, modalities=("s2c", "s2a", "s1"), missing_dates="invalid")
    sample = layout.read(0)
    assert [i.id for i in layout.items] == ["0000200"]
    assert {n: c.shape for n, c in sample.cubes.items()} == {
        "s2c": (4, 13, 264, 264),
        "s2a": (4, 12, 264, 264),
        "s1": (4, 2, 264, 264),
    }
    assert sample.cubes["s2a"].dates[:2] == (dt.date(2020, 6, 4), dt.date(2020, 8, 13))
    assert sample.cubes["s1"].dates[:2] == (dt.date(2020, 6, 7), dt.date(2020, 9, 3))
    for cube in sample.cubes.values():
        assert cube.valid[:2].all() and not cube.valid[2:].any()
        assert cube.place is not None and abs(cube.place.lon - 73.306) < 0.001
    with pytest.raises(InputError, match="holds 2 dates"):
        open_layout("ssl4eo-s12", root).read(0)
