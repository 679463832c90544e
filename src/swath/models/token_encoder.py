"""A plain transformer over tokens of any layout: what SpectralGPT, MAE, SatMAE and BEiT share.

A system says how pixels become tokens (`tokenize`) and vectors (`embed`); blocks, validity and features are here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from swath.models.features import Features
from swath.models.tokens import Tokens
from swath.models.vit import Block


class TokenEncoder(nn.Module, ABC):
    """Tokens to latents.

    Args:
        stride: edge of a token in pixels.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def add_blocks(self, dim: int, depth: int, heads: int, mlp_ratio: float, drop_path: float) -> None:
        """Blocks whose stochastic depth rises linearly from 0 to `drop_path`, and the last norm."""
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    @abstractmethod
    def tokenize(
        self, pixels: Tensor, valid: Tensor | None = None, wavelengths: Sequence[float] | None = None
    ) -> Tokens:
        """Normalised pixels [B,T,C,H,W] as tokens."""

    @abstractmethod
    def embed(self, tokens: Tokens, days: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Tokens with their positions, [B,k,D]; of the tokens `keep`, long [B,k], or of all."""

    def encode(
        self,
        tokens: Tokens,
        days: Tensor | None = None,
        keep: Tensor | None = None,
        keep_valid: Tensor | None = None,
    ) -> Tensor:
        """The latents of the kept tokens after the last norm.

        Args:
            tokens: of `tokenize`.
            days: [B,T,2] or None.
            keep: long [B,k], the tokens to encode; None for all.
            keep_valid: bool [B,k], which of them count; None for all. Ignored without `keep`.

        Returns:
            [B,k,D] (k = N without `keep`).
        """
        x: Tensor = self.norm(self.outputs(tokens, days, keep, keep_valid)[-1])
        return x

    def outputs(
        self,
        tokens: Tokens,
        days: Tensor | None,
        keep: Tensor | None = None,
        keep_valid: Tensor | None = None,
    ) -> list[Tensor]:
        """What each block made of the tokens, [B,k,D] each."""
        return self.run_blocks(self.embed(tokens, days, keep), tokens.valid if keep is None else keep_valid)

    def run_blocks(self, x: Tensor, key_valid: Tensor | None) -> list[Tensor]:
        """The outputs of all blocks for embedded tokens [B,k,D]; key_valid is bool [B,k], None for all."""
        outputs = []
        for block in self.blocks:
            x = block(x, key_valid, kept=cast(Block, block).drop_path.draw(x))
            outputs.append(x)
        return outputs

    def features(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
        *,
        layers: Sequence[int] = (-1,),
    ) -> Features:
        """Maps after the blocks `layers`, before the last norm (as the published dense heads take them).

        Tokens without a valid pixel are 0.

        Args:
            pixels: [B,T,C,H,W], normalised.
            valid: bool [B,T,C,H,W] or None.
            days: [B,T,2] day of year and year, or None.
            wavelengths: nm per band, or None for the model's bands.
            layers: indices of blocks.
        """
        tokens = self.tokenize(pixels, valid, wavelengths)
        outputs = self.outputs(tokens, days)
        maps = []
        for layer in layers:
            x = outputs[layer]
            if tokens.valid is not None:
                x = x.masked_fill(~tokens.valid[..., None], 0.0)
            maps.append(x.reshape(x.shape[0], *tokens.shape, -1).permute(0, 1, 2, 5, 3, 4))
        pooled = self.norm(mean_tokens(outputs[-1], tokens.valid))
        return Features(tuple(maps), (self.stride,) * len(maps), pooled)


def take(x: Tensor, ids: Tensor) -> Tensor:
    """[B or 1, N, D] at [B,k] -> [B,k,D]."""
    return x.expand(ids.shape[0], -1, -1).gather(1, ids[..., None].expand(-1, -1, x.shape[-1]))


def mean_tokens(x: Tensor, valid: Tensor | None) -> Tensor:
    """The mean over valid tokens, [B,N,D] -> [B,D]; 0 where none is valid."""
    if valid is None:
        return x.mean(dim=1)
    return x.masked_fill(~valid[..., None], 0.0).sum(dim=1) / valid.sum(dim=1, keepdim=True).clamp_min(1)
