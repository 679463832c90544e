"""Linear heads: what a frozen encoder knows already, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from swath.models.heads import grow


class LinearHead(nn.Module):
    """One linear layer on a vector, [..., D] -> [..., K]."""

    def __init__(self, dim: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(dim, outputs)
        nn.init.trunc_normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.drop(x))
        return out


class LinearMapHead(nn.Module):
    """One linear layer on the maps of all levels, beside each other at full size.

    It is written level by level before they are enlarged, which is the same, since both are linear, and cheaper.

    Args:
        dims, strides: of the maps, fine to coarse.
        outputs: K.
        dropout: of features.
    """

    def __init__(
        self, dims: Sequence[int], strides: Sequence[int], outputs: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.drop = nn.Dropout(dropout)
        self.out = nn.ModuleList(nn.Conv2d(dim, outputs, 1, bias=i == 0) for i, dim in enumerate(dims))
        for conv in self.out:
            assert isinstance(conv, nn.Conv2d)
            nn.init.trunc_normal_(conv.weight, std=0.02)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """[N,D_i,h_i,w_i] -> [N,K,*size]."""
        first, *rest = (
            grow(conv(self.drop(x)), stride, size)
            for conv, x, stride in zip(self.out, maps, self.strides, strict=True)
        )
        return sum(rest, start=first)
