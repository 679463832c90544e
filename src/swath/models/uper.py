"""The decoder of SpectralGPT's dense networks: four maps of one grid become one map of features.

As in the published code it resembles UPerNet (Xiao et al., 2018): pyramid pooling on the coarsest map, then
lateral joins from coarse to fine, and all levels together at the end. Unlike there, pooling takes the maximum,
all convolutions of the decoder are 1 x 1, and norms are over groups of channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BRANCH_GROUPS, DECODER_GROUPS = 32, 16  # channels are normalised in this many groups
POOLS = (1, 2, 3, 6)  # cells per edge of the pooled maps


class Branch(nn.Module):
    """1 x 1 convolution, norm, GELU, and an enlargement by its factor; [B,D,h,w] -> [B,out,h*f,w*f]."""

    def __init__(self, dim: int, width: int, out: int, factor: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, width, 1)
        self.norm = nn.GroupNorm(BRANCH_GROUPS, width)
        self.act = nn.GELU()
        self.up = nn.ConvTranspose2d(width, out, factor, stride=factor) if factor > 1 else None
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x)))
        out: Tensor = self.drop(x if self.up is None else self.up(x))
        return out


class Join(nn.Module):
    """1 x 1 convolution, norm, GELU, dropout."""

    def __init__(self, dim: int, out: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, out, 1)
        # Narrow decoders get fewer groups: of one value alone, as a map of one cell has, a norm leaves nothing.
        self.norm = nn.GroupNorm(min(DECODER_GROUPS, out // 4), out)
        self.act = nn.GELU()
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop(self.act(self.norm(self.conv(x))))
        return out


class PyramidPooling(nn.Module):
    """The map beside what it is at coarser scales (Zhao et al., 2017), by maxima; [B,D,h,w] -> [B,out,h,w]."""

    def __init__(self, dim: int, out: int, dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(dim, out, 1) for _ in POOLS)
        self.join = Join(dim + len(POOLS) * out, out, dropout)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [
            enlarge(conv(F.adaptive_max_pool2d(x, cells)), (x.shape[-2], x.shape[-1]))
            for conv, cells in zip(self.convs, POOLS, strict=True)
        ]
        out: Tensor = self.join(torch.cat([*pooled, x], dim=1))
        return out


class UperDecoder(nn.Module):
    """Four maps, fine to coarse, each half the size of the one before, as one map of the finest size.

    Args:
        dims: channels of the maps, fine to coarse.
        width: channels of the result.
        dropout: after each norm and GELU.
    """

    def __init__(self, dims: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        *finer, coarsest = dims
        self.pyramid = PyramidPooling(coarsest, width, dropout)
        self.first = nn.Conv2d(width, width, 1)  # on the first enlarged map only, as published
        self.lateral = nn.ModuleList(Join(dim, width, dropout) for dim in reversed(finer))  # coarse to fine
        self.merge = nn.ModuleList(Join(width, width, dropout) for _ in finer)
        self.join = Join(len(dims) * width, width, dropout)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """[B,D_i,h_i,w_i], fine to coarse -> [B,width,h_0,w_0]."""
        *finer, coarsest = maps
        x = self.pyramid(coarsest)
        levels = [x]
        for i, (lateral, merge) in enumerate(zip(self.lateral, self.merge, strict=True)):
            side = lateral(finer[-1 - i])
            x = enlarge(x, (side.shape[-2], side.shape[-1]))
            x = merge((self.first(x) if i == 0 else x) + side)
            levels.append(x)
        size = (maps[0].shape[-2], maps[0].shape[-1])
        out: Tensor = self.join(torch.cat([enlarge(level, size) for level in levels], dim=1))
        return out


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B,D,h,w] -> [B,D,*size], bilinear with aligned corners."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
