"""A map lies where its scene lies, however that lies: any coordinate system, turned, flipped, stretched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio import Affine

import swath
from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.models.unet import UNet, UNetConfig
from swath.weights.build import meta_for
from swath.weights.file import save
from swath.weights.meta import MapClass

H, W = 50, 70
WKT = (
    'PROJCS["mine",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",12],'
    'PARAMETER["central_meridian",-71.5],PARAMETER["scale_factor",0.9999],PARAMETER["false_easting",1000],'
    'PARAMETER["false_northing",-2000],UNIT["metre",1]]'
)
C, S = 10 * math.cos(0.6), 10 * math.sin(0.6)
GRIDS: dict[str, tuple[str | None, Affine, float | None]] = {
    # name: (coordinate system, transform, km² of the scene; None: unknown)
    "UTM": ("EPSG:32633", Affine(10, 0, 5e5, 0, -10, 5.2e6), H * W * 1e-4),
    "turned": ("EPSG:32633", Affine(C, S, 5e5, S, -C, 5.2e6), H * W * 1e-4),
    "sheared": ("EPSG:32633", Affine(10, 3, 5e5, 2, -10, 5.2e6), H * W * 1.06e-4),
    "south up": ("EPSG:32733", Affine(10, 0, 5e5, 0, 10, 5.2e6), H * W * 1e-4),
    "pixels that are not square": ("EPSG:32633", Affine(20, 0, 5e5, 0, -5, 5.2e6), H * W * 1e-4),
    "across a zone's border": ("EPSG:32633", Affine(30, 0, 833_000, 0, -30, 5.2e6), H * W * 9e-4),
    "feet": ("EPSG:2264", Affine(30, 0, 1.5e6, 0, -30, 6e5), H * W * 900 * (1200 / 3937) ** 2 * 1e-6),
    "north pole": ("EPSG:3413", Affine(40, 0, -1400, 0, -40, 1000), H * W * 1.6e-3),
    "a system without a code": (WKT, Affine(10, 0, 0, 0, -10, 0), H * W * 1e-4),
    "degrees across the antimeridian": (
        "EPSG:4326", Affine(1e-3, 0, 179.97, 0, -1e-3, 10.0),
        H * W * 1e-6 * (math.pi / 180 * 6371.0072) ** 2 * math.cos(math.radians(9.975)),
    ),
    "no place": (None, Affine(1, 0, 0, 0, 1, 0), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that knows no direction and no pixel size."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=2, classes=3, width=4, levels=1))
    contract = contract_for(
        "landsat7", ("B3", "B4"), Encoding("dn"), Normalisation("standard", "fixed", (100.0,) * 2, (40.0,) * 2),
        size=(32, 32),
    )  # fmt: skip
    classes = tuple(
        MapClass(name, colour) for name, colour in (("a", "#ff0000"), ("b", "#00ff00"), ("c", "#0000ff"))
    )
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save(path, network, meta_for(network, contract=contract, classes=classes, task="segmentation"))
    return str(path)


def scene(path: Path, crs: str | None, transform: Affine) -> str:
    pixels = np.random.default_rng(0).integers(1, 255, (2, H, W)).astype(np.uint8)
    pixels[:, :5, :7] = 0
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=2, height=H, width=W, crs=crs, transform=transform, nodata=0
    ) as file:  # fmt: skip
        file.write(pixels)
        for i, name in enumerate(("B3", "B4"), 1):
            file.set_band_description(i, name)
        file.units = ["dn"] * 2
    return str(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", GRIDS)
def test_the_map_lies_where_its_scene_lies(weights: str, tmp_path: Path, name: str) -> None:
    crs, transform, area = GRIDS[name]
    made: Any = swath.predict(
        weights=weights, input={"files": scene(tmp_path / "s.tif", crs, transform), "sensor": "landsat7"},
        output=str(tmp_path / "map.tif"), precision="fp32",
    )  # fmt: skip
    plain: Any = swath.predict(
        weights=weights, input={"files": scene(tmp_path / "p.tif", *GRIDS["UTM"][:2]), "sensor": "landsat7"},
        output=str(tmp_path / "plain.tif"), precision="fp32",
    )  # fmt: skip
    with rasterio.open(made.map) as got, rasterio.open(plain.map) as other:
        with rasterio.open(tmp_path / "s.tif") as given:
            assert got.crs == given.crs and got.shape == given.shape
            assert got.transform.almost_equals(given.transform, 1e-9)
        # Where it lies changes no pixel: this network and this contract ask for no pixel size.
        np.testing.assert_array_equal(got.read(), other.read())
        assert (got.read(3)[:5, :7] == 0).all()
    assert made.km2 == (None if area is None else pytest.approx(area, rel=2e-3))
