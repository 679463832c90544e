"""AdamW (or Adam) with the decay groups of the papers, and the learning rate as a function of the step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import nn

from swath.errors import ConfigError
from swath.models.depth import depths
from swath.training.config import TrainConfig

# Position embeddings and relative-position tables, by any part of the parameter's name.
_POSITION = re.compile(r"(^|[._])(pos|position|positions|positional)([._]|$)")


def decays(name: str, parameter: nn.Parameter, rule: str) -> bool:
    """Whether weight decay acts on a parameter (SpectralGPT, released code: biases and 1-D parameters never;
    position embeddings in pretraining yes, in fine-tuning no). With the rule "all" on every one (Swin-MAE's code).
    """
    if rule == "all":
        return True
    if parameter.ndim <= 1 or name.endswith(".bias"):
        return False
    return rule == "pretrain" or _POSITION.search(name) is None


def parameter_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The parameters that train, in groups: with decay and without, and by depth where learning rates fall with it.

    With `layer_decay` below 1 the learning rate of a group is the schedule's times `lr_scale`, which is layer_decay to
    the number of layers between it and the head (BEiT, MAE).

    Raises:
        ConfigError: nothing trains, or the network has no layers to tell apart.
    """
    deep = depths(module) if config.layer_decay < 1 else None
    split: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            below = 0 if deep is None else deep.top - deep.of[name]
            # Decaying ones first, and from the head down: the order of the groups is that of every run.
            split.setdefault((below, not decays(name, parameter, config.decay_rule)), []).append(parameter)
    if not split:
        raise ConfigError("no parameter trains", mend="unfreeze a part of the network")
    groups: list[dict[str, Any]] = []
    for (below, still), params in sorted(split.items(), key=lambda item: item[0]):
        group = {"params": params, "weight_decay": 0.0 if still else config.weight_decay}
        groups.append(group if deep is None else {**group, "lr_scale": config.layer_decay**below})
    return groups


def make_optimizer(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of a run."""
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(parameter_groups(module, config), lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """The rate of step 0 … steps - 1: linear from 0 over the warm-up, then down to the minimum as the schedule says.

    A pure function: a schedule without a state has nothing to restore.
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    after = step - config.warmup_steps
    low, high = config.min_learning_rate, config.learning_rate
    if config.schedule == "step":
        return max(low, high * config.decay_factor ** (after // config.decay_every))
    return low + (high - low) * _left(min(1.0, after / max(1, config.steps - config.warmup_steps)), config)


def _left(share: float, config: TrainConfig) -> float:
    """What is left of the rate, 1 … 0, when this share of the steps after the warm-up is done."""
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "polynomial":
        return float((1.0 - share) ** config.schedule_power)
    return 0.5 * (1.0 + math.cos(math.pi * share))
