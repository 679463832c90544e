"""The STAC item of a map: by pystac, by its own schemas, and by the extensions' rules."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Encoding, Grid
from swath.data.legend import LandClass
from swath.errors import OutputError
from swath.scenes.layers import BlockMap, ClassLayers, Layers, ValueLayers
from swath.scenes.piece import pack
from swath.scenes.sink import CogSink
from swath.scenes.stac import MapFacts
from swath.scenes.stac.item import Beside, item_text
from swath.scenes.windows import make_plan
from swath.weights.file import Loaded, load, save
from swath.weights.meta import MapClass, WeightsMeta

GRID = Grid("EPSG:32633", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 40, 30)
CLASSES = (LandClass(1, "arable land, wet", (255, 0, 16)), LandClass(4, "Wäld", (0, 100, 0)))
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
DAYS = (dt.date(2022, 6, 1), dt.date(2022, 8, 3))


def contract(norm: Normalisation) -> InputContract:
    return contract_for("sentinel2", ("B02", "B8A"), Encoding("reflectance", 1e-4), norm, size=(16, 16))


@pytest.fixture
def weights(tmp_path: Path) -> Loaded:
    norm = Normalisation("standard", "fixed", (0.1, 0.3), (0.05, 0.2))
    classes = tuple(MapClass(c.name, c.hex, c.value) for c in CLASSES)
    meta = WeightsMeta("unet", {"bands": 2, "widths": [4, 8]}, contract(norm), classes, {}, "CC-BY-4.0")
    path = tmp_path / "models" / "w.safetensors"
    save(path, nn.Conv2d(2, 2, 3), meta)
    return load(path)


def item_of(
    tmp_path: Path, facts: MapFacts, layers: Layers | None = None, grid: Grid = GRID, **beside: Any
) -> dict[str, Any]:
    chosen = ClassLayers(CLASSES) if layers is None else layers
    text = item_text(tmp_path / "map.tif", grid, chosen, facts, Beside(**beside), NOW)
    made: dict[str, Any] = json.loads(text)
    return made


def schema_errors(item: dict[str, Any]) -> list[str]:
    """What the item's core schema, as pystac carries it, finds."""
    pytest.importorskip("jsonschema")
    validation = pytest.importorskip("pystac.validation.local_validator")
    return [e.message for e in validation.LocalValidator().item_validator("1.1.0").iter_errors(item)]


def test_pystac_reads_it(tmp_path: Path, weights: Loaded) -> None:
    pystac = pytest.importorskip("pystac")
    facts = MapFacts(DAYS, ("https://host/items/a.json",), weights, "segmentation", CLASSES)
    made = item_of(tmp_path, facts, styles=("map.tif.aux.xml", "map.qml"), picture="map.png")
    path = tmp_path / "map.stac.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    item = pystac.Item.from_file(str(path))
    assert item.id == "map"
    assert item.datetime is None
    assert item.properties["start_datetime"] == "2022-06-01T00:00:00Z"
    assert item.properties["end_datetime"] == "2022-08-03T23:59:59Z"
    assert item.bbox[0] < item.bbox[2]
    assert item.assets["map"].get_absolute_href() == str(tmp_path / "map.tif")
    assert item.assets["map"].media_type == pystac.MediaType.COG
    assert item.ext.proj.code == "EPSG:32633"
    assert item.ext.proj.shape == [40, 30]
    assert item.ext.proj.transform[:6] == list(GRID.transform)
    assert item.ext.mlm.architecture == "unet"
    assert item.ext.mlm.total_parameters == weights.parameters
    assert item.ext.mlm.input[0].input.shape == [-1, -1, 2, 16, 16]
    scaling = made["properties"]["mlm:input"][0]["value_scaling"]
    assert [(v["type"], v["mean"], v["stddev"]) for v in scaling] == [
        ("z-score", 0.1, 0.05),
        ("z-score", 0.3, 0.2),
    ]
    assert [c.title for c in item.ext.mlm.output[0].classes] == [c.name for c in CLASSES]
    assert [(k.rel, k.href) for k in item.links if k.rel == "derived_from"] == [
        ("derived_from", "https://host/items/a.json")
    ]
    again = item.to_dict(include_self_link=False)
    assert again["properties"] == made["properties"]
    assert again["geometry"] == made["geometry"]


# The only way to its copies of the schemas that asks no network.
@pytest.mark.filterwarnings("ignore:``LocalValidator`` is deprecated")
def test_the_core_schema_holds(tmp_path: Path, weights: Loaded) -> None:
    for facts in (MapFacts(), MapFacts(DAYS[:1], (), weights), MapFacts((None,), ("a.json",), weights)):
        assert schema_errors(item_of(tmp_path, facts, holes="map.holes.json")) == []
    broken = item_of(tmp_path, MapFacts())
    del broken["properties"]["datetime"]
    assert schema_errors(broken)


def test_the_rules_of_the_model_extension_hold(tmp_path: Path, weights: Loaded) -> None:
    made = item_of(tmp_path, MapFacts(DAYS, (), weights, "segmentation", CLASSES))
    p = made["properties"]
    for name in ("name", "architecture", "tasks", "input", "output"):
        assert f"mlm:{name}" in p
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-]+[a-zA-Z0-9]", p["mlm:name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", p["mlm:framework_version"])
    assert p["mlm:framework"] == "PyTorch"
    assert p["mlm:tasks"] == ["semantic-segmentation"]
    assert all(re.fullmatch(r"[0-9a-zA-Z_.\-]+", key) for key in p["mlm:hyperparameters"])
    (given,) = p["mlm:input"]
    assert given["bands"] == ["B02", "B8A"]
    for structure in (given["input"], p["mlm:output"][0]["result"]):
        assert all(isinstance(n, int) and n >= -1 for n in structure["shape"])
        assert len(structure["shape"]) == len(structure["dim_order"]) == len(set(structure["dim_order"]))
        assert all(re.fullmatch(r"[a-z-_]+", d) for d in structure["dim_order"])
        assert structure["data_type"] == "float32"
    models = [a for a in made["assets"].values() if "mlm:model" in a["roles"]]
    assert [a["href"] for a in models] == ["./models/w.safetensors"]
    assert all(a["mlm:artifact_type"] for a in models)
    # Bands that the model names are described somewhere.
    assert [b["name"] for b in models[0]["bands"]] == given["bands"]
    assert models[0]["bands"][0]["eo:center_wavelength"] == pytest.approx(0.4924, abs=0.01)
    assert all(url.startswith("https://stac-extensions.github.io/") for url in made["stac_extensions"])


def test_bands_tell_their_type_classes_and_colours(tmp_path: Path) -> None:
    layers = ClassLayers(CLASSES, entropy=True, bits=16)
    bands = item_of(tmp_path, MapFacts(), layers)["assets"]["map"]["bands"]
    assert [b["name"] for b in bands] == ["class", "confidence", "coverage", "entropy"]
    assert {b["data_type"] for b in bands} == {"uint16"}
    assert {b["nodata"] for b in bands} == {65535}
    assert bands[1]["raster:scale"] == 0.01
    first = bands[0]["classification:classes"]
    assert first == [
        {"value": 1, "name": "arable-land-wet", "title": "arable land, wet", "color_hint": "FF0010"},
        {"value": 4, "name": "W-ld", "title": "Wäld", "color_hint": "006400"},
    ]
    assert not any("classification:classes" in b for b in bands[1:])
    real = item_of(tmp_path, MapFacts(), ValueLayers(("height",), units=("m",)))["assets"]["map"]["bands"]
    assert (real[0]["nodata"], real[0]["unit"], real[0]["data_type"]) == ("nan", "m", "float32")


def test_what_is_not_known_is_not_claimed(tmp_path: Path, weights: Loaded) -> None:
    made = item_of(tmp_path, MapFacts((None, None)), grid=Grid("", GRID.transform, 40, 30))
    assert made["geometry"] is None
    assert "bbox" not in made
    assert made["properties"]["proj:code"] is None
    assert made["properties"]["datetime"] == made["properties"]["created"] == "2026-01-02T03:04:05Z"
    assert made["properties"]["swath:input_dates"] == "unknown"
    assert not any(key.startswith("mlm:") for key in made["properties"])
    whole = Loaded(
        weights.state,
        WeightsMeta("unet", {}, contract(Normalisation("standard", "scene"))),
        weights.sha256,
        weights.path,
    )
    by_scene = item_of(tmp_path, MapFacts(weights=whole, task="features", outputs=7))
    (given,) = by_scene["properties"]["mlm:input"]
    assert given["value_scaling"] is None
    assert "of each scene" in given["description"]
    assert by_scene["properties"]["mlm:output"][0]["result"]["shape"] == [-1, 7, -1, -1]
    assert by_scene["properties"]["mlm:tasks"] == []


def test_a_system_without_a_code_is_written_out(tmp_path: Path) -> None:
    wkt = (
        'PROJCRS["mine",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,'
        '298.257223563]]],CONVERSION["x",METHOD["Transverse Mercator"],PARAMETER["Longitude of natural origin",17.3,'
        'ANGLEUNIT["degree",0.0174532925199433]]],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],'
        'LENGTHUNIT["metre",1]]'
    )
    p = item_of(tmp_path, MapFacts(), grid=Grid(wkt, (10.0, 0.0, 0.0, 0.0, -10.0, 5e6), 9, 9))["properties"]
    assert p["proj:code"] is None
    assert p["proj:wkt2"].startswith("PROJCRS[")


def blank(sink: CogSink) -> None:
    plan = make_plan(sink.grid.height, sink.grid.width, (16, 16))
    with sink.begin(plan) as store:
        for i, block in enumerate(plan.blocks()):
            coverage = np.zeros((block.box.height, block.box.width), np.uint8)
            store.put(pack(plan, i, BlockMap(block.box, None, coverage), sink.layers))


def test_it_comes_and_goes_with_the_map(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path, item = tmp_path / "map.tif", tmp_path / "map.stac.json"
    layers = ClassLayers(fakes.classes)
    blank(CogSink(path, GRID, layers, facts=MapFacts(DAYS), quicklook=True))
    made = json.loads(item.read_text("utf-8"))
    hrefs = {a["href"] for a in made["assets"].values()}
    assert hrefs == {"./map.tif", "./map.tif.aux.xml", "./map.qml", "./map.png"}
    assert all((tmp_path / h).is_file() for h in hrefs)
    with pytest.raises(OutputError, match="exists already"):
        CogSink(path, GRID, layers, facts=MapFacts())
    assert json.loads(item.read_text("utf-8")) == made
    # An item of an earlier map would belie one that is made without.
    blank(CogSink(path, GRID, layers, overwrite=True))
    assert not item.exists()


def test_a_map_that_fails_leaves_the_item_of_the_one_before(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path, item = tmp_path / "map.tif", tmp_path / "map.stac.json"
    layers = ClassLayers(fakes.classes)
    blank(CogSink(path, GRID, layers, facts=MapFacts(DAYS)))
    before = item.read_bytes()
    sink = CogSink(path, GRID, layers, overwrite=True, facts=MapFacts())
    with pytest.raises(RuntimeError), sink.begin(make_plan(40, 30, (16, 16))):
        raise RuntimeError
    assert item.read_bytes() == before


def test_an_item_of_another_is_not_replaced_unless_told_to(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path, item = tmp_path / "map.tif", tmp_path / "map.stac.json"
    item.write_text('{"type": "Feature", "properties": {}}', encoding="utf-8")
    layers = ClassLayers(fakes.classes)
    with pytest.raises(OutputError, match="exists already"):
        CogSink(path, GRID, layers, facts=MapFacts())
    # A map without an item has nothing to do with it.
    blank(CogSink(path, GRID, layers, overwrite=True))
    assert json.loads(item.read_text("utf-8"))["properties"] == {}
    blank(CogSink(path, GRID, layers, overwrite=True, facts=MapFacts()))
    assert "swath:version" in json.loads(item.read_text("utf-8"))["properties"]
