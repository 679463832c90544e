"""Features of a whole scene through their verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

import swath
from swath.errors import ConfigError
from swath.scenes.sources.opening import open_source
from swath.scenes.sources.spec import SourceSpec
from swath.weights.build import build_loaded
from swath.weights.file import load


@pytest.mark.parametrize("level", [0, -1])
def test_features_lie_on_the_scene_and_are_those_of_the_encoder(
    chain: Any, tmp_path: Path, level: int
) -> None:
    made = swath.embed(
        weights=chain.pretrained.weights, input=chain.land.spec, output=str(tmp_path / "f.tif"), level=level,
        overlap=0, precision="fp32",
    )  # fmt: skip
    loaded = load(chain.pretrained.weights)
    contract, network = loaded.meta.contract, build_loaded(loaded).eval()
    with open_source(SourceSpec(files=chain.land.scene, sensor="landsat7")) as scene:
        cube = contract.convert(scene.read(0, 32, 16, 16))
    gain, bias = contract.affine(cube)
    pixels = (cube.pixels * gain[:, None, None] + bias[:, None, None]) * cube.valid
    with torch.inference_mode():
        given = network.features(
            torch.from_numpy(pixels[None].astype(np.float32)), torch.from_numpy(cube.valid[None].copy()), None,
            contract.wavelengths,
        )  # fmt: skip
    s = made.stride
    with rasterio.open(made.output) as file, rasterio.open(chain.land.scene) as scene:
        assert file.crs == scene.crs
        x, y = scene.transform, file.transform
        assert tuple(y)[:6] == (x.a * s, x.b * s, x.c, x.d * s, x.e * s, x.f)
        assert file.shape == (-(-scene.height // s), -(-scene.width // s))
        assert file.count == made.features + 1 and file.descriptions[-1] == "coverage"
        bands = file.read()
    part = bands[:-1, : 16 // s, 32 // s : 48 // s]
    np.testing.assert_allclose(part, given.maps[level][0, 0, 0].numpy(), atol=1e-5)
    assert np.isnan(bands[:-1][:, bands[-1] == 0]).all()


def test_a_level_that_is_not_there(chain: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="level"):
        swath.embed(
            weights=chain.pretrained.weights, input=chain.land.spec, output=str(tmp_path / "f.tif"), level=7
        )
    assert not list(tmp_path.iterdir())
