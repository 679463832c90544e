"""What a pretraining goes on with from the weights of an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import swath
from swath.bands import sensor
from swath.contract import InputContract, contract_for
from swath.cube import Encoding
from swath.errors import WeightsError
from swath.models.beit import BEiT, BEiTConfig
from swath.models.positions import interpolate_spectrum, resize_grid
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.vit_encoder import ViT, ViTConfig
from swath.pretraining.beit import BEiTObjective
from swath.pretraining.moco import MoCoConfig, MoCoObjective
from swath.pretraining.spectralgpt import SpectralGPTObjective
from swath.verbs.going_on import go_on_from
from swath.weights.build import meta_for
from swath.weights.file import load, save

SIZE = {"image_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "heads": 2}
DECODER = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_heads": 2}


def contract(*names: str) -> InputContract:
    return contract_for("sentinel2", names, Encoding("reflectance", 1e-4, 0.0), max_dates=1)


def saved(network: Any, path: Path, known: InputContract) -> str:
    save(path, network, meta_for(network, contract=known, provenance={}, licence="none"))
    return str(path)


def nm(*names: str) -> tuple[float, ...]:
    return tuple(b.center_nm for b in sensor("sentinel2").select(names))


def test_the_copy_of_moco_begins_as_the_network_that_was_loaded(tmp_path: Path) -> None:
    """From the copy come the keys: of a fresh one, a thousand steps would be learned against noise."""
    bands = ("B02", "B03", "B04")
    made = ViTConfig(wavelengths=nm(*bands), **SIZE)  # type: ignore[arg-type]
    torch.manual_seed(0)
    earlier = ViT(made)
    torch.manual_seed(1)
    objective = MoCoObjective(ViT(made), 16, MoCoConfig("v2", momentum=0.9, hidden=0, embedding=8, queue=8))
    go_on_from(
        load(saved(earlier, tmp_path / "w.safetensors", contract(*bands))),
        objective,
        "resize",
        contract(*bands),
    )
    for name, tensor in earlier.state_dict().items():
        assert torch.equal(objective.network.state_dict()[name], tensor), name
        assert torch.equal(objective.key_network.state_dict()[name], tensor), name


def test_the_codes_of_beit_keep_their_numbers(land: Any, tmp_path: Path) -> None:
    """The head names codes by number: fitted anew, in another order, they would all be other words."""
    options = land.pretraining(tmp_path / "first", steps=1, warmup_steps=0)
    options["model"] = {
        "system": "beit",
        "options": {**SIZE, "patch_size": 4, "codes": 8, "cells": 2, "image_size": 16},
    }
    del options["model"]["options"]["image_size"]  # the data say it
    options["mask"] = {"ratio": 0.4, "min_block": 2}
    options["tokenizer"] = {"tokens": 64, "iterations": 2}
    first = swath.pretrain(**options)
    options["run"] = {"folder": str(tmp_path / "second")}
    options["training"]["seed"] = 5
    second = swath.pretrain(**options, start={"weights": first.weights})
    codes = [swath_codes(w) for w in (first.weights, second.weights)]
    assert torch.equal(*codes)


def swath_codes(path: str) -> torch.Tensor:
    return load(path).state["visual_tokens.codes"]


@pytest.mark.parametrize("positions", ["separable", "joint"])
def test_positions_follow_places_and_wavelengths(tmp_path: Path, positions: str) -> None:
    old_bands, new_bands = (
        ("B02", "B03", "B04", "B05", "B06", "B07"),
        ("B06", "B07", "B08", "B8A", "B11", "B12"),
    )
    config = {**SIZE, **DECODER, "positions": positions}
    old = SpectralGPT(SpectralGPTConfig(wavelengths=nm(*old_bands), **config))  # type: ignore[arg-type]
    new_config = SpectralGPTConfig(wavelengths=nm(*new_bands), **{**config, "image_size": 24})  # type: ignore[arg-type]
    objective = SpectralGPTObjective(SpectralGPT(new_config))
    path = saved(old, tmp_path / "w.safetensors", contract(*old_bands))
    report = go_on_from(load(path), objective, "resize", contract(*new_bands))
    state = objective.network.state_dict()
    at = torch.tensor([new_config.anchors])
    for prefix, width in (("", 16), ("decoder_", 8)):
        if positions == "joint":
            grid = old.state_dict()[f"{prefix}pos_embed"].reshape(2, 2, 2, width)
            expected = interpolate_spectrum(resize_grid(grid, (3, 3)), old.config.anchors, at)
            torch.testing.assert_close(state[f"{prefix}pos_embed"], expected.reshape(1, -1, width))
        else:
            spectral = old.state_dict()[f"{prefix}pos_embed_spectral"][0]
            expected = interpolate_spectrum(spectral, old.config.anchors, at)
            torch.testing.assert_close(state[f"{prefix}pos_embed_spectral"], expected)
    assert len(report.resized) == (2 if positions == "joint" else 4)
    assert not report.new and not report.dropped


def test_a_kernel_for_each_band_meets_no_other_bands(tmp_path: Path) -> None:
    made = ViTConfig(wavelengths=nm("B02", "B03", "B04"), **SIZE)  # type: ignore[arg-type]
    path = saved(ViT(made), tmp_path / "w.safetensors", contract("B02", "B03", "B04"))
    config = BEiTConfig(wavelengths=nm("B08", "B11", "B12"), cells=2, codes=4, **SIZE)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="have learned B02, B03, B04, and the data have B08, B11, B12"):
        go_on_from(load(path), BEiTObjective(BEiT(config)), "resize", contract("B08", "B11", "B12"))
