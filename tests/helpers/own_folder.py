"""A folder of one's own, made for tests: images with coordinates, a class for each, or a raster of classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine

BANDS = ("B02", "B03", "B04", "B08")


def image(path: Path, pixels: np.ndarray, x: float, y: float) -> None:
    """[C,H,W] or [H,W] at 10 m, its upper left corner at (x, y)."""
    stack = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", dtype=stack.dtype.name, count=len(stack), height=stack.shape[1],
        width=stack.shape[2], crs="EPSG:32633", transform=Affine(10.0, 0, x, 0, -10.0, y),
    ) as file:  # fmt: skip
        file.write(stack)


def describe(root: Path, **more: Any) -> str:
    """Writes dataset.yaml (JSON is YAML)."""
    said = {
        "sensor": "sentinel2", "bands": list(BANDS), "unit": "reflectance", "scale": 1e-4, "offset": 0.0,
        "level": "L2A", "images": "{place}.tif", **more,
    }  # fmt: skip
    (root / "dataset.yaml").write_text(json.dumps(said))
    return str(root)


def planted_leak(root: Path, places: int = 24, each: int = 5, size: int = 8) -> str:
    """`places` places far apart, `each` images side by side at every one, almost the same; a class drawn per place.

    Nothing in the pixels tells the class: only who remembers a place knows it.
    """
    draw = np.random.default_rng(1)
    rows = ["file,class"]
    for place in range(places):
        spectrum = draw.uniform(500, 5000, (4, 1, 1))
        name = ("town", "field")[int(draw.integers(2))]
        for n in range(each):
            noise = draw.normal(0, 20, (4, size, size))
            file = f"p{place:02}_{n}.tif"
            image(
                root / file,
                (spectrum + noise).astype(np.uint16),
                500_130 + 4000.0 * place + 80 * n,
                5e6 + 1000,
            )
            rows.append(f"{file},{name}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    classes = [{"value": 0, "name": "town"}, {"value": 1, "name": "field"}]
    return describe(root, labels={"kind": "csv", "file": "labels.csv", "classes": classes})


def lakes(root: Path, images: int = 16, size: int = 32) -> str:
    """Images far apart with lakes that the near infrared shows, and rasters of land (0) and water (1)."""
    draw = np.random.default_rng(2)
    for n in range(images):
        lake = np.kron(draw.random((size // 8, size // 8)) < 0.4, np.ones((8, 8))).astype(bool)
        level = np.where(
            lake, np.array([600, 500, 400, 200])[:, None, None], [[[700]], [[800]], [[900]], [[2600]]]
        )
        x = 500_000 + 2000.0 * n + 700
        image(
            root / f"images/i{n:02}.tif",
            (level + draw.normal(0, 120, level.shape)).clip(1).astype(np.uint16),
            x,
            5e6 + 1000,
        )
        image(root / f"labels/i{n:02}.tif", lake.astype(np.uint8), x, 5e6 + 1000)
    classes = [
        {"value": 0, "name": "land", "color": "#c8b37a"},
        {"value": 1, "name": "water", "color": "#2a6fdb"},
    ]
    return describe(
        root,
        images="images/{place}.tif",
        labels={"kind": "raster", "file": "labels/{place}.tif", "classes": classes},
    )


CELL = 8
LAND_AND_WATER = [
    {"value": 1, "name": "land", "color": [200, 179, 122]},
    {"value": 2, "name": "water", "color": [42, 111, 219]},
]


def scene(root: Path, size: tuple[int, int] = (128, 136), known: float = 1.0) -> dict[str, Any]:
    """One image with lakes as options of data; `labels.tif` has land (1) and water (2), `labels.geojson` the same.

    Args:
        root: where to write.
        size: height and width, whole cells.
        known: share of the cells that have a label.
    """
    draw = np.random.default_rng(3)
    rows, cols = size[0] // CELL, size[1] // CELL
    lake, labelled = draw.random((rows, cols)) < 0.4, draw.random((rows, cols)) < known
    wide = np.kron(lake, np.ones((CELL, CELL))).astype(bool)
    level = np.where(
        wide, np.array([600, 500, 400, 200])[:, None, None], [[[700]], [[800]], [[900]], [[2600]]]
    )
    image(
        root / "scene.tif", (level + draw.normal(0, 120, level.shape)).clip(1).astype(np.uint16), 5e5, 5e6 + 1000
    )  # fmt: skip
    classes = np.where(labelled, 1 + lake, 0).astype(np.uint8)
    image(root / "labels.tif", np.kron(classes, np.ones((CELL, CELL), np.uint8)), 5e5, 5e6 + 1000)
    step = 10.0 * CELL
    features = []
    for row, col in np.argwhere(classes > 0).tolist():
        left, top = 5e5 + step * col, 5e6 + 1000 - step * row
        ring = [[left, top], [left + step, top], [left + step, top - step], [left, top - step], [left, top]]
        features.append(
            {
                "type": "Feature",
                "properties": {"kind": ("land", "water")[int(lake[row, col])]},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    collection = {"type": "FeatureCollection", "crs": named, "features": features}
    (root / "labels.geojson").write_text(json.dumps(collection))
    return {
        "scene": {
            "files": str(root / "scene.tif"), "sensor": "sentinel2", "bands": list(BANDS), "unit": "reflectance",
            "scale": 1e-4, "offset": 0.0, "level": "L2A",
        },
        "labels": str(root / "labels.tif"), "classes": LAND_AND_WATER, "ignore": [0], "window": 16,
    }  # fmt: skip
