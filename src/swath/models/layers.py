"""Small layers that the networks here share, and the check of what they are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.errors import ContractError
from swath.models.lean import gelu_linear, linear, norm_linear


class Mlp(nn.Module):
    """Linear, exact GELU, Linear; [..., D] -> [..., D].

    The GELU's output is as large as its input, and cheap: the backward pass computes it again instead of keeping it.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """[..., D] -> [..., D], of norm(x) where a norm is given."""
        return gelu_linear(linear(x, self.fc1) if norm is None else norm_linear(x, norm, self.fc1), self.fc2)


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for whole samples (Huang et al., 2016).

    Kept samples are divided by the chance of being kept, so the expectation stays; the identity in eval mode.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"drop path rate {rate} is not in [0, 1)")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> [B, ...]."""
        if self.rate == 0.0 or not self.training:
            return x
        keep = 1.0 - self.rate
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        return x * torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """What repr() shows of the layer."""
        return f"rate={self.rate}"


def check_bands(pixels: Tensor, bands: int) -> None:
    """Raises ContractError unless pixels are [B,T,C,H,W] of so many bands."""
    if pixels.ndim != 5 or pixels.shape[2] != bands:
        raise ContractError(
            f"pixels of shape {tuple(pixels.shape)}, but the model eats [B,T,{bands},H,W]",
            mend="select and order the bands with the model's input contract",
        )


def group_norm(channels: int) -> nn.GroupNorm:
    """Of up to eight groups: works at any batch size, and answers alike in training and afterwards."""
    return nn.GroupNorm(max(n for n in range(1, 9) if channels % n == 0), channels)
