"""Tensors of an encoder made to fit other bands, another grid of positions and other windows.

A band that the weights do not know starts at zero: the network begins as it was pretrained, and learns what the band
says. Positions are resized bicubically and interpolated over wavelengths, as they are at each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from swath.errors import WeightsError
from swath.models.positions import interpolate_spectrum, resize_grid
from swath.models.spectralgpt import EncoderConfig
from swath.models.swin_config import Size, Swin3DConfig
from swath.models.vit_encoder import ViTConfig

Fitted = dict[str, Tensor]


def fit_swin(
    state: Mapping[str, Tensor], old: Swin3DConfig, new: Swin3DConfig, bands: Sequence[int | None]
) -> Fitted:
    """Tensors of a Swin that change; `bands` are places among the old channels."""
    fitted: Fitted = {}
    if tuple(bands) != tuple(range(old.bands)):
        name = "patch_embed.proj.weight"  # [C, bands, dates, rows, columns]
        fitted[name] = _pick(state[name], bands, dim=1)
    for stage in range(new.stages):
        a, b = old.rule(stage).window, new.rule(stage).window
        if a == b:
            continue
        ending = "attn.relative_position_bias_table"
        for name in state:
            if name.startswith(f"layers.{stage}.") and name.endswith(ending):
                fitted[name] = resize_table(state[name], a, b)
    return fitted


def fit_vit(
    state: Mapping[str, Tensor], old: ViTConfig, new: ViTConfig, bands: Sequence[int | None]
) -> Fitted:
    """Tensors of a ViT that change: the kernels of the groups of bands."""
    if old.band_groups == new.band_groups and tuple(bands) == tuple(range(len(old.wavelengths))):
        return {}
    name = "patch_embed.weight"  # [groups, D, slots * patch * patch]
    area = old.patch_size**2
    kernels = state[name].reshape(*state[name].shape[:2], old.group_size, area)
    place = {c: (g, s) for g, group in enumerate(old.band_groups) for s, c in enumerate(group)}
    out = kernels.new_zeros(len(new.band_groups), kernels.shape[1], new.group_size, area)
    for g, group in enumerate(new.band_groups):
        for s, channel in enumerate(group):
            at = bands[channel]
            if at is not None:
                out[g, :, s] = kernels[place[at][0], :, place[at][1]]
    return {name: out.flatten(2)}


def fit_spectralgpt(
    state: Mapping[str, Tensor], old: EncoderConfig, new: EncoderConfig, prefix: str = ""
) -> Fitted:
    """Tensors of a SpectralGPT encoder that change: positions. One kernel serves all bands.

    With the prefix "decoder_", those of the decoder.
    """
    joint, spatial, spectral = (
        prefix + name for name in ("pos_embed", "pos_embed_spatial", "pos_embed_spectral")
    )
    moved, grown = old.anchors != new.anchors, old.grid != new.grid
    at = torch.tensor([new.anchors])
    size = (new.grid, new.grid)
    fitted: Fitted = {}
    if old.positions == "joint":
        if moved or grown:
            x = state[joint].float().reshape(len(old.anchors), old.grid, old.grid, -1)
            x = resize_grid(x, size)
            x = interpolate_spectrum(x, old.anchors, at)[0] if moved else x
            fitted[joint] = x.reshape(1, -1, x.shape[-1])
        return fitted
    if grown:
        x = state[spatial].float().reshape(1, old.grid, old.grid, -1)
        fitted[spatial] = resize_grid(x, size).flatten(1, 2)
    if moved:
        fitted[spectral] = interpolate_spectrum(state[spectral][0].float(), old.anchors, at)
    return fitted


def regroup(
    old: ViTConfig, bands: Sequence[int | None], wavelengths: Sequence[float]
) -> tuple[tuple[int, ...], ...]:
    """The groups of a ViT over other bands: known ones stay in theirs, new ones join the nearest by wavelength.

    Raises:
        WeightsError: a group would be left without a band.
    """
    home = {c: g for g, group in enumerate(old.band_groups) for c in group}
    means = [sum(old.wavelengths[c] for c in g) / len(g) for g in old.band_groups]
    groups: list[list[int]] = [[] for _ in means]
    for channel, (at, nm) in enumerate(zip(bands, wavelengths, strict=True)):
        near = min(range(len(means)), key=lambda g: abs(means[g] - nm))
        groups[near if at is None else home[at]].append(channel)
    for g, group in enumerate(groups):
        if not group:
            raise WeightsError(
                f"their group {g + 1} of bands (about {means[g]:.0f} nm) has none among the new bands",
                mend="add a band of it, or use weights with other groups",
            )
    return tuple(map(tuple, groups))


def resize_table(table: Tensor, old: Size, new: Size) -> Tensor:
    """Relative biases [offsets, heads] of one window for another.

    An offset is a number of tokens and means the same in both; what reaches farther than was learned starts as the
    farthest that was. So a network with larger windows says the same of whatever fits into the smaller ones.
    """
    x = table.reshape(*(2 * n - 1 for n in old), -1)
    for axis, (a, b) in enumerate(zip(old, new, strict=True)):
        reach = torch.arange(-(b - 1), b).clamp(-(a - 1), a - 1) + a - 1
        x = x.index_select(axis, reach)
    return x.reshape(-1, x.shape[-1])


def _pick(x: Tensor, index: Sequence[int | None], dim: int) -> Tensor:
    """Slices of `x` along `dim`; zeros where the index is None."""
    whole = torch.cat([x, torch.zeros_like(x.narrow(dim, 0, 1))], dim)
    return whole.index_select(dim, torch.tensor([x.shape[dim] if i is None else i for i in index]))
