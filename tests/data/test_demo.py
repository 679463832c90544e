"""The embedded sample is what its attribution says."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import rasterio

from swath.data.demo import (
    DEMO_SOURCES,
    NC_BANDS,
    NC_CLASSES,
    demo_folder,
    open_demo_bigearthnet,
    open_demo_landsat,
    open_demo_series,
)
from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError


def test_the_landsat_scene_and_its_labels() -> None:
    demo = open_demo_landsat()
    cube = demo.cube
    assert cube.shape == (1, 6, 443, 489) and cube.pixels.dtype == np.uint8
    assert tuple(b.name for b in cube.bands) == NC_BANDS and cube.bands[0].sensor == "landsat7"
    assert cube.grid is not None and cube.grid.crs == "EPSG:32119" and cube.gsd == 28.5
    assert cube.place is not None
    assert (cube.place.lon, cube.place.lat) == pytest.approx((-78.6915, 35.7490), abs=1e-4)
    assert cube.encodings[0][0].unit == "dn" and cube.dates == (None,)
    # Band 7 covers less: 15 % of the pixels miss all bands, 38 % at least one.
    counts = cube.valid.sum((0, 2, 3)).tolist()
    assert counts == [183418] * 5 + [135092]
    assert cube.statistics is not None and list(cube.statistics.count) == counts
    assert (cube.valid[:, :5].all((0, 1)) == cube.valid[:, 0].all(0)).all()
    assert not (cube.valid[:, 5] & ~cube.valid[:, 0]).any()
    # The dimmest valid number is 1 and the brightest 255: neither is taken for no-data.
    assert cube.pixels[cube.valid].min() == 1 and cube.pixels[cube.valid].max() == 255
    assert np.bincount(demo.labels[demo.labels >= 0], minlength=7).tolist() == [
        65099,
        1433,
        23502,
        14532,
        107643,
        4223,
        194,
    ]
    labelled = demo.labelled_pixels
    assert np.bincount(labelled[labelled >= 0], minlength=7).tolist() == [427, 65, 609, 290, 939, 433, 109]
    assert [c.name for c in demo.classes] == [c.name for c in NC_CLASSES]
    demo.scene.close()


def test_it_is_stored_as_cloud_optimized_geotiffs() -> None:
    for path in [
        *(demo_folder() / "landsat").glob("*.tif"),
        *(demo_folder() / "series").glob("*20080419.tif"),
    ]:
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_the_sample_stays_small() -> None:
    size = sum(p.stat().st_size for p in demo_folder().rglob("*") if p.is_file())
    assert size < 5e6
    assert "Licence" in (demo_folder() / "ATTRIBUTION.md").read_text(encoding="utf-8")


def test_six_patches() -> None:
    samples = open_demo_bigearthnet()
    assert len(samples) == 6
    assert {s.cube.shape for s in samples} == {(1, 12, 120, 120)}
    assert all(s.cube.valid.all() and s.cube.statistics is not None for s in samples)
    assert samples[0].id == "S2A_MSIL2A_20170613T101031_87_48"
    assert samples[0].cube.dates == (dt.date(2017, 6, 13),)
    assert [int(s.target.sum()) for s in samples if s.target is not None] == [2, 2, 1, 4, 5, 3]


def test_a_real_series_of_two_sensors() -> None:
    cubes = open_demo_series(mask_clouds=False).cubes
    assert {n: c.shape for n, c in cubes.items()} == {
        "landsat5": (44, 3, 61, 61),
        "landsat7": (61, 3, 61, 61),
    }
    assert cubes["landsat5"].dates[0] == dt.date(2008, 4, 19) and cubes["landsat7"].dates[-1] == dt.date(
        2013, 5, 27
    )
    assert cubes["landsat5"].valid.all()
    # The stripes of the broken scan-line corrector.
    assert 0.7 < cubes["landsat7"].valid.mean() < 0.9
    encoding = cubes["landsat5"].encodings[0][0]
    assert (encoding.unit, encoding.scale) == ("reflectance", 1e-4)
    clear = open_demo_series().cubes
    for name, cube in clear.items():
        assert not (cube.valid & ~cubes[name].valid).any()
        assert 0.5 < cube.valid.mean() < cubes[name].valid.mean()
        assert cube.statistics is not None and sum(cube.statistics.count) == cube.valid.sum()


@pytest.mark.parametrize("name", DEMO_SOURCES)
def test_every_embedded_scene_opens_by_name(name: str) -> None:
    with open_scene(SceneSpec(f"demo:{name}"), require_valid=True) as scene:
        assert scene.bands


def test_bands_can_be_chosen_and_names_must_be_right() -> None:
    with open_scene(SceneSpec("demo:landsat", bands=("B4", "B3"))) as scene:
        assert [b.name for b in scene.bands] == ["B4", "B3"]
    with pytest.raises(InputError, match=r"did you mean demo:landsat\?"):
        open_scene(SceneSpec("demo:landsa"))


def test_clouds_of_an_embedded_series_are_invalid_wherever_it_is_opened() -> None:
    cube = open_demo_series().cubes["landsat7"]
    with open_scene(SceneSpec("demo:series-landsat7")) as scene:
        opened = scene.read_all()
        cut = scene.read(50, 50, 20, 20)  # beyond the edge
    np.testing.assert_array_equal(opened.valid, cube.valid)
    assert opened.statistics == cube.statistics
    own = opened.with_statistics().statistics
    assert own is not None and opened.statistics is not None
    assert own.count == opened.statistics.count
    np.testing.assert_allclose(own.mean, opened.statistics.mean, rtol=1e-12)
    np.testing.assert_array_equal(cut.valid[..., :11, :11], opened.valid[..., 50:, 50:])
    with open_scene(SceneSpec("demo:series-landsat7", mask_band=4, mask_values=(2, 3, 4))) as scene:
        snowless = scene.read_all()
    assert not (snowless.valid & ~opened.valid).any()
    assert snowless.valid.sum() < opened.valid.sum()


def test_a_band_that_says_what_is_cloud() -> None:
    folder = demo_folder() / "series"
    path = str(folder / "landsat5_20080419.tif")
    spec = SceneSpec(path, sensor="landsat5", mask_band=4, mask_values=(3,))
    with open_scene(spec) as scene, rasterio.open(path) as file:
        np.testing.assert_array_equal(scene.read_all().valid.all((0, 1)), file.read(4) != 3)
    with pytest.raises(ConfigError, match="mask_band is 4 with 0 mask_values"):
        SceneSpec(path, mask_band=4)
    with pytest.raises(ConfigError, match="mask_band is 0 with 1 mask_values"):
        SceneSpec(path, mask_values=(4,))
    with pytest.raises(InputError, match="has 4 bands, and mask_band is 7"):
        open_scene(SceneSpec(path, sensor="landsat5", mask_band=7, mask_values=(4,)))
    with pytest.raises(InputError, match="mask_band is for one file per date"):
        open_scene(SceneSpec((path, path), sensor="landsat5", mask_band=4, mask_values=(4,)))
