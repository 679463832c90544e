"""AdamW with the decay groups of the papers, and the learning rate as a function of the step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from swath.errors import ConfigError
from swath.training.config import TrainConfig

# Position embeddings and relative-position tables, by any part of the parameter's name.
_POSITION = re.compile(r"(^|[._])(pos|position|positions|positional)([._]|$)")


def decays(name: str, parameter: nn.Parameter, rule: str) -> bool:
    """Whether weight decay acts on a parameter (SpectralGPT, released code: biases and 1-D parameters never;
    position embeddings in pretraining yes, in fine-tuning no).
    """
    if parameter.ndim <= 1 or name.endswith(".bias"):
        return False
    return rule == "pretrain" or _POSITION.search(name) is None


def parameter_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The parameters that train, in two groups: with decay and without.

    Raises:
        ConfigError: nothing trains.
    """
    split: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            split[decays(name, parameter, config.decay_rule)].append(parameter)
    groups = [
        {"params": params, "weight_decay": config.weight_decay if decay else 0.0}
        for decay, params in split.items()
        if params
    ]
    if not groups:
        raise ConfigError("no parameter trains", mend="unfreeze a part of the network")
    return groups


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """The optimiser of a run."""
    return torch.optim.AdamW(
        parameter_groups(module, config), lr=config.learning_rate, betas=config.betas, fused=True
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of step 0 … steps - 1: linear from 0 over the warm-up, then half a cosine to the minimum.

    A pure function: a schedule without a state has nothing to restore.
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    span = max(1, config.steps - config.warmup_steps)
    share = min(1.0, (step - config.warmup_steps) / span)
    low = config.min_learning_rate
    return low + (config.learning_rate - low) * 0.5 * (1.0 + math.cos(math.pi * share))
