"""Explicit attention in pieces that fit a core's cache; the attention matrix is not kept but computed again.

On a CPU the explicit form spends its time moving the matrix [.., heads, N, M] through memory: scores, bias, mask,
softmax, and each of them back. Here a few windows (or heads) at a time go through all of it while they lie in the
cache, and the backward pass computes the scores again, as flash attention does (Dao et al., 2022), though with whole
rows: no running softmax is needed where a row fits. What is kept for the backward pass are q, k and v, as views of
the projection that made them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Scores of one piece: they, their softmax and its gradient about fill the second caches of two cores.
PIECE_BYTES = 1 << 21

_Place = tuple[int, slice, slice]
# Bias, allowed pairs, dead rows.
_Masks = tuple[Tensor | None, Tensor | None, Tensor | None]


def attend_in_pieces(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    allowed: Tensor | None,
    dead: Tensor | None,
    scale: float,
) -> Tensor:
    """As `swath.models.attention.attend`, [..., heads, N, dh].

    Args:
        q: [..., heads, N, dh].
        k: [..., heads, M, dh].
        v: [..., heads, M, dh].
        bias: broadcastable to [..., heads, N, M]; may need gradients.
        allowed: bool, broadcastable to [..., heads, N, M], with a True in every row.
        dead: bool, broadcastable to [..., heads, N, 1]: rows whose output is 0.
        scale: factor of the scores.
    """
    batch = q.shape[:-3]
    outer, inner = math.prod(batch[:-1]), batch[-1] if batch else 1
    five = [x.reshape(outer, inner, *x.shape[-3:]) for x in (q, k, v)]
    lead = [_leading(x, batch, outer, inner) for x in (bias, allowed, dead)]
    out: Tensor = _Pieces.apply(*five, *lead, scale)  # type: ignore[no-untyped-call]  # torch gives it no types
    return out.reshape(*batch, *out.shape[-3:])


def _leading(x: Tensor | None, batch: torch.Size, outer: int, inner: int) -> Tensor | None:
    """[1 or outer, 1 or inner, 1 or heads, 1 or N, 1 or M] of anything that can be broadcast."""
    if x is None:
        return None
    x = x.reshape((1,) * (max(len(batch), 1) + 3 - x.ndim) + x.shape)
    if math.prod(x.shape[:-4]) > 1 and x.shape[:-4] != batch[:-1]:
        x = x.expand(*batch[:-1], *x.shape[-4:])
    return x.reshape(-1, *x.shape[-4:])


def _places(q: Tensor, keys: int) -> Iterator[_Place]:
    """Of pieces: which outer item, which inner ones, which heads."""
    outer, inner, heads, n, _ = q.shape
    most = max(1, PIECE_BYTES // (n * keys * q.element_size()))  # matrices of one head
    windows, some = max(1, most // heads), min(heads, most)
    for o in range(outer):
        for i in range(0, inner, windows):
            for h in range(0, heads, some):
                yield o, slice(i, i + windows), slice(h, h + some)


def _part(x: Tensor, place: _Place) -> Tensor:
    """The piece of [1 or outer, 1 or inner, 1 or heads, ...]: [1 or inner, 1 or heads, ...]."""
    o, i, h = place
    x = x[o if x.shape[0] > 1 else 0]
    if x.shape[0] > 1:
        x = x[i]
    return x[:, h] if x.shape[1] > 1 else x


def _parts(masks: _Masks, place: _Place) -> _Masks:
    bias, allowed, dead = (None if x is None else _part(x, place) for x in masks)
    return bias, allowed, dead


def _softmax(q: Tensor, k: Tensor, masks: _Masks, scale: float) -> Tensor:
    """Of the scores of a piece: [inner, heads, N, M]."""
    bias, allowed, dead = masks
    scores = torch.matmul(q * scale, k.transpose(-2, -1))
    if bias is not None:
        scores.add_(bias)
    if allowed is not None:
        scores.masked_fill_(~allowed, float("-inf"))
    found = scores.softmax(dim=-1)
    return found if dead is None else found.masked_fill_(dead, 0.0)


class _Pieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        allowed: Tensor | None,
        dead: Tensor | None,
        scale: float,
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, bias, allowed, dead)
        ctx.scale = scale
        outer, inner, heads, n, _ = q.shape
        # Heads beside each other, as the projection that follows wants them: its flattening then copies nothing.
        out = q.new_empty(outer, inner, n, heads, v.shape[-1]).transpose(2, 3)
        masks = (bias, allowed, dead)
        with torch.autocast(q.device.type, enabled=False):
            for place in _places(q, k.shape[-2]):
                found = _softmax(_part(q, place), _part(k, place), _parts(masks, place), scale)
                _part(out, place).copy_(found @ _part(v, place))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, bias, allowed, dead = ctx.saved_tensors
        scale = ctx.scale
        dq, dk, dv = (_like(x) for x in (q, k, v))
        # Thousands of windows are summed: in float32 at least.
        exact = torch.promote_types(q.dtype, torch.float32)
        wanted = bias is not None and ctx.needs_input_grad[3]
        dbias = torch.zeros(bias.shape, dtype=exact, device=q.device) if wanted else None
        with torch.autocast(q.device.type, enabled=False):
            for place in _places(q, k.shape[-2]):
                own_q, own_k, own_v = (_part(x, place) for x in (q, k, v))
                found = _softmax(own_q, own_k, _parts((bias, allowed, dead), place), scale)
                own = _part(grad, place)
                _part(dv, place).copy_(found.transpose(-2, -1) @ own)
                inward = own @ own_v.transpose(-2, -1)
                scores = torch.ops.aten._softmax_backward_data(inward, found, -1, found.dtype)
                if dbias is not None:
                    target = _part(dbias, place)
                    target.add_(_summed(scores, target.shape, exact))
                _part(dq, place).copy_((scores @ own_k).mul_(scale))
                _part(dk, place).copy_((scores.transpose(-2, -1) @ own_q).mul_(scale))
        return dq, dk, dv, None if dbias is None else dbias.to(bias.dtype), None, None, None


def _like(x: Tensor) -> Tensor:
    """An empty tensor of the same shape whose heads lie beside each other, as in the projection: [O,I,h,N,dh]."""
    outer, inner, heads, n, dh = x.shape
    return x.new_empty(outer, inner, n, heads, dh).transpose(2, 3)


def _summed(x: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Summed over what was broadcast from `shape`."""
    axes = [i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if m == 1 and n != 1]
    return x.sum(dim=axes, keepdim=True, dtype=dtype) if axes else x
