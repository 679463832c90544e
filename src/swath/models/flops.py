"""Floating-point operations of one sample, from a config and a shape: what utilisation is measured against.

Two are counted per multiplication with addition in matrix products, as `torch.utils.flop_counter` does; norms, softmax
and sums are left out. A training step costs about three forward passes: its backward pass has two products for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swath.errors import ConfigError
from swath.models.beit import BEiTConfig
from swath.models.config import ModelConfig
from swath.models.mae import MAEConfig
from swath.models.spectralgpt import SpectralGPTConfig
from swath.models.swin3d import token_grid
from swath.models.swin_config import STSwinConfig, Swin3DConfig
from swath.models.vit_encoder import ViTConfig
from swath.models.windows import effective, padded_size


def flops(
    config: ModelConfig, shape: Sequence[int], *, mask_ratio: float = 0.0, decode_part: float = 1.0
) -> float:
    """Of the forward pass of a sample [T,C,H,W], without gaps in its data.

    A pretraining network is counted as in pretraining: its encoder sees what the mask leaves, if it can leave tokens
    out, and its decoder draws all. An ST-SwinMAE whose encoder sees visible tokens alone is counted as if the mask
    left the same share in all windows of all stages: what it cannot do with less. It does more where windows differ,
    and in stages coarser than the mask.

    Args:
        config: of SpectralGPT, MAE, BEiT, ViT, ST-SwinMAE or Swin3D.
        shape: (T, C, H, W).
        mask_ratio: part of the tokens that is hidden.
        decode_part: part of the places that SpectralGPT decodes.

    Raises:
        ConfigError: the config is of another network.
    """
    t, c, h, w = shape
    if isinstance(config, SpectralGPTConfig):
        places = -(-h // config.patch_size) * -(-w // config.patch_size)
        decoded = min(places, max(2, round(places * decode_part)))
        parts = t * -(-c // config.group_size)
        return _spectralgpt(config, parts * places, parts * decoded, mask_ratio)
    if isinstance(config, ViTConfig):
        places = -(-h // config.patch_size) * -(-w // config.patch_size)
        n = t * len(config.band_groups) * places
        if isinstance(config, MAEConfig):
            return _mae(config, n, mask_ratio)
        whole = 2.0 * n * config.token_values * config.embed_dim
        whole += blocks(n, config.embed_dim, config.depth, config.mlp_ratio)
        if isinstance(config, BEiTConfig):
            whole += 2.0 * n * config.embed_dim * config.codes + naming_flops(config, n)
        return whole
    if isinstance(config, Swin3DConfig):
        apart = isinstance(config, STSwinConfig) and config.encoder_sees == "visible"
        return _swin(config, t, h, w, 1.0 - mask_ratio if apart else 1.0)
    raise ConfigError(f"the operations of a {type(config).__name__} are not counted", where="flops")


def naming_flops(config: BEiTConfig, tokens: int) -> float:
    """Of finding the codes nearest to so many tokens (two products), which takes no gradient."""
    return 4.0 * tokens * config.codes * config.group_size * config.cells**2


def blocks(tokens: int, dim: int, depth: int, mlp_ratio: float, queries: int | None = None) -> float:
    """Of `depth` transformer blocks: `queries` tokens (None: all) attend to `tokens` keys."""
    asking = tokens if queries is None else queries
    linear = asking * dim * dim * (8 + 4 * mlp_ratio)
    return depth * (linear + 4.0 * asking * tokens * dim)


def _seen(tokens: int, ratio: float) -> int:
    return max(1, int(tokens * (1 - ratio)))


def _spectralgpt(config: SpectralGPTConfig, n: int, decoded: int, ratio: float) -> float:
    seen, d, e, k = _seen(n, ratio), config.embed_dim, config.decoder_embed_dim, config.token_values
    keys, queries = n, n
    if config.decoder_keys == "visible":
        keys, queries = seen, seen + decoded
    ends = 2.0 * (seen * d * (k + e) + queries * e * k)
    encoder = blocks(seen, d, config.depth, config.mlp_ratio)
    return ends + encoder + blocks(keys, e, config.decoder_depth, config.mlp_ratio, queries)


def _mae(config: MAEConfig, n: int, ratio: float) -> float:
    seen, d, e, k = _seen(n, ratio), config.embed_dim, config.decoder_embed_dim, config.token_values
    # Kernels of one group run on what is seen; those of several on everything.
    embedded = seen if len(config.band_groups) == 1 else n
    ends = 2.0 * (embedded * d * k + seen * d * e + n * e * k)
    encoder = blocks(seen, d, config.depth, config.mlp_ratio)
    return ends + encoder + blocks(n, e, config.decoder_depth, config.mlp_ratio)


def _swin(config: Swin3DConfig, dates: int, rows: int, columns: int, shown: float) -> float:
    grids = [token_grid(dates, rows, columns, config.patch_size)]
    for _ in range(config.stages - 1):
        d, h, w = grids[-1]
        grids.append((d, -(-h // 2), -(-w // 2)))
    values = config.bands * math.prod(config.patch_size)
    count = 2.0 * math.prod(grids[0]) * values * config.embed_dim

    def stage(i: int, depth: int, seen: float = 1.0) -> float:
        dim, rule = config.width(i), config.rule(i)
        window, _ = effective(grids[i], rule, shifted=False)
        cut, inside = math.prod(padded_size(grids[i], window)), math.prod(window)
        mlp = 4.0 * math.prod(grids[i]) * dim * int(dim * config.mlp_ratio)
        # Padding is projected only where it is a key like any other.
        projected = seen * math.prod(grids[i]) if rule.mask_padding else cut
        return depth * (8.0 * projected * dim * dim + seen**2 * 4.0 * cut * inside * dim + seen * mlp)

    for i, depth in enumerate(config.depths):
        count += stage(i, depth, shown)
        if i < config.stages - 1:
            count += shown * 16.0 * math.prod(grids[i + 1]) * config.width(i) ** 2
    if not isinstance(config, STSwinConfig):
        return count
    # Each expansion makes four tokens of half the width from one.
    count += sum(4.0 * math.prod(grids[i]) * config.width(i) ** 2 for i in range(1, config.stages))
    for i, depth in enumerate(config.decoder_blocks):
        count += stage(config.stages - 2 - i, depth)
    return count + 2.0 * math.prod(grids[0]) * config.embed_dim * values
