from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from swath.errors import ConfigError, InputError
from swath.scenes.sources.opening import kind_of, open_source
from swath.scenes.sources.spec import GridOptions, MaskOptions, SearchOptions, SourceSpec


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("scene.tif", "files"),
        ("demo:landsat", "files"),
        ("https://host/a/scene.tif?token=x.json", "files"),
        ("s3://bucket/scene.vrt", "files"),
        ("S2B_MSIL2A_X.SAFE", "safe"),
        ("S2B_MSIL2A_X.SAFE/", "safe"),
        ("cube.zarr", "array"),
        ("s3://bucket/cube.zarr/", "array"),
        ("cube.nc", "array"),
        ("https://host/item.json", "stac"),
        ("https://127.0.0.1:8080", "stac"),
        ("https://earth.example.org/v1", "stac"),
        ("https://host/api/stac/v1/", "stac"),
    ],
)
def test_what_it_is_shows_by_its_name(name: str, kind: str) -> None:
    assert kind_of(SourceSpec(name)) == kind


def test_what_it_is_shows_by_a_look_inside(tmp_path: Path, make: SimpleNamespace) -> None:
    item = make.item("a", "2022-06-01", {"blue": "b.tif"})
    assert kind_of(SourceSpec(make.json(tmp_path / "a.json", item))) == "stac"
    assert kind_of(SourceSpec(make.json(tmp_path / "b.json", {"type": "Polygon"}))) == "files"
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text("{}")
    assert kind_of(SourceSpec(str(tmp_path / "store"))) == "array"
    (tmp_path / "product").mkdir()
    (tmp_path / "product" / "MTD_MSIL2A.xml").write_text("")
    assert kind_of(SourceSpec(str(tmp_path / "product"))) == "safe"
    assert kind_of(SourceSpec("odd.name", kind="stac")) == "stac"


def test_options_of_another_kind_are_not_dropped_in_silence() -> None:
    for spec, name in (
        (SourceSpec("a.tif", variable="x"), "variable"),
        (SourceSpec("a.tif", mask=MaskOptions("scl", (3,))), "mask"),
        (SourceSpec("a.tif", search=SearchOptions(datetime="2022")), "search"),
        (SourceSpec("a.zarr", stack_dates=2), "stack_dates"),
    ):
        with pytest.raises(ConfigError, match=name):
            open_source(spec)


@pytest.mark.parametrize(
    "box", [(1.0, 2.0, 3.0), (0.0, 50.0, 10.0, 40.0), (0.0, float("nan"), 1.0, 2.0), (5.0, 1.0, 5.0, 2.0)]
)
def test_what_is_no_box(box: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="no box"):
        SearchOptions(bbox=box)


def test_what_is_no_option() -> None:
    with pytest.raises(ConfigError, match="give both"):
        MaskOptions("scl")
    with pytest.raises(ConfigError, match="resolution"):
        GridOptions("EPSG:4326", -1.0)


def test_a_scene_of_files_is_as_swath_data_opens_it(tmp_path: Path, make: SimpleNamespace) -> None:
    pixels = make.numbers(20, 30)
    path = str(make.tif(tmp_path / "a.tif", pixels, nodata=0))
    spec = SourceSpec(path, sensor="sentinel2", bands=("B02",), unit="dn")
    with open_source(spec) as scene:
        assert (scene.read(0, 0, 20, 30).pixels[0, 0] == pixels).all()
        before = scene.identity()
        with open_source(scene.spec) as again:
            assert again.identity() == before
    make.tif(tmp_path / "a.tif", make.numbers(20, 30, 5), nodata=0, compress="deflate")
    with open_source(spec) as scene:
        assert scene.identity() != before
    with pytest.raises(InputError, match="no sensor"):
        open_source(path)
