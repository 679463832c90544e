"""Every recipe of pretraining builds what it says, without memory for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from swath.bands import SPECTRALGPT_BANDS
from swath.contract import Normalisation, contract_for
from swath.cube import Encoding
from swath.verbs.config import load_config
from swath.verbs.objectives import make_objective
from swath.verbs.pretrain import PretrainConfig
from swath.verbs.scene_data import Pretraining
from swath.verbs.yaml_file import recipes

# Parameters of the network that goes into the weights, millions (SpectralGPT: spec of the publication).
SIZES = {
    "pretrain-spectralgpt-base-stage1": 98.50,
    "pretrain-spectralgpt-large-stage1": 315.97,
    "pretrain-spectralgpt-huge-stage1": 643.56,
    "pretrain-st-swin-mae-98m": 98.0,
}


@pytest.mark.parametrize("name", sorted(n for n in recipes() if n.startswith("pretrain-")))
def test_a_recipe_builds_its_network(name: str) -> None:
    config = load_config(PretrainConfig, [name], verb="pretrain")
    bands = config.data.bands or SPECTRALGPT_BANDS
    dates = 4 if "ssl4eo" in config.data.shards[0] else 1
    contract = contract_for(
        "sentinel2",
        bands,
        Encoding("reflectance", 1e-4, 0.0),
        Normalisation(),
        max_dates=None if dates > 1 else 1,
    )
    with torch.device("meta"):
        objective: Any = make_objective(config, Pretraining(contract, (), (), ()))
    millions = sum(p.numel() for p in objective.network.parameters()) / 1e6
    if name in SIZES:
        assert millions == pytest.approx(SIZES[name], abs=0.05)
    shape = (dates, len(bands), config.data.window, config.data.window)
    assert objective.flops(shape) > 1e9
    assert config.training.warmup_steps < config.training.steps
    assert objective.noise_length((1, *shape)) > 0
