from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from swath.cube import Grid, band_statistics
from swath.data import windowed
from swath.data.raster import Scene, open_scene, place_of
from swath.data.spec import SceneSpec

Write = Callable[..., str]
Ramp = Callable[..., np.ndarray]
S2 = ("B02", "B03", "B04")


def dn(files: Any, **fields: Any) -> SceneSpec:
    return SceneSpec(files, **{"sensor": "sentinel2", "unit": "dn", **fields})


def test_a_stack_is_read_by_the_names_it_bears(write: Write, ramp: Ramp) -> None:
    pixels = ramp(3, 5, 7)
    path = write("s.tif", pixels, names=("B04", "b2", "B03"), unit="reflectance", scale=1e-4, offset=-0.1)
    scene = open_scene(SceneSpec(path, sensor="sentinel2", bands=("B02", "B04")))
    cube = scene.read(0, 0, 5, 7)
    assert [b.name for b in cube.bands] == ["B02", "B04"]
    np.testing.assert_array_equal(cube.pixels[0], pixels[[1, 0]])
    assert cube.valid.all() and cube.dates == (None,) and cube.pixels.dtype == np.uint16
    encoding = cube.encodings[0][0]
    assert (encoding.unit, encoding.scale, encoding.offset) == ("reflectance", 1e-4, -0.1)
    assert cube.gsd == 10 and cube.grid == Grid("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 5, 7)
    assert cube.place is not None
    assert cube.place.lon == pytest.approx(15.0, abs=0.01) and cube.place.lat == pytest.approx(
        45.15, abs=0.01
    )


def test_a_stack_without_names_takes_those_that_are_stated(write: Write, ramp: Ramp) -> None:
    scene = open_scene(dn(write("s.tif", ramp(3, 4, 4)), bands=S2))
    assert [b.name for b in scene.bands] == list(S2)


def test_bands_of_other_meaning_are_left_out(write: Write, ramp: Ramp) -> None:
    scene = open_scene(dn(write("s.tif", ramp(3, 4, 4), names=("B02", "clouds", "B03"))))
    np.testing.assert_array_equal(scene.read(0, 0, 4, 4).pixels[0], ramp(3, 4, 4)[[0, 2]])


def test_one_file_per_band_and_one_list_per_date(write: Write, ramp: Ramp) -> None:
    stack = ramp(2, 3, 4, 4)
    paths = [[write(f"{t}_{b}.tif", stack[t, i]) for i, b in enumerate(S2)] for t in range(2)]
    spec = dn(
        paths, bands=S2, dates=("2020-01-01", "2020-02-01"), offset=(0.0, -1000.0), level=("L1C", "L2A")
    )
    cube = open_scene(spec).read_all()
    np.testing.assert_array_equal(cube.pixels, stack)
    assert cube.dates == (dt.date(2020, 1, 1), dt.date(2020, 2, 1))
    assert [row[0].offset for row in cube.encodings] == [0.0, -1000.0]
    assert [row[0].level for row in cube.encodings] == ["L1C", "L2A"]
    one = open_scene(dn(paths[0], bands=S2)).read_all()
    np.testing.assert_array_equal(one.pixels, stack[:1])


def test_one_file_per_date_may_order_its_bands_as_it_likes(write: Write, ramp: Ramp) -> None:
    stack = ramp(2, 2, 4, 4)
    files = [
        write("a.tif", stack[0], names=("B02", "B03")),
        write("b.tif", stack[1][::-1], names=("B03", "B02")),
    ]
    np.testing.assert_array_equal(open_scene(dn(files, files_are="dates")).read_all().pixels, stack)


def test_a_time_major_stack_is_one_only_when_stated(write: Write, ramp: Ramp) -> None:
    stack = ramp(2, 3, 4, 4)
    path = write("tc.tif", stack.reshape(6, 4, 4))
    np.testing.assert_array_equal(open_scene(dn(path, bands=S2, stack_dates=2)).read_all().pixels, stack)


def test_what_is_stated_wins_over_tags(write: Write, ramp: Ramp) -> None:
    path = write("s.tif", ramp(1, 4, 4), names=("B02",), unit="dn", scale=0.5)
    assert open_scene(dn(path)).encodings[0][0].scale == 0.5
    assert open_scene(dn(path, unit="reflectance", scale=2.0)).encodings[0][0].scale == 2.0


def test_no_data_masks_and_nan_are_invalid(write: Write) -> None:
    floats = np.array([[1.0, np.nan], [np.inf, -9.0]], np.float32)
    cube = open_scene(dn(write("f.tif", floats, names=("B02",), nodata=-9.0))).read_all()
    assert cube.valid[0, 0].tolist() == [[True, False], [False, False]]
    assert np.isfinite(cube.pixels).all()
    whole = np.array([[7, 0], [5, 6]], np.uint8)
    path = write("w.tif", whole, names=("B02",), nodata=0)
    assert open_scene(dn(path)).read_all().valid[0, 0].tolist() == [[True, False], [True, True]]
    # What is stated stands in place of the file's own no-data.
    assert open_scene(dn(path, nodata=7)).read_all().valid[0, 0].tolist() == [[False, True], [True, True]]
    masked = write("m.tif", whole, names=("B02",), mask=np.array([[255, 255], [0, 255]], np.uint8))
    assert open_scene(dn(masked)).read_all().valid[0, 0].tolist() == [[True, True], [False, True]]
    assert open_scene(dn(masked, nodata=6)).read_all().valid[0, 0].tolist() == [[True, True], [False, False]]


def test_an_alpha_band_is_validity_not_a_band(write: Write, ramp: Ramp) -> None:
    pixels = ramp(2, 3, 3, dtype="uint8")
    pixels[1] = [[255, 0, 255]] * 3
    path = write("a.tif", pixels, names=("B02",), photometric="MINISBLACK", alpha="YES")
    cube = open_scene(dn(path)).read_all()
    assert cube.shape == (1, 1, 3, 3) and cube.valid[0, 0].tolist() == [[True, False, True]] * 3


@pytest.mark.parametrize("bands", [1, 2, 3, 6])
@pytest.mark.parametrize("nodata", [None, 7.0])
def test_an_alpha_band_is_validity_beside_any_number_of_bands(
    write: Write, ramp: Ramp, bands: int, nodata: float | None
) -> None:
    """GDAL itself calls it a mask for files of two or four bands alone."""
    pixels = ramp(bands + 1, 3, 3, dtype="uint16") + 100
    pixels[-1] = [[255, 0, 255]] * 3
    pixels[0, 0, 0] = 7
    names = ("B02", "B03", "B04", "B05", "B06", "B07")[:bands]
    path = write("a.tif", pixels, names=names, photometric="MINISBLACK", nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (*[ColorInterp.gray] * bands, ColorInterp.alpha)
    cube = open_scene(dn(path)).read_all()
    wanted = np.broadcast_to([[True, False, True]] * 3, (1, bands, 3, 3)).copy()
    wanted[0, 0, 0, 0] = nodata is None
    np.testing.assert_array_equal(cube.valid, wanted)


def test_windows_beyond_the_edges_are_padded_invalid(write: Write, ramp: Ramp) -> None:
    pixels = ramp(1, 4, 5)
    with open_scene(dn(write("s.tif", pixels, names=("B02",)))) as scene:
        cube = scene.read(-2, 3, 4, 6)
        assert cube.shape == (1, 1, 4, 6)
        expected = np.zeros((4, 6), bool)
        expected[2:, :2] = True
        np.testing.assert_array_equal(cube.valid[0, 0], expected)
        np.testing.assert_array_equal(cube.pixels[0, 0][expected].reshape(2, 2), pixels[0, :2, 3:])
        assert not cube.pixels[0, 0][~expected].any()
        assert cube.grid is not None and cube.grid.xy(2, 0) == scene.grid.xy(0, 3)
        assert not scene.read(100, 100, 2, 2).valid.any()


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_any_window_equals_the_crop_of_the_whole(write: Write, ramp: Ramp, method: Any) -> None:
    fine = ramp(12, 12)
    coarse = (ramp(4, 4) * 10).astype("uint16")
    coarse[1, 2] = 0
    paths = [write("a.tif", fine), write("b.tif", coarse, res=30.0, nodata=0)]
    with open_scene(dn(paths, bands=("B02", "B05"), resampling=method)) as scene:
        whole = scene.read_all()
        for row, col, height, width in [
            (0, 0, 1, 1),
            (5, 2, 4, 7),
            (7, 7, 5, 5),
            (3, 6, 3, 3),
            (-2, 9, 5, 6),
        ]:
            cube = scene.read(row, col, height, width)
            top, left = max(row, 0), max(col, 0)
            bottom, right = min(row + height, 12), min(col + width, 12)
            inner = np.s_[:, :, top - row : bottom - row, left - col : right - col]
            crop = np.s_[:, :, top:bottom, left:right]
            np.testing.assert_array_equal(cube.pixels[inner], whole.pixels[crop])
            np.testing.assert_array_equal(cube.valid[inner], whole.valid[crop])
    np.testing.assert_array_equal(whole.valid[0, 1], (coarse != 0).repeat(3, 0).repeat(3, 1))
    if method == "nearest":
        np.testing.assert_array_equal(whole.pixels[0, 1], coarse.repeat(3, 0).repeat(3, 1))


def test_statistics_are_those_of_numpy_whatever_the_blocks(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 60000, (2, 37, 41)).astype(np.uint16)
    floats = rng.normal(1e4, 1e-1, (2, 37, 41))
    floats[0, :5] = np.nan
    for pixels, nodata in ((whole, 17), (floats, None)):
        path = write("s.tif", pixels, names=("B02", "B03"), nodata=nodata)
        for block in (8, 1024):
            monkeypatch.setattr(windowed, "STATISTICS_BLOCK", block)
            with open_scene(dn(path)) as scene:
                found = scene.statistics()
                cube = scene.read(0, 0, 37, 41)
            expected = band_statistics(cube.pixels, cube.valid)
            assert cube.statistics is found
            assert (found.minimum, found.maximum, found.count) == (
                expected.minimum,
                expected.maximum,
                expected.count,
            )
            np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-13)
            np.testing.assert_allclose(found.std, expected.std, rtol=1e-9)


def test_windows_carry_statistics_once_they_are_known(write: Write, ramp: Ramp) -> None:
    with open_scene(dn(write("s.tif", ramp(1, 4, 4), names=("B02",)))) as scene:
        assert scene.read(0, 0, 2, 2).statistics is None
        scene.statistics()
        statistics = scene.read(0, 0, 2, 2).statistics
        assert statistics is not None and statistics.count == (16,)


def test_blocks_cover_the_scene_once(write: Write, ramp: Ramp) -> None:
    with open_scene(dn(write("s.tif", ramp(1, 7, 10), names=("B02",)))) as scene:
        seen = np.zeros((7, 10), int)
        for row, col, height, width in scene.blocks(4):
            seen[row : row + height, col : col + width] += 1
    assert (seen == 1).all()


def _scene(path: str) -> Scene:
    return open_scene(dn(path))


def test_ground_sampling_distance_is_in_metres(write: Write, ramp: Ramp) -> None:
    degrees = write("d.tif", ramp(1, 4, 4), names=("B02",), crs="EPSG:4326", res=0.001, origin=(10.0, 60.0))
    gsd = _scene(degrees).gsd
    assert gsd is not None and gsd == pytest.approx(111.32 * math.sqrt(0.5), rel=0.01)
    feet = write("f.tif", ramp(1, 4, 4), names=("B02",), crs="EPSG:2264", res=100.0, origin=(2e6, 7e5))
    assert _scene(feet).gsd == pytest.approx(30.48, rel=1e-3)
    none = _scene(write("n.tif", ramp(1, 4, 4), names=("B02",), crs=None))
    assert none.gsd is None and none.grid.crs == "" and none.read(0, 0, 2, 2).place is None


def test_place_of_a_window_is_its_centre(write: Write, ramp: Ramp) -> None:
    with open_scene(dn(write("s.tif", ramp(1, 4, 100), names=("B02",)))) as scene:
        west, east = scene.read(0, 0, 4, 4).place, scene.read(0, 96, 4, 4).place
    assert west is not None and east is not None and west.lon < east.lon
    assert place_of(Grid("EPSG:32633", (1e9, 0.0, 0.0, 0.0, 1e9, 0.0), 4, 4)) is None
