"""What imagery is, who says so, and what would be converted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from rasterio.crs import CRS

import swath
from swath.contract import contract_for
from swath.cube import Encoding
from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.errors import ConfigError, InputError
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import SourceSpec
from swath.verbs.inspect_scene import _conversions, _dates

XML = """<?xml version="1.0"?><n1:Level-2A_User_Product xmlns:n1="x"><n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2022-03-01T10:10:31.024Z</PRODUCT_START_TIME><PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
<PROCESSING_BASELINE>04.00</PROCESSING_BASELINE><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Product_Info>
<C><BOA_QUANTIFICATION_VALUE>10000</BOA_QUANTIFICATION_VALUE>{}</C></n1:General_Info></n1:Level-2A_User_Product>
""".format("".join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in range(13)))


@pytest.fixture
def safe(tmp_path: Path, raster: Callable[..., str]) -> Path:
    root = tmp_path / "S2B_MSIL2A_20220301T101031_N0400_R022_T32TQM.SAFE"
    images = root / "GRANULE" / "L2A" / "IMG_DATA"
    images.mkdir(parents=True)
    (root / "MTD_MSIL2A.xml").write_text(XML)
    for band, size, res in (("B02", 12, 10.0), ("B8A", 6, 20.0)):
        raster(images / f"T_{band}_{int(res)}m.jp2", np.full((1, size, size), 2000, np.uint16), res=res)
    return root


def test_a_safe_product(safe: Path) -> None:
    rows = dict(swath.inspect(safe).rows)
    assert rows["product"] == "Sentinel-2B L2A, baseline 04.00 (MTD_MSIL2A.xml)"
    assert rows["dates"] == "2022-03-01"
    assert "reflectance L2A = stored x 0.0001 - 0.1 (from the SAFE XML, MTD_MSIL2A.xml)" in rows["band B8A"]
    with pytest.raises(ConfigError, match="a product says its own unit"):
        swath.inspect(safe, unit="dn")


def test_a_stac_item_and_the_file_beside_it(tmp_path: Path, raster: Callable[..., str]) -> None:
    path = raster(tmp_path / "a_red.tif", np.full((1, 4, 4), 2000, np.uint16))
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2B_32TQM",
        "collection": "sentinel-2-l2a",
        "properties": {
            "datetime": "2022-03-01T10:00:00Z",
            "platform": "sentinel-2b",
            "s2:processing_baseline": "04.00",
            "earthsearch:boa_offset_applied": True,
        },
        "assets": {"red": {"href": "./a_red.tif", "raster:bands": [{"scale": 1e-4, "offset": -0.1}]}},
    }
    (tmp_path / "a.json").write_text(json.dumps(item))
    rows = dict(swath.inspect(tmp_path / "a.json").rows)
    assert rows["product"] == "S2B_32TQM, sentinel2, L2A, baseline 04.00"
    assert (
        "stored x 0.0001 + 0 (from the STAC item: raster:bands, offset applied already)" in rows["band B04"]
    )
    rows = dict(swath.inspect(path, sensor="sentinel2", bands=("B04",)).rows)
    assert "stored x 0.0001 + 0 (the STAC item a.json" in rows["band B04"]
    item["properties"]["platform"] = "meteosat"
    (tmp_path / "a.json").write_text(json.dumps(item))
    with pytest.raises(InputError, match="names no sensor that swath knows"):
        swath.inspect(tmp_path / "a.json")


def test_what_would_be_converted(safe: Path) -> None:
    files = tuple(sorted(str(p) for p in safe.rglob("*.jp2")))
    contract = contract_for("sentinel2", ("B8A",), Encoding("reflectance", 1e-4, 0.0, "L2A"))
    with open_scene(SceneSpec(files, sensor="sentinel2", bands=("B02", "B8A"))) as scene:
        assert _conversions(contract, scene) == [
            (
                "converts B8A",
                "reflectance L2A = stored x 0.0001 - 0.1 -> reflectance L2A = fed x 0.0001 + 0; "
                "20 m brought to 10 m by nearest",
            ),
            ("not used", "B02"),
        ]


@pytest.mark.parametrize("kind", ["zarr", "nc"])
def test_a_store_and_whether_weights_fit_it(tmp_path: Path, kind: str) -> None:
    pixels = np.arange(1, 2 * 2 * 6 * 5 + 1, dtype=np.uint16).reshape(2, 2, 6, 5)
    array = xr.DataArray(
        pixels,
        dims=("time", "band", "y", "x"),
        coords={
            "time": np.array(["2022-06-01", "2022-06-11"], "M8[ns]"),
            "band": ["B02", "B04"],
            "y": 5e6 - 10 * np.arange(6) - 5,
            "x": 6e5 + 10 * np.arange(5) + 5,
        },
        name="reflectance",
        attrs={
            "units": "reflectance",
            "scale_factor": 1e-4,
            "add_offset": -0.1,
            "grid_mapping": "spatial_ref",
        },
    )
    data = array.to_dataset().assign_coords(spatial_ref=((), 0, {"crs_wkt": CRS.from_epsg(32633).to_wkt()}))
    path = tmp_path / f"a.{kind}"
    if kind == "zarr":
        data.to_zarr(path, zarr_format=2, consolidated=False)
    else:
        data.to_netcdf(path, engine="h5netcdf")
    rows = dict(swath.inspect(path, sensor="sentinel2").rows)
    assert rows["size"] == "2 dates, 2 bands, 6 x 5 pixels of 10 m" and rows["coordinates"] == "EPSG:32633"
    assert rows["dates"] == "2022-06-01, 2022-06-11"
    assert "reflectance = stored x 0.0001 - 0.1 (from its attributes); 100.0% valid" in rows["band B04"]
    assert "stored 31 to 120" in rows["band B04"]
    contract = contract_for("sentinel2", ("B04",), Encoding("reflectance", 1e-4, 0.0))
    with open_source(SourceSpec(str(path), sensor="sentinel2")) as scene:
        assert _conversions(contract, scene) == [
            ("converts B04", "reflectance = stored x 0.0001 - 0.1 -> reflectance = fed x 0.0001 + 0"),
            ("not used", "B02"),
        ]
    with pytest.raises(ConfigError, match="unknown unit 'x'"):
        swath.inspect(path, sensor="sentinel2", unit="x")


def test_what_is_no_raster_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("a: 1\n")
    with pytest.raises(InputError, match="cannot be read as a raster"):
        swath.inspect(tmp_path / "notes.yaml")
    with pytest.raises(InputError, match="there is no such file"):
        swath.inspect(tmp_path / "none.tif")


def test_of_many_dates_the_ends_are_told() -> None:
    names = [f"d{i}" for i in range(12)]
    assert _dates(names[:9]) == ", ".join(names[:9])
    assert _dates(names) == "d0, d1, d2, d3, 4 more, d8, d9, d10, d11"
