from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from swath.models.positions import DateEncoding, interpolate_spectrum, resize_grid


@pytest.mark.parametrize("size", [(5, 9), (12, 3), (4, 6), (1, 1)])
def test_resize_is_bicubic(size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x.permute(0, 3, 1, 2), size=size, mode="bicubic", align_corners=False)
    torch.testing.assert_close(resize_grid(x, size), expected.permute(0, 2, 3, 1), atol=1e-12, rtol=0)


def test_resize_to_the_same_grid_is_the_same_tensor() -> None:
    x = torch.randn(1, 4, 4, 2)
    assert resize_grid(x, (4, 4)) is x


def test_spectrum_is_linear_between_anchors_and_constant_beyond() -> None:
    x = torch.tensor([[0.0], [10.0], [30.0]])
    at = torch.tensor([[400.0, 500.0, 550.0, 600.0, 700.0, 900.0]])
    out = interpolate_spectrum(x, (500.0, 600.0, 700.0), at)
    assert out.flatten().tolist() == [0.0, 0.0, 5.0, 10.0, 30.0, 30.0]


def test_spectrum_with_one_anchor_or_equal_anchors_is_finite() -> None:
    at = torch.tensor([[400.0, 900.0]])
    assert interpolate_spectrum(torch.tensor([[7.0]]), (500.0,), at).flatten().tolist() == [7.0, 7.0]
    assert interpolate_spectrum(torch.tensor([[1.0], [2.0]]), (500.0, 500.0), at).isfinite().all()


def test_dates_start_at_zero_and_learn() -> None:
    encoding = DateEncoding(4)
    days = torch.tensor([[[12.0, 2020.0], [200.0, 2021.0]]])
    assert (encoding(days) == 0).all()
    encoding(days).sum().backward()
    assert encoding.weight.grad is not None and (encoding.weight.grad != 0).all()


def test_unknown_dates_add_nothing() -> None:
    encoding = DateEncoding(4)
    torch.nn.init.ones_(encoding.weight)
    days = torch.tensor([[[float("nan"), float("nan")], [200.0, 2021.0]]])
    out = encoding(days)
    assert (out[0, 0] == 0).all() and (out[0, 1] != 0).all()
    out.sum().backward()
    assert encoding.weight.grad is not None and encoding.weight.grad.isfinite().all()
