"""A job with real weights and a real file, as workers elsewhere open it, and its map made in this process."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import rasterio
import torch

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.data.legend import LandClass
from swath.data.raster import open_scene
from swath.data.spec import SceneSpec
from swath.models.unet import UNet, UNetConfig
from swath.models.vit_encoder import ViT, ViTConfig
from swath.scenes.cells import CellPlan
from swath.scenes.job import FeatureJob, WeightsJob
from swath.scenes.layers import ClassLayers, FeatureLayers
from swath.scenes.piece import Piece
from swath.scenes.runners.local import run_local
from swath.scenes.windows import Plan
from swath.weights.build import meta_for
from swath.weights.file import save

BANDS = ("B2", "B3", "B4")
CLASSES = (LandClass(1, "land", (0, 90, 0)), LandClass(2, "water", (0, 0, 200)))


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> WeightsJob:
    folder = tmp_path_factory.mktemp("job")
    draw = np.random.default_rng(0)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", dtype="uint8", count=3, height=600, width=700,
        crs="EPSG:32119", transform=rasterio.Affine(30, 0, 6e5, 0, -30, 2e5), nodata=0, tiled=True,
        blockxsize=128, blockysize=128,
    ) as file:  # fmt: skip
        file.write(draw.integers(0, 255, (3, 600, 700), np.uint8))
        for i, name in enumerate(BANDS, 1):
            file.set_band_description(i, name)
        file.units = ["dn"] * 3
    torch.manual_seed(0)
    network = UNet(UNetConfig(bands=3, classes=2, width=4, levels=2))
    contract = contract_for(
        "landsat7", BANDS, Encoding("dn"), Normalisation("standard", "scene"), size=(64, 64)
    )
    save(folder / "weights.safetensors", network, meta_for(network, contract=contract))
    spec = SceneSpec(str(folder / "scene.tif"), sensor="landsat7")
    with open_scene(spec) as scene:
        statistics = scene.statistics()
    return WeightsJob(
        weights=str(folder / "weights.safetensors"),
        input=spec,
        contract=contract,
        plan=Plan(600, 700, (64, 64), 32, 0, 256),  # 3 x 3 blocks
        layers=ClassLayers(CLASSES, probabilities=True, bits=16),
        batch_size=8,
        threads=1,
        device="cpu",
        precision="fp32",
        turns=False,
        holes=False,
        statistics=statistics,
    )


@pytest.fixture(scope="session")
def features(job: WeightsJob, tmp_path_factory: pytest.TempPathFactory) -> FeatureJob:
    """Features of the same scene: four blocks of 8-bit numbers."""
    wavelengths = job.contract.wavelengths
    torch.manual_seed(0)
    network = ViT(ViTConfig(wavelengths, image_size=64, patch_size=8, embed_dim=16, depth=1, heads=2))
    weights = tmp_path_factory.mktemp("features") / "weights.safetensors"
    save(weights, network, meta_for(network, contract=job.contract))
    given = {f.name: getattr(job, f.name) for f in fields(WeightsJob)}
    changed = {
        "weights": str(weights), "plan": CellPlan(75, 88, (8, 8), 4, 0, 64), "cell": 8,
        "layers": FeatureLayers(16, "uint8", low=(-3.0,) * 16, high=(3.0,) * 16),
    }  # fmt: skip
    return FeatureJob(**{**given, **changed})


@pytest.fixture(scope="session")
def expected(job: WeightsJob) -> dict[int, Piece]:
    """All blocks, computed one after the other."""
    pieces: dict[int, Piece] = {}
    with job.open() as worker:
        run_local(worker, range(job.plan.block_count), lambda p: pieces.update({p.record.block: p}))
    assert len({p.record.sha256 for p in pieces.values()}) == job.plan.block_count == 9
    return pieces
