"""Which layers train at a step: a frozen encoder, and one that thaws from its last block down (Howard & Ruder, 2018).

A pure function of the step, so a run that goes on has nothing to restore.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from swath.models.depth import Depths, depths
from swath.models.swin3d import Swin3D
from swath.models.token_encoder import TokenEncoder
from swath.training.config import TrainConfig


def trainable_depth(step: int, encoder: int, config: TrainConfig) -> int:
    """The least depth that trains at a step; 0: all.

    Args:
        step: 0 … steps - 1.
        encoder: the greatest depth of the encoder, whose last block that is.
        config: with `freeze`, `unfreeze_start` and `unfreeze_every`.
    """
    if config.freeze == "none":
        return 0
    if config.unfreeze_every == 0 or step < config.unfreeze_start:
        return encoder + 1
    thawed = 1 + (step - config.unfreeze_start) // config.unfreeze_every
    return max(0, encoder + 1 - thawed)


class Freezing:
    """Freezes layers of a module as its config says, step by step.

    Args:
        module: an objective or task.
        config: of the run.
    """

    def __init__(self, module: nn.Module, config: TrainConfig) -> None:
        self.config = config
        self.deep: Depths | None = depths(module) if config.freeze != "none" else None
        self.encoders = [m for m in module.modules() if isinstance(m, (TokenEncoder, Swin3D))]
        ever = trainable_depth(config.steps - 1, self.deep.encoder, config) if self.deep else 0
        if self.deep is not None:
            # What never trains is no part of the optimiser.
            for name, parameter in module.named_parameters():
                if self.deep.of[name] < ever:
                    parameter.requires_grad_(False)

    def apply(self, module: nn.Module, step: int) -> None:
        """Before a step: a wholly frozen encoder draws nothing, as it does where features are computed once.

        ST-SwinUNet is encoder and decoder in one, and what is drawn there is the decoder's too: it stays as it is.
        """
        if self.deep is None:
            return
        frozen = trainable_depth(step, self.deep.encoder, self.config) > self.deep.encoder
        for encoder in self.encoders:
            if module.training and self.deep.top == self.deep.encoder + 1:
                encoder.train(not frozen)

    def drop(self, named: Iterable[tuple[str, nn.Parameter]], step: int) -> None:
        """After the backward pass: what is frozen at this step has no gradient, and the optimiser leaves it alone."""
        if self.deep is None:
            return
        least = trainable_depth(step, self.deep.encoder, self.config)
        for name, parameter in named:
            if self.deep.of[name] < least:
                parameter.grad = None
