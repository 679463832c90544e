"""Small layers that every transformer here shares."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# A plain global, not a context variable: torch.compile can guard on it.
_all_kept = False


@contextlib.contextmanager
def activations_kept() -> Iterator[None]:
    """Layers keep all that autograd would keep by itself: the plain twin, for tests and benchmarks."""
    global _all_kept
    before, _all_kept = _all_kept, True
    try:
        yield
    finally:
        _all_kept = before


class Mlp(nn.Module):
    """Linear, exact GELU, Linear; [..., D] -> [..., D].

    The GELU's output is as large as its input, and cheap: the backward pass computes it again instead of keeping it.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        hidden = self.fc1(x)
        trains = torch.is_grad_enabled() and hidden.requires_grad
        adapted = (
            type(self.fc2) is not nn.Linear
        )  # an adapter stands in its place, which has a way of its own
        if (
            _all_kept or adapted or not trains or torch.compiler.is_compiling()
        ):  # a compiler decides what is kept
            plain: Tensor = self.fc2(self.act(hidden))
            return plain
        # As autocast would convert them, once per pass: for a linear layer and for what is no layer to it.
        weight, bias = self.fc2.weight.to(hidden.dtype), self.fc2.bias.to(hidden.dtype)
        out: Tensor = _GeluLinear.apply(hidden, weight, bias)  # type: ignore[no-untyped-call]  # torch gives it no types
        return out


class _GeluLinear(torch.autograd.Function):
    """linear(gelu(x), weight, bias), keeping x and not gelu(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.reshape(-1, grad.shape[-1])
        with torch.autocast(x.device.type, enabled=False):
            inward = None
            if ctx.needs_input_grad[0]:
                inward = torch.ops.aten.gelu_backward((rows @ weight).view(x.shape), x)
            by_weight = rows.T @ F.gelu(x).reshape(rows.shape[0], -1) if ctx.needs_input_grad[1] else None
            by_bias = rows.sum(dim=0) if ctx.needs_input_grad[2] else None
        return inward, by_weight, by_bias


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
