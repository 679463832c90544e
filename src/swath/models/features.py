"""What an encoder hands to a task head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Maps of one encoder, fine to coarse, and one vector per sample (design §3).

    Attributes:
        maps: one tensor [B, T', G, D_i, h_i, w_i] per level; G is 1 unless the tokens split the bands.
        strides: pixels of the input per map cell, one per level.
        pooled: [B, D], the mean over the valid tokens.
    """

    maps: tuple[Tensor, ...]
    strides: tuple[int, ...]
    pooled: Tensor

    def __post_init__(self) -> None:
        if len(self.maps) != len(self.strides):
            raise ValueError(f"{len(self.maps)} maps but {len(self.strides)} strides")
