"""What is done to a network from outside, so that models know nothing of it (design §5)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn
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
            where="training.activation_checkpointing",
            mend="leave it off",
        )
    for block in blocks:
        if not isinstance(block.forward, partial):  # once is enough
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return len(blocks)


def compile_blocks(module: nn.Module) -> int:
    """Compiles transformer blocks, each kind once, in place; names of parameters stay.

    Blocks rather than whole networks: they are equal, so one compilation serves all of a kind, and what lies
    between them (masks, groups of dates) may look at values, which would cut a whole graph.

    Returns:
        How many blocks there are.

    Raises:
        ConfigError: there is none.
    """
    blocks = [m for m in module.modules() if isinstance(m, BLOCKS)]
    if not blocks:
        raise ConfigError(
            f"{type(module).__name__} has no transformer blocks",
            where="training.compile",
            mend="leave it off",
        )
    for block in blocks:
        block.compile()
    return len(blocks)


def shard(module: nn.Module, mesh: Any) -> None:
    """Divides the weights among the processes of a one-dimensional mesh (FSDP2) in place: block by block, or as one.

    Processes wait for each other wherever they gather a part. A Swin runs samples with different numbers of dates
    apart, so its blocks are called more often where dates are missing: its weights are gathered once for a whole pass.
    """
    from torch.distributed.fsdp import fully_shard

    by_block = not any(isinstance(m, SwinBlock) for m in module.modules())
    for block in module.modules():
        if by_block and isinstance(block, BLOCKS):
            fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


@contextlib.contextmanager
def gathered_weights(module: nn.Module) -> Iterator[None]:
    """While the block runs, divided weights are whole on all processes, which enter and leave together.

    Any part of the module may then be called by itself, on each process as often as it likes. Without gradients.
    """
    if not any(hasattr(p, "full_tensor") for p in module.parameters()):
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    parts = [m for m in module.modules() if isinstance(m, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            # As fully_shard has it: a root stays whole until the backward pass.
            part.set_reshard_after_forward(part is not module, recurse=False)


def plain(tensor: Tensor) -> Tensor:
    """A tensor that may be divided among processes, whole; all of them call it together."""
    whole = getattr(tensor, "full_tensor", None)
    return tensor if whole is None else whole()


def load_whole(module: nn.Module, state: dict[str, Any]) -> None:
    """Whole tensors into a module whose own may be divided among processes."""
    if not any(hasattr(p, "full_tensor") for p in module.parameters()):
        module.load_state_dict(state)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    set_model_state_dict(module, state, options=StateDictOptions(full_state_dict=True))
