"""Small layers that the networks here share, and the check of what they are given."""

from __future__ import annotations

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
