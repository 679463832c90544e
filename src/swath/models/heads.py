"""Small parts that the heads on any encoder share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [B,D,h,w], cell by cell: what lies elsewhere in a window changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def grow(x: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """[B,D,h,w] enlarged by a whole factor, bilinear, and cut to `size`: cells stay where their pixels are."""
    if factor > 1:
        x = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return x[..., : size[0], : size[1]]


class Refine(nn.Module):
    """3 x 3 convolution, norm, GELU; [B,D,h,w] -> [B,out,h,w]."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, 3, padding=1)
        self.norm = ChannelNorm(out)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out
