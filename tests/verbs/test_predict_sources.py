"""One scene in other containers: the map is the same, bit for bit, also by workers that open the source again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import swath

pytestmark = pytest.mark.slow


def read(path: str) -> np.ndarray:
    with rasterio.open(path) as file:
        pixels: np.ndarray = file.read()
    return pixels


def as_item(scene: str, folder: Path) -> str:
    """A STAC item of one file per band."""
    assets = {}
    with rasterio.open(scene) as file:
        for index, key in enumerate(file.descriptions, start=1):
            profile = {**file.profile, "count": 1, "driver": "GTiff"}
            with rasterio.open(folder / f"{key}.tif", "w", **profile) as out:
                out.write(file.read(index), 1)
            assets[key] = {"href": f"./{key}.tif", "type": "image/tiff; application=geotiff"}
    path = folder / "item.json"
    properties = {"datetime": "2000-06-01T10:00:00Z", "platform": "landsat-7"}
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "scene",
        "properties": properties,
        "assets": assets,
    }
    path.write_text(json.dumps(item))
    return str(path)


def as_zarr(scene: str, folder: Path) -> str:
    """A Zarr store of one variable per band."""
    import xarray as xr

    with rasterio.open(scene) as file:
        a, _, c, _, e, f = tuple(file.transform)[:6]
        coords = {"y": f + e * (np.arange(file.height) + 0.5), "x": c + a * (np.arange(file.width) + 0.5)}
        attrs = {"units": "dn", "crs": file.crs.to_string(), "_FillValue": 0}
        bands = {k: (("y", "x"), file.read(i), attrs) for i, k in enumerate(file.descriptions, start=1)}
    xr.Dataset(bands, coords=coords).to_zarr(folder / "scene.zarr", zarr_format=3, consolidated=False)
    return str(folder / "scene.zarr")


@pytest.mark.parametrize(("kind", "workers"), [("stac", 1), ("stac", 2), ("zarr", 1), ("zarr", 2)])
def test_the_map_does_not_depend_on_the_container(
    chain: Any, tmp_path: Path, kind: str, workers: int
) -> None:
    given = {"sensor": "landsat7", "unit": "dn"}
    plain = swath.predict(
        weights=chain.finetuned.weights,
        input={"files": chain.land.scene, **given, "dates": ["2000-06-01"] if kind == "stac" else []},
        output=str(tmp_path / "plain.tif"),
        precision="fp32",
        threads=1,
    )
    files = as_item(chain.land.scene, tmp_path) if kind == "stac" else as_zarr(chain.land.scene, tmp_path)
    made = swath.predict(
        weights=chain.finetuned.weights,
        input={"files": files, **given, "nodata": 0},
        output=str(tmp_path / "map.tif"),
        precision="fp32",
        threads=1,
        workers=workers,
    )
    np.testing.assert_array_equal(read(made.map), read(plain.map))
