"""A small convolutional decoder on any encoder: from coarse to fine, and on to the pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from swath.models.heads import Refine, grow

LEAST = 16  # channels below which the decoder gets no thinner


class ConvHead(nn.Module):
    """Each level is brought to one width and added to what is coarser, enlarged; then steps of two to the pixels.

    Every norm looks at one cell, so an answer depends on its surroundings alone and windows leave no seams.

    Args:
        dims, strides: of the maps, fine to coarse.
        outputs: K.
        width: channels at the finest map; they halve with each step beyond it.
        dropout: before the last layer.
    """

    def __init__(
        self,
        dims: Sequence[int],
        strides: Sequence[int],
        outputs: int,
        width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.lateral = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim in dims)
        self.merge = nn.ModuleList(Refine(width, width) for _ in dims)
        steps = max(0, self.strides[0].bit_length() - 1)
        widths = [max(LEAST, width >> i) for i in range(steps + 1)]
        self.up = nn.ModuleList(Refine(a, b) for a, b in itertools.pairwise(widths))
        self.drop = nn.Dropout(dropout)
        self.out = nn.Conv2d(widths[-1], outputs, 1)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """[N,D_i,h_i,w_i] -> [N,K,*size]."""
        x: Tensor | None = None
        for i in reversed(range(len(maps))):
            side = self.lateral[i](maps[i])
            if x is not None:
                factor = self.strides[i + 1] // self.strides[i]
                side = side + grow(x, factor, (side.shape[-2], side.shape[-1]))
            x = self.merge[i](side)
        assert x is not None
        whole = (x.shape[-2] * self.strides[0], x.shape[-1] * self.strides[0])
        for layer in self.up:
            x = layer(grow(x, 2, (2 * x.shape[-2], 2 * x.shape[-1])))
        out: Tensor = self.out(self.drop(x))
        if out.shape[-2:] != whole:  # strides that are no power of two
            out = F.interpolate(out, size=whole, mode="bilinear", align_corners=False)
        return out[..., : size[0], : size[1]]
