"""BEiT (Bao et al., ICLR 2022): a ViT that sees all tokens, hidden ones as a learned token, and names what they hold.

The names are those of a codebook that is fitted to the same data and kept in the same weights. As everywhere here,
positions are fixed and there is no class token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.features import Features
from swath.models.tokens import Tokens
from swath.models.visual_tokens import VisualTokens
from swath.models.vit_encoder import PRESETS as VIT_PRESETS
from swath.models.vit_encoder import ViT, ViTConfig


@dataclass(frozen=True)
class BEiTConfig(ViTConfig):
    """Encoder, head and codebook.

    Attributes:
        codes: how many visual tokens there are.
        cells: parts along each edge of a token by which it is told what it shows.
    """

    codes: int = 8192
    cells: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        where = type(self).__name__
        if len(self.band_groups) > 1:
            raise ConfigError("tokens hold all bands", where=where, mend="leave groups out")
        if self.codes < 2:
            raise ConfigError(f"{self.codes} codes tell nothing apart", where=where, mend="take 8192")
        if self.cells < 1 or self.patch_size % self.cells:
            raise ConfigError(
                f"{self.cells} cells do not divide tokens of {self.patch_size} pixels",
                where=where,
                mend="take 4",
            )


class BEiT(ViT):
    """The pretraining model. The mask and the loss are in `swath.pretraining.beit`."""

    config: BEiTConfig

    def __init__(self, config: BEiTConfig) -> None:
        super().__init__(config)
        self.mask_token = nn.Parameter(torch.randn(1, 1, config.embed_dim) * 0.02)
        self.head = nn.Linear(config.embed_dim, config.codes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.visual_tokens = VisualTokens(config.codes, config.group_size, config.cells)

    def name_tokens(self, tokens: Tokens, hidden: Tensor, days: Tensor | None = None) -> Tensor:
        """Logits of the visual tokens, [B,N,codes].

        Args:
            tokens: of `tokenize`.
            hidden: bool [B,N], tokens that are not shown.
            days: [B,T,2] or None.
        """
        dates = self.date_embed(days) if days is not None and self.config.temporal else None
        x: Tensor = self.patch_embed(tokens)
        x = torch.where(hidden[..., None], self.mask_token.to(x.dtype), x)
        x = x + self.positions(tokens, dates).to(x.dtype)
        out: Tensor = self.head(self.norm(self.run_blocks(x, tokens.valid)[-1]))
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


PRESETS: dict[str, BEiTConfig] = {
    f"beit_{name}": replace(BEiTConfig(), embed_dim=c.embed_dim, depth=c.depth, heads=c.heads)
    for name, c in VIT_PRESETS.items()
}
