"""Every recipe of pretraining builds what it says, without memory for it."""

from __future__ import annotations

from dataclasses import replace
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
from swath.verbs.stages import stage_configs
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


# What is published, as it is published: images, samples a step, epochs and those of warm-up, the rate (for 256 samples
# or absolute), decay, betas, share hidden, and the smallest part of a crop (None: no crops).
PUBLISHED: dict[str, dict[str, Any]] = {
    "mae": {
        "images": 354_196, "step": 1024, "epochs": 800, "warmup": 40, "base": 1.5e-4, "decay": 0.05, "hidden": 0.75,
        "betas": (0.9, 0.95), "crop": 0.2,
    },
    "beit": {
        "images": 354_196, "step": 2048, "epochs": 800, "warmup": 10, "rate": 1.5e-3, "decay": 0.05, "hidden": 0.4,
        "betas": (0.9, 0.999), "crop": 0.2, "clip": 3.0,
    },
}  # fmt: skip
for size in ("base", "large", "huge"):
    both = {"step": 4096, "warmup": 20, "decay": 0.05, "hidden": 0.9, "betas": (0.9, 0.95), "crop": 0.2}
    first = {"images": 712_874, "epochs": 200, "base": 2e-4}
    second = {"images": 354_196, "epochs": 100, "base": 1e-4}
    PUBLISHED[f"spectralgpt-{size}-stage1"] = both | first
    PUBLISHED[f"spectralgpt-{size}-stage2"] = both | second


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_numbers_are_the_published_ones(name: str) -> None:
    config, said = load_config(PretrainConfig, [f"pretrain-{name}"], verb="pretrain"), PUBLISHED[name]
    training = config.training
    assert training.samples_per_step(training.devices) == said["step"]
    epoch = said["images"] // said["step"]  # the last, partial step of an epoch is dropped
    assert training.steps == said["epochs"] * epoch and training.warmup_steps == said["warmup"] * epoch
    rate = said.get("rate") or said["base"] * said["step"] / 256
    assert training.learning_rate == pytest.approx(rate, rel=1e-9)
    assert (training.weight_decay, training.betas) == (said["decay"], said["betas"])
    assert training.clip_norm == said.get("clip") and training.decay_rule == "pretrain"
    assert config.mask.ratio == said["hidden"]
    assert training.augment.resized_crop == said["crop"] and training.augment.interpolation == "bicubic"
    assert training.augment.flips == "horizontal" and not training.augment.rotations


def test_the_stages_of_spectralgpt_are_those_of_its_code() -> None:
    for size in ("base", "large", "huge"):
        first, second = (
            load_config(PretrainConfig, [f"pretrain-spectralgpt-{size}-stage{k}"], verb="pretrain")
            for k in (1, 2)
        )
        assert (first.data.window, first.model.preset) == (96, f"spectralgpt_{size}_96")
        assert (second.training.augment.resize, second.model.preset) == (128, f"spectralgpt_{size}_128")
        assert second.start.weights == f"{first.run.folder}/weights.safetensors"
        for config in (first, second):
            assert config.data.bands == SPECTRALGPT_BANDS
            assert (config.data.normalise.kind, config.data.normalise.scope) == ("minmax", "record")
            assert config.mask.loss == "released" and not config.mask.norm_pix


def test_both_stages_of_spectralgpt_are_one_command() -> None:
    whole = stage_configs(load_config(PretrainConfig, ["pretrain-spectralgpt-base"], verb="pretrain"))
    assert len(whole) == 2
    for k, stage in enumerate(whole, 1):
        alone = load_config(PretrainConfig, [f"pretrain-spectralgpt-base-stage{k}"], verb="pretrain")
        assert stage.data == alone.data and stage.mask == alone.mask
        assert stage.training == replace(alone.training, seed=stage.training.seed)
        assert stage.start.positions == alone.start.positions


def test_swin_mae_is_trained_as_published() -> None:
    config = load_config(PretrainConfig, ["pretrain-swin-mae"], verb="pretrain")
    training = config.training
    assert (training.learning_rate, training.weight_decay, training.decay_rule) == (1e-3, 0.05, "all")
    assert (training.batch_size, training.betas, training.clip_norm) == (96, (0.9, 0.95), None)
    assert training.warmup_steps / training.steps == pytest.approx(10 / 400)
    assert (config.mask.ratio, config.mask.window, config.mask.norm_pix) == (0.75, 4, False)
    assert (training.augment.flips, training.augment.resized_crop) == ("horizontal", 0.0)
