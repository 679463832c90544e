"""Attention in pieces equals the explicit form, whatever the size of a piece, and keeps no matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.models import attention_pieces
from swath.models.attention import attend, force_kernel, recompute_attention


def rand(*shape: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def both_ways(shape: tuple[int, ...], keys: int, bias: Tensor, allowed: Tensor | None) -> list[list[Tensor]]:
    found = []
    for kernel in ("explicit", "pieces"):
        q = rand(*shape, seed=1).requires_grad_()
        k, v = (rand(*shape[:-2], keys, shape[-1], seed=s).requires_grad_() for s in (2, 3))
        own = bias.clone().requires_grad_()
        with force_kernel(kernel):
            out = attend(q, k, v, own, allowed=allowed)
        (out * rand(*shape, seed=4)).sum().backward()
        grads = [x.grad for x in (q, k, v, own)]
        found.append([out.detach(), *(g for g in grads if g is not None)])
        assert len(found[-1]) == 5
    return found


@given(
    lead=st.lists(st.integers(1, 3), max_size=3),
    heads=st.integers(1, 3),
    n=st.integers(1, 5),
    keys=st.integers(1, 6),
    piece=st.integers(1, 2000),
    wide=st.booleans(),
    masked=st.booleans(),
)
def test_pieces_of_any_size_equal_the_whole(
    lead: list[int], heads: int, n: int, keys: int, piece: int, wide: bool, masked: bool
) -> None:
    bias = rand(*(lead if wide else []), heads, n, keys, seed=5)
    allowed = rand(*lead[-1:], 1, n, keys, seed=6) > 0 if masked else None  # some rows may see nothing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_pieces, "PIECE_BYTES", piece)
        plain, fast = both_ways((*lead, heads, n, 2), keys, bias, allowed)
    for a, b in zip(plain, fast, strict=True):
        torch.testing.assert_close(b, a)


def test_no_matrix_is_kept() -> None:
    kept: list[tuple[int, ...]] = []

    def note(t: Tensor) -> Tensor:
        kept.append(tuple(t.shape))
        return t

    q, k, v = (rand(2, 3, 4, 17, 8, seed=s).requires_grad_() for s in (1, 2, 3))
    with (
        force_kernel("explicit"),
        recompute_attention(),
        torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
    ):
        attend(q, k, v)
    assert kept and not [s for s in kept if s[-2:] == (17, 17)]
