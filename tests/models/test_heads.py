"""Heads on any encoder: gradients by finite differences, and what lies apart stays apart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swath.models.encoders import EncoderShape
from swath.models.heads import grow
from swath.models.heads_conv import ConvHead
from swath.models.heads_linear import LinearHead, LinearMapHead
from swath.models.heads_uper import UperHead
from swath.models.neck import Difference, GroupSum, Neck

DIMS, STRIDES = (4, 6), (2, 4)
MAPS = {
    "linear": lambda: LinearMapHead(DIMS, STRIDES, 2),
    "conv": lambda: ConvHead(DIMS, STRIDES, 2, 16),
    "uper": lambda: UperHead(DIMS, STRIDES, 2, 16),
    "uper on one grid": lambda: UperHead((4,) * 4, (4,) * 4, 2, 16),
}


def levels(name: str, rows: int = 5, cols: int = 4) -> list[torch.Tensor]:
    torch.manual_seed(1)
    if "grid" in name:
        return [torch.randn(1, 4, rows, cols, dtype=torch.float64) for _ in range(4)]
    return [
        torch.randn(1, 4, rows, cols, dtype=torch.float64),
        torch.randn(1, 6, -(-rows // 2), -(-cols // 2), dtype=torch.float64),
    ]


def seeded(head: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for p in head.parameters():
        nn.init.normal_(p, std=0.3)
    return head.double()


@pytest.mark.parametrize("name", MAPS)
def test_gradients_of_heads_that_draw_maps(name: str) -> None:
    torch.manual_seed(0)
    head = seeded(MAPS[name]())
    maps = [m.requires_grad_() for m in levels(name, 3, 2)]
    size = (10, 7) if "grid" in name else (5, 4)
    assert torch.autograd.gradcheck(lambda *m: head(m, size), maps, fast_mode=True)
    head(maps, size).square().sum().backward()
    for n, p in head.named_parameters():
        assert p.grad is not None and p.grad.abs().sum() > 0, n


def test_gradients_of_a_linear_head_and_of_the_neck() -> None:
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(seeded(LinearHead(5, 2)), x)
    shape = EncoderShape((4,), (8,), 4, 3, 1, True)
    neck = seeded(Neck(shape, "difference", None, [True]))
    maps = torch.randn(1, 2, 3, 4, 2, 2, dtype=torch.float64)
    maps[0, 0, 1, :, 0, 0] = 0.0  # a group without data at a place
    held = maps.ne(0).all(3, keepdim=True)
    maps.requires_grad_()
    # Places without data stay without: they are zeros of the encoder, not values that could move.
    assert torch.autograd.gradcheck(lambda m: neck([torch.where(held, m, 0.0)])[0], maps, fast_mode=True)


def test_the_conv_head_looks_no_farther_than_its_kernels() -> None:
    head = seeded(ConvHead((4,), (4,), 1, 16))
    x = torch.randn(1, 4, 16, 16, dtype=torch.float64)
    other = x.clone()
    other[:, :, :, 8:] += 1.0
    same = (head([x], (64, 64)) == head([other], (64, 64))).all(dim=2)[0, 0]
    assert bool(same[:16].all()) and not bool(same[32:].any())


def test_groups_start_as_their_mean_and_leave_out_what_is_missing() -> None:
    x = torch.randn(1, 1, 3, 2, 1, 1)
    x[0, 0, 1] = 0.0
    seen = torch.tensor([True, False, True]).view(1, 1, 3, 1, 1)
    torch.testing.assert_close(GroupSum(3)(x, seen)[0, 0, :, 0, 0], (x[0, 0, 0] + x[0, 0, 2])[:, 0, 0] / 2)
    assert (GroupSum(3)(torch.zeros_like(x), torch.zeros_like(seen)) == 0).all()


def test_the_difference_is_of_the_first_and_the_last_that_hold_data() -> None:
    x = torch.tensor([1.0, 10.0, 100.0, 1000.0]).view(1, 4, 1, 1, 1)
    for valid, expected in (
        ((1, 1, 1, 1), -999.0),
        ((0, 1, 1, 0), -90.0),
        ((0, 1, 0, 1), -990.0),
        ((0, 0, 1, 0), 0.0),
        ((0, 0, 0, 0), 0.0),
    ):
        held = torch.tensor(valid, dtype=torch.bool).view(1, 4, 1, 1)
        assert float(Difference()(x, held)) == expected
    assert float(Difference()(x, None)) == -999.0


def test_enlarged_cells_stay_where_their_pixels_are() -> None:
    x = torch.tensor([[0.0, 1.0, 2.0]]).view(1, 1, 1, 3)
    out = grow(x, 4, (3, 11))
    assert out.shape == (1, 1, 3, 11)
    torch.testing.assert_close(
        out[0, 0, 0, :8].unfold(0, 4, 4).mean(1), torch.tensor([0.0938, 1.0]), atol=0.1, rtol=0
    )
