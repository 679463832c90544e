"""Maps of features as rows of cells, so that a linear layer per pixel is solved from one row per cell.

All pixels of a cell share its features, so the loss of a cell needs nothing but how often each class (or the mean
value) stands in it: the sum over pixels exactly, with as many rows as the encoder has cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from swath.tasks.config import IGNORE


def cells(maps: Sequence[Tensor], strides: Sequence[int]) -> Tensor:
    """Maps [B,D_i,h_i,w_i], fine to coarse, beside each other on the finest grid: [B,h,w,sum of D_i].

    Coarser ones are enlarged bilinearly by their whole factor, so that cells stay where their pixels are.
    """
    size = (maps[0].shape[-2], maps[0].shape[-1])
    grown = [enlarged(m, stride // strides[0], size) for m, stride in zip(maps, strides, strict=True)]
    return torch.cat(grown, dim=1).movedim(1, -1)


def enlarged(maps: Tensor, factor: int, size: tuple[int, int]) -> Tensor:
    """[B,D,h,w] by a whole factor, bilinear, cut to `size`."""
    if factor > 1:
        maps = F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
    return maps[..., : size[0], : size[1]]


def class_counts(target: Tensor, classes: int, stride: int) -> Tensor:
    """How often each class stands in each cell: [B,H,W] with IGNORE -> [B,h,w,K] whole numbers."""
    rows, cols = (-n % stride for n in target.shape[-2:])
    padded = F.pad(target, (0, cols, 0, rows), value=IGNORE)
    tiles = padded.unfold(1, stride, stride).unfold(2, stride, stride).flatten(-2)  # [B,h,w,stride^2]
    return torch.stack([(tiles == k).sum(-1) for k in range(classes)], dim=-1)


def value_means(target: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Mean of the known values in each cell (NaN without one) and how many they are: [B,K,H,W] -> [B,h,w,K] twice."""
    rows, cols = (-n % stride for n in target.shape[-2:])
    padded = F.pad(target.double(), (0, cols, 0, rows), value=float("nan"))
    tiles = padded.unfold(2, stride, stride).unfold(3, stride, stride).flatten(-2).movedim(1, -2)
    known = torch.isfinite(tiles).sum(-1)
    return tiles.nan_to_num().sum(-1) / known, known
