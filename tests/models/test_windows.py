"""Windows are a fast form of attention over the whole map with forbidden pairs: the twin here is that."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.models.swin3d import WindowAttention
from swath.models.swin_config import Size, WindowRule
from swath.models.windows import effective, partition, plan_windows, relative_index, table_rows, unpartition

CPU = torch.device("cpu")


def slow_twin(
    layer: WindowAttention, x: Tensor, rule: WindowRule, shifted: bool, valid: Tensor | None
) -> Tensor:
    """Attention over all tokens, place by place: who may meet whom, by which offset, in plain Python."""
    b, d, h, w, c = x.shape
    size = (d, h, w)
    window, shift = effective(size, rule, shifted)
    places = list(itertools.product(range(d), range(h), range(w)))

    def cell(place: tuple[int, int, int]) -> tuple[int, ...]:
        # With a shift the cuts lie at shift, shift + window, ...; without padding or roll in sight.
        return tuple((p - s + k) // k for p, s, k in zip(place, shift, window, strict=True))

    n, heads = len(places), layer.heads
    together = torch.zeros(n, n, dtype=torch.bool)
    row = torch.zeros(n, n, dtype=torch.long)
    _, th, tw = rule.window
    for i, a in enumerate(places):
        for j, o in enumerate(places):
            if cell(a) == cell(o):
                together[i, j] = True
                od, oh, ow = (p - q + t - 1 for p, q, t in zip(a, o, rule.window, strict=True))
                row[i, j] = (od * (2 * th - 1) + oh) * (2 * tw - 1) + ow
    q, k, v = layer.qkv(x).view(b, n, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-2, -1) * (c // heads) ** -0.5
    scores = scores + layer.relative_position_bias_table[row].permute(2, 0, 1)
    allowed = together[None, None] if valid is None else together & valid.view(b, 1, 1, n)
    dead = ~allowed.any(dim=-1, keepdim=True)
    weights = scores.masked_fill(~(allowed | dead), float("-inf")).softmax(dim=-1)
    out = (weights @ v).masked_fill(dead, 0.0)
    return layer.proj(out.transpose(1, 2).reshape(x.shape))


sizes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
cuts = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


@given(sizes, cuts, st.booleans(), st.booleans(), st.booleans(), st.integers(0, 1000))
def test_windows_equal_masked_attention_over_the_whole_map(
    size: Size, window: Size, shifted: bool, keep_shift: bool, gaps: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = WindowAttention(8, 2, window, True).double()
    torch.nn.init.normal_(layer.relative_position_bias_table)
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    valid = torch.rand(2, *size) > 0.4 if gaps else None
    rule = WindowRule(window, shift_when_full=keep_shift)
    outs = []
    for run in ("fast", "slow"):
        layer.zero_grad()
        place = x.clone().requires_grad_()
        if run == "fast":
            out = layer(place, plan_windows(size, rule, shifted=shifted, device=CPU, valid=valid))
        else:
            out = slow_twin(layer, place, rule, shifted, valid)
        (out * torch.linspace(0, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        grads = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
        assert place.grad is not None
        outs.append([out.detach(), place.grad, *grads])
    for fast, slow in zip(*outs, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-9, rtol=1e-9)


def test_the_twin_notices_a_dropped_mask_and_a_wrong_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = WindowAttention(8, 2, (2, 3, 3), True).double()
    torch.nn.init.normal_(layer.relative_position_bias_table)
    size, rule = (3, 5, 5), WindowRule((2, 3, 3))
    x = torch.randn(1, *size, 8, dtype=torch.float64)
    right = slow_twin(layer, x, rule, True, None)

    def differs(**changes: Any) -> bool:
        wrong = WindowRule(**{"window": rule.window, **changes})
        out = layer(x, plan_windows(size, wrong, shifted=True, device=CPU))
        return not torch.allclose(out, right, atol=1e-4)

    assert not differs()
    assert differs(mask_padding=False)
    small, flat = (2, 2, 2), WindowRule((2, 3, 3), bias_slice="flat")
    y = torch.randn(1, *small, 8, dtype=torch.float64)
    exact = slow_twin(layer, y, rule, False, None)
    plans = {
        s: plan_windows(small, r, shifted=False, device=CPU) for s, r in (("exact", rule), ("flat", flat))
    }
    torch.testing.assert_close(layer(y, plans["exact"]), exact)
    assert not torch.allclose(layer(y, plans["flat"]), exact, atol=1e-4)


def test_a_flat_slice_is_exact_where_only_dates_are_few() -> None:
    full = relative_index((4, 3, 3), (4, 3, 3))
    assert torch.equal(full[:18, :18], relative_index((2, 3, 3), (4, 3, 3)))
    assert not torch.equal(full[:16, :16], relative_index((4, 2, 2), (4, 3, 3)))
    assert int(full.max()) == table_rows((4, 3, 3)) - 1
    assert int(full.min()) == 0


@given(cuts, cuts)
def test_unpartition_undoes_partition(window: Size, times: Size) -> None:
    size = tuple(n * k for n, k in zip(window, times, strict=True))
    x = torch.randn(2, *size, 3)
    windows = partition(x, window)
    assert windows.shape[1] == times[0] * times[1] * times[2]
    assert torch.equal(unpartition(windows, window, (size[0], size[1], size[2])), x)
    assert torch.equal(windows[:, 0].view(2, *window, 3), x[:, : window[0], : window[1], : window[2]])


def test_kept_masks_made_in_inference_mode_serve_training() -> None:
    layer = WindowAttention(8, 2, (1, 3, 3), True)
    size, rule = (1, 11, 10), WindowRule((1, 3, 3))
    with torch.inference_mode():
        layer(torch.randn(1, *size, 8), plan_windows(size, rule, shifted=True, device=CPU))
    layer(torch.randn(1, *size, 8), plan_windows(size, rule, shifted=True, device=CPU)).sum().backward()
