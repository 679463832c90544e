"""Mosaics of STAC items on this machine: first valid wins, dates stack, grids agree or are stated."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.geom import BoundingBox
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject, transform

from swath.cube import Grid
from swath.errors import ConfigError, InputError
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.planning import stated_grid
from swath.scenes.sources.spec import GridOptions, MaskOptions, SearchOptions, SourceSpec

BANDS = ("B02", "B04")


def item_at(
    make: SimpleNamespace, folder: Path, name: str, date: str, pixels: dict[str, np.ndarray], **options
) -> dict:
    origin = options.pop("origin", (600000.0, 5000000.0))
    crs = options.pop("crs", make.utm)
    sizes = {"scl": 20.0, "rededge1": 20.0}
    assets = {}
    first = next(iter(pixels.values()))
    x, y = (origin[0], origin[0] + 10.0 * first.shape[1]), (origin[1], origin[1] - 10.0 * first.shape[0])
    lon, lat = transform(crs, "EPSG:4326", [x[0], x[1], x[0], x[1]], [y[0], y[1], y[1], y[0]])
    options.setdefault("bbox", (min(lon), min(lat), max(lon), max(lat)))
    for key, values in pixels.items():
        extra = {} if key == "scl" else {"nodata": 0}
        file = folder / f"{name}_{key}.tif"
        assets[key] = str(make.tif(file, values, origin=origin, crs=crs, size=sizes.get(key, 10.0), **extra))
    return make.item(name, date, assets, **options)


def test_one_item_is_read_as_its_files_are(make: SimpleNamespace, tmp_path: Path) -> None:
    blue, red = make.numbers(40, 60, 1), make.numbers(40, 60, 2)
    blue[3, 5] = 0
    path = make.json(
        tmp_path / "item.json", item_at(make, tmp_path, "a", "2022-06-01", {"blue": blue, "red": red})
    )
    with open_source(SourceSpec(path, bands=BANDS)) as scene:
        cube = scene.read(0, 0, 40, 60)
        assert (scene.height, scene.width, scene.gsd) == (40, 60, 10.0)
        assert scene.items == (str(path),)
    np.testing.assert_array_equal(cube.pixels[0], np.stack([blue, red]))
    assert not cube.valid[0, 0, 3, 5] and cube.valid.sum() == 2 * 40 * 60 - 1
    assert [str(d) for d in cube.dates] == ["2022-06-01"]
    e = cube.encodings[0][0]
    assert (e.unit, e.scale, e.offset, e.level) == ("reflectance", 1e-4, -0.1, "L2A")


def test_windows_reach_beyond_the_edges_and_equal_the_whole(make: SimpleNamespace, tmp_path: Path) -> None:
    pixels = {"blue": make.numbers(40, 60, 1), "rededge1": make.numbers(20, 30, 3)}
    path = make.json(tmp_path / "i.json", item_at(make, tmp_path, "a", "2022-06-01", pixels))
    for method in ("nearest", "bilinear"):
        with open_source(SourceSpec(path, bands=("B02", "B05"), resampling=method)) as scene:
            whole = scene.read(0, 0, 40, 60)
            for row, col, height, width in ((-3, -4, 20, 21), (13, 7, 11, 9), (35, 50, 30, 30)):
                part = scene.read(row, col, height, width)
                r, c = np.arange(row, row + height), np.arange(col, col + width)
                inside = np.ix_((r >= 0) & (r < 40), (c >= 0) & (c < 60))
                r, c = r[(r >= 0) & (r < 40)], c[(c >= 0) & (c < 60)]
                for band in (0, 1):
                    np.testing.assert_array_equal(
                        part.pixels[0, band][inside], whole.pixels[0, band][np.ix_(r, c)]
                    )
                outside = np.ones((height, width), bool)
                outside[inside] = False
                assert not part.valid[0][:, outside].any()


def test_items_of_one_date_are_mosaicked_first_valid_wins(make: SimpleNamespace, tmp_path: Path) -> None:
    a, b = make.numbers(20, 20, 1), make.numbers(20, 20, 2)
    a[:, 15:] = 0  # a hole that the second fills
    items = [
        item_at(make, tmp_path, "b", "2022-06-01", {"blue": b}, origin=(600100.0, 4999950.0)),
        item_at(make, tmp_path, "a", "2022-06-01", {"blue": a}),
    ]
    path = make.json(tmp_path / "s.json", make.collection(items))
    with open_source(SourceSpec(path, bands=("B02",))) as scene:
        assert (scene.height, scene.width) == (25, 30)
        cube = scene.read(0, 0, 25, 30)
    expected, valid = np.zeros((25, 30), np.uint16), np.zeros((25, 30), bool)
    expected[5:25, 10:30], valid[5:25, 10:30] = b, True  # laid down second: a is first by its name
    there = a != 0
    expected[:20, :20][there], valid[:20, :20][there] = a[there], True
    np.testing.assert_array_equal(cube.valid[0, 0], valid)
    np.testing.assert_array_equal(cube.pixels[0, 0], expected)


def test_dates_are_stacked_in_order_and_may_be_missing_at_places(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    a, b = make.numbers(20, 20, 1), make.numbers(20, 20, 2)
    items = [
        item_at(make, tmp_path, "later", "2022-07-01", {"blue": b}, origin=(600200.0, 5000000.0)),
        item_at(make, tmp_path, "first", "2022-06-01", {"blue": a}),
    ]
    path = make.json(tmp_path / "s.json", make.collection(items))
    with open_source(SourceSpec(path, bands=("B02",))) as scene:
        assert [str(d) for d in scene.dates] == ["2022-06-01", "2022-07-01"]
        cube = scene.read(0, 0, 20, 40)
    assert cube.valid[0, 0, :, :20].all() and not cube.valid[0, 0, :, 20:].any()
    assert cube.valid[1, 0, :, 20:].all() and not cube.valid[1, 0, :, :20].any()
    with open_source(SourceSpec(path, bands=("B02",), dates=("2022-07-01",))) as scene:
        assert scene.width == 20 and scene.read(0, 0, 20, 20).valid.all()
    with pytest.raises(InputError, match="no image of 2022-08-01"):
        open_source(SourceSpec(path, bands=("B02",), dates=("2022-08-01",)))


def test_clouds_are_filled_by_the_next_item_of_the_date(make: SimpleNamespace, tmp_path: Path) -> None:
    a, b = make.numbers(20, 20, 1), make.numbers(20, 20, 2)
    cloud = np.full((10, 10), 4, np.uint8)
    cloud[2:4, 5:7] = 9
    clear = np.full((10, 10), 4, np.uint8)
    clear[3, 5] = 3
    items = [
        item_at(make, tmp_path, "a", "2022-06-01", {"blue": a, "scl": cloud}),
        item_at(make, tmp_path, "b", "2022-06-01", {"blue": b, "scl": clear}),
    ]
    path = make.json(tmp_path / "s.json", make.collection(items))
    mask = MaskOptions("scl", (3, 8, 9, 10))
    with open_source(SourceSpec(path, bands=("B02",), mask=mask)) as scene:
        cube = scene.read(0, 0, 20, 20)
    clouded = np.kron(cloud == 9, np.ones((2, 2), bool))
    both = clouded & np.kron(clear == 3, np.ones((2, 2), bool))
    np.testing.assert_array_equal(cube.valid[0, 0], ~both)
    np.testing.assert_array_equal(cube.pixels[0, 0], np.where(both, 0, np.where(clouded, b, a)))
    with pytest.raises(InputError, match="has no asset fmask"):
        open_source(SourceSpec(path, bands=("B02",), mask=MaskOptions("fmask", (1,))))


def test_two_baselines_of_one_date_are_brought_to_one_offset(make: SimpleNamespace, tmp_path: Path) -> None:
    old, new = make.numbers(20, 20, 1, low=1, high=500), make.numbers(20, 20, 2, low=1001)
    new[:5] = 0
    item_new = item_at(make, tmp_path, "n", "2022-01-01", {"blue": new}, baseline="05.00")
    item_old = item_at(make, tmp_path, "o", "2022-01-01", {"blue": old}, baseline="03.01")
    item_old["assets"]["blue"]["raster:bands"] = [{"nodata": 0, "scale": 0.0001, "offset": 0}]
    path = make.json(tmp_path / "s.json", make.collection([item_old, item_new]))
    with open_source(SourceSpec(path, bands=("B02",))) as scene:
        cube = scene.read(0, 0, 20, 20)
    e = cube.encodings[0][0]
    assert cube.valid.all() and e.offset == -0.1
    stored = np.where(new == 0, old.astype(np.int64) + 1000, new)  # the newest baseline counts first
    np.testing.assert_array_equal(cube.pixels[0, 0], stored)


def test_a_box_in_degrees_cuts_the_scene(make: SimpleNamespace, tmp_path: Path) -> None:
    blue = make.numbers(100, 100, 1)
    path = make.json(tmp_path / "i.json", item_at(make, tmp_path, "a", "2022-06-01", {"blue": blue}))
    lon, lat = transform(make.utm, "EPSG:4326", [600305.0, 600595.0], [4999305.0, 4999695.0])
    search = SearchOptions(bbox=(lon[0], lat[0], lon[1], lat[1]))
    with open_source(SourceSpec(path, bands=("B02",), search=search)) as scene:
        x, y = scene.grid.xy(0, 0)
        row, col = round((5000000 - y) / 10), round((x - 600000) / 10)
        assert 28 <= row <= 30 and 29 <= col <= 30 and 39 <= scene.height <= 43 and 29 <= scene.width <= 33
        cube = scene.read(0, 0, scene.height, scene.width)
    np.testing.assert_array_equal(
        cube.pixels[0, 0], blue[row : row + cube.shape[2], col : col + cube.shape[3]]
    )
    with pytest.raises(InputError, match=r"no item fits|outside"):
        open_source(SourceSpec(path, bands=("B02",), search=SearchOptions(bbox=(1.0, 1.0, 2.0, 2.0))))


def test_items_that_do_not_agree_need_a_stated_grid(make: SimpleNamespace, tmp_path: Path) -> None:
    a, b = make.numbers(64, 64, 1), make.numbers(64, 64, 2)
    x, y = transform(make.utm, "EPSG:32634", [600640.0], [5000000.0])
    items = [
        item_at(make, tmp_path, "a", "2022-06-01", {"blue": a}),
        item_at(make, tmp_path, "b", "2022-06-01", {"blue": b}, crs="EPSG:32634", origin=(x[0], y[0])),
    ]
    path = make.json(tmp_path / "s.json", make.collection(items))
    with pytest.raises(InputError, match=r"grid.crs and grid.resolution"):
        open_source(SourceSpec(path, bands=("B02",)))
    with pytest.raises(ConfigError, match="no resolution"):
        open_source(SourceSpec(path, bands=("B02",), grid=GridOptions("EPSG:3035")))
    spec = SourceSpec(path, bands=("B02",), grid=GridOptions("EPSG:3035", 10.0))
    with open_source(spec) as scene:
        cube = scene.read(0, 0, scene.height, scene.width)
        grid = scene.grid
        # A window of a warped scene holds the very pixels of the whole.
        part = scene.read(17, 40, 33, 20)
    np.testing.assert_array_equal(part.pixels, cube.pixels[:, :, 17:50, 40:60])
    np.testing.assert_array_equal(part.valid, cube.valid[:, :, 17:50, 40:60])
    # A plain reprojection of the first image, exact too.
    plain = np.zeros((grid.height, grid.width), np.uint16)
    reproject(
        a,
        plain,
        src_transform=Affine(10, 0, 600000, 0, -10, 5000000),
        src_crs=CRS.from_string(make.utm),
        dst_transform=Affine(*grid.transform),
        dst_crs=CRS.from_string("EPSG:3035"),
        src_nodata=0,
        dst_nodata=0,
        resampling=Resampling.nearest,
        tolerance=1e-9,
    )
    there = plain != 0
    assert there.sum() > 3000
    np.testing.assert_array_equal(cube.pixels[0, 0][there], plain[there])
    assert cube.valid[0, 0].sum() > 1.9 * there.sum()


def test_across_the_antimeridian_in_degrees(make: SimpleNamespace, tmp_path: Path) -> None:
    # Two tiles that meet at 180° E, from UTM zones 60 and 1.
    items = []
    for name, crs, lon in (("west", "EPSG:32760", 179.99), ("east", "EPSG:32701", -179.999)):
        x, y = transform("EPSG:4326", crs, [lon], [-17.0])
        pixels = make.numbers(100, 100, 1 if name == "west" else 2)
        origin = (round(x[0], -1), round(y[0], -1))
        items.append(item_at(make, tmp_path, name, "2022-06-01", {"blue": pixels}, crs=crs, origin=origin))
        items[-1]["bbox"] = [lon, -17.01, lon + 0.009, -17.0]
    path = make.json(tmp_path / "s.json", make.collection(items))
    spec = SourceSpec(path, bands=("B02",), grid=GridOptions("EPSG:4326", 1e-4))
    for search in (SearchOptions(), SearchOptions(bbox=(179.95, -17.02, -179.95, -16.99))):
        with open_source(replace(spec, search=search)) as scene:
            assert scene.width < 400, "it does not go round the globe"
            cube = scene.read(0, 0, scene.height, scene.width)
            middle = round((180.0 - scene.grid.transform[2]) % 360 / 1e-4)
        assert cube.valid[0, 0, :, : middle - 15].sum() > 4000
        assert cube.valid[0, 0, :, middle + 15 :].sum() > 4000


def test_a_rotated_grid_stays_as_it_is(make: SimpleNamespace, tmp_path: Path) -> None:
    blue, red = make.numbers(20, 30, 1), make.numbers(20, 30, 2)
    turn = math.radians(30)
    a, b, d, e = 10 * math.cos(turn), 10 * math.sin(turn), 10 * math.sin(turn), -10 * math.cos(turn)
    files = {}
    for key, values, shift in (("a", blue, (0, 0)), ("b", red, (10, 5))):
        moved = Affine(
            a, b, 600000 + a * shift[0] + b * shift[1], d, e, 5000000 + d * shift[0] + e * shift[1]
        )
        files[key] = str(make.tif(tmp_path / f"{key}.tif", values, transform=moved, nodata=0))
    items = [make.item(key, "2022-06-01", {"blue": files[key]}) for key in files]
    with open_source(
        SourceSpec(make.json(tmp_path / "s.json", make.collection(items)), bands=("B02",))
    ) as scene:
        assert (scene.height, scene.width) == (25, 40)
        cube = scene.read(0, 0, 25, 40)
    np.testing.assert_array_equal(cube.pixels[0, 0, :20, :30], blue)
    np.testing.assert_array_equal(cube.pixels[0, 0, 20:, 10:], red[15:])


def test_its_spec_opens_it_again_without_the_catalogue(make: SimpleNamespace, tmp_path: Path) -> None:
    path = make.json(
        tmp_path / "i.json", item_at(make, tmp_path, "a", "2022-06-01", {"blue": make.numbers(20, 20)})
    )
    with open_source(SourceSpec(path, bands=("B02",))) as scene:
        whole, spec, statistics = scene.read(0, 0, 20, 20), scene.spec, scene.statistics()
        known = scene.identity()
    Path(path).unlink()
    with open_source(pickle.loads(pickle.dumps(spec))) as again:
        np.testing.assert_array_equal(again.read(0, 0, 20, 20).pixels, whole.pixels)
        assert again.statistics() == statistics and again.identity() == known


def test_what_is_missing_is_named(make: SimpleNamespace, tmp_path: Path) -> None:
    item = item_at(make, tmp_path, "a", "2022-06-01", {"blue": make.numbers(20, 20)})
    path = make.json(tmp_path / "i.json", item)
    with pytest.raises(InputError, match="has no band B08"):
        open_source(SourceSpec(path, bands=("B02", "B08")))
    del item["assets"]["blue"]["raster:bands"], item["properties"]["s2:processing_baseline"]
    make.json(tmp_path / "i.json", item)
    with pytest.raises(InputError, match="does not say what the numbers of B02 mean"):
        open_source(SourceSpec(path, bands=("B02",)))
    with open_source(SourceSpec(path, bands=("B02",), unit="reflectance", scale=0.001, nodata=0)) as scene:
        assert scene.encodings[0][0].scale == 0.001
    with pytest.raises(InputError, match="no item fits"):
        open_source(SourceSpec(path, bands=("B02",), search=SearchOptions(datetime="2021")))
    with pytest.raises(ConfigError, match="mask_band"):
        open_source(SourceSpec(path, bands=("B02",), mask_band=1, mask_values=(2,)))


# odc-geo multiplies transforms in a way that its own dependency will drop; nothing of ours runs in this test.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@given(
    st.floats(-5e5, 5e5),
    st.floats(-5e5, 5e5),
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from([10.0, 30.0, 0.25]),
)
def test_a_stated_grid_is_that_of_odc_geo(x: float, y: float, height: int, width: int, size: float) -> None:
    own = Grid("EPSG:3035", (7.0, 0.0, x, 0.0, -7.0, y), height, width)
    grid = stated_grid([own], "EPSG:3035", size, ())
    box = BoundingBox(x, y - 7 * height, x + 7 * width, y, "EPSG:3035")
    theirs = GeoBox.from_bbox(box, resolution=size)
    assert (grid.height, grid.width) == theirs.shape
    np.testing.assert_allclose(grid.transform, tuple(theirs.transform)[:6], rtol=0, atol=1e-6)
