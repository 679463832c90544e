"""One scene in other containers: the map is the same, bit for bit, also by workers that open the source again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from file_servers import file_server

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


@pytest.fixture(scope="module")
def tiled(chain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """520 x 672 pixels of noise on the scene, in tiles: nine blocks, and many ranges to ask for."""
    path = tmp_path_factory.mktemp("served") / "big.tif"
    with rasterio.open(chain.land.scene) as file:
        pixels, profile, names = np.tile(file.read(), (1, 13, 6)), file.profile, file.descriptions
    known = pixels > 0
    draw = np.random.default_rng(7).integers(0, 20, pixels.shape)
    pixels = np.where(known, (pixels.astype(int) + draw).clip(1, 255), 0).astype(np.uint8)
    size = {"height": pixels.shape[1], "width": pixels.shape[2]}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.open(path, "w", **{**profile, **size, **tiles}) as out:
        out.write(pixels)
        out.descriptions = names
    return path


# A server in a thread of this process is closed while a client's last connection is still half open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("every", "how"), [(2, "503"), (3, "drop")])
def test_busy_servers_and_broken_connections_change_no_byte_of_a_map(
    chain: Any, tiled: Path, tmp_path: Path, every: int, how: str
) -> None:
    given = {"sensor": "landsat7", "unit": "dn", "retry": {"times": 20, "wait": 0.02, "longest": 0.05}}

    def mapped(files: str, output: Path) -> swath.verbs.predict.PredictResult:
        return swath.predict(
            weights=chain.finetuned.weights,
            input={"files": files, **given},
            output=str(output),
            precision="fp32",
            threads=1,
            block=256,
        )

    near = mapped(str(tiled), tmp_path / "near" / "map.tif")
    with file_server(tiled.parent) as (url, trouble):
        trouble.reset(every, how, once=how == "drop")
        far = mapped(f"{url}/{tiled.name}", tmp_path / "far" / "map.tif")
    assert trouble.ranged > trouble.failed > 5
    assert (far.blocks, far.hole_pixels) == (9, 0)
    assert Path(far.map).read_bytes() == Path(near.map).read_bytes()
