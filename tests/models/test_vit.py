from __future__ import annotations

import pytest
import torch
from torch import nn

from swath.models.vit import Attention, Block, init_linear


def test_block_ignores_masked_keys() -> None:
    torch.manual_seed(0)
    block = Block(8, 2)
    x = torch.randn(2, 5, 8)
    valid = torch.tensor([[True, True, True, False, False]] * 2)
    other = x.clone()
    other[:, 3:] = 100.0
    torch.testing.assert_close(block(x, valid)[:, :3], block(x[:, :3]))
    torch.testing.assert_close(block(other, valid)[:, :3], block(x, valid)[:, :3])


def test_width_must_divide_into_heads() -> None:
    with pytest.raises(ValueError, match="heads"):
        Attention(10, 3)


def test_initialisation_draws_q_k_and_v_as_square_matrices() -> None:
    torch.manual_seed(0)
    block = Block(64, 4).apply(init_linear)
    bound = (6 / 128) ** 0.5
    for rows in block.attn.qkv.weight.chunk(3):
        assert 0.9 * bound < rows.abs().max().item() <= bound
    assert (block.attn.qkv.bias == 0).all()
    assert (block.mlp.fc1.bias == 0).all()
    assert block.mlp.fc1.weight.abs().max().item() <= (6 / 320) ** 0.5
    norm = nn.LayerNorm(4)
    nn.init.zeros_(norm.weight)
    assert (norm.apply(init_linear).weight == 1).all()
