"""A compiled model trains as the eager one, and the comparison is sharp enough to notice a lost part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from swath.models.beit import BEiT, BEiTConfig
from swath.models.mae import MAE, MAEConfig
from swath.models.spectralgpt import SpectralGPT, SpectralGPTConfig
from swath.models.st_swin import STSwinConfig, STSwinMAE
from swath.models.swin_config import SWIN_MAE_PRESETS
from swath.models.vit_encoder import FixedPositions, ViT, ViTConfig
from swath.pretraining.beit import BEiTObjective
from swath.pretraining.config import ViewConfig
from swath.pretraining.mae import MAEObjective
from swath.pretraining.moco import MoCoConfig, MoCoObjective
from swath.pretraining.simclr import SimCLRConfig, SimCLRObjective
from swath.pretraining.spectralgpt import SpectralGPTObjective
from swath.pretraining.st_swin_mae import STSwinMAEObjective
from swath.training.parallel import compile_blocks

CONFIG = SpectralGPTConfig(
    wavelengths=(500.0, 600.0, 700.0),
    image_size=32,
    embed_dim=32,
    depth=2,
    heads=2,
    decoder_embed_dim=16,
    decoder_depth=1,
    decoder_heads=2,
)


SMALL_VIT = {
    "wavelengths": (500.0, 600.0, 700.0),
    "image_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "heads": 2,
}


SMALL_MAE = {**SMALL_VIT, "decoder_embed_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
GROUPED = {"groups": ((0,), (1, 2)), "group_dim": 8, "decoder_group_dim": 4, "temporal": True}
SMALL_SWIN: dict[str, Any] = {
    "bands": 3, "embed_dim": 16, "depths": (2, 1), "heads": (1, 2), "decoder_depths": (1,), "drop_path": 0.0,
}  # fmt: skip
MASKED = ("spectralgpt", "beit", "mae", "satmae", "st_swin_mae", "swin_mae")
BIAS = "relative_position_bias_table"


def objective(kind: str) -> nn.Module:
    """With fresh weights; none but the spectral one has learned positions."""
    torch.manual_seed(0)
    if kind == "spectralgpt":
        return SpectralGPTObjective(SpectralGPT(CONFIG))
    if kind == "beit":
        beit = BEiT(BEiTConfig.from_dict({**SMALL_VIT, "codes": 8, "cells": 2}))
        beit.visual_tokens.codes.uniform_(-1.5, 1.5)
        return BEiTObjective(beit, 0.4, 2)
    if kind in ("mae", "satmae"):
        return MAEObjective(MAE(MAEConfig.from_dict({**SMALL_MAE, **(GROUPED if kind == "satmae" else {})})))
    if kind in ("st_swin_mae", "swin_mae"):
        series = kind == "st_swin_mae"
        made = STSwinConfig() if series else SWIN_MAE_PRESETS["swin_mae_t"]
        swin = STSwinMAE(replace(made, window=(2 if series else 1, 4, 4), **SMALL_SWIN))
        for name, parameter in swin.named_parameters():
            if BIAS in name:  # zero at the start, so that nothing would be lost with it
                nn.init.normal_(parameter)
        return STSwinMAEObjective(swin, 0.5, 2)
    # Without crops and bands that are left out: what is compared is the network, not the views.
    vit, views = (
        ViT(ViTConfig.from_dict(SMALL_VIT)),
        ViewConfig(resized_crop=0.0, band_dropout=0.0, seasonal=False),
    )
    if kind == "simclr":
        return SimCLRObjective(vit, 32, SimCLRConfig(temperature=1.0, hidden=32, embedding=16), views)
    if kind == "moco_v2":
        config = MoCoConfig("v2", temperature=1.0, momentum=0.9, hidden=32, embedding=16, queue=16)
    else:
        config = MoCoConfig("v3", temperature=1.0, hidden=32, embedding=16, freeze_patch_embed=True)
    return MoCoObjective(vit, 32, config, views)


def drop_positions(module: nn.Module) -> None:
    """Of every encoder in it; of a Swin, what says how far apart two tokens are."""
    for name, parameter in module.named_parameters():
        if "pos_embed" in name or BIAS in name:
            parameter.data.zero_()
            parameter.requires_grad_(False)
    for part in module.modules():
        if isinstance(part, FixedPositions):
            part.register_forward_hook(lambda m, given, out: torch.zeros_like(out))


def trajectory(kind: str, *, compiled: bool, positions: bool = True) -> list[float]:
    """Losses of 20 steps on smooth images, whose hidden parts only positions can tell apart."""
    trained = objective(kind)
    if not positions:
        drop_positions(trained)
    if compiled:
        assert compile_blocks(trained) == {
            "beit": 2,
            "simclr": 2,
            "spectralgpt": 3,
            "mae": 3,
            "satmae": 3,
        }.get(kind, 4)
    # Images are soon told apart, and what is left of that loss is rounding, which large steps blow up.
    rate = 3e-3 if kind in MASKED else 5e-5
    optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=rate)
    draw = torch.Generator().manual_seed(1)
    dates = 2 if kind in ("satmae", "st_swin_mae") else 1
    days = torch.tensor([[[20.0, 2020.0], [200.0, 2021.0]]]).expand(4, 2, 2) if kind == "satmae" else None
    losses = []
    for step in range(20):
        slope = torch.randn(4, dates, 3, 1, 1, generator=draw)
        pixels = slope * torch.linspace(-1, 1, 32).view(1, 1, 1, 32, 1).expand(4, dates, 3, 32, 32)
        noise = torch.rand(4, trained.noise_length(pixels.shape), generator=draw)  # type: ignore[operator]
        loss: Tensor = trained(pixels, None, noise=noise, days=days).loss
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        optimizer.step()
        if isinstance(trained, MoCoObjective):
            trained.after_step(step, 20)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.slow
# The compiler's own: Python's ast, and its look at .grad of what is no leaf.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("kind", [*MASKED, "simclr", "moco_v2", "moco_v3"])
def test_compiled_equals_eager_over_twenty_steps_and_a_dropped_position_is_noticed(kind: str) -> None:
    eager = trajectory(kind, compiled=False)
    near = 1e-4 * max(eager)
    assert trajectory(kind, compiled=True) == pytest.approx(eager, rel=0, abs=near)
    # A Swin's blocks are many graphs, each slow to compile: without positions they need not be compiled again.
    lost = trajectory(kind, compiled="swin" not in kind, positions=False)
    assert max(abs(a - b) for a, b in zip(eager, lost, strict=True)) > 20 * near
