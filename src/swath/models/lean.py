"""Linear layers, and what cheap thing stands before them, that keep less for the backward pass than autograd would.

Autograd keeps the input of every step: of a LayerNorm and the linear layer behind it both, though the second is found
again from the first in one cheap pass; and in bfloat16 a copy of every weight as well. Here what lies before the
product is computed again, as is the copy of the weight, and never the product itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# A plain global, not a context variable: torch.compile can guard on it.
_plain = False


@contextlib.contextmanager
def plain_layers() -> Iterator[None]:
    """Layers compute as the originals wrote them inside the block: the plain twin, for tests and benchmarks.

    All is kept that autograd would keep by itself, and windows are cut before their tokens are projected.
    """
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def plain() -> bool:
    """Whether layers are to compute plainly."""
    return _plain


def linear(x: Tensor, layer: nn.Module) -> Tensor:
    """`layer(x)`: [..., D] -> [..., E]."""
    if not _lean(x, layer):
        out: Tensor = layer(x)
        return out
    return _apply(_same, x.to(_number_type(x)), layer)


def norm_linear(x: Tensor, norm: nn.Module, layer: nn.Module) -> Tensor:
    """`layer(norm(x))`, keeping x alone: [..., D] -> [..., E]."""
    if not (type(norm) is nn.LayerNorm and _lean(x, layer, norm)):
        out: Tensor = layer(norm(x))
        return out

    def before(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)

    return _apply(before, x, layer, norm.weight, norm.bias)


def gelu_linear(x: Tensor, layer: nn.Module) -> Tensor:
    """`layer(gelu(x))`, keeping x alone: [..., D] -> [..., E]."""
    if not _lean(x, layer):
        out: Tensor = layer(F.gelu(x))
        return out
    return _apply(F.gelu, x, layer)


def _lean(x: Tensor, *layers: nn.Module) -> bool:
    """Whether there is something to spare, and no one who wants to see what lies between."""
    if _plain or torch.compiler.is_compiling():  # a compiler decides what is kept
        return False
    # An adapter stands in a linear layer's place, and has a way of its own.
    if type(layers[0]) is not nn.Linear or any(m._forward_hooks or m._forward_pre_hooks for m in layers):
        return False
    trains = x.requires_grad or any(p.requires_grad for m in layers for p in m.parameters(recurse=False))
    return torch.is_grad_enabled() and trains


def _number_type(x: Tensor) -> torch.dtype:
    """What autocast would compute a product in."""
    device = x.device.type
    if not torch.is_autocast_enabled(device) or x.dtype == torch.float64:
        return x.dtype
    return torch.get_autocast_dtype(device)


def _same(x: Tensor) -> Tensor:
    return x


def _apply(before: Callable[..., Tensor], x: Tensor, layer: nn.Module, *params: Tensor) -> Tensor:
    args = (before, _number_type(x), x, layer.weight, layer.bias, *params)
    out: Tensor = _Linear.apply(*args)  # type: ignore[no-untyped-call]  # torch gives it no types
    return out


class _Linear(torch.autograd.Function):
    """linear(before(x, *params), weight, bias)."""

    @staticmethod
    def forward(
        ctx: Any,
        before: Callable[..., Tensor],
        dtype: torch.dtype,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *params: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, *params)
        ctx.before, ctx.dtype = before, dtype
        ctx.cast = torch.is_autocast_enabled(x.device.type)
        # Cast by hand: autocast would keep its copy of the weight until the end of the pass. In rows: for a map that is
        # cropped, and so not in one piece, torch would copy the weight for each of its places.
        y = before(x, *params).to(dtype)
        bias = None if bias is None else bias.to(dtype)
        rows = F.linear(y.reshape(-1, y.shape[-1]), weight.to(dtype), bias)
        return rows.view(*y.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *params = ctx.saved_tensors
        _, _, wants_x, wants_weight, wants_bias, *wants_params = ctx.needs_input_grad
        leaves = [
            t.detach().requires_grad_(wanted)
            for t, wanted in zip((x, *params), (wants_x, *wants_params), strict=True)
        ]
        device = x.device.type
        with torch.enable_grad(), _autocast(device, ctx):
            y = ctx.before(*leaves).to(ctx.dtype)
        with torch.autocast(device, enabled=False):
            rows = grad.reshape(-1, grad.shape[-1])
            by_weight = by_bias = None
            if wants_weight:
                by_weight = (rows.T @ y.detach().reshape(-1, y.shape[-1])).to(weight.dtype)
            if wants_bias:
                by_bias = rows.sum(dim=0).to(weight.dtype)
            wanted = [t for t in leaves if t.requires_grad]
            found: Iterator[Tensor] = iter(())
            if wanted:
                inward = (rows @ weight.to(ctx.dtype)).view(y.shape)
                found = iter(torch.autograd.grad(y, wanted, inward))
        by_leaf = [next(found) if t.requires_grad else None for t in leaves]
        return None, None, by_leaf[0], by_weight, by_bias, *by_leaf[1:]


def _autocast(device: str, ctx: Any) -> torch.autocast:
    """As it was in the forward pass; what is cast here is thrown away at once."""
    dtype = ctx.dtype if ctx.cast and ctx.dtype in (torch.bfloat16, torch.float16) else None
    return torch.autocast(device, dtype=dtype, enabled=ctx.cast and dtype is not None, cache_enabled=False)
