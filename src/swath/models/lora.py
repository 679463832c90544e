"""LoRA (Hu et al., ICLR 2022): a frozen linear layer learns a correction of low rank beside it.

W x becomes W x + (alpha / rank) B A x, with A random and B zero, so that the network begins as it was. Afterwards the
correction is added to W, and what is saved is a plain network. The fused projection of queries, keys and values gets
one pair: its A is shared by the three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.depth import depths
from swath.models.lora_config import LoRAConfig
from swath.models.swin3d import SwinBlock
from swath.models.vit import Block


class LoRALinear(nn.Module):
    """A linear layer that stays as it is, and its correction.

    Args:
        base: the layer; its parameters are frozen.
        config: rank, alpha and dropout.
    """

    def __init__(self, base: nn.Linear, config: LoRAConfig) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = config.alpha / config.rank
        self.lora_a = nn.Parameter(base.weight.new_empty(config.rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        low = F.linear(F.linear(self.drop(x), self.lora_a), self.lora_b)
        out: Tensor = self.base(x) + self.scale * low
        return out

    def merged(self) -> nn.Linear:
        """The plain layer that says the same; summed in float64, so that it differs by one rounding."""
        with torch.no_grad():
            low = self.lora_b.double() @ self.lora_a.double()
            self.base.weight.copy_(self.base.weight.double() + self.scale * low)
        return self.base


@dataclass(frozen=True)
class Adapted:
    """What LoRA did.

    Attributes:
        layers: names of the layers with adapters.
        trains: numbers that learn: adapters and head.
        frozen: numbers that do not.
    """

    layers: tuple[str, ...]
    trains: int
    frozen: int


def add_lora(network: nn.Module, config: LoRAConfig) -> Adapted:
    """Puts adapters on the linear layers of all pretrained blocks, in place; only they and the head train then.

    Args:
        network: of a task, or the task around it; not an ensemble that shares its blocks.
        config: which layers, and how.

    Raises:
        ConfigError: it has no encoder, no such layers, or adapters already.
    """
    deep = depths(network)
    if any(isinstance(m, LoRALinear) for m in network.modules()):
        raise ConfigError("the network has adapters already", where="lora", mend="merge them first")
    for name, parameter in network.named_parameters():
        if deep.of[name] < deep.top:
            parameter.requires_grad_(False)
    layers = []
    for name, block in network.named_modules():
        if isinstance(block, (Block, SwinBlock)):
            for target in config.targets:
                owner, attribute = target.split(".")
                parent = block.get_submodule(owner)
                setattr(parent, attribute, LoRALinear(getattr(parent, attribute), config))
                layers.append(f"{name}.{target}")
    if not layers:
        raise ConfigError("the network has no transformer blocks", where="lora", mend="leave it out")
    trains = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Adapted(tuple(layers), trains, sum(p.numel() for p in network.parameters()) - trains)


def merge_lora(network: nn.Module) -> int:
    """Adds the corrections to the layers they stand beside, in place: the network is plain again, and all of it may
    train.

    Returns:
        How many adapters there were.
    """
    found = [(name, m) for name, m in network.named_modules() if isinstance(m, LoRALinear)]
    for name, adapter in found:
        parent, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(parent), attribute, adapter.merged())
    if found:
        network.requires_grad_(True)
    return len(found)
