"""Vectors of the 2D networks: Swin-MAE, its U-net, Swin-Unet, their expanding layers and window masks."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from swath.errors import WeightsError
from swath.ledger.row import EXACT, LedgerRow
from swath.ledger.swin_vector import Vector, as_like, captured, load, stage_output
from swath.models.st_swin import STSwinMAE, STSwinUNet
from swath.models.swin3d import PatchExpanding, cut_patches, join_patches
from swath.models.swin_config import STSwinConfig, STSwinUNetConfig
from swath.pretraining.st_swin_mae import NORM_EPS, STSwinMAEObjective, patch_statistics
from swath.pretraining.window_masks import hide_windows
from swath.weights.convert.registry import KINDS
from swath.weights.convert.swin_kinds import EPS

MASKING = re.compile(r"grid(\d+)_r(\d+)_ratio([\d.]+)\.(noise|mask)")
_INPUTS = ("x", "imgs", "input")
# What the metadata of the expanding layers call them.
_LAYERS = {"pe": "PatchExpand", "fe": "FinalPatchExpand_X4"}


def check_mae(vector: Vector) -> list[LedgerRow]:
    """Swin-MAE: every step from the patches to the loss."""
    plan, state = vector.converted(KINDS["swin-mae"], _hints(vector))
    config = plan.config
    assert isinstance(config, STSwinConfig)
    network = STSwinMAE(config)
    load(network, state)
    r, ratio = int(vector.meta.get("r", 4)), float(vector.meta.get("mask_ratio", 0.75))
    norm_pix = bool(vector.meta.get("norm_pix_loss", False))
    objective = STSwinMAEObjective(network, ratio, r, norm_pix=norm_pix).eval()
    images, noise = vector.input(*_INPUTS), vector.input("noise")
    pixels = images[:, None]
    patch = config.patch_size
    if images.shape[-2] % (r * patch[1]) or images.shape[-1] % (r * patch[2]):
        raise WeightsError(f"windows of {r} patches do not divide the image", where=vector.file)
    inside = captured(network, planar=True)
    with torch.no_grad():
        out = objective(pixels, noise=noise)
    grid = inside["patch_embed"].shape[1:3]
    hidden = hide_windows(noise, (1, *grid), window=r, ratio=ratio)[:, 0]
    flat = cut_patches(pixels, patch).flatten(4)
    target = flat.flatten(1, 3)
    if norm_pix:
        mean, variance = patch_statistics(target, None)
        normalised = (target - mean) / (variance + NORM_EPS).sqrt()
        # Of the pixels as they are, by the description; of those the loss sees, if that is what was kept.
        raw = torch.allclose(vector.arrays.get("target", target), target, atol=1e-4)
        target = target if raw else normalised
    prediction = inside["decoder_pred"]
    unfolded = prediction[:, None].reshape(*prediction.shape[:1], 1, *grid, *patch, config.bands)
    vector.expect_all(
        {
            "patch_embed": inside["patch_embed"],
            "x_masked": inside["layers.0.in"],
            "latent": stage_output(inside, "layers", config.stages - 1),
            "first_patch_expanding": inside["first_patch_expanding"],
            "pred": as_like(prediction, vector.arrays.get("pred")),
            "target": target,
            "loss": out.loss,
            "unpatchified_pred": join_patches(unfolded, (1, *images.shape[-2:]))[:, 0],
        }
    )
    _expect_stages(vector, config, inside)
    vector.expect("mask", hidden.flatten(1).float(), EXACT)
    vector.expect("mask_window_level", hidden[:, ::r, ::r].flatten(1).float(), EXACT)
    vector.expect("window_restore", noise.argsort(dim=1, stable=True).argsort(dim=1), EXACT)
    if "x_kept_only" in vector.arrays:
        vector.expect("x_kept_only", _kept_only(inside["patch_embed"], noise, hidden, r))
    return vector.finish()


def _kept_only(tokens: Tensor, noise: Tensor, hidden: Tensor, r: int) -> Tensor:
    """The tokens that stay, as the published code packs them into a smaller square (and then does not use):
    place in the window first, then windows by rising noise.
    """
    b, h, w, c = tokens.shape
    places = tokens.reshape(b, h // r, r, w // r, r, c).permute(0, 2, 4, 1, 3, 5).reshape(b, r * r, -1, c)
    count = int((~hidden[0, ::r, ::r]).sum())
    keep = noise.argsort(dim=1, stable=True)[:, None, :count, None].expand(-1, r * r, -1, c)
    kept = places.gather(2, keep).flatten(1, 2)
    side = math.isqrt(kept.shape[1])
    return kept.reshape(b, side, -1, c)


def check_mae_unet(vector: Vector) -> list[LedgerRow]:
    """The U-net of Swin-MAE."""
    return _check_unet(vector, "swin-mae-unet")


def check_unet(vector: Vector) -> list[LedgerRow]:
    """Swin-Unet."""
    return _check_unet(vector, "swin-unet")


def _check_unet(vector: Vector, kind: str) -> list[LedgerRow]:
    plan, state = vector.converted(KINDS[kind], _hints(vector))
    assert isinstance(plan.config, STSwinUNetConfig)
    config = plan.config.backbone
    network = STSwinUNet(plan.config)
    load(network, state)
    inside = captured(network, planar=True)
    with torch.no_grad():
        logits = network(vector.input(*_INPUTS)[:, None])
    values = {
        "patch_embed": inside["patch_embed"],
        "latent": stage_output(inside, "layers", config.stages - 1),
        "first_patch_expanding": inside["first_patch_expanding"],
        "up_features": inside["norm_up"],
        "norm_up": inside["norm_up"],
        "final_patch_expanding": inside["final_patch_expanding"],
        "final_expand": inside["final_patch_expanding"],
    }
    if "norm" in inside:
        values["bottleneck"] = inside["norm"]
    for i in range(config.stages):
        values[f"skip{i}"] = inside[f"layers.{i}.in"]
    for i in range(config.stages - 1):
        values[f"skip_in{i}"] = inside[f"skip_connection_layers.{i}.in"]
        values[f"skip_out{i}"] = inside[f"skip_connection_layers.{i}"]
    vector.expect_all({name: as_like(value, vector.arrays.get(name)) for name, value in values.items()})
    _expect_stages(vector, config, inside)
    vector.expect("out", logits)
    return vector.finish()


def _expect_stages(vector: Vector, config: STSwinConfig, inside: dict[str, Tensor]) -> None:
    for room, name in (("layers", "enc_layer"), ("layers_up", "dec_layer")):
        for i in range(config.stages - (room == "layers_up")):
            key = f"{name}{i}"
            vector.expect(key, as_like(stage_output(inside, room, i), vector.arrays.get(key)))


def check_masking(vector: Vector) -> list[LedgerRow]:
    """Window masks from noise, for many grids."""
    for name in sorted(vector.arrays):
        match = MASKING.fullmatch(name)
        if match is None or match[4] != "mask":
            continue
        side, r, ratio = int(match[1]), int(match[2]), float(match[3])
        noise = vector.input(name.removesuffix("mask") + "noise")
        hidden = hide_windows(noise, (1, side, side), window=r, ratio=ratio)[:, 0].float()
        expected = vector.arrays[name]
        vector.expect(name, hidden if expected.ndim == 3 else hidden.flatten(1), EXACT)
    return vector.finish()


def check_expanding(vector: Vector) -> list[LedgerRow]:
    """Expanding layers alone: tokens [B, rows * columns, C] in and out."""
    for prefix in sorted({n.split(".")[1] for n in vector.arrays if n.startswith("param.")}):
        state = vector.claim(f"param.{prefix}.")
        given = vector.input(f"{prefix}_in")
        made, width = state["expand.weight"].shape
        out = state["norm.weight"].shape[0]
        factor = math.isqrt(made // out)
        about: dict[str, Any] = vector.meta.get(_LAYERS.get(prefix, prefix), {})
        rows, columns = about.get("input_resolution", (0, 0))
        if rows * columns != given.shape[1]:
            raise WeightsError(f"{given.shape[1]} tokens are not {rows} x {columns}", where=vector.file)
        layer = PatchExpanding(width, out, (factor, factor), float(vector.meta.get("norm_layer_eps", 1e-5)))
        load(layer, state)
        with torch.no_grad():
            x = layer(given.reshape(-1, 1, rows, columns, width), rows * factor, columns * factor)
        name = f"{prefix}_out"
        vector.expect(name, x.flatten(1, 3) if vector.arrays[name].ndim == 3 else x[:, 0])
    return vector.finish()


def _hints(vector: Vector) -> dict[str, Any]:
    eps = vector.meta.get("norm_layer_eps")
    return {} if eps is None else {EPS: eps}
