"""UPerNet (Xiao et al., 2018) on any encoder, with the decoder of `swath.models.uper`.

A Swin gives maps at four scales. A ViT gives maps of four blocks at one scale; they are brought to the scales of
such a pyramid, 4, 2, 1 and 1/2 times the grid of tokens, as BEiT (Bao et al., 2022) does to draw maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from swath.models.heads import ChannelNorm
from swath.models.uper import UperDecoder

LEVELS = 4


class Rescale(nn.Module):
    """[N,D,h,w] -> [N,width, f*h, f*w] with f of 4, 2, 1, or 1/2 (written 0)."""

    def __init__(self, dim: int, width: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        layers: list[nn.Module] = []
        for i in range(max(0, factor.bit_length() - 1)):
            layers += [
                nn.ConvTranspose2d(width if i else dim, width, 2, stride=2),
                ChannelNorm(width),
                nn.GELU(),
            ]
        self.layers = nn.Sequential(*(layers or [nn.Conv2d(dim, width, 1)]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x)
        return x if self.factor else F.max_pool2d(x, 2, ceil_mode=True)


class UperHead(nn.Module):
    """Logits of maps; the decoder's norms and maxima look at the whole window.

    Args:
        dims, strides: of the maps, fine to coarse.
        outputs: K.
        width: channels of the decoder, a multiple of 16.
        dropout: in the decoder.
    """

    def __init__(
        self,
        dims: Sequence[int],
        strides: Sequence[int],
        outputs: int,
        width: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        flat = len(set(strides)) == 1 and len(dims) == LEVELS
        factors = (4, 2, 1, 0) if flat else ()
        self.rescale = nn.ModuleList(
            Rescale(dim, width, factor) for dim, factor in zip(dims, factors, strict=False)
        )
        self.decoder = UperDecoder((width,) * LEVELS if flat else tuple(dims), width, dropout)
        self.stride = strides[0]
        self.out = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """[N,D_i,h_i,w_i] -> [N,K,*size]."""
        rows, cols = (n * self.stride for n in maps[0].shape[-2:])
        if len(self.rescale):
            maps = [layer(x) for layer, x in zip(self.rescale, maps, strict=True)]
        x = self.out(self.decoder(maps))
        x = F.interpolate(x, size=(rows, cols), mode="bilinear", align_corners=False)
        return x[..., : size[0], : size[1]]
