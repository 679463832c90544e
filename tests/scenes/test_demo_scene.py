"""The embedded scene through the engine: the real reader, real validity, a file that lies where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.data.demo import NC_BANDS, NC_CLASSES, open_demo_landsat
from swath.scenes.layers import NODATA, ClassLayers
from swath.scenes.mapping import Progress, predict_scene
from swath.scenes.sink import CogSink
from swath.scenes.windows import make_plan


def test_the_embedded_scene_becomes_a_map(tmp_path: Path) -> None:
    demo = open_demo_landsat()
    scene = demo.scene
    contract = contract_for(
        "landsat7", NC_BANDS, Encoding("dn"), Normalisation("standard", "scene"), size=(96, 96)
    )
    weight = torch.randn(7, 6, 1, 1, generator=torch.Generator().manual_seed(0))

    def network(pixels: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.nn.functional.conv2d(pixels[:, 0], weight)

    plan = make_plan(scene.height, scene.width, (96, 96))
    seen: list[Progress] = []
    sink = CogSink(tmp_path / "map.tif", scene.grid, ClassLayers(NC_CLASSES))
    summary = predict_scene(scene, network, contract, plan, sink, progress=seen.append)
    assert summary.km2 == pytest.approx(443 * 489 * 0.0285**2)
    with rasterio.open(tmp_path / "map.tif") as file:
        classes, confidence, coverage = file.read()
        assert file.crs.to_epsg() == 32119
        assert file.transform == rasterio.Affine(*scene.grid.transform)
        assert file.overviews(1) == [2]
    valid = demo.cube.valid[0]
    assert np.array_equal(coverage == 100, valid.all(0))
    assert np.array_equal(coverage == 0, ~valid.any(0))
    assert np.array_equal(classes == NODATA, ~valid.any(0))
    assert np.array_equal(confidence == NODATA, classes == NODATA)
    assert summary.nodata_pixels == (classes == NODATA).sum()
    assert seen[-1].windows_done == plan.run_count
