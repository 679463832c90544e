"""Networks of tasks, saved: maps and features of a scene are made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

import swath
from swath.contract import InputContract, Normalisation, contract_for
from swath.cube import Encoding
from swath.verbs.head_options import HeadOptions
from swath.verbs.options import ModelOptions
from swath.verbs.task_network import task_network
from swath.weights.build import meta_for
from swath.weights.file import save
from swath.weights.meta import MapClass, Quantity

BANDS = ("B2", "B3", "B4")
VIT: dict[str, Any] = {"embed_dim": 16, "depth": 1, "heads": 2, "patch_size": 8}
LIGHT: dict[str, Any] = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": [1, 1], "heads": [1, 2]}


def contract(dates: int | None = 1) -> InputContract:
    return contract_for(
        "landsat7", BANDS, Encoding("dn"), Normalisation("standard", "scene"),
        size=(16, 16), min_dates=dates or 1, max_dates=dates,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "head", "task"),
    [
        (ModelOptions("mae", "", {**VIT, **LIGHT}), HeadOptions("conv", width=16), "segmentation"),
        (ModelOptions("moco", "swin_t", SWIN), HeadOptions("linear"), "classification"),
        (
            ModelOptions("beit", "", {**VIT, "codes": 4, "cells": 2}),
            HeadOptions("uper", width=16),
            "regression",
        ),
    ],
)
def test_a_map_and_features_of_a_scene(land: Any, tmp_path: Path, model: Any, head: Any, task: Any) -> None:
    torch.manual_seed(0)
    outputs = 1 if task == "regression" else 3
    network, _ = task_network(None, model, head, contract(), task, outputs)
    about = (
        {"quantities": (Quantity("height", "m"),)}
        if task == "regression"
        else {"classes": tuple(MapClass(name, value=i) for i, name in enumerate("abc"))}
    )
    weights = str(tmp_path / "w.safetensors")
    save(weights, network, meta_for(network, contract=contract(), task=task, **about))
    made = swath.predict(weights=weights, input=land.spec, output=str(tmp_path / "map.tif"), precision="fp32")
    with rasterio.open(made.map) as file, rasterio.open(land.scene) as scene:
        assert file.shape == scene.shape
        values = file.read(1)
    assert len(np.unique(values)) > (2 if task == "regression" else 1)
    features = swath.embed(
        weights=weights, input=land.spec, output=str(tmp_path / "features.tif"), precision="fp32"
    )
    with rasterio.open(features.output) as file:
        assert file.count >= 8 and np.isfinite(file.read(masked=True)).all()
