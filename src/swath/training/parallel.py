"""What is done to a network from outside, so that models know nothing of it (design §5)."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from swath.errors import ConfigError
from swath.models.swin3d import SwinBlock
from swath.models.vit import Block

BLOCKS: tuple[type[nn.Module], ...] = (Block, SwinBlock)


def checkpoint_blocks(module: nn.Module) -> int:
    """Keeps only the inputs of transformer blocks for the backward pass, which computes their insides again.

    That takes about a third more time and, for a deep network, a fraction of the memory. Draws such as those
    of stochastic depth are drawn the same a second time.

    Args:
        module: a network, objective or task; changed in place, its parameters and their names are not.

    Returns:
        How many blocks there are.

    Raises:
        ConfigError: there is none.
    """
    blocks = [m for m in module.modules() if isinstance(m, BLOCKS)]
    if not blocks:
        raise ConfigError(
            f"{type(module).__name__} has no transformer blocks",
            where="activation checkpointing",
            mend="leave it off",
        )
    for block in blocks:
        if not isinstance(block.forward, partial):  # once is enough
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return len(blocks)
