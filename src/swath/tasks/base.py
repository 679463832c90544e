"""What segmentation and classification share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.tasks.config import IGNORE, TaskConfig


class Task(nn.Module):
    """A network with what it is trained for.

    Args:
        network: called with (pixels, valid=, days=, wavelengths=), returns logits.
        config: classes and loss.
    """

    weights: Tensor | None

    def __init__(self, network: nn.Module, config: TaskConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config
        weights = None if config.class_weights is None else torch.tensor(config.class_weights)
        # Not persistent: it belongs to the training, not to the weights.
        self.register_buffer("weights", weights, persistent=False)

    def logits(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        days: Tensor | None = None,
        wavelengths: tuple[float, ...] | None = None,
    ) -> Tensor:
        """The network's logits, of K classes."""
        out: Tensor = self.network(pixels, valid=valid, days=days, wavelengths=wavelengths)
        axis = 1 if out.ndim in (2, 4) else 2
        if out.shape[axis] != len(self.config.classes):
            raise ConfigError(
                f"the network gives {out.shape[axis]} classes, the task names {len(self.config.classes)}",
                where="classes",
                mend="build the network with as many classes",
            )
        return out

    def counts(self, valid: Tensor | None, target: Tensor) -> dict[str, Tensor]:
        """The counts of the parts that `forward` would give, without running the network."""
        raise NotImplementedError

    def _check_target(self, target: Tensor) -> None:
        # A class number outside 0..K-1 would be an index error far below, or worse, an assert on the GPU.
        if target.is_cuda:
            return
        low, high = (int(target.min()), int(target.max())) if target.numel() else (0, 0)
        if low < IGNORE or high >= len(self.config.classes):
            wrong = low if low < IGNORE else high
            raise ConfigError(
                f"label {wrong} is none of the {len(self.config.classes)} classes",
                where="labels",
                mend=f"number classes 0 to {len(self.config.classes) - 1} and unknown pixels {IGNORE}",
            )
