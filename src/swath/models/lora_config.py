"""Options of LoRA. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from swath.errors import ConfigError

LoRATarget = Literal["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]


@dataclass(frozen=True)
class LoRAConfig:
    """Adapters of low rank on frozen blocks.

    Attributes:
        rank: of the corrections.
        alpha: they are scaled by alpha / rank.
        targets: the linear layers of a block that get one: "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2".
        dropout: of what the adapters see.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[LoRATarget, ...] = get_args(LoRATarget)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"is {self.rank}", where="lora.rank", mend="give 1 or more, such as 8")
        if not 0 < self.alpha < math.inf:
            raise ConfigError(f"is {self.alpha}", where="lora.alpha", mend="give more than 0, such as 16")
        if not 0 <= self.dropout < 1:
            raise ConfigError(
                f"is {self.dropout}", where="lora.dropout", mend="give a share from 0 to below 1"
            )
        known = get_args(LoRATarget)
        wrong = [t for t in self.targets if t not in known]
        if wrong or not self.targets or len(set(self.targets)) < len(self.targets):
            said = f"has no layer {wrong[0]}" if wrong else "is empty, or names a layer twice"
            raise ConfigError(said, where="lora.targets", mend=f"use {', '.join(known)}")
