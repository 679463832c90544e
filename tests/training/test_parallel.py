"""What is done to networks from outside; that it changes no number is a row of the ledger."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swath.errors import ConfigError
from swath.models.vit import Block
from swath.training.parallel import checkpoint_blocks


def test_blocks_run_again_in_the_backward_pass_with_the_same_draws() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*(Block(8, 2, drop_path=0.5) for _ in range(3)))
    names = [name for name, _ in network.named_parameters()]
    x = torch.randn(4, 5, 8)
    runs: list[int] = []
    network[1].norm1.register_forward_hook(lambda *a: runs.append(1))
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            assert checkpoint_blocks(network) == checkpoint_blocks(network) == 3
        network.zero_grad()
        torch.manual_seed(1)
        network(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert len(runs) == 3  # once, then twice
    assert [name for name, _ in network.named_parameters()] == names
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_network_without_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match="no transformer blocks"):
        checkpoint_blocks(nn.Linear(2, 2))
