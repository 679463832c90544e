from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swath.bands import sensor
from swath.data.stac_item import parse_item, read_item
from swath.errors import InputError

Item = Callable[..., Path]


def test_bands_by_key_name_or_common_name(stac_item: Item) -> None:
    path = stac_item(
        "a.json",
        {"red": "B04.tif", "B8A": "B8A.tif", "swir16": "x.tif", "scl": "SCL.tif"},
        raster={"scale": 1e-4, "offset": 0},
    )
    item = read_item(path)
    found = item.by_band(sensor("sentinel2"))
    assert [b.name for b in found] == ["B04", "B8A", "B11"]
    assert found[sensor("sentinel2").band("B04")][0].href == str(path.parent / "B04.tif")
    assert (item.sensor, item.level, str(item.date)) == ("sentinel2", "L2A", "2022-03-01")


def test_a_stack_in_stac_1_1(stac_item: Item) -> None:
    bands = [
        {"name": "B02", "raster:scale": 1e-4, "raster:offset": -0.1},
        {"name": "B8A", "raster:scale": 1e-4, "raster:offset": -0.1},
    ]
    item = read_item(stac_item("a.json", {"stack": "s.tif"}, asset={"bands": bands}))
    found = item.by_band(sensor("sentinel2"))
    assert [(b.name, i) for b, (_, i) in found.items()] == [("B02", 1), ("B8A", 2)]


def test_pictures_for_the_eye_are_no_bands(stac_item: Item) -> None:
    item = read_item(
        stac_item("a.json", {"visual": "TCI.tif"}, asset={"roles": ["visual"], "eo:bands": [{"name": "B04"}]})
    )
    assert item.by_band(sensor("sentinel2")) == {}
    encoding = item.assets[0].bands[0].encoding
    assert encoding is not None and encoding.unit == "dn"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"assets": {}}, "has no assets"),
        ({"assets": {"red": {"type": "image/tiff"}}}, "asset 'red' has no href"),
        ({"type": "Collection"}, "is no STAC item"),
    ],
)
def test_items_that_are_none(stac_item: Item, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_item(stac_item("a.json", {"red": "r.tif"}, **change))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"raster": {"scale": [1]}}, r"scale \[1\] is no number"),
        ({"raster": {"scale": "abc", "offset": 0}}, "scale 'abc' is no number"),
        ({"raster": {"scale": "nan", "offset": 0}}, "must be finite"),
        (
            {"raster": {"scale": 1e-4}, "properties": {"s2:processing_baseline": "04.00"}},
            "no offset, for baseline",
        ),
        ({"properties": {"s2:processing_baseline": "new"}}, "baseline 'new' is no number"),
        ({"properties": {"datetime": "soon"}}, "datetime 'soon' is no date"),
    ],
)
def test_numbers_that_are_none(stac_item: Item, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_item(stac_item("a.json", {"red": "r.tif"}, **options))


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{cut")
    with pytest.raises(InputError, match="not readable as JSON"):
        read_item(tmp_path / "a.json")
    with pytest.raises(InputError, match="no such file"):
        read_item(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("href", "wanted"),
    [
        ("./B04.tif", "https://host/items/a/B04.tif"),
        ("../B04.tif", "https://host/items/B04.tif"),
        ("/data/B04.tif", "https://host/data/B04.tif"),  # of that server, never of this machine
        ("s3://bucket/B04.tif", "s3://bucket/B04.tif"),
    ],
)
def test_assets_of_a_server_lie_there(stac_item: Item, href: str, wanted: str) -> None:
    data = json.loads(stac_item("a.json", {"red": "B04.tif"}).read_text(encoding="utf-8"))
    data["assets"]["red"]["href"] = href
    item = parse_item(data, "https://host/items/a/a.json?key=x/y")
    assert item.assets[0].href == wanted
