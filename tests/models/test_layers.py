from __future__ import annotations

import contextlib

import pytest
import torch

from swath.models.layers import Mlp
from swath.models.lean import plain_layers


def test_mlp_keeps_the_shape() -> None:
    assert Mlp(6, 12)(torch.zeros(2, 3, 6)).shape == (2, 3, 6)


@pytest.mark.parametrize("bf16", [False, True])
def test_mlp_keeps_its_hidden_layer_once_and_equals_the_form_that_keeps_it_twice(bf16: bool) -> None:
    torch.manual_seed(0)
    mlp, x = Mlp(6, 64), torch.randn(2, 5, 6)
    found = {}
    for kept in (True, False):
        sizes: list[int] = []

        def note(t: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(t.numel())
            return t

        own = x.clone().requires_grad_()
        mlp.zero_grad()
        with (
            plain_layers() if kept else contextlib.nullcontext(),
            torch.autocast("cpu", torch.bfloat16, enabled=bf16),
            torch.autograd.graph.saved_tensors_hooks(note, lambda t: t),
        ):
            out = mlp(own)
        out.float().square().sum().backward()
        found[kept] = [out, own.grad, *(p.grad for p in mlp.parameters())]
        assert sizes.count(2 * 5 * 64) == (2 if kept else 1)
    for plain, fast in zip(found[True], found[False], strict=True):
        assert plain is not None and fast is not None and plain.dtype == fast.dtype
        torch.testing.assert_close(fast, plain, atol=2e-2 if bf16 else 1e-6, rtol=1e-2 if bf16 else 1e-5)
