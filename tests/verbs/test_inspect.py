"""What a file is, in rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import swath
from swath.errors import ConfigError, InputError, WeightsError
from swath.verbs.networks import presets
from swath.weights.file import load


def test_weights(chain: Any) -> None:
    result = swath.inspect(chain.finetuned.weights)
    rows = dict(result.rows)
    assert rows["architecture"] == "st_swin_unet"
    assert rows["bands, in order"] == "B2 B3 B4 of landsat7"
    assert rows["normalisation"] == "standard, scope fixed"
    assert rows["training window"] == "16 x 16 pixels"
    assert rows["classes"] == "forest, town, water"
    assert rows["sha256"] == load(chain.finetuned.weights).sha256
    assert result.summary().splitlines()[0].startswith("architecture ")
    assert swath.inspect(chain.finetuned.folder) == result


def test_a_scene_and_whether_weights_fit_it(chain: Any) -> None:
    land = chain.land
    rows = dict(swath.inspect(land.scene, sensor="landsat7", weights=chain.finetuned.weights).rows)
    assert dict(swath.inspect(land.scene, sensor="landsat7", weights=chain.finetuned.folder).rows) == rows
    assert rows["size"] == "1 date, 3 bands, 40 x 112 pixels of 30 m"
    assert rows["coordinates"] == "EPSG:32119"
    assert "dn = stored x 1 + 0 (the file's tags); 99.6% valid" in rows["band B4"]
    assert rows["fits"] == "yes, as bands B2 B3 B4"


def test_why_weights_do_not_fit(chain: Any, tmp_path: Path, raster: Callable[..., str]) -> None:
    path = raster(tmp_path / "two.tif", np.ones((2, 20, 20), np.uint8), names=("B2", "B4"), unit="dn")
    rows = dict(swath.inspect(path, sensor="landsat7", weights=chain.finetuned.weights).rows)
    assert rows["fits"].startswith("no: ")
    assert "band B3 is missing" in rows["fits"]
    rows = dict(swath.inspect(path, sensor="landsat7", unit="reflectance", scale=1e-4).rows)
    assert "reflectance = stored x 0.0001 + 0 (stated)" in rows["band B2"]


def test_embedded_scenes_and_presets() -> None:
    assert dict(swath.inspect("demo:landsat").rows)["coordinates"] == "EPSG:32119"
    rows = dict(swath.inspect(presets=True).rows)
    systems = ("spectralgpt", "st_swin_mae", "unet", "resnet")
    assert set(rows) == {f"{system} {name}" for system in systems for name in presets(system)}
    assert all(value.endswith(" parameters") for value in rows.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "file: no file is named; write: swath inspect FILE"),
        ({"file": "none.safetensors"}, "none.safetensors: no such file"),
        ({"file": "none.tif", "sensor": "landsat7"}, "none.tif: there is no such file"),
        ({"file": "none.tif"}, "none.tif: there is no such file"),
        ({"file": __file__}, "cannot be read as a raster"),
        ({"file": __file__, "sensor": "landsat99"}, "landsat99"),
        (
            {"file": "none.tif", "sensor": "landsat7", "unit": "percent"},
            "unit: unknown unit 'percent'; use one",
        ),
        ({"file": "."}, "is a folder, not a raster, and holds no weights.safetensors; name a file in it"),
        ({"file": "demo:landsta"}, "did you mean demo:landsat"),
    ],
)
def test_what_cannot_be_described_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, InputError, WeightsError), match=words):
        swath.inspect(**options)
