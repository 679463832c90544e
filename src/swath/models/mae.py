"""MAE (He et al., CVPR 2022) and SatMAE (Cong et al., NeurIPS 2022): a ViT on visible tokens and a light decoder.

MAE's tokens hold all bands; SatMAE's hold one of several groups of bands, and there may be several dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from swath.models.features import Features
from swath.models.positions import DateEncoding
from swath.models.tokens import Tokens
from swath.models.vit import Block, init_linear
from swath.models.vit_encoder import FixedPositions, ViT, ViTConfig, check_encoding


@dataclass(frozen=True)
class MAEConfig(ViTConfig):
    """Encoder and decoder.

    Attributes:
        decoder_embed_dim: width D' of the decoder.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
        decoder_group_dim: part of D' that says the group.
    """

    decoder_embed_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    decoder_group_dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        groups = len(self.band_groups)
        check_encoding(self.decoder_embed_dim, self.decoder_group_dim, groups, "decoder_embed_dim")


class GroupPredict(nn.Module):
    """One linear map per group, [D'] -> [K]."""

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        groups, dim, values = len(config.band_groups), config.decoder_embed_dim, config.token_values
        self.weight = nn.Parameter(torch.empty(groups, values, dim))
        self.bias = nn.Parameter(torch.zeros(groups, values))
        for weight in self.weight.data:
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, tokens: Tokens) -> Tensor:
        """[B,N,D'] -> [B,N,K]."""
        t, g, h, w = tokens.shape
        out = torch.einsum("btgld,gkd->btglk", x.reshape(-1, t, g, h * w, x.shape[-1]), self.weight)
        return (out + self.bias[:, None]).flatten(1, 3)


class MAE(ViT):
    """The pretraining model. The mask and the loss are in `swath.pretraining.mae`."""

    config: MAEConfig

    def __init__(self, config: MAEConfig) -> None:
        super().__init__(config)
        dim = config.decoder_embed_dim
        self.decoder_embed = nn.Linear(config.embed_dim, dim)
        self.mask_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.decoder_positions = FixedPositions(config, dim, config.decoder_group_dim)
        if config.temporal:
            self.decoder_date_embed = DateEncoding(dim)
        self.decoder_blocks = nn.ModuleList(
            Block(dim, config.decoder_heads, config.mlp_ratio) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_pred = GroupPredict(config)
        for module in (self.decoder_embed, self.decoder_blocks):
            module.apply(init_linear)

    def decode(
        self,
        latent: Tensor,
        tokens: Tokens,
        keep: Tensor,
        keep_valid: Tensor | None = None,
        days: Tensor | None = None,
    ) -> Tensor:
        """Predicted values of all tokens, [B,N,K].

        Args:
            latent: [B,k,D] of `encode`.
            tokens: the same as there.
            keep: long [B,k], where the latents belong.
            keep_valid: bool [B,k], which of them count.
            days: [B,T,2] or None.
        """
        seen = self.decoder_embed(latent)  # [B, k, D']
        mask_token = self.mask_token.to(seen.dtype)
        if keep_valid is not None:
            seen = torch.where(keep_valid[..., None], seen, mask_token)
        b, n, d = seen.shape[0], tokens.patches.shape[1], seen.shape[2]
        x = mask_token.expand(b, n, d).scatter(1, keep[..., None].expand(-1, -1, d), seen)
        dates = self.decoder_date_embed(days) if days is not None and self.config.temporal else None
        x = x + self.decoder_positions(tokens, dates).to(x.dtype)
        for block in self.decoder_blocks:
            x = block(x, tokens.valid)
        out: Tensor = self.decoder_pred(self.decoder_norm(x), tokens)
        return out

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> Features:
        """The encoder's features of everything that is valid; see `features`."""
        return self.features(pixels, valid, days, wavelengths)


_BASE = MAEConfig()
# The decoder is the same for all sizes.
PRESETS: dict[str, MAEConfig] = {
    "mae_vit_b": _BASE,
    "mae_vit_s": replace(_BASE, embed_dim=384, heads=6),
    "mae_vit_l": replace(_BASE, embed_dim=1024, depth=24, heads=16),
}
# Groups of bands come from the data, by name.
SATMAE_PRESETS: dict[str, MAEConfig] = {
    name.replace("mae", "satmae"): replace(
        config, image_size=96, patch_size=8, group_dim=config.embed_dim // 3 // 4 * 4
    )
    for name, config in PRESETS.items()
}
