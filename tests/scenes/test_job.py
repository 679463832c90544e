"""A job opens what it was made with, and nothing that has taken its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.data.legend import LandClass
from swath.data.spec import SceneSpec
from swath.errors import WeightsError
from swath.models.unet import UNet, UNetConfig
from swath.scenes.job import WeightsJob
from swath.scenes.layers import ClassLayers
from swath.scenes.windows import Plan
from swath.weights.build import meta_for
from swath.weights.file import load, save

BANDS = ("B2", "B3", "B4")


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    scene = tmp_path / "scene.tif"
    with rasterio.open(
        scene, "w", driver="GTiff", dtype="uint8", count=3, height=40, width=40, crs="EPSG:32119",
        transform=rasterio.Affine(30, 0, 6e5, 0, -30, 2e5), nodata=0,
    ) as file:  # fmt: skip
        file.write(np.full((3, 40, 40), 9, np.uint8))
        file.descriptions = BANDS
        file.units = ["dn"] * 3
    contract = contract_for("landsat7", BANDS, Encoding("dn"), Normalisation("identity"), size=(16, 16))
    files = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = UNet(UNetConfig(bands=3, classes=2, width=4, levels=1))
        files.append(tmp_path / f"{seed}.safetensors")
        save(files[-1], network, meta_for(network, contract=contract))
    classes = (LandClass(1, "land", (0, 90, 0)), LandClass(2, "water", (0, 0, 200)))
    job = WeightsJob(
        weights=str(files[0]),
        input=SceneSpec(str(scene), sensor="landsat7"),
        contract=contract,
        plan=Plan(40, 40, (16, 16), 8, 0, 256),
        layers=ClassLayers(classes),
        batch_size=4,
        threads=1,
        device="cpu",
        precision="fp32",
        turns=False,
        holes=False,
        statistics=None,
        sha256=load(files[0]).sha256,
    )
    with job.open() as worker:
        assert worker.run(0, None).record.windows == 16
    shutil.copy(files[1], files[0])
    with (
        pytest.raises(WeightsError, match=r"0\.safetensors: are not those that the work was begun with"),
        job.open(),
    ):
        pass
