"""Tensors of all ranks together; on one process, the tensor itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def several() -> bool:
    """Whether this is one process of many."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """The number of this process."""
    return dist.get_rank() if several() else 0


class _Gather(torch.autograd.Function):
    """Concatenates over ranks. Every rank's loss sees every row, so a row's gradient is the sum over ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        first = dist.get_rank() * int(ctx.rows)
        return whole[first : first + int(ctx.rows)]


def all_ranks(x: Tensor) -> Tensor:
    """[B,...] of each rank, as many on each -> [ranks * B, ...], by rank; gradients flow back to every rank."""
    if not several():
        return x
    if x.dtype == torch.bool:
        return all_ranks(x.to(torch.uint8)) > 0
    gather: Callable[[Tensor], Tensor] = _Gather.apply
    return gather(x)
