"""From fine-tuning on records to a map of a scene, by the verbs alone: the weights say all that a map needs."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

import swath
from swath.data.layouts import registry

RECORDS = runpy.run_path(str(Path(__file__).with_name("test_finetune_records.py")))
SIDE = 64


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    layout, plain = RECORDS["Planted"], registry.layout_class
    monkeypatch.setitem(registry.LAYOUTS, "planted", "planted:Planted")
    for module in (registry, __import__("swath.verbs.labelled_sources", fromlist=["x"])):
        monkeypatch.setattr(module, "layout_class", lambda name: layout if name == "planted" else plain(name))


def scene(folder: Path, dates: int, cell: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Kinds of land [H,W] in cells, and files that show them as the records do."""
    draw = np.random.default_rng(5)
    kinds = draw.integers(0, 3, (SIDE // cell, SIDE // cell)).repeat(cell, 0).repeat(cell, 1)
    levels = np.array([[500, 500, 500], [3000, 3000, 3000], [500, 3000, 500]])
    pixels = levels[kinds].transpose(2, 0, 1) + draw.normal(0, 100, (dates, 3, SIDE, SIDE))
    if dates > 1:
        pixels[1:] += 2500 * (kinds == 1)
        pixels[0] = 1000
    files = []
    for i, one in enumerate(pixels.clip(1).astype(np.uint16)):
        files.append(str(folder / f"{i}.tif"))
        with rasterio.open(
            files[-1], "w", driver="GTiff", count=3, height=SIDE, width=SIDE, dtype="uint16", crs="EPSG:32633",
            transform=Affine(10, 0, 5e5, 0, -10, 5e6),
        ) as file:  # fmt: skip
            file.write(one)
    said = {
        "sensor": "sentinel2",
        "bands": ["B03", "B04", "B08"],
        "unit": "reflectance",
        "scale": 1e-4,
        "level": "L2A",
    }
    if dates > 1:
        return kinds, {**said, "files": files, "files_are": "dates", "dates": ["2022-06-01", "2022-07-01"]}
    return kinds, {**said, "files": files[0]}


@pytest.mark.slow  # fine-tunes for each task
@pytest.mark.parametrize("target", ["classification", "multilabel", "density", "amount", "change"])
def test_what_was_learned_from_records_is_mapped(tmp_path: Path, target: str) -> None:
    windows = target in ("classification", "multilabel", "amount")
    dates = 2 if target == "change" else 1
    more = {"dates": 2} if dates > 1 else {}
    tuned = RECORDS["tune"](tmp_path / "run", target, RECORDS["VIT" if windows else "UNET"], **more)
    kinds, spec = scene(tmp_path, dates, 16 if windows else 4)
    made: Any = swath.predict(
        weights=tuned.weights, input=spec, output=str(tmp_path / "map.tif"), overlap=0, precision="fp32"
    )
    with rasterio.open(made.map) as file:
        bands, names, units = file.read(), file.descriptions, file.units
    if target in ("classification", "change"):
        wanted = np.array([3, 5, 9])[kinds] if target == "classification" else np.array([3, 5, 3])[kinds]
        assert names == ("change" if target == "change" else "class", "confidence", "coverage")
        assert (bands[0] == wanted).mean() > 0.85
    elif target == "multilabel":
        assert names == ("p(dark)", "p(bright)", "p(green)", "coverage")
        for got, truth in zip(bands, (kinds == 0, kinds > 0, kinds == 2), strict=False):
            assert ((got > 50) == truth).mean() > 0.85
    else:
        assert names == ("depth", "coverage") and units[0] == "m"
        known = kinds > 0 if target == "density" else kinds >= 0
        truth = (0.5 if target == "density" else 0.25) * kinds[known]
        assert 1 - np.var(bands[0][known] - truth) / np.var(truth) > 0.6
