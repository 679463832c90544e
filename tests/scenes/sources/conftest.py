"""Small images of known pixels: files, STAC items and SAFE folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

UTM = "EPSG:32633"


def write_tif(
    path: Path,
    pixels: np.ndarray,
    *,
    origin: tuple[float, float] = (600000.0, 5000000.0),
    size: float = 10.0,
    crs: str | None = UTM,
    transform: Affine | None = None,
    **options: Any,
) -> Path:
    """[H,W] or [C,H,W] as a GeoTIFF; `origin` is the upper left corner."""
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    place = transform or Affine(size, 0, origin[0], 0, -size, origin[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype, "crs": crs, "transform": place}
    with rasterio.open(
        path, "w", height=pixels.shape[1], width=pixels.shape[2], **profile, **options
    ) as file:
        file.write(pixels)
    return path


def make_item(
    name: str,
    date: str,
    assets: dict[str, str],
    *,
    collection: str = "sentinel-2-l2a",
    baseline: str = "05.09",
    bbox: Sequence[float] = (16.0, 45.0, 16.1, 45.1),
    properties: dict[str, Any] | None = None,
    masks: Sequence[str] = ("scl",),
) -> dict[str, Any]:
    """A STAC item of Sentinel-2 L2A as APIs give it: asset names are the bands' common or own names."""
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    said = {
        "datetime": f"{date}T10:00:00Z" if "T" not in date else date,
        "platform": "sentinel-2a",
        "constellation": "sentinel-2",
        "s2:processing_baseline": baseline,
        **(properties or {}),
    }
    made = {
        key: {"href": href, "type": "image/tiff; application=geotiff", "roles": ["data"]}
        | ({} if key in masks else {"raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}]})
        for key, href in assets.items()
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        "bbox": list(bbox),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": said,
        "assets": made,
        "links": [],
    }


def write_json(path: Path, data: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return str(path)


def collection_of(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(items)}


def numbers(height: int, width: int, seed: int = 0, low: int = 1, high: int = 9000) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (height, width)).astype(np.uint16)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    return SimpleNamespace(
        tif=write_tif, item=make_item, json=write_json, collection=collection_of, numbers=numbers, utm=UTM
    )
