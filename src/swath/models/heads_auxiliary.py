"""A second head that learns beside the real one, from the encoder's deepest map, and is gone once that has learned.

It hands the loss to the encoder by a short way, as the FCN heads of segmentation toolboxes do (J. Long et al., "Fully
Convolutional Networks for Semantic Segmentation", CVPR 2015; as an auxiliary loss H. Zhao et al., "Pyramid Scene
Parsing Network", CVPR 2017).
"""

from __future__ import annotations

from torch import Tensor, nn

from swath.models.heads import Refine, grow


class AuxiliaryHead(nn.Module):
    """Two convolutions and a linear layer per cell, enlarged.

    Args:
        dim: channels of the deepest map.
        stride: pixels per cell.
        outputs: K.
        width: channels between.
        dropout: before the last layer.
    """

    def __init__(self, dim: int, stride: int, outputs: int, width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.stride = stride
        self.refine = nn.Sequential(Refine(dim, width), Refine(width, width))
        self.drop = nn.Dropout(dropout)
        self.out = nn.Conv2d(width, outputs, 1)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, deepest: Tensor, size: tuple[int, int]) -> Tensor:
        """[B,D,h,w] -> [B,K,*size]."""
        return grow(self.out(self.drop(self.refine(deepest))), self.stride, size)
