"""Any encoder behind one face: what a task network needs to know of it, and its features at several depths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.config import ModelConfig
from swath.models.features import Features
from swath.models.spectralgpt import EncoderConfig, SpectralGPTEncoder
from swath.models.swin3d import Swin3D
from swath.models.swin_config import Swin3DConfig
from swath.models.token_encoder import TokenEncoder
from swath.models.vit_encoder import ViT, ViTConfig

EncoderKind = Literal["spectralgpt", "vit", "swin3d"]
ENCODER_KINDS: tuple[EncoderKind, ...] = get_args(EncoderKind)
_CONFIGS: dict[EncoderKind, type[ModelConfig]] = {
    "spectralgpt": EncoderConfig,
    "vit": ViTConfig,
    "swin3d": Swin3DConfig,
}


@dataclass(frozen=True)
class EncoderShape:
    """What an encoder gives.

    Attributes:
        dims: width D_i of each map, fine to coarse.
        strides: pixels per cell of each map.
        pooled: width of the vector.
        groups: G, spectral groups of the maps.
        tube: dates per cell.
        temporal: whether several dates may be encoded together.
    """

    dims: tuple[int, ...]
    strides: tuple[int, ...]
    pooled: int
    groups: int
    tube: int
    temporal: bool


def encoder_config(kind: EncoderKind, values: Mapping[str, Any]) -> ModelConfig:
    """The config of an encoder from plain values."""
    if kind not in _CONFIGS:
        raise ConfigError(f"unknown kind of encoder '{kind}'", mend=f"use {', '.join(ENCODER_KINDS)}")
    return _CONFIGS[kind].from_dict(values)


def encoder_part(kind: EncoderKind, config: ModelConfig) -> ModelConfig:
    """The encoder's part of the config of a system that is built around it (with decoder, codebook, head)."""
    known = _CONFIGS[kind]
    return known(**{f.name: getattr(config, f.name) for f in fields(known)})


def build_encoder(config: ModelConfig) -> nn.Module:
    """A fresh encoder, without what its pretraining has besides."""
    if isinstance(config, EncoderConfig):
        return SpectralGPTEncoder(config)
    if isinstance(config, ViTConfig):
        return ViT(config)
    assert isinstance(config, Swin3DConfig)
    return Swin3D(config)


def encoder_shape(config: ModelConfig, layers: Sequence[int] = (-1,)) -> EncoderShape:
    """What the encoder of this config gives; `layers` are the blocks a ViT is asked after."""
    if isinstance(config, Swin3DConfig):
        dims = tuple(config.width(i) for i in range(config.stages))
        strides = tuple(config.patch_size[1] * 2**i for i in range(config.stages))
        return EncoderShape(dims, strides, dims[-1], 1, config.patch_size[0], True)
    assert isinstance(config, (EncoderConfig, ViTConfig))
    groups = len(config.anchors) if isinstance(config, EncoderConfig) else len(config.band_groups)
    n, dim = len(layers), config.embed_dim
    return EncoderShape((dim,) * n, (config.patch_size,) * n, dim, groups, 1, config.temporal)


def spread_layers(config: ModelConfig, count: int) -> tuple[int, ...]:
    """`count` blocks of a ViT at equal distances, the last one last: 12 blocks, 4 -> 2, 5, 8, 11."""
    if isinstance(config, Swin3DConfig):
        return (-1,)
    assert isinstance(config, (EncoderConfig, ViTConfig))
    return tuple(max(0, config.depth * (i + 1) // count - 1) for i in range(count))


def encode(
    encoder: nn.Module,
    layers: Sequence[int],
    pixels: Tensor,
    valid: Tensor | None,
    days: Tensor | None,
    wavelengths: Sequence[float] | None,
) -> Features:
    """The encoder's features; maps of a ViT are those after `layers`, and the last one is normed.

    The pretrained last norm belongs to what the encoder says; maps of earlier blocks are as they are.
    """
    if not isinstance(encoder, TokenEncoder):
        nm = None if wavelengths is None else tuple(wavelengths)
        return cast(Swin3D, encoder).features(pixels, valid, days, nm)
    given = encoder.features(pixels, valid, days, wavelengths, layers=layers)
    last = given.maps[-1]  # [B, T, G, D, h, w]
    normed = encoder.norm(last.movedim(3, -1)).movedim(-1, 3)
    # What holds no valid pixel is 0, and stays so.
    normed = normed.masked_fill(~held(last).unsqueeze(3), 0.0)
    return Features((*given.maps[:-1], normed), given.strides, given.pooled)


def held(maps: Tensor) -> Tensor:
    """Which cells of [B,T,G,D,h,w] hold a valid pixel, bool [B,T,G,h,w]: encoders leave exact zeros in others."""
    return (maps != 0).any(dim=3)
