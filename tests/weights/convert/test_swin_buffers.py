"""Buffers by their definitions, place by place."""

from __future__ import annotations

import json
import math

import pytest
import torch

from swath.errors import WeightsError
from swath.weights.convert.swin_buffers import (
    index_buffer,
    mask_buffer,
    pack,
    same_bits,
    sincos_positions,
    unpack,
)


def test_positions_are_sines_of_column_then_row() -> None:
    grid, dim = 3, 8
    found = sincos_positions(grid, dim)
    assert found.shape == (1, 9, 8) and found.dtype == torch.float32
    for row in range(grid):
        for column in range(grid):
            for c in range(dim):
                place = column if c < dim // 2 else row
                frequency = 10000 ** (-(c % 2) / (dim / 4))
                wave = math.sin if c % 4 < 2 else math.cos
                expected = wave(place * frequency)
                assert float(found[0, row * grid + column, c]) == pytest.approx(expected, abs=1e-7)
    with pytest.raises(WeightsError, match="divide by 4"):
        sincos_positions(2, 6)


def test_masks_keep_pieces_apart() -> None:
    mask = mask_buffer((1, 4, 4), (1, 2, 2), (0, 1, 1))
    assert mask.shape == (4, 4, 4)
    assert not mask[0].any()
    assert torch.equal(mask[3], torch.full((4, 4), -100.0).fill_diagonal_(0.0))
    assert not mask_buffer((1, 4, 4), (1, 2, 2), (0, 0, 0)).any()


def test_index_of_a_line() -> None:
    assert index_buffer((1, 1, 3)).tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_travel_as_json(dtype: torch.dtype) -> None:
    tensor = (torch.randn(2, 3) * 9).to(dtype)
    assert same_bits(unpack(json.loads(json.dumps(pack(tensor.t())))), tensor.t().contiguous())
    assert not same_bits(tensor, tensor.double())
