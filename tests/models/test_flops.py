"""Counted from configs and shapes, against torch's own counter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swath.bands import SENSORS
from swath.cube import CubeBatch
from swath.errors import ConfigError
from swath.models import spectralgpt, swin_config
from swath.models.attention import force_kernel
from swath.models.beit import BEiT, BEiTConfig
from swath.models.config import ModelConfig
from swath.models.flops import flops
from swath.models.mae import MAE, MAEConfig
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.st_swin import STSwinMAE
from swath.models.swin3d import Swin3D
from swath.models.swin_config import STSwinConfig, Swin3DConfig
from swath.models.unet import UNetConfig
from swath.models.vit_encoder import ViT, ViTConfig
from swath.pretraining.beit import BEiTObjective
from swath.pretraining.config import ViewConfig
from swath.pretraining.contrast import pass_flops
from swath.pretraining.mae import MAEObjective, MAEObjectiveConfig
from swath.pretraining.moco import MOCO, MoCoObjective
from swath.pretraining.simclr import SimCLRConfig, SimCLRObjective
from swath.pretraining.spectralgpt import SpectralGPTObjective, SpectralGPTObjectiveConfig
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.training.peak import step_flops
from swath.verbs.networks import PRETRAINABLE

NM = (490.0, 560.0, 665.0, 830.0, 1610.0, 2200.0)
TOKENS = {
    "wavelengths": NM,
    "image_size": 16,
    "patch_size": 4,
    "embed_dim": 16,
    "depth": 2,
    "heads": 2,
    "temporal": True,
}
DECODER = {"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
SWIN = {
    "bands": 6,
    "patch_size": (1, 2, 2),
    "embed_dim": 8,
    "depths": (2, 1, 1),
    "heads": (1, 2, 2),
    "window": (2, 3, 3),
}
SMALL_HEADS = {
    "v2": replace(MOCO["v2"], embedding=8, queue=16),
    "v3": replace(MOCO["v3"], hidden=16, embedding=8),
}
GROUPS = {"groups": ((0, 1, 2), (3, 4), (5,)), "group_dim": 4, "decoder_group_dim": 4}


def network_and_objective(kind: str) -> tuple[nn.Module, nn.Module | None, ModelConfig, float]:
    if kind == "spectralgpt":
        gpt = SpectralGPT(SpectralGPTConfig.from_dict({**TOKENS, **DECODER}))
        return gpt, SpectralGPTObjective(gpt), gpt.config, 0.9
    if kind in ("mae", "satmae"):
        mae = MAE(MAEConfig.from_dict({**TOKENS, **DECODER, **(GROUPS if kind == "satmae" else {})}))
        return mae, MAEObjective(mae, MAEObjectiveConfig(0.75)), mae.config, 0.75
    if kind == "beit":
        beit = BEiT(BEiTConfig.from_dict({**TOKENS, "codes": 10, "cells": 2}))
        return beit, BEiTObjective(beit), beit.config, 0.4
    if kind == "vit":
        vit = ViT(ViTConfig.from_dict(TOKENS))
        return vit, None, vit.config, 0.0
    if kind == "swin3d":
        swin = Swin3D(Swin3DConfig.from_dict(SWIN))
        return swin, None, swin.config, 0.0
    one_date = {"window": (1, 4, 4)} if kind == "swin_mae" else {}
    st_swin = STSwinMAE(STSwinConfig.from_dict({**SWIN, **one_date}))
    return st_swin, STSwinMAEObjective(st_swin, mask_window=2), st_swin.config, 0.75


def contrast_objective(kind: str) -> nn.Module:
    swin, views = Swin3D(Swin3DConfig.from_dict(SWIN)), ViewConfig(resized_crop=0.0)
    if kind == "simclr":
        return SimCLRObjective(swin, 32, SimCLRConfig(hidden=16, embedding=8), views)
    return MoCoObjective(swin, 32, SMALL_HEADS[kind], views)


def products(part: nn.Module) -> float:
    """Operations of a head on one vector."""
    return sum(2.0 * p.numel() for p in part.parameters() if p.ndim == 2)


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 16, 16), (2, 14, 21)])
@pytest.mark.parametrize(
    "kind", ["spectralgpt", "mae", "satmae", "beit", "vit", "swin3d", "st_swin_mae", "swin_mae"]
)
def test_a_forward_pass_is_counted_to_the_last_product(kind: str, size: tuple[int, int, int]) -> None:
    t, h, w = size
    if h % 4 and "swin" not in kind:
        h, w = 16, 16  # resizing the positions is once per batch and is not counted
    network, objective, config, ratio = network_and_objective(kind)
    x = torch.rand(2, t, 6, h, w)
    with force_kernel("explicit"), FlopCounterMode(display=False) as counter, torch.no_grad():
        if objective is None:
            network.features(x)  # type: ignore[operator]
        else:
            objective(x, noise=torch.rand(2, objective.noise_length(x.shape)))  # type: ignore[operator]
    assert 2 * flops(config, (t, 6, h, w), mask_ratio=ratio) == counter.get_total_flops()


@pytest.mark.parametrize("kind", ["simclr", "v2", "v3"])
def test_a_comparison_of_views_is_counted_to_the_last_product(kind: str) -> None:
    samples, width = 2, 8
    objective = contrast_objective(kind)
    x = torch.rand(samples, 2, 6, 16, 16)
    with force_kernel("explicit"), FlopCounterMode(display=False) as counter, torch.no_grad():
        objective(x, noise=torch.rand(samples, objective.noise_length(x.shape)))  # type: ignore[operator]
    # An encoder's two views, in v3 the copy's two beside them; heads and comparisons are what `flops` leaves out.
    assert isinstance(objective, SimCLRObjective | MoCoObjective)
    network = pass_flops(objective.network, x.shape, objective.views)
    passes = {"simclr": 2, "v2": 2, "v3": 4}[kind]
    assert isinstance(objective.head, nn.Module)
    heads = passes * products(objective.head)
    if kind == "v3":
        assert isinstance(objective.predictor, nn.Module)
        heads += 2 * products(objective.predictor)
    # Each view with both of all samples; each query with the queue; both directions with all samples.
    others = {"simclr": 2 * 2 * samples, "v2": SMALL_HEADS["v2"].queue, "v3": 2 * samples}[kind]
    counted = samples * (passes * network + heads + 2 * others * width)
    assert counter.get_total_flops() == counted


KINDS = {
    "spectralgpt": "spectralgpt",
    "st_swin_mae": "st_swin_mae",
    "swin_mae": "swin_mae",
    "mae": "mae",
    "satmae": "satmae",
    "beit": "beit",
    "simclr": "simclr",
    "v2": "moco",
    "v3": "moco",
}
"""System of each kind that is counted."""


def test_every_system_that_is_pretrained_is_counted() -> None:
    assert set(KINDS.values()) == set(PRETRAINABLE)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_training_step_is_counted_but_for_its_ends(kind: str) -> None:
    """The first layer has no gradient for its input, and heads of small networks weigh more than those of large."""
    if KINDS[kind] in ("simclr", "moco"):
        objective = contrast_objective(kind)
    else:
        _, made, _, _ = network_and_objective(kind)
        assert made is not None
        objective = made
    dates = 1 if kind == "swin_mae" else 2
    x = torch.rand(2, dates, 6, 16, 16)
    noise = torch.rand(2, objective.noise_length(x.shape))  # type: ignore[operator]
    with force_kernel("explicit"), FlopCounterMode(display=False) as counter:
        objective(x, noise=noise).loss.backward()
    heads = 0.0
    for name in ("head", "predictor", "key_head"):
        part = objective._modules.get(name)
        if part is not None:
            passes = {"simclr": 2, "v2": 1, "v3": 2}[kind] * (1 if name == "key_head" else 3)
            heads += 2 * passes * products(part)
    if kind == "v2":
        heads += 2 * 2 * 2 * 8 * 16  # the queue: its gradient goes to the queries alone
    counted = 2 * step_flops(objective, batch_of(x), seed=0) + heads
    assert counter.get_total_flops() == pytest.approx(counted, rel=0.06)


def batch_of(pixels: torch.Tensor) -> CubeBatch:
    """Of Sentinel-2, all of it valid."""
    b, t, c = pixels.shape[:3]
    return CubeBatch(
        pixels=pixels,
        valid=torch.ones_like(pixels, dtype=torch.bool),
        days=torch.zeros(b, t, 2),
        gain=torch.ones(b, c),
        bias=torch.zeros(b, c),
        bands=SENSORS["sentinel2"].bands[:c],
        ids=tuple(str(i) for i in range(b)),
        target=None,
    )


@pytest.mark.parametrize("part", [1.0, 0.25])
def test_a_decoder_of_a_part_is_counted(part: float) -> None:
    network = SpectralGPT(SpectralGPTConfig.from_dict({**TOKENS, **DECODER, "decoder_keys": "visible"}))
    objective = SpectralGPTObjective(network, SpectralGPTObjectiveConfig(decode_part=part))
    x = torch.rand(2, 2, 6, 16, 16)
    with force_kernel("explicit"), FlopCounterMode(display=False) as counter, torch.no_grad():
        objective(x, noise=torch.rand(2, objective.noise_length(x.shape)))
    counted = flops(network.config, (2, 6, 16, 16), mask_ratio=0.9, decode_part=part)
    assert 2 * counted == counter.get_total_flops()


def test_published_sizes_and_strangers() -> None:
    base = spectralgpt.PRESETS["spectralgpt_base_96"]
    assert flops(base, (1, 12, 96, 96), mask_ratio=0.9) == pytest.approx(2.8e10, rel=0.2)
    # Swin-T at 224 pixels is known for 4.5 G multiplications.
    swin_t = swin_config.Swin3DConfig(bands=3, window=(1, 7, 7))
    assert flops(swin_t, (1, 3, 224, 224)) / 2 == pytest.approx(4.5e9, rel=0.03)
    with pytest.raises(ConfigError, match="UNetConfig are not counted"):
        flops(UNetConfig(), (1, 3, 8, 8))
